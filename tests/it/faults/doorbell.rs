//! What makes the doorbell fall silent, or the clock that its lease goes by lie.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::relay_process::RelayProcess;
use super::scene::Scene;
use crate::support::{PrivateServer, eventually, server_options};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_queue_that_somebody_holds_up_fails_no_write_and_delays_events_by_the_tick_at_most()
 {
    let mut server = PrivateServer::migrated().await;
    let number = "SELECT current_setting('server_version_num')::integer / 10000";
    let major: i32 = server
        .client()
        .await
        .query_one(number, &[])
        .await
        .expect("asked")
        .get(0);
    let can_be_small = major >= 17;
    if can_be_small {
        let small = server_options().setting("max_notify_queue_pages", "64");
        server = PrivateServer::migrated_with(small).await;
    }
    let holder = server.client().await;
    // A session that listens, and sleeps in a transaction.
    for statement in ["LISTEN something", "BEGIN", "SELECT 1"] {
        holder.batch_execute(statement).await.expect(statement);
    }
    let client = server.client().await;
    let fill =
        "SELECT pg_notify('something', repeat('x', 7900) || n) FROM generate_series(1, 30) n";
    let usage = "SELECT pg_notification_queue_usage()";
    if can_be_small {
        // Until not one more fits.
        eventually("the queue is full", async || {
            client.batch_execute(fill).await.is_err()
        })
        .await;
    } else {
        for _ in 0..20 {
            client.batch_execute(fill).await.expect("there is room");
        }
        assert!(
            client
                .query_one(usage, &[])
                .await
                .expect("asked")
                .get::<_, f64>(0)
                > 0.0
        );
        // To fill 8 GB would take minutes: the server is made to say that it is over half full.
        let pretend =
            "CREATE OR REPLACE FUNCTION pg_catalog.pg_notification_queue_usage() RETURNS float8
            LANGUAGE sql VOLATILE PARALLEL RESTRICTED AS 'SELECT 0.6::float8'";
        client.batch_execute(pretend).await.expect("replaced");
    }
    assert!(
        client
            .query_one(usage, &[])
            .await
            .expect("asked")
            .get::<_, f64>(0)
            > 0.5
    );
    let relay = RelayProcess::start(&server.url(), &["--tick", "200ms"]).await;
    let mut ear = super::bell::Ear::listen(&server.url()).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    scene.flow().await;
    assert_eq!(
        ear.rings().await,
        0,
        "nobody rings into a queue that is over half full"
    );
    scene.reckon(&client).await;
    scene.assert_resumed();
    assert_eq!(relay.until("live").await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_prepared_before_a_crash_is_told_when_it_is_committed_after_it() {
    let mut server = PrivateServer::migrated().await;
    let relay = RelayProcess::start(&server.url(), &["--tick", "200ms"]).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    let client = server.client().await;
    let insert = "INSERT INTO sync_operations (operation_type) VALUES ('prepared')";
    let refused = client
        .batch_execute(&format!(
            "SET bellwether.doorbell = 'always'; BEGIN; {insert}; PREPARE TRANSACTION 'loud'"
        ))
        .await;
    assert!(
        refused.is_err(),
        "PostgreSQL refuses to prepare a transaction that has rung"
    );
    client
        .batch_execute(&format!(
            "ROLLBACK; SET bellwether.doorbell = 'never'; BEGIN; {insert}; PREPARE TRANSACTION 'silent'"
        ))
        .await
        .expect("prepared");
    scene.flow().await;
    server.postgres.kill_hard().await;
    server.postgres.restart().await.expect("restarted");
    scene.flow().await;
    let is_there = |record: &super::recorder::Record| {
        record
            .screen
            .values()
            .any(|row| row["operation_type"] == "prepared")
    };
    assert!(
        !scene
            .recorders
            .iter()
            .any(|recorder| is_there(&recorder.record()))
    );
    // Nobody else writes, and nobody rings: only the tick can explain that it arrives.
    scene.stop_writing().await;
    let client = server.client().await;
    client
        .batch_execute("COMMIT PREPARED 'silent'")
        .await
        .expect("committed");
    scene.until("the prepared row", is_there).await;
    scene.reckon(&client).await;
    scene.assert_resumed();
}

/// A server that lives by a clock of ours. It is killed with this value.
struct Dreamer {
    child: Child,
    clock: std::path::PathBuf,
}

impl Dreamer {
    /// Starts the server's cluster again, under a clock that reads its offset from a file.
    async fn instead_of(server: &mut PrivateServer) -> Self {
        let pid = server.postgres.pid().expect("a server that runs");
        let postgres = fs::read_link(format!("/proc/{pid}/exe")).expect("its program");
        server.postgres.stop().await;
        let clock = server.folder().join("clock");
        fs::write(&clock, "+0").expect("a clock");
        let library = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
            .map(|machine| format!("/usr/lib/{machine}/faketime/libfaketime.so.1"));
        let library = library
            .iter()
            .find(|path| fs::exists(path).unwrap_or(false));
        let mut command = Command::new(postgres);
        command
            .arg("-D")
            .arg(server.folder().join("cluster"))
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
                "-c",
                "fsync=off",
            ])
            .args([
                "-c",
                "max_connections=100",
                "-c",
                "max_prepared_transactions=20",
                "-c",
                "wal_level=logical",
            ])
            .args(["-c", &format!("port={}", server.postgres.port())])
            .env(
                "LD_PRELOAD",
                library.expect("libfaketime, of the Debian package faketime"),
            )
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .current_dir(server.folder())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        if nix::unistd::Uid::effective().is_root() {
            let account = nix::unistd::User::from_name("postgres");
            let account = account
                .expect("a list of accounts")
                .expect("an account postgres");
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        let child = command.spawn().expect("a server");
        eventually("the server is there", async || {
            server.config().connect("test").await.is_ok()
        })
        .await;
        Self { child, clock }
    }

    /// Lets its clock jump to this offset from the true time.
    fn jump(&self, offset: &str) {
        fs::write(&self.clock, offset).expect("a clock");
    }
}

impl Drop for Dreamer {
    fn drop(&mut self) {
        // An immediate shutdown: killed, it would leave its children.
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGQUIT);
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_clock_jumps_loses_no_wake_up() {
    let mut server = PrivateServer::migrated().await;
    let dreamer = Dreamer::instead_of(&mut server).await;
    // Only the bell, or a relay that is awake, can explain that events arrive.
    let relay = RelayProcess::start(&server.url(), &["--tick", "1h"]).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    let client = server.client().await;
    let clock = async || -> f64 {
        let now = "SELECT extract(epoch FROM clock_timestamp())::float8";
        client.query_one(now, &[]).await.expect("asked").get(0)
    };
    let before = clock().await;
    for offset in ["+3600s", "+0", "-3600s", "+86400s", "-86400s", "+0"] {
        dreamer.jump(offset);
        // As a busy relay leaves it: promised just before the jump, and rung for.
        client
            .batch_execute(
                "SELECT bellwether.promise_to_look(250); SELECT pg_notify('bellwether', '')",
            )
            .await
            .expect("promised");
        scene.flow().await;
    }
    dreamer.jump("+7200s");
    eventually("the clock has jumped", async || {
        clock().await > before + 7000.0
    })
    .await;
    scene.reckon(&client).await;
    scene.assert_resumed();
}
