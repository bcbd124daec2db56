//! Operations without a sign of life.

use serde_json::json;

use crate::schema_probe::{Probe, fall_silent, snapshot};

#[tokio::test]
async fn an_operation_without_a_sign_of_life_is_stalled_until_it_moves() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status, owner) VALUES ('upload', 'in_progress', 'silent'), ('upload', 'in_progress', 'alive'),
                 ('upload', 'paused', 'paused'), ('upload', 'pending', 'pending'), ('upload', 'failed', 'failed')",
        )
        .await;
    for owner in ["silent", "paused", "pending", "failed"] {
        fall_silent(&probe, owner, "1 hour").await;
    }
    probe.forget_events().await;
    let row = "SELECT jsonb_build_array(xmin::text, o.*) AS row FROM sync_operations o WHERE owner = 'silent'";
    let before = probe.json(row).await;
    let mark = "SELECT bellwether.mark_stalled('10 minutes')";
    assert_eq!(probe.text(mark).await, "1");
    assert_eq!(probe.text(mark).await, "0", "it is said once");
    assert_eq!(
        probe.json(row).await,
        before,
        "the application's row is not touched"
    );
    let event = probe.events().await.pop().expect("an event");
    assert_eq!(
        (event.kind.as_str(), &event.data["owner"]),
        ("operation.stalled", &json!("silent"))
    );
    assert_eq!(event.data["stalled_since"], event.data["heartbeat_at"]);
    assert_eq!(json!(event.revision), event.data["revision"]);
    let taken = snapshot(&probe).await;
    assert_eq!(
        (&taken["stalled_operations"], &taken["running_operations"]),
        (&json!(1), &json!(2))
    );

    probe.forget_events().await;
    probe
        .run("UPDATE sync_operations SET heartbeat_at = now() WHERE owner = 'silent'")
        .await;
    assert_eq!(
        snapshot(&probe).await["stalled_operations"],
        json!(0),
        "who has moved is not counted any more"
    );
    assert_eq!(probe.text(mark).await, "1");
    let event = probe
        .events()
        .await
        .into_iter()
        .rfind(|event| event.topic == "operations")
        .expect("an event");
    assert_eq!(
        (event.kind.as_str(), event.data.get("stalled_since")),
        ("operation.unstalled", None)
    );
    assert_eq!(
        probe
            .text("SELECT count(*) FROM bellwether.stalled_operation")
            .await,
        "0"
    );
}

#[tokio::test]
async fn an_operation_that_ends_or_goes_is_no_longer_stalled() {
    let probe = Probe::new().await;
    let mark = "SELECT bellwether.mark_stalled('10 minutes')";
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status, owner) VALUES ('upload', 'in_progress', 'ends'), ('upload', 'in_progress', 'goes'),
                 ('upload', 'in_progress', 'pauses')",
        )
        .await;
    for owner in ["ends", "goes", "pauses"] {
        fall_silent(&probe, owner, "1 hour").await;
    }
    assert_eq!(probe.text(mark).await, "3");
    probe
        .run(
            "UPDATE sync_operations SET status = 'completed' WHERE owner = 'ends'; DELETE FROM sync_operations WHERE owner = 'goes';
             UPDATE sync_operations SET status = 'paused' WHERE owner = 'pauses'",
        )
        .await;
    assert_eq!(snapshot(&probe).await["stalled_operations"], json!(0));
    probe.forget_events().await;
    assert_eq!(probe.text(mark).await, "2");
    assert_eq!(
        probe.kinds().await,
        ["operation.unstalled", "operation.unstalled"]
    );
    assert_eq!(
        probe
            .text("SELECT count(*) FROM bellwether.stalled_operation")
            .await,
        "0"
    );
}

#[tokio::test]
async fn an_operation_that_moved_and_fell_silent_again_between_two_rounds_is_said_to_be_stalled_again()
 {
    let probe = Probe::new().await;
    let mark = "SELECT bellwether.mark_stalled('10 minutes')";
    probe.run("INSERT INTO sync_operations (operation_type, status, owner) VALUES ('upload', 'in_progress', 'silent')").await;
    fall_silent(&probe, "silent", "2 hours").await;
    assert_eq!(probe.text(mark).await, "1");
    probe
        .run("UPDATE sync_operations SET processed_items = 1")
        .await;
    fall_silent(&probe, "silent", "1 hour").await;
    assert_eq!(probe.text(mark).await, "1");
    assert_eq!(
        probe.kinds().await,
        [
            "operation.created",
            "operation.stalled",
            "operation.progress",
            "operation.stalled"
        ]
    );
    probe
        .holds("SELECT since = heartbeat_at FROM bellwether.stalled_operation, sync_operations")
        .await;
    assert_eq!(probe.text(mark).await, "0");
}

#[tokio::test]
async fn relays_that_look_for_stalled_operations_at_once_say_it_once() {
    let probe = Probe::new().await;
    probe.run("INSERT INTO sync_operations (operation_type, status, owner) SELECT 'upload', 'in_progress', 'silent' FROM generate_series(1, 20)").await;
    fall_silent(&probe, "silent", "1 hour").await;
    probe.forget_events().await;
    let (first, second) = (probe.another().await, probe.another().await);
    let mark = "SELECT bellwether.mark_stalled('10 minutes')";
    first.run("BEGIN").await;
    assert_eq!(first.text(mark).await, "20");
    assert_eq!(
        second.text(mark).await,
        "0",
        "somebody else is at it, and is not waited for"
    );
    first.run("COMMIT").await;
    assert_eq!(second.text(mark).await, "0");
    assert_eq!(probe.kinds().await.len(), 20);
}
