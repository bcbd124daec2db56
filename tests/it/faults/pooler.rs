//! A transaction pooler between relay and database: LISTEN cannot work, and nothing may depend on a session.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use bellwether::postgres;

use super::relay_process::{RelayProcess, run_to_its_end};
use super::scene::Scene;
use crate::support::{PrivateServer, connect_as_application, eventually};

/// PgBouncer in transaction mode. It is ended with this value.
struct PgBouncer {
    child: Child,
    port: u16,
    direct: String,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    async fn before(server: &PrivateServer) -> Self {
        let folder = tempfile::TempDir::new().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its rights");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let direct = server.url();
        let password = direct
            .split(['@', ':'])
            .nth(2)
            .expect("a password")
            .to_owned();
        let file = folder.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n\
             bellwether = host=127.0.0.1 port={} user=bellwether password={password}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = 6\n",
            server.postgres.port()
        );
        fs::write(&file, settings).expect("its settings");
        let mut command = Command::new("pgbouncer");
        command
            .arg("--quiet")
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        // It refuses to be root, as PostgreSQL does.
        if nix::unistd::Uid::effective().is_root() {
            let account = nix::unistd::User::from_name("postgres");
            let account = account
                .expect("a list of accounts")
                .expect("an account postgres");
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        let child = command
            .spawn()
            .expect("pgbouncer, of the Debian package of that name");
        let bouncer = Self {
            child,
            port,
            direct,
            _folder: folder,
        };
        eventually("the pooler is there", async || {
            let url = bouncer.url();
            tokio_postgres::connect(&url, tokio_postgres::NoTls)
                .await
                .is_ok()
        })
        .await;
        bouncer
    }

    /// The database, through it.
    fn url(&self) -> String {
        let (before, after) = self
            .direct
            .split_once("127.0.0.1:")
            .expect("a local server");
        let (_, path) = after.split_once('/').expect("a database");
        format!("{before}127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_transaction_pooler_a_relay_says_so_and_looks_by_the_clock() {
    let server = PrivateServer::migrated().await;
    let bouncer = PgBouncer::before(&server).await;
    let arguments = [
        "--tick",
        "1h",
        "--snapshot-every",
        "1s",
        "--presence-every",
        "100ms",
        "--ring-bytes",
        "1000",
    ];
    let mut relay = RelayProcess::start(&bouncer.url(), &arguments).await;
    let said = relay.until_reason("live", "pooler").await;
    assert!(said.contains("--listen-url"), "what to do: {said}");
    // Applications write through the pooler too.
    let mut scene = Scene::begin(&bouncer.url(), &[relay.address]).await;
    for _ in 0..2 {
        relay.kill();
        scene.write_on().await;
        relay.start_again();
        scene.flow().await;
    }
    let client = server.client().await;
    eventually("the jobs are done", async || {
        let done =
            "SELECT (SELECT count(*) FROM sync_status_snapshots WHERE kind = 'scheduled') > 1
                       AND (SELECT count(*) FROM connection_status WHERE status = 'connected') = 3";
        client.query_one(done, &[]).await.expect("asked").get(0)
    })
    .await;
    for path in [
        "operations",
        "operations?format=ndjson",
        "connections",
        "health",
        "snapshots",
    ] {
        let answer = reqwest::get(format!("http://{}/api/{path}", relay.address)).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        assert!(
            answer.text().await.expect("a whole answer").len() > 20,
            "{path}"
        );
    }
    scene.reckon(&client).await;
    // `every` subscribers were behind the ring, and read the log through the pooler; `latest` ones were reset.
    for (recorder, resets) in scene.recorders.iter().zip([0, 2, 0]) {
        assert_eq!(
            recorder.record().resets.len(),
            resets,
            "{:?}",
            recorder.mode
        );
    }
    nothing_was_left_behind(&bouncer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_listen_url_past_the_pooler_the_doorbell_is_heard() {
    let server = PrivateServer::migrated().await;
    let bouncer = PgBouncer::before(&server).await;
    let direct = server.url();
    // Neither clock can explain that anything arrives.
    let arguments = ["--tick", "1h", "--poll", "1h", "--listen-url", &direct];
    let relay = RelayProcess::start(&bouncer.url(), &arguments).await;
    assert_eq!(relay.until("live").await, "", "nothing is in the way");
    let mut scene = Scene::begin(&bouncer.url(), &[relay.address]).await;
    scene.flow().await;
    scene.reckon(&server.client().await).await;
    scene.assert_resumed();
    nothing_was_left_behind(&bouncer).await;
}

#[tokio::test]
async fn a_listen_url_that_leads_elsewhere_is_refused() {
    let [here, there] = [
        PrivateServer::migrated().await,
        PrivateServer::migrated().await,
    ];
    let (code, said) = run_to_its_end(&here.url(), &["--listen-url", &there.url()]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("--listen-url leads to another database"),
        "{said}"
    );
}

#[tokio::test]
async fn a_schema_is_brought_up_to_date_through_a_transaction_pooler() {
    let server = PrivateServer::start().await;
    let bouncer = PgBouncer::before(&server).await;
    let config = bouncer.url().parse().expect("a URL");
    let report = postgres::migrate(&config).await.expect("migrated");
    assert!(!report.applied.is_empty());
    let again = postgres::migrate(&config).await.expect("nothing to do");
    assert_eq!(again, postgres::MigrationReport::default());
    nothing_was_left_behind(&bouncer).await;
}

/// Whoever gets a server connection after the relay finds it as the server makes it.
async fn nothing_was_left_behind(bouncer: &PgBouncer) {
    let mut holding = Vec::new();
    for _ in 0..4 {
        let client = connect_as_application(&bouncer.url()).await;
        // Held, so that the next one gets another connection.
        client.batch_execute("BEGIN").await.expect("begun");
        let settings = "SELECT current_setting('search_path') || ' ' || current_setting('jit') || ' ' || current_setting('enable_seqscan')
            || ' ' || current_setting('default_transaction_read_only')";
        let row = client.query_typed_one(settings, &[]).await.expect("asked");
        assert_eq!(row.get::<_, &str>(0), "\"$user\", public on on off");
        holding.push(client);
    }
}
