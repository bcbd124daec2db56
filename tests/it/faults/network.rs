//! The network between relay and database breaks, in the ways in which it does not say so.

use std::time::Duration;

use tokio_postgres::Client;

use super::proxy::{Proxy, Weather};
use super::recorder::{Mode, Recorder};
use super::relay_process::RelayProcess;
use super::scene::Scene;
use crate::support::{PrivateServer, eventually};

/// A relay behind a proxy, and writers that are not.
async fn stage(server: &PrivateServer, arguments: &[&str]) -> (Proxy, RelayProcess, Scene) {
    let proxy = Proxy::to(server.postgres.port()).await;
    let relay = RelayProcess::start(&proxy.url(&server.url()), arguments).await;
    let scene = Scene::begin(&server.url(), &[relay.address]).await;
    (proxy, relay, scene)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_swallows_everything_is_noticed_within_two_heartbeats_and_nothing_is_missing() {
    let server = PrivateServer::migrated().await;
    let (proxy, relay, mut scene) = stage(&server, &["--heartbeat", "2s"]).await;
    let before = scene.recorders[0].moment();
    proxy.set(Weather::Swallows);
    let beats = scene.recorders[0].beats_until_degraded(before).await;
    assert!(beats <= 2, "{beats} heartbeats");
    assert_eq!(relay.ready().await.map(|(code, _)| code), Some(503));
    proxy.set(Weather::Fair);
    scene.recovered().await;
    scene.flow().await;
    scene.reckon(&server.client().await).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_link_is_noticed_within_two_heartbeats_also_while_the_relay_queues_for_the_bell() {
    let server = PrivateServer::with_a_bell_to_hold().await;
    let proxy = Proxy::to(server.postgres.port()).await;
    let arguments = ["--heartbeat", "2s", "--probe", "200ms"];
    let relay = RelayProcess::start(&proxy.url(&server.url()), &arguments).await;
    let watcher = Recorder::start(&[relay.address], Mode::Latest).await;
    let witness = server.client().await;
    let breaking = async {
        eventually("the relay queues with the proof that it hears", async || {
            let queues = "SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE application_name = 'bellwether ringer' AND wait_event_type = 'Lock' AND query LIKE '%probe%')";
            witness.query_one(queues, &[]).await.expect("asked").get(0)
        })
        .await;
        let before = watcher.moment();
        proxy.set(Weather::Swallows);
        let beats = watcher.beats_until_degraded(before).await;
        assert!(beats <= 2, "{beats} heartbeats");
    };
    tokio::select! {
        () = breaking => {}
        () = server.hold_the_bell() => panic!("nothing held up the commit"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_host_that_swallows_everything_does_not_keep_a_relay_from_the_second() {
    let server = PrivateServer::migrated().await;
    let proxy = Proxy::to(server.postgres.port()).await;
    proxy.set(Weather::Swallows);
    let hosts = format!("@{},127.0.0.1:", proxy.address);
    let url = server.url().replace("@127.0.0.1:", &hosts) + "&connect_timeout=2";
    // As patient with the database as with a host.
    let relay = RelayProcess::start(&url, &["--patience", "2s"]).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    scene.reckon(&server.client().await).await;
}

/// The ports of the sessions that look, other than these.
async fn readers(client: &Client, known: &[i32]) -> Vec<i32> {
    const PORTS: &str = "SELECT client_port FROM pg_stat_activity
        WHERE application_name = 'bellwether reader' AND client_port <> ALL ($1)";
    let rows = client.query(PORTS, &[&known]).await.expect("the readers");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_reader_cut_off_in_silence_is_noticed_too() {
    let server = PrivateServer::migrated().await;
    let (proxy, _relay, mut scene) = stage(&server, &["--patience", "1s"]).await;
    let client = server.client().await;
    let mut silenced = Vec::new();
    eventually("a reader", async || {
        silenced = readers(&client, &[]).await;
        !silenced.is_empty()
    })
    .await;
    let before = scene.recorders[0].moment();
    for port in &silenced {
        proxy.silence(u16::try_from(*port).expect("a port"));
    }
    // What it says depends on what it had asked for just then: a look, the rest of an answer, how far the WAL is flushed.
    eventually(
        "another reader in the place of the silent one",
        async || !readers(&client, &silenced).await.is_empty(),
    )
    .await;
    scene.recorders[0].beats_until_degraded(before).await;
    scene.recovered().await;
    scene.flow().await;
    scene.reckon(&client).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_as_far_away_as_can_be_delays_events_and_loses_none() {
    let server = PrivateServer::migrated().await;
    let (proxy, relay, mut scene) = stage(&server, &[]).await;
    proxy.set(Weather::Slow(Duration::from_millis(120)));
    scene.flow().await;
    proxy.cut();
    scene.flow().await;
    relay.until("live").await;
    scene.reckon(&server.client().await).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flapping_network_loses_nothing() {
    let server = PrivateServer::migrated().await;
    let (proxy, relay, mut scene) = stage(&server, &[]).await;
    let mut dice = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(7);
    for _ in 0..12 {
        let before = proxy.carried();
        let refuses = rand::RngExt::random_bool(&mut dice, 0.3);
        if refuses {
            proxy.set(Weather::Refuses);
        }
        proxy.cut();
        scene.write_on().await;
        proxy.set(Weather::Fair);
        eventually("the relay has come back", async || proxy.carried() > before).await;
        // Cut again in the middle of coming back, after some packets.
        let breath = Duration::from_millis(rand::RngExt::random_range(&mut dice, 0..40));
        tokio::time::sleep(breath).await;
    }
    scene.flow().await;
    relay.until("live").await;
    scene.recovered().await;
    scene.reckon(&server.client().await).await;
    scene.assert_resumed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooled_sessions_that_went_stale_or_silent_are_replaced_and_keep_nobody_waiting() {
    let server = PrivateServer::migrated().await;
    let (proxy, relay, mut scene) =
        stage(&server, &["--pool-size", "2", "--presence-every", "100ms"]).await;
    let api = format!("http://{}/api/operations?limit=1", relay.address);
    let status = async || {
        reqwest::get(&api)
            .await
            .map(|answer| answer.status().as_u16())
            .ok()
    };
    assert_eq!(status().await, Some(200));
    // Ended where nobody is looking: the session of the pool knows nothing of it.
    proxy.cut();
    scene.flow().await;
    eventually("the read API answers", async || status().await == Some(200)).await;
    // Silent: what is asked on it is never answered.
    let client = server.client().await;
    let ports = "SELECT client_port FROM pg_stat_activity WHERE application_name = 'bellwether'";
    for row in client.query(ports, &[]).await.expect("the pool's sessions") {
        proxy.silence(u16::try_from(row.get::<_, i32>(0)).expect("a port"));
    }
    eventually("the read API answers", async || status().await == Some(200)).await;
    scene.reckon(&client).await;
    scene.assert_resumed();
}
