//! How fast a job is and when it will end; and what an UPDATE that changes nothing leaves alone.

use crate::schema_probe::{Probe, let_time_pass, remember, start_job};

#[tokio::test]
async fn the_rate_is_smoothed_and_the_estimate_follows_from_it() {
    let probe = Probe::new().await;
    start_job(&probe).await;
    let_time_pass(&probe, "10 seconds").await;
    remember(&probe, "start").await;
    probe
        .run("UPDATE sync_operations SET processed_items = 40")
        .await;
    probe
        .holds("SELECT abs(o.items_per_second - 40 / extract(epoch FROM o.progressed_at - s.started_at)::float8) < 0.0001 FROM sync_operations o, start s")
        .await;
    let_time_pass(&probe, "30 seconds").await;
    remember(&probe, "first").await;
    probe
        .run("UPDATE sync_operations SET processed_items = 100")
        .await;
    probe
        .holds(
            "SELECT abs(o.items_per_second - (f.items_per_second + (60 / dt - f.items_per_second) * dt / (dt + 10))) < 0.0001
             FROM sync_operations o, first f, LATERAL (SELECT extract(epoch FROM o.progressed_at - f.progressed_at)::float8) AS t (dt)",
        )
        .await;
    probe
        .holds("SELECT abs(extract(epoch FROM estimated_completion_at - progressed_at) - 100 / items_per_second) < 0.01 FROM sync_operations")
        .await;
    remember(&probe, "second").await;
    probe
        .run("UPDATE sync_operations SET message = 'nearly', heartbeat_at = now()")
        .await;
    probe
        .holds("SELECT (o.estimated_completion_at, o.items_per_second) = (s.estimated_completion_at, s.items_per_second) FROM sync_operations o, second s")
        .await;
    probe
        .run("UPDATE sync_operations SET processed_items = 200")
        .await;
    probe
        .holds("SELECT estimated_completion_at IS NULL FROM sync_operations")
        .await;
}

#[tokio::test]
async fn a_pause_is_no_work_and_has_no_end_in_sight() {
    let probe = Probe::new().await;
    start_job(&probe).await;
    let_time_pass(&probe, "10 seconds").await;
    probe
        .run("UPDATE sync_operations SET processed_items = 100")
        .await;
    probe
        .run("UPDATE sync_operations SET status = 'paused'")
        .await;
    probe
        .holds(
            "SELECT estimated_completion_at IS NULL AND items_per_second > 0 FROM sync_operations",
        )
        .await;
    let_time_pass(&probe, "1 day").await;
    remember(&probe, "paused").await;
    probe
        .run("UPDATE sync_operations SET status = 'in_progress'")
        .await;
    probe
        .holds(
            "SELECT o.items_per_second = p.items_per_second AND o.progressed_at = o.updated_at
                 AND abs(extract(epoch FROM o.estimated_completion_at - o.updated_at) - 100 / o.items_per_second) < 0.01
             FROM sync_operations o, paused p",
        )
        .await;
    remember(&probe, "resumed").await;
    probe
        .run("UPDATE sync_operations SET processed_items = 150")
        .await;
    probe
        .holds("SELECT o.items_per_second > r.items_per_second FROM sync_operations o, resumed r")
        .await;
}

#[tokio::test]
async fn a_job_that_reports_percent_only_has_an_estimate_too() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress')",
        )
        .await;
    let_time_pass(&probe, "60 seconds").await;
    probe.run("UPDATE sync_operations SET progress = 25").await;
    probe
        .holds(
            "SELECT abs(extract(epoch FROM estimated_completion_at - updated_at) - 3 * extract(epoch FROM updated_at - started_at)) < 0.001
             FROM sync_operations",
        )
        .await;
}

#[tokio::test]
async fn updated_at_moves_only_when_something_else_did() {
    let probe = Probe::new().await;
    start_job(&probe).await;
    let_time_pass(&probe, "1 hour").await;
    probe.run("UPDATE sync_operations SET progress = 50").await;
    for nothing in [
        "status = status",
        "progress = 50",
        "progress = 50.000",
        "heartbeat_at = now()",
        "heartbeat_at = '2000-01-01'",
        "updated_at = now(), revision = revision + 100",
        "progressed_at = now(), items_per_second = 7, estimated_completion_at = now()",
        "started_at = NULL",
        "metadata = '{}', counters = '{}'",
    ] {
        let_time_pass(&probe, "1 minute").await;
        probe.forget_events().await;
        probe.run("DROP TABLE IF EXISTS before").await;
        remember(&probe, "before").await;
        probe
            .run(&format!("UPDATE sync_operations SET {nothing}"))
            .await;
        probe
            .holds("SELECT to_jsonb(o) - 'heartbeat_at' = to_jsonb(b) - 'heartbeat_at' AND o.heartbeat_at > b.heartbeat_at FROM sync_operations o, before b")
            .await;
        assert_eq!(probe.kinds().await, [""; 0], "after {nothing}");
    }
    probe
        .run("UPDATE sync_operations SET metadata = '{\"a\": 1}'")
        .await;
    probe.holds("SELECT o.updated_at > b.updated_at AND o.revision = b.revision + 1 FROM sync_operations o, before b").await;
    assert_eq!(probe.kinds().await, ["operation.progress"]);
}

#[tokio::test]
async fn an_orm_that_writes_whole_rows_neither_fakes_nor_wipes_out_what_is_derived() {
    let probe = Probe::new().await;
    start_job(&probe).await;
    let_time_pass(&probe, "10 seconds").await;
    probe
        .run("UPDATE sync_operations SET processed_items = 20")
        .await;
    remember(&probe, "before").await;
    probe
        .run(
            "UPDATE sync_operations SET operation_type = 'upload', status = 'in_progress', progress = 10, total_items = 200, processed_items = 20,
                 message = 'saved', started_at = NULL, completed_at = NULL, duration_seconds = NULL, items_per_second = NULL,
                 estimated_completion_at = NULL, progressed_at = NULL, updated_at = '2000-01-01', heartbeat_at = '2000-01-01', revision = 0",
        )
        .await;
    probe
        .holds(
            "SELECT o.message = 'saved' AND o.revision = b.revision + 1 AND o.updated_at > b.updated_at
                 AND (o.started_at, o.items_per_second, o.estimated_completion_at, o.progressed_at)
                   = (b.started_at, b.items_per_second, b.estimated_completion_at, b.progressed_at) FROM sync_operations o, before b",
        )
        .await;
}
