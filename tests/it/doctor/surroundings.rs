//! What others do to the server, and what the server is.

use std::fs;

use super::doctor;
use crate::support::{PrivateServer, TestDatabase, server_options};

#[tokio::test]
async fn a_transaction_that_has_been_writing_for_long_is_named_with_all_that_finds_it() {
    let database = TestDatabase::new().await;
    let url = format!("{}&application_name=a%20slow%20import", database.url());
    let writer = crate::support::connect_as_application(&url).await;
    writer
        .batch_execute("BEGIN; INSERT INTO sync_operations (operation_type) VALUES ('slow')")
        .await
        .expect("written");
    let pid: i32 = writer
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("a number")
        .get(0);

    let patient = doctor(&database.url(), &["--long-transaction", "1d"]).await;
    assert_eq!(patient.status("writing_transactions"), "ok");

    // Other tests write in other databases of the server; the oldest transaction may be one of theirs.
    let mut named = false;
    for _ in 0..200 {
        let report = doctor(&database.url(), &["--long-transaction", "1ms"]).await;
        assert_eq!(report.status("writing_transactions"), "warning");
        let figures = &report.check("writing_transactions")["figures"];
        if figures["pid"] == pid {
            assert_eq!(figures["application_name"], "a slow import");
            assert_eq!(figures["database"], database.name());
            assert_eq!(figures["state"], "idle in transaction");
            assert!(figures["age_seconds"].as_f64().is_some_and(|age| age > 0.0));
            assert!(
                figures["query_start"]
                    .as_str()
                    .is_some_and(|at| at.ends_with('Z'))
            );
            assert!(report.advice("writing_transactions")[0].contains(&pid.to_string()));
            named = true;
            break;
        }
    }
    assert!(named, "older ones must have ended by now");
}

#[tokio::test]
async fn prepared_transactions_are_counted_and_the_mode_that_forbids_them_is_said() {
    let server = PrivateServer::migrated().await;
    let client = server.client().await;
    let report = doctor(&server.url(), &[]).await;
    assert_eq!(report.status("doorbell_mode"), "warning");
    assert!(
        report
            .found("doorbell_mode")
            .contains("max_prepared_transactions is 20")
    );

    for statements in [
        "ALTER DATABASE bellwether SET bellwether.doorbell = 'never'; SET bellwether.doorbell = 'never'",
        "BEGIN; INSERT INTO sync_operations (operation_type) VALUES ('x'); PREPARE TRANSACTION 'left behind'",
    ] {
        client.batch_execute(statements).await.expect("done");
    }
    let report = doctor(&server.url(), &["--long-transaction", "1ms"]).await;
    assert_eq!(
        report.status("doorbell_mode"),
        "ok",
        "{}",
        report.found("doorbell_mode")
    );
    assert_eq!(report.check("doorbell_mode")["figures"]["mode"], "never");
    assert_eq!(report.status("prepared_transactions"), "warning");
    let figures = &report.check("prepared_transactions")["figures"];
    assert_eq!(
        (&figures["prepared"], &figures["gid"]),
        (&1.into(), &"left behind".into())
    );
    assert!(report.advice("prepared_transactions")[0].contains("'left behind'"));
}

#[tokio::test]
async fn a_standby_is_a_failure_and_what_needs_a_primary_is_not_asked() {
    let mut server = PrivateServer::migrated().await;
    server.postgres.stop().await;
    fs::write(server.folder().join("cluster/standby.signal"), "").expect("a signal file");
    server.postgres.restart().await.expect("a standby");
    let report = doctor(&server.url(), &[]).await;
    assert_eq!((report.code, report.status("primary")), (1, "failure"));
    assert!(report.advice("primary")[0].contains("target_session_attrs"));
    assert_eq!(report.status("doorbell"), "skipped");
    assert_eq!(
        report.status("triggers"),
        "ok",
        "what can be read is checked"
    );
}

#[tokio::test]
async fn a_server_without_room_for_a_relay_says_so() {
    let server = PrivateServer::start_with(server_options().setting("max_connections", "14")).await;
    let report = doctor(&server.url(), &["--pool-size", "20"]).await;
    assert_eq!(report.status("connections"), "warning");
    let figures = &report.check("connections")["figures"];
    assert_eq!(
        (&figures["max_connections"], &figures["needed_by_a_relay"]),
        (&14.into(), &25.into())
    );
    let report = doctor(&server.url(), &["--pool-size", "2"]).await;
    assert_eq!(
        report.status("connections"),
        "ok",
        "{}",
        report.found("connections")
    );
}

#[tokio::test]
async fn the_lease_is_running_run_out_or_set_too_far_ahead() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    for (ahead, state, status) in [
        (-5_000, "run_out", "ok"),
        (3_600_000, "far_ahead", "warning"),
    ] {
        let set = "SELECT setval('bellwether.lease', (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $1)";
        client
            .execute(set, &[&i64::from(ahead)])
            .await
            .expect("set");
        let report = doctor(&database.url(), &[]).await;
        assert_eq!(report.check("lease")["figures"]["state"], state);
        assert_eq!(report.status("lease"), status);
    }
}

#[tokio::test]
async fn events_that_should_be_gone_are_noticed() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client
        .batch_execute(
            "INSERT INTO sync_operations (operation_type) VALUES ('old');
             UPDATE bellwether.event SET at = at - interval '10 days'",
        )
        .await
        .expect("an old event");
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(report.status("retention"), "warning");
    assert!(
        report
            .found("retention")
            .contains("10.0 days old, though events are kept for 7.0 days")
    );
    let report = doctor(&database.url(), &["--keep-events", "9d"]).await;
    assert_eq!(report.status("retention"), "ok");
}

#[tokio::test]
async fn a_dead_relay_and_one_of_another_version_are_told_apart() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    client
        .batch_execute(
            "INSERT INTO bellwether.relay (id, host, version, seen_at)
             VALUES (gen_random_uuid(), 'dead:1', '0.0.1', now() - interval '1 hour')",
        )
        .await
        .expect("a dead relay");
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(report.found("relays"), "no relay is alive");
    client
        .batch_execute(
            "INSERT INTO bellwether.relay (id, host, version) VALUES (gen_random_uuid(), 'alive:2', '0.0.1')",
        )
        .await
        .expect("another");
    let report = doctor(&database.url(), &[]).await;
    assert_eq!(report.check("relays")["figures"]["alive"], 1);
    let found = report.found("relays");
    assert!(
        found.contains("alive:2") && found.contains("not all are of version"),
        "{found}"
    );
}
