//! The database dies, as a whole or in parts.

use tokio_postgres::Client;

use super::recorder::{Mode, Recorder};
use super::relay_process::RelayProcess;
use super::scene::Scene;
use crate::support::{PrivateServer, connect_as_application, eventually, server_options};

/// A server where a crash loses as much as it can: nothing is flushed that nobody waits for.
async fn lazy_server() -> PrivateServer {
    let options = server_options()
        .setting("wal_writer_delay", "10s")
        .setting("wal_writer_flush_after", "1GB");
    PrivateServer::migrated_with(options).await
}

/// Transactions that get an id and leave nothing behind.
async fn roll_back(client: &Client, times: usize) {
    for _ in 0..times {
        let statements =
            "BEGIN; INSERT INTO sync_operations (operation_type) VALUES ('undone'); ROLLBACK";
        client.batch_execute(statements).await.expect("rolled back");
    }
}

async fn survives_a_crash(say: &str) {
    let mut server = lazy_server().await;
    let relay = RelayProcess::start(&server.url(), &[]).await;
    let mut scene = Scene::begin_with(&server.url(), &[relay.address], say).await;
    for _ in 0..3 {
        roll_back(&server.client().await, 200).await;
        scene.flow().await;
        server.postgres.kill_hard().await;
        relay.until("degraded").await;
        server.postgres.restart().await.expect("restarted");
        scene.flow().await;
    }
    scene.recovered().await;
    scene.reckon(&server.client().await).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_loses_nothing_that_a_subscriber_has_seen() {
    survives_a_crash("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_asynchronous_commits_too_a_subscriber_never_sees_what_a_crash_undoes() {
    survives_a_crash("SET synchronous_commit = off").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_restarts_the_server_and_nothing_is_missing() {
    let server = PrivateServer::migrated().await;
    let relay = RelayProcess::start(&server.url(), &[]).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    let victim = server.client().await;
    let pid: i32 = victim
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("asked")
        .get(0);
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("killed");
    scene.recovered().await;
    scene.flow().await;
    scene.reckon(&client_of(&server).await).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_fast_and_started_again_is_resumed_from() {
    let mut server = PrivateServer::migrated().await;
    let relay = RelayProcess::start(&server.url(), &[]).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    server.postgres.stop().await;
    relay.until("degraded").await;
    server.postgres.restart().await.expect("restarted");
    scene.recovered().await;
    scene.flow().await;
    scene.reckon(&server.client().await).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listening_session_that_is_terminated_under_load_is_replaced() {
    let server = PrivateServer::migrated().await;
    let relay = RelayProcess::start(&server.url(), &[]).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    let client = server.client().await;
    for name in ["bellwether listener", "bellwether reader", "bellwether"] {
        terminate(&client, &format!("application_name = '{name}'")).await;
        scene.flow().await;
    }
    scene.recovered().await;
    scene.reckon(&client).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sessions_terminated_at_once_lose_nothing() {
    let server = PrivateServer::migrated().await;
    let relay = RelayProcess::start(&server.url(), &[]).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    let client = server.client().await;
    for _ in 0..3 {
        terminate(
            &client,
            "pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
        .await;
        scene.flow().await;
    }
    scene.recovered().await;
    scene.reckon(&client).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_screen_says_up_to_when_it_is_complete_and_within_two_heartbeats_that_it_is_not() {
    let mut server = PrivateServer::migrated().await;
    let arguments = ["--heartbeat", "2s", "--tick", "200ms"];
    let relay = RelayProcess::start(&server.url(), &arguments).await;
    let watchers = [
        Recorder::start(&[relay.address], Mode::Latest).await,
        Recorder::start(&[relay.address], Mode::Every).await,
    ];
    for watcher in &watchers {
        let before = watcher.record().complete_as_of.clone();
        watcher
            .until("a later instant", |record| {
                before.is_some() && record.complete_as_of > before
            })
            .await;
    }
    let before = watchers.each_ref().map(Recorder::moment);
    server.postgres.kill_hard().await;
    for (watcher, before) in watchers.iter().zip(before) {
        let beats = watcher.beats_until_degraded(before).await;
        assert!(beats <= 2, "{beats} heartbeats");
        assert_eq!(watcher.record().told(), 0, "nothing happened");
    }
    let lost = watchers
        .each_ref()
        .map(|one| one.record().complete_as_of.clone());
    server.postgres.restart().await.expect("restarted");
    for (watcher, lost) in watchers.iter().zip(lost) {
        watcher
            .until("live, and complete up to later", |record| {
                let statuses: Vec<_> = record.statuses.iter().map(|told| &*told.name).collect();
                statuses.ends_with(&["catching_up", "live"]) && record.complete_as_of > lost
            })
            .await;
    }
}

/// Ends the sessions of which this is true; waits for one.
async fn terminate(client: &Client, which: &str) {
    let statement = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}");
    eventually("a session to terminate", async || {
        !client
            .query(&statement, &[])
            .await
            .expect("asked")
            .is_empty()
    })
    .await;
}

/// A session of a server that may be coming up.
async fn client_of(server: &PrivateServer) -> Client {
    eventually("the server is back", async || {
        server.config().connect("test").await.is_ok()
    })
    .await;
    connect_as_application(&server.url()).await
}
