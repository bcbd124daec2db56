//! A relay dies.

use super::relay_process::RelayProcess;
use super::scene::Scene;
use crate::support::PrivateServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_killed_and_started_again_is_resumed_from() {
    let server = PrivateServer::migrated().await;
    let mut relay = RelayProcess::start(&server.url(), &[]).await;
    let mut scene = Scene::begin(&server.url(), &[relay.address]).await;
    for _ in 0..3 {
        relay.kill();
        scene.write_on().await;
        relay.start_again();
        scene.flow().await;
    }
    scene.reckon(&server.client().await).await;
    scene.assert_resumed();
    scene
        .until("four connections", |record| record.connections == 4)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_of_a_relay_that_is_killed_go_on_at_the_other_one_wherever_that_is() {
    let server = PrivateServer::migrated().await;
    let mut relays = [
        RelayProcess::start(&server.url(), &[]).await,
        RelayProcess::start(&server.url(), &[]).await,
    ];
    let addresses = relays.each_ref().map(|relay| relay.address);
    let mut scene = Scene::begin(&server.url(), &addresses).await;
    for turn in 0..4 {
        relays[turn % 2].kill();
        scene.flow().await;
        relays[turn % 2].start_again();
        relays[turn % 2].until("live").await;
    }
    scene.reckon(&server.client().await).await;
    scene.assert_resumed();
}
