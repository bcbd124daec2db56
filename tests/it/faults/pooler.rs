//! A transaction pooler between relay and database: LISTEN cannot work, and nothing may depend on a session.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use bellwether::postgres::{self, DatabaseConfig};

use super::relay_process::{RelayProcess, run_to_its_end};
use super::scene::Scene;
use crate::support::{PrivateServer, connect_as_application, eventually};

/// PgBouncer in transaction mode. It is ended with this value.
struct PgBouncer {
    child: Child,
    port: u16,
    /// How many connections to the server it has at most.
    connections: usize,
    direct: String,
    _folder: tempfile::TempDir,
}

impl PgBouncer {
    async fn before(server: &PrivateServer) -> Self {
        Self::with_connections(server, 6).await
    }

    async fn with_connections(server: &PrivateServer, connections: usize) -> Self {
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
             default_pool_size = {connections}\n",
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
            connections,
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

/// Runs a command of the program to its end; its exit status and all that it said.
async fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_bellwether"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("the program runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test]
async fn no_command_leaves_anything_behind_in_a_transaction_pool() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let [source, scratch] = ["source", "scratch"].map(|name| folder.path().join(name));
    fs::create_dir(&source).expect("a folder to mirror");
    fs::write(source.join("a.txt"), "a").expect("a file to mirror");
    let paths = [&source, &scratch].map(|path| path.to_str().expect("a plain path"));
    let [source, scratch] = paths;
    let demo = [
        "demo",
        "--rounds",
        "1",
        "--pace",
        "1ms",
        "--listen",
        "127.0.0.1:0",
        "--mirror",
        source,
        "--scratch",
        scratch,
    ];
    let commands: [(&[&str], i32, &str); 5] = [
        (&["migrate"], 0, "migrations"),
        (&["migrate"], 0, "nothing to do"),
        (&["snapshot"], 0, "score"),
        (&["doctor"], 1, "a proxy pools by transaction"),
        (&demo, 0, "Bellwether is running"),
    ];
    for connections in [1, 6] {
        let server = PrivateServer::start().await;
        let bouncer = PgBouncer::with_connections(&server, connections).await;
        for (arguments, expected, part) in commands {
            let url = bouncer.url();
            let (code, said) = run(&[arguments, &["--database-url", &url]].concat()).await;
            assert_eq!(code, Some(expected), "{arguments:?}: {said}");
            assert!(said.contains(part), "{arguments:?}: {said}");
            nothing_was_left_behind(&bouncer).await;
        }
        let completed = "SELECT count(*) > 0 FROM sync_operations WHERE status = 'completed'";
        let row = server.client().await.query_one(completed, &[]).await;
        assert!(row.expect("asked").get::<_, bool>(0), "the demo has worked");
    }
}

#[tokio::test]
async fn a_session_that_is_opened_before_anybody_has_looked_for_a_pooler_sets_nothing_in_it() {
    let server = PrivateServer::start().await;
    let bouncer = PgBouncer::before(&server).await;
    let config: DatabaseConfig = bouncer.url().parse().expect("a URL");
    let pooled = config.pool(1).get().await.expect("a session");
    pooled.batch_execute("SELECT 1").await.expect("an answer");
    nothing_was_left_behind(&bouncer).await;
    let config: DatabaseConfig = bouncer.url().parse().expect("a URL");
    let (client, connection) = config.connect("a test").await.expect("a session");
    tokio::spawn(connection);
    client.batch_execute("SELECT 1").await.expect("an answer");
    nothing_was_left_behind(&bouncer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_is_recognised_among_applications_that_keep_all_its_connections_busy() {
    let server = PrivateServer::start().await;
    let bouncer = PgBouncer::with_connections(&server, 2).await;
    for _ in 0..4 {
        let client = connect_as_application(&bouncer.url()).await;
        tokio::spawn(async move { while client.batch_execute("SELECT 1").await.is_ok() {} });
    }
    for _ in 0..50 {
        let config: DatabaseConfig = bouncer.url().parse().expect("a URL");
        assert!(config.look_for_pooler().await.expect("two sessions"));
    }
}

/// Whoever gets a connection to the server after us finds it as the server makes it. The pooler itself keeps
/// `application_name` as each of its clients has it.
async fn nothing_was_left_behind(bouncer: &PgBouncer) {
    const LEFT: &str = "SELECT concat_ws(', ',
        (SELECT string_agg(name || ' = ' || setting, ', ') FROM pg_settings
         WHERE source = 'session' AND setting IS DISTINCT FROM reset_val AND name <> 'application_name'),
        (SELECT string_agg('prepared ' || statement, ', ') FROM pg_prepared_statements),
        (SELECT string_agg('listens to ' || channel, ', ') FROM pg_listening_channels() AS channel),
        (SELECT string_agg('holds ' || mode || ' ' || locktype, ', ') FROM pg_locks
         WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
        (SELECT string_agg('keeps table ' || relname, ', ') FROM pg_class WHERE relnamespace = pg_my_temp_schema()))";
    let mut holding = Vec::new();
    for _ in 0..bouncer.connections {
        let client = connect_as_application(&bouncer.url()).await;
        // Held, so that the next one gets another connection.
        client.batch_execute("BEGIN").await.expect("begun");
        let row = client.query_typed_one(LEFT, &[]).await.expect("asked");
        assert_eq!(row.get::<_, &str>(0), "");
        holding.push(client);
    }
    // Ended in so many words: a connection that is given up inside a transaction is closed, and what it had is lost.
    for client in holding {
        client.batch_execute("COMMIT").await.expect("committed");
    }
}
