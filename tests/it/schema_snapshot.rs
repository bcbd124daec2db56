//! The health snapshot: what it counts, that SQL can reproduce it, and that a period has one.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::schema_probe::{Probe, fall_silent, snapshot};

#[tokio::test]
async fn a_snapshot_changes_its_status_exactly_at_the_edges() {
    let probe = Probe::new().await;
    assert_eq!(snapshot(&probe).await["status"], "idle");
    probe.run("INSERT INTO sync_operations (operation_type, status, owner) VALUES ('upload', 'in_progress', 'running')").await;
    let active = snapshot(&probe).await;
    assert_eq!(
        (
            &active["status"],
            &active["score"],
            &active["error_rate_percent"]
        ),
        (&json!("active"), &Value::Null, &Value::Null)
    );
    probe
        .run("INSERT INTO sync_operations (operation_type, status, owner) SELECT 'upload', 'cancelled', 'x' FROM generate_series(1, 5)")
        .await;
    assert_eq!(
        snapshot(&probe).await["status"],
        "active",
        "cancelled operations count in neither rate"
    );
    probe
        .run("INSERT INTO sync_operations (operation_type, status, owner) SELECT 'upload', 'completed', n FROM generate_series(1, 10000) AS n")
        .await;
    for (failed, percent, status) in [
        (0, json!(0), "healthy"),
        (499, json!(4.99), "healthy"),
        (500, json!(5), "warning"),
        (1000, json!(10), "warning"),
        (1001, json!(10.01), "critical"),
    ] {
        probe
            .run(&format!("UPDATE sync_operations SET status = 'failed' WHERE status = 'completed' AND owner::integer <= {failed}"))
            .await;
        let taken = snapshot(&probe).await;
        assert_eq!(
            (&taken["error_rate_percent"], &taken["status"]),
            (&percent, &json!(status)),
            "{failed} failed"
        );
        assert_eq!(taken["failed_operations"], json!(failed));
    }
}

#[tokio::test]
async fn plain_sql_reproduces_a_snapshot() {
    let probe = Probe::new().await;
    probe
        .run(
            "SELECT setseed(0.25);
             INSERT INTO sync_operations (operation_type, status, started_at, completed_at, processed_items, failed_items, owner)
                 SELECT 'upload', (ARRAY['completed', 'completed', 'failed', 'cancelled'])[1 + n % 4], began,
                        CASE WHEN n % 7 = 0 THEN began - interval '1 second' ELSE began + random() * interval '200 seconds' END,
                        n, n % 3, 'ended'
                 FROM (SELECT n, now() - random() * interval '1100 seconds' AS began FROM generate_series(1, 300) AS n) AS run;
             INSERT INTO sync_operations (operation_type, status, owner) SELECT 'upload', (ARRAY['pending', 'in_progress', 'paused'])[1 + n % 3], n
                 FROM generate_series(1, 30) AS n;
             INSERT INTO sync_operations (operation_type, status, started_at, owner) VALUES ('upload', 'in_progress', now() - interval '1 hour', 'long');
             SELECT report_connection(n::text, (ARRAY['connected', 'disconnected', 'reconnecting', 'error'])[1 + n % 4], latency_ms => n,
                                      reconnect_attempts => n) FROM generate_series(1, 20) AS n;",
        )
        .await;
    fall_silent(&probe, "4", "1 hour").await;
    fall_silent(&probe, "7", "1 hour").await;
    assert_eq!(
        probe
            .text("SELECT bellwether.mark_stalled('10 minutes')")
            .await,
        "2"
    );
    probe
        .run("UPDATE sync_operations SET heartbeat_at = now() WHERE owner = '7'")
        .await;
    probe
        .run("CREATE TABLE taken AS SELECT * FROM create_sync_status_snapshot()")
        .await;
    let differences = "
        WITH op AS (SELECT o.*, t.taken_at, t.taken_at - t.window_seconds * interval '1 second' AS window_start FROM sync_operations o, taken t),
        ended AS (SELECT * FROM op WHERE completed_at > window_start AND completed_at <= taken_at),
        run AS (SELECT *, greatest(started_at, window_start) AS began, CASE WHEN completed_at IS NOT NULL THEN greatest(completed_at, started_at) END AS finished FROM op
                WHERE started_at <= taken_at AND (completed_at > window_start OR status IN ('in_progress', 'paused'))),
        expected (name, value) AS (VALUES
            ('completed_operations', (SELECT count(*) FROM ended WHERE status = 'completed')::numeric),
            ('failed_operations', (SELECT count(*) FROM ended WHERE status = 'failed')),
            ('cancelled_operations', (SELECT count(*) FROM ended WHERE status = 'cancelled')),
            ('pending_operations', (SELECT count(*) FROM op WHERE status = 'pending')),
            ('running_operations', (SELECT count(*) FROM op WHERE status = 'in_progress')),
            ('paused_operations', (SELECT count(*) FROM op WHERE status = 'paused')),
            ('stalled_operations', 1),
            ('peak_concurrency', (SELECT max(at_once) FROM (SELECT (SELECT count(*) FROM run other WHERE other.began <= run.began
                AND (other.finished >= run.began OR other.finished IS NULL)) AS at_once FROM run) AS instant)),
            ('processed_items', (SELECT sum(processed_items) FROM ended)),
            ('failed_items', (SELECT sum(failed_items) FROM ended)),
            ('average_duration_seconds', (SELECT round(avg(duration_seconds), 3) FROM ended WHERE status <> 'cancelled')),
            ('p95_duration_seconds', (SELECT round(percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_seconds)::numeric, 3)
                                      FROM ended WHERE status <> 'cancelled')),
            ('error_rate_percent', (SELECT 100.0 * failed_operations / (completed_operations + failed_operations) FROM taken)),
            ('success_rate_percent', (SELECT 100 - error_rate_percent FROM taken)),
            ('connected_clients', 5), ('lost_connections', 10),
            ('average_latency_ms', (SELECT avg(latency_ms) FROM connection_status WHERE status = 'connected')),
            ('reconnect_attempts', (SELECT sum(reconnect_attempts) FROM connection_status WHERE status <> 'disconnected')),
            ('score', (SELECT sync_health_score(error_rate_percent, stalled_operations, lost_connections, average_latency_ms) FROM taken))
        )
        SELECT coalesce(string_agg(name || ' ' || coalesce(value::text, 'null') || ' is not ' || coalesce(found, 'null'), ', '), 'none')
               || (SELECT CASE WHEN status = sync_health_status(error_rate_percent, pending_operations + running_operations + paused_operations,
                                                               stalled_operations) THEN '' ELSE ' but status' END FROM taken)
        FROM (SELECT expected.*, to_jsonb(taken) ->> name AS found FROM expected, taken) AS compared WHERE value IS DISTINCT FROM found::numeric";
    assert_eq!(probe.text(differences).await, "none");
    probe
        .holds(
            "SELECT window_seconds = 900 AND kind = 'manual' AND peak_concurrency > 10 FROM taken",
        )
        .await;
    assert_eq!(
        probe.json("SELECT * FROM sync_status_snapshots").await,
        probe.json("SELECT * FROM taken").await
    );
}

#[tokio::test]
async fn what_still_runs_counts_in_the_peak_from_its_beginning_on() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status, started_at)
             VALUES ('upload', 'in_progress', now() - interval '2 hours'), ('upload', 'in_progress', now() - interval '2 minutes'),
                    ('upload', 'paused', now() - interval '1 minute'), ('upload', 'pending', NULL)",
        )
        .await;
    assert_eq!(snapshot(&probe).await["peak_concurrency"], 3);
}

#[tokio::test]
async fn no_value_that_the_tables_hold_makes_a_snapshot_fail() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status, started_at, processed_items, failed_items)
                 SELECT 'upload', 'failed', '0001-01-01Z', 9223372036854775807, 9223372036854775807 FROM generate_series(1, 3);
             INSERT INTO sync_operations (operation_type, status, duration_seconds) SELECT 'upload', 'completed', 1e12 FROM generate_series(1, 3);
             INSERT INTO sync_operations (operation_type, status, started_at, completed_at) VALUES ('upload', 'completed', '9999-01-01Z', '9999-12-31Z');
             INSERT INTO connection_status (client_id, latency_ms, reconnect_attempts) SELECT n, 86400000, 2147483647 FROM generate_series(1, 3) AS n;",
        )
        .await;
    let taken = snapshot(&probe).await;
    assert_eq!(
        (&taken["status"], &taken["processed_items"]),
        (&json!("critical"), &json!(i64::MAX))
    );
    assert_eq!(taken["reconnect_attempts"], json!(3 * i64::from(i32::MAX)));
}

#[tokio::test]
async fn ten_relays_take_one_scheduled_snapshot_a_period_between_them() {
    let probe = Probe::new().await;
    let mut relays = Vec::new();
    for _ in 0..10 {
        relays.push(probe.another().await);
    }
    let period = async |start: &str| -> usize {
        let query = format!("SELECT * FROM create_sync_status_snapshot(period_start => '{start}')");
        let calls = relays.iter().map(|relay| relay.0.query(&query, &[]));
        join_all(calls)
            .await
            .into_iter()
            .map(|rows| rows.expect("no error").len())
            .sum()
    };
    assert_eq!(period("2026-01-01 00:00Z").await, 1);
    assert_eq!(period("2026-01-01 00:00Z").await, 0);
    probe
        .run("SELECT create_sync_status_snapshot(); SELECT create_sync_status_snapshot()")
        .await;
    assert_eq!(
        period("2026-01-01 00:08Z").await,
        1,
        "after a gap it goes on"
    );
    let kinds = probe
        .text("SELECT string_agg(coalesce(to_char(period_start AT TIME ZONE 'UTC', 'HH24:MI'), '-') || ' ' || kind, ', ' ORDER BY id) FROM sync_status_snapshots")
        .await;
    assert_eq!(
        kinds,
        "00:00 scheduled, - manual, - manual, 00:08 scheduled"
    );
    assert_eq!(probe.kinds().await.len(), 4);
}

#[tokio::test]
async fn an_event_of_health_says_whether_the_status_has_changed() {
    let probe = Probe::new().await;
    let take = "SELECT create_sync_status_snapshot()";
    let start =
        "INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress')";
    probe.run(&format!("{take}; {take}; {start}; {take}; {take}; UPDATE sync_status_snapshots SET score = 1; DELETE FROM sync_status_snapshots WHERE id = 1")).await;
    let events = probe.events().await;
    let found: Vec<_> = events
        .iter()
        .filter(|event| event.topic == "health")
        .map(|event| {
            format!(
                "{} {} {}",
                event.entity,
                event.kind,
                event.data["status"].as_str().expect("a status")
            )
        })
        .collect();
    let mut expected = vec![
        "1 health.changed idle",
        "2 health.snapshot idle",
        "3 health.changed active",
        "4 health.snapshot active",
    ];
    expected.extend([
        "1 health.snapshot idle",
        "2 health.snapshot idle",
        "3 health.snapshot active",
        "4 health.snapshot active",
    ]);
    expected.push("1 health.deleted idle");
    assert_eq!(found, expected);
}
