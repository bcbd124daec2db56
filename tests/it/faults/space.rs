//! The database takes no writes, or nobody in.

use std::path::{Path, PathBuf};
use std::process::Command;

use tokio_postgres::Client;

use super::relay_process::RelayProcess;
use super::scene::Scene;
use crate::support::{PrivateServer, connect_as_application, eventually};

/// Soon enough to see it.
const JOBS: [&str; 4] = ["--presence-every", "200ms", "--snapshot-every", "1s"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_turns_read_only_is_said_and_recovered_from() {
    let server = PrivateServer::migrated().await;
    let mut relay = RelayProcess::start(&server.url(), &JOBS).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    let client = server.client().await;
    client
        .batch_execute("SET default_transaction_read_only = off")
        .await
        .expect("set");
    set(&client, "default_transaction_read_only = on").await;
    let said = relay.until_reason("degraded", "read-only").await;
    assert!(said.starts_with("the database takes no writes: "), "{said}");
    // A relay that starts meanwhile says the same, and serves what there is.
    relay.kill();
    relay.start_again();
    relay.until_reason("degraded", "read-only").await;
    set(&client, "default_transaction_read_only = off").await;
    relay.until("live").await;
    scene.flow().await;
    scene.reckon(&client).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_disk_is_full_is_said_and_recovered_from() {
    let Some(disk) = SmallDisk::mount("tablespace", 12) else {
        return;
    };
    let server = PrivateServer::migrated().await;
    disk.give_to_server();
    let client = server.client().await;
    let place = disk.data();
    for statement in [
        format!("CREATE TABLESPACE small LOCATION '{}'", place.display()),
        "DO $$ BEGIN FOR slot IN 0..3 LOOP
             EXECUTE format('ALTER TABLE bellwether.event_%s SET TABLESPACE small', slot);
         END LOOP; END $$"
            .to_owned(),
    ] {
        client
            .batch_execute(&statement)
            .await
            .expect("a place on the small disk");
    }
    let relay = RelayProcess::start(&server.url(), &JOBS).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    disk.fill();
    let said = relay
        .until_reason("degraded", "No space left on device")
        .await;
    assert!(said.starts_with("the database takes no writes: "), "{said}");
    disk.make_room();
    relay.until("live").await;
    scene.flow().await;
    scene.reckon(&client).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_wal_has_no_room_goes_down_and_nothing_is_missing_when_it_is_back() {
    let Some(disk) = SmallDisk::mount("wal", 100) else {
        return;
    };
    let mut server = PrivateServer::migrated().await;
    let relay = RelayProcess::start(&server.url(), &JOBS).await;
    server.postgres.stop().await;
    disk.take_over(&server.folder().join("cluster/pg_wal"));
    disk.give_to_server();
    server.postgres.restart().await.expect("restarted");
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    disk.fill();
    let client = server.client().await;
    // What the writers do would need minutes.
    let much = "INSERT INTO sync_operations (operation_type, message) SELECT 'much', repeat(md5(n::text), 100) FROM generate_series(1, 20000) n";
    eventually("the server has gone down", async || {
        client
            .batch_execute(much)
            .await
            .is_err_and(|error| error.is_closed())
    })
    .await;
    relay.until("degraded").await;
    disk.make_room();
    server.postgres.restart().await.expect("restarted");
    relay.until("live").await;
    scene.recovered().await;
    scene.flow().await;
    scene.reckon(&server.client().await).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_every_connection_taken_a_relay_goes_on_and_a_new_one_says_why_it_cannot() {
    let options = crate::support::server_options()
        .setting("max_connections", "30")
        .setting("superuser_reserved_connections", "0");
    let server = PrivateServer::migrated_with(options).await;
    let relay = RelayProcess::start(&server.url(), &JOBS).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    let taken = take_all(&server.url()).await;
    scene.flow().await;
    let late = RelayProcess::launch(&server.url(), &[]);
    let said = late.until_reason("degraded", "too many clients").await;
    assert!(
        said.starts_with("the database cannot be reached: "),
        "{said}"
    );
    // The sessions of the relay that runs are taken too, as soon as it loses them.
    let by_name = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bellwether listener'";
    let mut more = Vec::new();
    eventually("the relay that runs finds none left", async || {
        taken[0].query(by_name, &[]).await.expect("terminated");
        more.extend(take_all(&server.url()).await);
        let said = relay.ready().await.expect("an answer").1;
        said["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("too many clients"))
    })
    .await;
    drop((taken, more));
    late.until("live").await;
    relay.until("live").await;
    scene.flow().await;
    scene
        .reckon(&eventually_connected(&server.url()).await)
        .await;
    scene.assert_resumed();
}

/// Takes sessions until there are none left.
async fn take_all(url: &str) -> Vec<Client> {
    let mut taken = Vec::new();
    while let Ok((client, connection)) = tokio_postgres::connect(url, tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        taken.push(client);
    }
    taken
}

async fn eventually_connected(url: &str) -> Client {
    eventually("a session", async || {
        tokio_postgres::connect(url, tokio_postgres::NoTls)
            .await
            .is_ok()
    })
    .await;
    connect_as_application(url).await
}

/// Changes a setting of the running server.
async fn set(client: &Client, setting: &str) {
    for statement in [
        format!("ALTER SYSTEM SET {setting}"),
        "SELECT pg_reload_conf()".to_owned(),
    ] {
        client.batch_execute(&statement).await.expect("set");
    }
}

/// A file system that is soon full. Unmounted with this value.
struct SmallDisk {
    folder: tempfile::TempDir,
    mebibytes: u64,
}

impl SmallDisk {
    /// Mounts one, which takes root; without it the test says that it did not run.
    fn mount(name: &str, mebibytes: u64) -> Option<Self> {
        let folder = tempfile::Builder::new()
            .prefix(name)
            .tempdir()
            .expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(folder.path())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("not tested: a small disk cannot be mounted here");
            return None;
        }
        let disk = Self { folder, mebibytes };
        std::fs::create_dir(disk.data()).expect("a folder");
        Some(disk)
    }

    /// Where the server keeps its files.
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Lets the server's account use it.
    fn give_to_server(&self) {
        let owned = Command::new("chown")
            .args(["-R", "postgres:"])
            .arg(self.folder.path())
            .status();
        assert!(
            owned.is_ok_and(|status| status.success()),
            "the server's account is postgres"
        );
    }

    /// Moves a folder of a stopped server here, and leaves a link.
    fn take_over(&self, folder: &Path) {
        std::fs::remove_dir(self.data()).expect("an empty folder");
        let moved = Command::new("mv").arg(folder).arg(self.data()).status();
        assert!(moved.is_ok_and(|status| status.success()), "moved");
        std::os::unix::fs::symlink(self.data(), folder).expect("a link");
    }

    /// Leaves no room.
    fn fill(&self) {
        let everything = vec![0; usize::try_from(self.mebibytes).expect("small") << 20];
        // As much as there is room for.
        let _ = std::fs::write(self.folder.path().join("filler"), everything);
    }

    /// Leaves as much room as before.
    fn make_room(&self) {
        std::fs::remove_file(self.folder.path().join("filler")).expect("it was full");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may still be ending.
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}
