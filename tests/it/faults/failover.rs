//! Another server takes over, or another log takes the place of the one that was read: cursors mean nothing there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bellwether::cursor::{Cursor, Epoch};
use serde_json::Value;

use super::recorder::{Mode, Recorder};
use super::relay_process::RelayProcess;
use super::scene::Scene;
use crate::support::relay::{Relay, Subscriber, text};
use crate::support::{PrivateServer, eventually};

/// PostgreSQL's own programs, of the version that the server is.
fn program(server: &PrivateServer, name: &str) -> Command {
    let pid = server.postgres.pid().expect("a server that runs");
    let postgres: PathBuf = fs::read_link(format!("/proc/{pid}/exe")).expect("its program");
    Command::new(postgres.with_file_name(name))
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("a program of PostgreSQL");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// A server that follows another one.
async fn standby_of(primary: &PrivateServer) -> PrivateServer {
    PrivateServer::start_on(|folder| {
        for file in ["bellwether.lock", "password"] {
            fs::copy(primary.folder().join(file), folder.join(file)).expect("copied");
        }
        let mut backup = program(primary, "pg_basebackup");
        backup.args([
            "--dbname",
            &primary.url(),
            "--write-recovery-conf",
            "--no-sync",
            "--checkpoint=fast",
            "--pgdata",
        ]);
        succeed(backup.arg(folder.join("cluster")));
    })
    .await
}

async fn promote(standby: &PrivateServer) {
    let promoted = standby
        .client()
        .await
        .query_one("SELECT pg_promote()", &[])
        .await;
    assert!(promoted.expect("promoted").get::<_, bool>(0));
}

/// A URL that finds whichever of them takes writes.
fn either(servers: &[&PrivateServer]) -> String {
    let url = servers[0].url();
    let (before, after) = url.split_once('@').expect("an account");
    let (_, path) = after.split_once('/').expect("a database");
    let hosts: Vec<_> = servers
        .iter()
        .map(|server| format!("127.0.0.1:{}", server.postgres.port()))
        .collect();
    format!(
        "{before}@{}/{path}&target_session_attrs=read-write",
        hosts.join(",")
    )
}

/// Everything in the server's database, as `pg_dump` writes it.
fn dump(server: &PrivateServer, options: &[&str]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut dump = program(server, "pg_dump");
    dump.args(options)
        .args(["--dbname", &server.url(), "--file"]);
    succeed(dump.arg(file.path()));
    file
}

fn restore(server: &PrivateServer, dump: &tempfile::NamedTempFile) {
    let mut restore = program(server, "psql");
    restore.args([
        "--no-psqlrc",
        "--quiet",
        "--single-transaction",
        "-v",
        "ON_ERROR_STOP=1",
    ]);
    restore.args(["--dbname", &server.url(), "--file"]);
    succeed(restore.arg(dump.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_standby_takes_over_everyone_is_reset_to_what_it_has() {
    let mut primary = PrivateServer::migrated().await;
    let standby = standby_of(&primary).await;
    let url = either(&[&primary, &standby]);
    let relay = RelayProcess::start(&url, &[]).await;
    let mut scene = Scene::begin(&url, &[relay.address]).await;
    primary.postgres.kill_hard().await;
    relay.until("degraded").await;
    promote(&standby).await;
    scene.recovered().await;
    scene.assert_reset("cursor_foreign").await;
    scene.flow().await;
    scene.reckon(&standby.client().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_standby_a_relay_says_so_and_waits_until_it_is_promoted() {
    let mut primary = PrivateServer::migrated().await;
    let standby = standby_of(&primary).await;
    let relay = RelayProcess::launch(&standby.url(), &[]);
    let said = relay.until_reason("degraded", "standby").await;
    assert!(
        said.contains("target_session_attrs=read-write"),
        "what to do: {said}"
    );
    assert_eq!(relay.ready().await.map(|(code, _)| code), Some(503));
    primary.postgres.kill_hard().await;
    promote(&standby).await;
    relay.until("live").await;
    let mut scene = Scene::begin(&standby.url(), &[relay.address]).await;
    scene.reckon(&standby.client().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_of_two_standbys_that_were_promoted_apart_are_not_taken_for_each_others() {
    let mut primary = PrivateServer::migrated().await;
    let standbys = [standby_of(&primary).await, standby_of(&primary).await];
    primary.postgres.kill_hard().await;
    let mut relays = Vec::new();
    for standby in &standbys {
        promote(standby).await;
        let timeline = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)";
        let timeline = standby.client().await.query_one(timeline, &[]).await;
        assert_eq!(
            timeline.expect("asked").get::<_, &str>(0),
            "00000002",
            "the same number"
        );
        relays.push(RelayProcess::start(&standby.url(), &[]).await);
    }
    // A client of the first one that comes to the second one when its own is gone.
    let addresses = [relays[0].address, relays[1].address];
    let mut scene = Scene::begin(&standbys[0].url(), &addresses).await;
    scene.stop_writing().await;
    relays[0].kill();
    scene.assert_reset("cursor_foreign").await;
    scene.reckon(&standbys[1].client().await).await;
}

const ROWS: usize = 30;

async fn write(server: &PrivateServer, name: &str) {
    let insert = format!(
        "INSERT INTO sync_operations (operation_type, message) SELECT '{name}', repeat('x', 500) FROM generate_series(1, {ROWS})"
    );
    let client = server.client().await;
    client.batch_execute(&insert).await.expect("written");
}

fn epoch(cursor: &str) -> Epoch {
    Cursor::decode(cursor).expect("a cursor").epoch
}

/// The types of the operations that a subscriber starts from, and where.
async fn snapshot(subscriber: &mut Subscriber) -> (BTreeSet<String>, String) {
    let parts = subscriber
        .frames_until(|frame| frame["type"] == "snapshot" && frame["cursor"].is_string())
        .await;
    let rows = parts
        .iter()
        .filter_map(|part| part["operations"].as_array());
    let types = rows.flatten().map(|row| text(&row["operation_type"]));
    (types.collect(), text(&parts.last().expect("one")["cursor"]))
}

/// The types of the operations of which a frame tells.
fn types(frame: &Value) -> Vec<String> {
    let events = frame["events"].as_array().into_iter().flatten();
    events
        .map(|event| text(&event["data"]["operation_type"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_whose_hosts_are_two_primaries_never_takes_one_for_the_other() {
    // As after a failover that the old primary knows nothing of.
    let old = PrivateServer::migrated().await;
    let new = standby_of(&old).await;
    promote(&new).await;
    // Which is which.
    let mut epochs = Vec::new();
    for (server, name) in [(&old, "old"), (&new, "new")] {
        write(server, name).await;
        let relay = Relay::start(&server.url(), &[]).await;
        let mut subscriber = relay.subscribe("topics=operations").await;
        let (_, cursor) = snapshot(&mut subscriber).await;
        epochs.push((epoch(&cursor), name));
    }

    let url = format!("{}&load_balance_hosts=random", either(&[&old, &new]));
    for _ in 0..8 {
        let relay = Relay::start(&url, &["--ring-bytes", "1000"]).await;
        let query = "topics=operations&mode=every";
        let mut subscriber = relay.subscribe(query).await;
        let (shown, cursor) = snapshot(&mut subscriber).await;
        let known = epochs.iter().find(|(known, _)| *known == epoch(&cursor));
        let (_, name) = known.expect("one of them");
        assert_eq!(shown, BTreeSet::from([(*name).to_owned()]));
        for (server, name) in [(&old, "old"), (&new, "new")] {
            write(server, name).await;
        }
        let mut told = Vec::new();
        while told.len() < ROWS {
            told.extend(types(&subscriber.frame("events").await));
        }
        assert_eq!(told, [*name; ROWS]);
        // What is not in its memory any more is read by sessions of the pool. Who finds one at the other server is sent
        // away, and comes again.
        let since = format!("{query}&since={}", cursor);
        eventually("the log is read", async || {
            let mut again = relay.subscribe(&since).await;
            let mut told = Vec::new();
            while let Some(frame) = again.next().await {
                assert_ne!(frame["type"], "reset");
                told.extend(types(&frame));
                if frame["type"] == "heartbeat" {
                    assert_eq!(told, [*name; ROWS]);
                    return true;
                }
            }
            false
        })
        .await;
        relay.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_restored_into_a_new_cluster_begins_its_log_anew() {
    let old = PrivateServer::migrated().await;
    let mut relay = RelayProcess::start(&old.url(), &[]).await;
    let new = PrivateServer::start().await;
    let mut scene = Scene::begin(&old.url(), &[relay.address]).await;
    scene.stop_writing().await;
    restore(&new, &dump(&old, &[]));
    let client = new.client().await;
    // The relay itself will write new ones here, with higher ids: who is connected, how healthy everything is.
    let last = "SELECT coalesce(max(id), 0) FROM bellwether.event";
    let last: i64 = client.query_one(last, &[]).await.expect("asked").get(0);
    assert!(last > 0, "foreign transaction ids");
    // The clients come to the new cluster with their old cursors.
    relay.kill();
    relay.start_again_on(&new.url());
    scene.assert_reset("cursor_foreign").await;
    let foreign = "SELECT count(*) FROM bellwether.event WHERE id <= $1";
    let foreign: i64 = client
        .query_one(foreign, &[&last])
        .await
        .expect("counted")
        .get(0);
    assert_eq!(foreign, 0, "what was written elsewhere is not read here");
    scene.write(&new.url());
    scene.flow().await;
    scene.reckon(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_restored_over_the_database_it_came_from_resets_every_screen() {
    let server = PrivateServer::migrated().await;
    let client = server.client().await;
    let relay = RelayProcess::start(&server.url(), &["--heartbeat", "2s"]).await;
    let recorder = Recorder::start(&[relay.address], Mode::Latest).await;
    let dump = dump(&server, &["--clean", "--if-exists"]);
    let insert = "INSERT INTO sync_operations (operation_type) VALUES ('after the dump')";
    client.batch_execute(insert).await.expect("inserted");
    recorder
        .until("the row", |record| record.screen.len() == 1)
        .await;
    restore(&server, &dump);
    recorder
        .until("a reset and an empty screen", |record| {
            record.resets == ["cursor_foreign"]
                && record.position().is_some()
                && record.screen.is_empty()
        })
        .await;
    client.batch_execute(insert).await.expect("inserted");
    recorder
        .until("the row", |record| record.screen.len() == 1)
        .await;
    eventually("live", async || {
        relay.ready().await.is_some_and(|(code, _)| code == 200)
    })
    .await;
}
