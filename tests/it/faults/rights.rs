//! A relay as a role that owns nothing, with the rights that the README lists and no other.

use std::fs;

use futures::future::join_all;

use super::relay_process::RelayProcess;
use crate::doctor::doctor;
use crate::support::relay::Subscriber;
use crate::support::{PrivateServer, connect_as_application, eventually};

/// The statements of the README, for a role of that name.
fn documented_grants(role: &str) -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let readme = readme.expect("the README");
    let blocks = readme.split("```sql\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| Some(rest.split_once("```")?.0));
    let block = blocks.find(|block| block.contains("TO relay;"));
    let grants = block.expect("the rights of a relay");
    grants.replace("TO relay;", &format!("TO {role};"))
}

/// The same database as another role.
fn as_role(server: &PrivateServer, role: &str) -> String {
    let url = server.url();
    let (_, address) = url.split_once('@').expect("an account in the URL");
    format!("postgres://{role}:secret@{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_owns_nothing_does_all_of_its_work_without_a_complaint() {
    let server = PrivateServer::migrated().await;
    let owner = server.client().await;
    let prepared = format!(
        "CREATE ROLE relay_of_few_rights LOGIN PASSWORD 'secret'; {};
         ALTER DATABASE bellwether SET track_functions = 'all';
         INSERT INTO sync_operations (operation_type) SELECT 'old' FROM generate_series(1, 100);
         UPDATE bellwether.event SET at = at - interval '2 hours';
         SELECT bellwether.trim_log('1 hour')",
        documented_grants("relay_of_few_rights")
    );
    for statement in prepared.split(';') {
        owner.batch_execute(statement).await.expect(statement);
    }
    let folder = tempfile::TempDir::new().expect("a folder");
    let log = folder.path().join("log");
    let arguments = [
        "--tick",
        "1h",
        "--stalled-after",
        "1s",
        "--snapshot-every",
        "1s",
        "--keep-events",
        "1h",
        "--presence-every",
        "100ms",
        // A busy machine is nothing to complain of.
        "--patience",
        "30s",
        "--heartbeat",
        "30s",
        "--stop-within",
        "30s",
    ];
    let url = as_role(&server, "relay_of_few_rights");
    let mut relay = RelayProcess::launch_with_log(&url, &arguments, &log);
    relay.until("live").await;
    let mut subscriber = Subscriber::connect(relay.address, "topics=operations").await;
    subscriber.live().await;
    let silent =
        "INSERT INTO sync_operations (operation_type, status) VALUES ('silent', 'in_progress')";
    owner.batch_execute(silent).await.expect("written");
    subscriber
        .events_until(|event| event["type"] == "operation.stalled")
        .await;

    // Under load it promises to look often.
    let address = server.url();
    let writers = join_all((0..4).map(|_| connect_as_application(&address))).await;
    let write = "INSERT INTO sync_operations (operation_type) VALUES ('many')";
    eventually("the lease was extended", async || {
        let writing = writers.iter().map(async |writer| {
            for _ in 0..50 {
                writer.batch_execute(write).await.expect("written");
            }
        });
        join_all(writing).await;
        let promised = "SELECT last_value > 0 FROM bellwether.lease";
        owner.query_one(promised, &[]).await.expect("asked").get(0)
    })
    .await;
    eventually("all of its jobs are done", async || {
        let done = "SELECT count(DISTINCT funcname) = 4
                AND (SELECT trimmed_through > '0' FROM bellwether.log)
                AND (SELECT count(*) > 1 FROM sync_status_snapshots WHERE kind = 'scheduled')
                AND (SELECT count(*) = 1 FROM connection_status WHERE status = 'connected')
            FROM pg_stat_user_functions WHERE schemaname = 'bellwether'
                AND funcname IN ('promise_to_look', 'mark_stalled', 'trim_log', 'summarize_event_index')";
        owner.query_one(done, &[]).await.expect("asked").get(0)
    })
    .await;
    let id = "SELECT id::text FROM sync_operations WHERE operation_type = 'silent'";
    let id: String = owner.query_one(id, &[]).await.expect("asked").get(0);
    for path in [
        "operations",
        "operations?format=csv",
        &format!("operations/{id}"),
        &format!("operations/{id}/errors"),
        &format!("operations/{id}/events"),
        "connections",
        "health",
        "snapshots",
        "statistics",
    ] {
        let answer = reqwest::get(format!("http://{}/api/{path}", relay.address)).await;
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
    }
    let report = doctor(&url, &[]).await;
    assert_eq!(report.status("rights"), "ok", "{}", report.found("rights"));
    assert_eq!(report.status("migrations"), "ok");

    relay.stop().await;
    let said = fs::read_to_string(log).expect("the log");
    let complaints: Vec<_> = said
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        .filter(|line| !line.contains("limit of open files"))
        .collect();
    assert_eq!(complaints, [""; 0]);
    let connected = "SELECT count(*) FROM connection_status WHERE status = 'connected'";
    let row = owner.query_one(connected, &[]).await.expect("asked");
    assert_eq!(row.get::<_, i64>(0), 0, "the last that it has written");
}
