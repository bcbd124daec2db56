//! The embedded server: its data stays, and its processes do not.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use bellwether::postgres::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::support::{PrivateServer, chain, connect_as_application, eventually, server_options};

async fn write_a_row(server: &EmbeddedPostgres) {
    connect_as_application(&server.url())
        .await
        .batch_execute("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('still here')")
        .await
        .expect("a table with a row");
}

async fn read_the_row(server: &EmbeddedPostgres) -> String {
    connect_as_application(&server.url())
        .await
        .query_one("SELECT word FROM kept", &[])
        .await
        .expect("the row")
        .get(0)
}

async fn start(folder: &Path) -> Result<EmbeddedPostgres, EmbeddedError> {
    EmbeddedPostgres::start(folder, server_options()).await
}

fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn data_survives_an_orderly_stop_and_a_second_start() {
    let folder = TempDir::new().expect("a folder");
    let mut server = start(folder.path()).await.expect("a server");
    let port = server.port();
    write_a_row(&server).await;
    server.stop().await;
    server.stop().await;
    assert_eq!(server.pid(), None);
    drop(server);

    let server = start(folder.path()).await.expect("a server");
    assert_eq!(read_the_row(&server).await, "still here");
    assert_eq!(server.port(), port);
}

#[tokio::test]
async fn data_survives_a_crash_and_the_server_comes_back_on_its_port() {
    let mut private = PrivateServer::start().await;
    let server = &mut private.postgres;
    write_a_row(server).await;
    let port = server.port();
    server.kill_hard().await;
    assert_eq!(server.pid(), None);
    server.restart().await.expect("a server");
    assert_eq!(read_the_row(server).await, "still here");
    assert_eq!(server.port(), port);
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let server = PrivateServer::start().await;
    let error = start(server.folder()).await.expect_err("it is in use");
    let pid = server.postgres.pid().expect("a process");
    assert!(
        matches!(error, EmbeddedError::AlreadyRunning { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(&pid.to_string()), "{error}");
}

#[tokio::test]
async fn a_pid_file_that_a_dead_server_left_is_no_obstacle() {
    let folder = TempDir::new().expect("a folder");
    start(folder.path()).await.expect("a server").stop().await;
    let pid_file = folder.path().join("cluster/postmaster.pid");

    let mut zombie = Command::new("true").spawn().expect("a process");
    let id = zombie.id().cast_signed();
    eventually("the process is a zombie", async || !runs(id)).await;
    let somebody_else = std::process::id().cast_signed();
    for pid in [id, somebody_else, i32::MAX] {
        fs::write(&pid_file, format!("{pid}\n")).expect("a pid file");
        start(folder.path()).await.expect("a server").stop().await;
    }
    zombie.wait().expect("the end of the process");
}

#[tokio::test]
async fn data_of_another_major_version_is_refused_with_both_versions() {
    let folder = TempDir::new().expect("a folder");
    start(folder.path()).await.expect("a server").stop().await;
    let version = folder.path().join("cluster/PG_VERSION");
    let real = fs::read_to_string(&version).expect("a version");
    fs::write(&version, "9\n").expect("another version");
    let error = start(folder.path()).await.expect_err("another version");
    assert!(
        matches!(error, EmbeddedError::OtherVersion { found: 9, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("PostgreSQL 9"), "{error}");
    assert!(error.to_string().contains(real.trim()), "{error}");
}

#[tokio::test]
async fn a_folder_with_something_else_in_it_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    fs::write(folder.path().join("letter"), "dear").expect("a file");
    let error = start(folder.path()).await.expect_err("it is not ours");
    assert!(matches!(error, EmbeddedError::NotOurs { .. }), "{error}");
    let entries = fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(entries, 1);
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_its_log() {
    let folder = TempDir::new().expect("a folder");
    let options = EmbeddedOptions::default().setting("max_connections", "many");
    let error = EmbeddedPostgres::start(folder.path(), options)
        .await
        .expect_err("not a number");
    assert!(matches!(error, EmbeddedError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("max_connections"), "{error}");
}

#[tokio::test]
async fn nobody_gets_in_without_the_password() {
    let server = PrivateServer::start().await;
    let port = server.postgres.port();
    let url = format!("postgres://bellwether:guess@127.0.0.1:{port}/bellwether");
    let error = tokio_postgres::connect(&url, NoTls)
        .await
        .map(drop)
        .expect_err("a guess");
    assert!(chain(&error).contains("password"), "{}", chain(&error));
}

#[tokio::test]
async fn a_server_that_is_dropped_is_gone() {
    let server = PrivateServer::start().await;
    let pid = server.postgres.pid().expect("a process");
    assert!(runs(pid));
    drop(server);
    assert!(!runs(pid));
}

#[tokio::test]
async fn somebody_who_waits_for_its_end_is_told() {
    let mut server = PrivateServer::start().await;
    let ended = server.postgres.ended();
    server.postgres.kill_hard().await;
    ended.await;
}

/// Run by the next test in a process of its own.
#[tokio::test]
#[ignore = "not a test: the process that the next test kills"]
async fn a_process_to_be_killed() {
    let server = PrivateServer::start().await;
    println!("pid={}", server.postgres.pid().expect("a process"));
    std::future::pending::<()>().await;
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_server_does_not_outlive_the_process_that_started_it() {
    // What a killed process leaves in its folder for temporary files goes with this one.
    let temporary = TempDir::new().expect("a folder");
    fs::set_permissions(temporary.path(), Permissions::from_mode(0o755)).expect("its rights");
    let mut process = Command::new(std::env::current_exe().expect("this program"))
        .env("TMPDIR", temporary.path())
        .args([
            "--exact",
            "embedded::a_process_to_be_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let output = process.stdout.take().expect("its output");
    let pid = BufReader::new(output)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            line.split_once("pid=")
                .and_then(|(_, pid)| pid.parse().ok())
        })
        .expect("the server's process id");
    assert!(runs(pid));
    process.kill().expect("a kill");
    process.wait().expect("its end");
    eventually("the server ends, too", async || !runs(pid)).await;
}

#[tokio::test]
async fn a_port_that_another_server_has_is_refused_in_the_words_of_the_log() {
    let other = PrivateServer::start().await;
    let folder = TempDir::new().expect("a folder");
    let options = EmbeddedOptions {
        port: Some(other.postgres.port()),
        ..EmbeddedOptions::default()
    };
    let error = EmbeddedPostgres::start(folder.path(), options)
        .await
        .expect_err("the port is taken");
    assert!(matches!(error, EmbeddedError::Ended { .. }), "{error}");
    assert!(
        error.to_string().contains("Address already in use"),
        "{error}"
    );
}
