//! What whoever runs a relay hears of subscribers that are too slow.

use std::fs;

use super::relay_process::RelayProcess;
use crate::support::relay::Subscriber;
use crate::support::{PrivateServer, connect_as_application, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_too_slow_is_counted_in_the_log() {
    let server = PrivateServer::migrated().await;
    let folder = tempfile::TempDir::new().expect("a folder");
    let log = folder.path().join("log");
    let arguments = ["--tick", "1h", "--subscriber-bytes", "100000"];
    let mut relay = RelayProcess::launch_with_log(&server.url(), &arguments, &log);
    relay.until("live").await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let subscriber = Subscriber::connect(relay.address, "topics=operations&mode=every");
        let mut subscriber = subscriber.await;
        subscriber.live().await;
        stalled.push(subscriber); // and never reads again
    }
    let application = connect_as_application(&server.url()).await;
    let write = "INSERT INTO sync_operations (operation_type, message) VALUES ('large', repeat('x', 100000))";
    eventually("all three are counted", async || {
        // More than what the system keeps for a socket.
        for _ in 0..20 {
            application.batch_execute(write).await.expect("written");
        }
        let said = fs::read_to_string(&log).expect("the log");
        let lines = said
            .lines()
            .filter(|line| line.contains("subscribers fell too far behind"));
        let closed = lines.filter_map(|line| {
            let (_, closed) = line.split_once("closed=")?;
            closed.split(' ').next()?.parse::<u64>().ok()
        });
        closed.sum::<u64>() == 3
    })
    .await;
    relay.stop().await;
}
