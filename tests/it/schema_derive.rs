//! What the database derives for an application that knows nothing of bellwether and writes plain SQL.

use serde_json::{Value, json};

use crate::schema_probe::{Probe, Session, remember, start_job};

async fn job(session: &Session) -> Value {
    session.json("SELECT * FROM sync_operations").await
}

#[tokio::test]
async fn one_short_insert_makes_a_pending_job_and_returns_its_id() {
    let probe = Probe::new().await;
    let insert = "INSERT INTO sync_operations (operation_type) VALUES ('full_sync') RETURNING id";
    let id: uuid::Uuid = probe.0.query_one(insert, &[]).await.expect("a job").get(0);
    let mut row = job(&probe).await;
    let made_by_the_clock = ["created_at", "updated_at", "heartbeat_at", "revision"];
    for column in made_by_the_clock {
        let value = row.as_object_mut().expect("a row").remove(column);
        assert_ne!(value, Some(Value::Null), "{column}");
    }
    let expected = json!({
        "id": id, "operation_type": "full_sync", "status": "pending", "progress": 0, "message": null,
        "current_item": null, "total_items": null, "processed_items": 0, "failed_items": 0, "inserted_items": 0,
        "updated_items": 0, "deleted_items": 0, "kept_items": 0, "skipped_items": 0, "entities_encountered": {},
        "counters": {}, "owner": null, "source": null, "triggered_by": null, "started_at": null,
        "progressed_at": null, "completed_at": null, "duration_seconds": null, "items_per_second": null,
        "estimated_completion_at": null, "error": null, "metadata": {}, "performance_data": {}, "event_id": null,
        "changed_from": null,
    });
    assert_eq!(row, expected);
}

#[tokio::test]
async fn progress_follows_the_items() {
    let probe = Probe::new().await;
    start_job(&probe).await;
    for (report, progress) in [
        ("processed_items = 1", "0.50"),
        ("processed_items = 67", "33.50"),
        ("total_items = 300", "22.33"),
        ("processed_items = 300", "100.00"),
        ("total_items = NULL", "100.00"),
        ("processed_items = 50, total_items = 100", "50.00"),
        ("message = 'half'", "50.00"),
    ] {
        probe
            .run(&format!("UPDATE sync_operations SET {report}"))
            .await;
        let found = probe
            .text("SELECT progress::text FROM sync_operations")
            .await;
        assert_eq!(found, progress, "after {report}");
    }
}

#[tokio::test]
async fn progress_that_the_application_sets_itself_is_left_alone() {
    let probe = Probe::new().await;
    start_job(&probe).await;
    probe
        .run("UPDATE sync_operations SET processed_items = 100, progress = 12.5")
        .await;
    probe
        .holds("SELECT progress = 12.5 FROM sync_operations")
        .await;
    probe
        .run("UPDATE sync_operations SET progress = 99.9")
        .await;
    probe
        .holds("SELECT progress = 99.9 AND processed_items = 100 FROM sync_operations")
        .await;
}

#[tokio::test]
async fn a_row_can_be_born_with_items_done() {
    let probe = Probe::new().await;
    probe
        .run("INSERT INTO sync_operations (operation_type, status, total_items, processed_items) VALUES ('upload', 'in_progress', 3, 1)")
        .await;
    probe
        .holds("SELECT progress = 33.33 AND progressed_at = updated_at AND started_at = updated_at AND items_per_second IS NULL FROM sync_operations")
        .await;
}

#[tokio::test]
async fn instants_and_duration_follow_the_status() {
    let probe = Probe::new().await;
    probe
        .run("INSERT INTO sync_operations (operation_type) VALUES ('upload')")
        .await;
    remember(&probe, "waiting").await;
    probe
        .run("UPDATE sync_operations SET status = 'in_progress'")
        .await;
    probe
        .holds("SELECT s.started_at = s.updated_at AND s.started_at > w.updated_at AND s.completed_at IS NULL FROM sync_operations s, waiting w")
        .await;
    remember(&probe, "started").await;
    probe
        .run("UPDATE sync_operations SET status = 'paused'")
        .await;
    probe
        .run("UPDATE sync_operations SET status = 'pending'")
        .await;
    probe
        .run("UPDATE sync_operations SET status = 'in_progress'")
        .await;
    probe
        .holds("SELECT o.started_at = s.started_at FROM sync_operations o, started s")
        .await;
    probe
        .run("UPDATE sync_operations SET status = 'completed'")
        .await;
    probe
        .holds(
            "SELECT completed_at = updated_at AND progress = 100 AND duration_seconds > 0
                 AND duration_seconds = extract(epoch FROM completed_at - started_at) FROM sync_operations",
        )
        .await;
}

#[tokio::test]
async fn a_job_that_is_ended_without_having_been_started_has_the_duration_of_the_work_done() {
    let probe = Probe::new().await;
    for (status, processed, begun) in [
        ("completed", 0, true),
        ("completed", 7, true),
        ("failed", 7, true),
        ("cancelled", 7, true),
        ("failed", 0, false),
        ("cancelled", 0, false),
    ] {
        probe
            .run(&format!(
                "DELETE FROM sync_operations;
                 INSERT INTO sync_operations (operation_type) VALUES ('upload');
                 UPDATE sync_operations SET status = '{status}', processed_items = {processed};"
            ))
            .await;
        probe
            .holds(&format!(
                "SELECT (started_at IS NOT DISTINCT FROM created_at) = {begun} AND (duration_seconds > 0) IS NOT DISTINCT FROM nullif({begun}, false)
                 AND completed_at IS NOT NULL FROM sync_operations"
            ))
            .await;
    }
}

#[tokio::test]
async fn a_row_can_be_born_in_any_state() {
    let probe = Probe::new().await;
    for status in [
        "pending",
        "in_progress",
        "paused",
        "completed",
        "failed",
        "cancelled",
    ] {
        probe
            .run(&format!(
                "INSERT INTO sync_operations (operation_type, status) VALUES ('import', '{status}')"
            ))
            .await;
    }
    let found = probe
        .json("SELECT jsonb_object_agg(status, jsonb_build_array(progress, started_at IS NOT NULL, completed_at IS NOT NULL, duration_seconds)) AS states FROM sync_operations")
        .await;
    let expected = json!({"states": {
        "pending": [0, false, false, null],
        "in_progress": [0, true, false, null],
        "paused": [0, true, false, null],
        "completed": [100, false, true, null],
        "failed": [0, false, true, null],
        "cancelled": [0, false, true, null],
    }});
    assert_eq!(found, expected);
    let kinds = probe.kinds().await;
    let expected = [
        "created",
        "created",
        "paused",
        "completed",
        "failed",
        "cancelled",
    ];
    assert_eq!(kinds, expected.map(|kind| format!("operation.{kind}")));
}

#[tokio::test]
async fn an_import_keeps_the_instants_and_the_duration_that_it_brings() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status, created_at, started_at, completed_at, total_items, processed_items) VALUES
                ('import', 'completed', '2020-01-01Z', '2020-01-01 00:01Z', '2020-01-01 00:01:30.5Z', 61, 61);
             INSERT INTO sync_operations (operation_type, status, completed_at, duration_seconds) VALUES ('import', 'failed', '2020-01-02Z', 12.5);",
        )
        .await;
    probe
        .holds(
            "SELECT created_at = '2020-01-01Z' AND duration_seconds = 30.5 AND items_per_second = 2 AND progress = 100
             FROM sync_operations WHERE status = 'completed'",
        )
        .await;
    probe
        .holds("SELECT duration_seconds = 12.5 AND started_at IS NULL AND completed_at = '2020-01-02Z' FROM sync_operations WHERE status = 'failed'")
        .await;
}

#[tokio::test]
async fn a_job_that_ends_by_the_clock_of_its_transaction_took_no_time_rather_than_less() {
    let probe = Probe::new().await;
    probe
        .run(
            "BEGIN;
             INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress');
             UPDATE sync_operations SET status = 'completed', completed_at = now();
             COMMIT;",
        )
        .await;
    probe
        .holds("SELECT completed_at < started_at AND duration_seconds = 0 FROM sync_operations")
        .await;
}

#[tokio::test]
async fn a_finished_job_stays_at_its_end_when_something_is_added_to_it() {
    let probe = Probe::new().await;
    start_job(&probe).await;
    probe.run("UPDATE sync_operations SET processed_items = 150; UPDATE sync_operations SET status = 'completed'").await;
    remember(&probe, "ended").await;
    probe
        .run("UPDATE sync_operations SET processed_items = 160, message = 'late', progress = 3, completed_at = NULL, started_at = NULL")
        .await;
    probe
        .holds(
            "SELECT o.progress = 100 AND o.processed_items = 160 AND (o.completed_at, o.started_at, o.duration_seconds, o.items_per_second)
                 = (e.completed_at, e.started_at, e.duration_seconds, e.items_per_second) FROM sync_operations o, ended e",
        )
        .await;
    probe.run("UPDATE sync_operations SET completed_at = started_at + interval '90 seconds', status = 'failed'").await;
    probe
        .holds("SELECT duration_seconds = 90 AND status = 'failed' FROM sync_operations")
        .await;
}

#[tokio::test]
async fn the_greatest_numbers_and_the_strangest_instants_break_nothing_that_is_derived() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status, total_items, processed_items, failed_items)
                 VALUES ('upload', 'in_progress', 9223372036854775807, 1, 9223372036854775807);
             UPDATE sync_operations SET processed_items = 9223372036854775806;
             UPDATE sync_operations SET started_at = '0001-01-01Z';
             UPDATE sync_operations SET progress = 0.000000000000000000000000000001;
             UPDATE sync_operations SET progress = 0.011;
             UPDATE sync_operations SET status = 'completed', completed_at = '9999-12-31 23:59:59Z';",
        )
        .await;
    probe
        .holds("SELECT duration_seconds > 3e11 AND items_per_second > 0 FROM sync_operations")
        .await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status, started_at, total_items, processed_items)
                 VALUES ('upload', 'in_progress', '9999-01-01Z', 10, 0);
             UPDATE sync_operations SET processed_items = 5 WHERE status = 'in_progress';
             UPDATE sync_operations SET status = 'failed' WHERE status = 'in_progress';",
        )
        .await;
    probe
        .holds("SELECT duration_seconds = 0 FROM sync_operations WHERE status = 'failed'")
        .await;
}
