//! The SQL functions for those who want them: named arguments, defaults, useful answers, clear errors.

use serde_json::json;

use crate::schema_probe::Probe;

/// An id that no operation has.
const UNKNOWN: &str = "00000000-0000-4000-8000-00000000dead";

#[tokio::test]
async fn a_job_is_created_in_one_call_that_returns_its_id() {
    let probe = Probe::new().await;
    let id = probe
        .text("SELECT create_sync_operation('full_sync')")
        .await;
    let row = probe.json("SELECT * FROM sync_operations").await;
    assert_eq!(
        (&row["id"], &row["operation_type"], &row["status"]),
        (&json!(id), &json!("full_sync"), &json!("in_progress"))
    );
    assert_ne!(row["started_at"], json!(null));

    probe.run("DELETE FROM sync_operations").await;
    let given = "SELECT create_sync_operation('upload', total_items => 120, owner => 'alice', source => 'laptop', triggered_by => 'schedule',
        message => 'waiting', metadata => '{\"a\": 1}', status => 'pending', id => '00000000-0000-4000-8000-000000000001')";
    assert_eq!(
        probe.text(given).await,
        "00000000-0000-4000-8000-000000000001"
    );
    let row = probe.json("SELECT * FROM sync_operations").await;
    for (column, value) in [
        ("total_items", json!(120)),
        ("owner", json!("alice")),
        ("source", json!("laptop")),
        ("triggered_by", json!("schedule")),
        ("message", json!("waiting")),
        ("metadata", json!({"a": 1})),
        ("status", json!("pending")),
        ("started_at", json!(null)),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    let refusal = probe.refusal("SELECT create_sync_operation(NULL)").await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.column.as_str()),
        ("23502", "operation_type")
    );
    let refusal = probe
        .refusal("SELECT create_sync_operation('upload', status => 'begun')")
        .await;
    assert_eq!(
        refusal.constraint,
        "sync_operations_status_is_a_known_status"
    );
    probe
        .run("SELECT create_sync_operation('upload', metadata => NULL, status => NULL)")
        .await;
}

#[tokio::test]
async fn progress_leaves_alone_what_is_not_given_and_merges_the_maps() {
    let probe = Probe::new().await;
    let id = probe.text("SELECT create_sync_operation('upload', total_items => 10, status => 'pending', message => 'waiting')").await;
    let report = format!(
        "SELECT * FROM update_sync_progress('{id}', 4, current_item => 'd.txt', failed_items => 1, inserted_items => 2,
             entities_encountered => '{{\"file\": 4}}', counters => '{{\"bytes\": 100}}')"
    );
    let row = probe.json(&report).await;
    for (column, value) in [
        ("status", json!("in_progress")),
        ("progress", json!(40.0)),
        ("message", json!("waiting")),
        ("current_item", json!("d.txt")),
        ("failed_items", json!(1)),
        ("inserted_items", json!(2)),
        ("updated_items", json!(0)),
        ("entities_encountered", json!({"file": 4})),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    let report = format!(
        "SELECT * FROM update_sync_progress(operation_id => '{id}', total_items => 20, message => 'more to do', updated_items => 1,
             deleted_items => 2, kept_items => 3, skipped_items => 4, counters => '{{\"sessions\": 1, \"bytes\": 200}}')"
    );
    let row = probe.json(&report).await;
    assert_eq!(row, probe.json("SELECT * FROM sync_operations").await);
    for (column, value) in [
        ("processed_items", json!(4)),
        ("progress", json!(20.0)),
        ("message", json!("more to do")),
        ("current_item", json!("d.txt")),
        ("counters", json!({"bytes": 200, "sessions": 1})),
        ("updated_items", json!(1)),
        ("deleted_items", json!(2)),
        ("kept_items", json!(3)),
        ("skipped_items", json!(4)),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    let row = probe
        .json(&format!(
            "SELECT * FROM update_sync_progress('{id}', progress => 77.5)"
        ))
        .await;
    assert_eq!(
        (&row["progress"], &row["processed_items"]),
        (&json!(77.5), &json!(4))
    );
}

#[tokio::test]
async fn progress_with_the_id_alone_is_a_sign_of_life() {
    let probe = Probe::new().await;
    let id = probe.text("SELECT create_sync_operation('upload')").await;
    let before = probe.json("SELECT * FROM sync_operations").await;
    probe.forget_events().await;
    let mut after = probe
        .json(&format!("SELECT * FROM update_sync_progress('{id}')"))
        .await;
    assert_ne!(after["heartbeat_at"], before["heartbeat_at"]);
    assert_eq!(after["event_id"], json!(null), "no event");
    for column in ["heartbeat_at", "event_id"] {
        after[column] = before[column].clone();
    }
    assert_eq!(after, before);
    assert_eq!(probe.kinds().await, [""; 0]);
}

#[tokio::test]
async fn a_late_report_neither_restarts_a_finished_job_nor_fails() {
    let probe = Probe::new().await;
    let id = probe
        .text("SELECT create_sync_operation('upload', total_items => 10)")
        .await;
    probe
        .run(&format!(
            "SELECT complete_sync_operation('{id}', 'cancelled')"
        ))
        .await;
    let row = probe
        .json(&format!("SELECT * FROM update_sync_progress('{id}', 5)"))
        .await;
    assert_eq!(
        (&row["status"], &row["processed_items"]),
        (&json!("cancelled"), &json!(5))
    );
}

#[tokio::test]
async fn progress_of_an_unknown_job_or_with_nonsense_is_an_error_that_names_it() {
    let probe = Probe::new().await;
    let id = probe
        .text("SELECT create_sync_operation('upload', total_items => 10)")
        .await;
    for unknown in [format!("'{UNKNOWN}'"), "NULL".to_owned()] {
        let refusal = probe
            .refusal(&format!("SELECT update_sync_progress({unknown}, 1)"))
            .await;
        let name = unknown.trim_matches('\'').replace("NULL", "<NULL>");
        assert_eq!(
            (refusal.sqlstate.as_str(), refusal.message),
            (
                "P0002",
                format!("operation_id: there is no sync operation {name}")
            )
        );
    }
    for (arguments, rule) in [
        ("11", "processed_items_is_not_above_total_items"),
        ("-1", "processed_items_is_not_negative"),
        ("progress => 101", "progress_is_between_0_and_100"),
        ("failed_items => -1", "failed_items_is_not_negative"),
        ("counters => '[1]'", "counters_is_a_json_object"),
        (
            "entities_encountered => 'null'",
            "entities_encountered_is_a_json_object",
        ),
    ] {
        let refusal = probe
            .refusal(&format!("SELECT update_sync_progress('{id}', {arguments})"))
            .await;
        assert_eq!(
            (refusal.sqlstate.as_str(), refusal.constraint),
            ("23514", format!("sync_operations_{rule}"))
        );
    }
}

#[tokio::test]
async fn a_job_is_ended_in_one_of_three_ways_and_returned() {
    let probe = Probe::new().await;
    for (arguments, status, progress) in [
        ("", "completed", json!(100)),
        (
            ", status => 'failed', error => 'disk full'",
            "failed",
            json!(20.0),
        ),
        (
            ", 'cancelled', message => 'by alice', performance_data => '{\"cpu\": 2}'",
            "cancelled",
            json!(20.0),
        ),
    ] {
        let id = probe
            .text("SELECT create_sync_operation('upload', total_items => 10)")
            .await;
        probe
            .run(&format!("SELECT update_sync_progress('{id}', 2)"))
            .await;
        let row = probe
            .json(&format!(
                "SELECT * FROM complete_sync_operation('{id}'{arguments})"
            ))
            .await;
        assert_eq!(
            (&row["status"], &row["progress"]),
            (&json!(status), &progress)
        );
        assert_ne!(
            (&row["completed_at"], &row["duration_seconds"]),
            (&json!(null), &json!(null))
        );
        if status == "failed" {
            assert_eq!(row["error"], "disk full");
        }
        if status == "cancelled" {
            assert_eq!(
                (&row["message"], &row["performance_data"]),
                (&json!("by alice"), &json!({"cpu": 2}))
            );
        }
    }
    for status in ["'done'", "'in_progress'", "NULL"] {
        let refusal = probe
            .refusal(&format!(
                "SELECT complete_sync_operation('{UNKNOWN}', {status})"
            ))
            .await;
        let got = status.trim_matches('\'').to_lowercase();
        let message = format!("status: expected completed, failed or cancelled, got {got}");
        assert_eq!(
            (refusal.sqlstate.as_str(), refusal.message),
            ("22023", message)
        );
    }
    let refusal = probe
        .refusal(&format!("SELECT complete_sync_operation('{UNKNOWN}')"))
        .await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.message),
        (
            "P0002",
            format!("operation_id: there is no sync operation {UNKNOWN}")
        )
    );
}

#[tokio::test]
async fn an_error_is_recorded_with_its_item_and_returns_its_id() {
    let probe = Probe::new().await;
    let id = probe.text("SELECT create_sync_operation('upload')").await;
    let error = probe
        .text(&format!(
            "SELECT record_sync_error('{id}', 'cannot be read')"
        ))
        .await;
    let row = probe.json("SELECT * FROM sync_operation_errors").await;
    assert_eq!(
        (row["id"].to_string(), &row["details"], &row["item"]),
        (error, &json!({}), &json!(null))
    );
    let refusal = probe
        .refusal(&format!("SELECT record_sync_error('{UNKNOWN}', 'whose?')"))
        .await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.constraint.as_str()),
        ("23503", "sync_operation_errors_belong_to_an_operation")
    );
    let refusal = probe
        .refusal(&format!("SELECT record_sync_error('{id}', NULL)"))
        .await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.column.as_str()),
        ("23502", "message")
    );
    let refusal = probe
        .refusal(&format!("SELECT record_sync_error('{id}', '')"))
        .await;
    assert_eq!(
        refusal.constraint,
        "sync_operation_errors_message_is_not_empty"
    );
}

#[tokio::test]
async fn a_connection_is_reported_and_its_attempts_are_counted() {
    let probe = Probe::new().await;
    for (arguments, status, attempts) in [
        ("", "connected", 0),
        (", 'reconnecting'", "reconnecting", 1),
        (", 'reconnecting'", "reconnecting", 2),
        (", 'error'", "error", 2),
        (
            ", 'reconnecting', reconnect_attempts => 7",
            "reconnecting",
            7,
        ),
        (
            ", status => 'connected', latency_ms => 12.5, address => '10.0.0.1', user_agent => 'app/1', metadata => '{\"a\": 1}'",
            "connected",
            0,
        ),
        (
            ", 'disconnected', metadata => '{\"b\": 2}'",
            "disconnected",
            0,
        ),
    ] {
        let row = probe
            .json(&format!(
                "SELECT * FROM report_connection('phone'{arguments})"
            ))
            .await;
        assert_eq!(
            (&row["status"], &row["reconnect_attempts"]),
            (&json!(status), &json!(attempts)),
            "{arguments}"
        );
        assert_ne!(row["last_ping"], json!(null));
    }
    let row = probe.json("SELECT * FROM connection_status").await;
    for (column, value) in [
        ("latency_ms", json!(12.5)),
        ("address", json!("10.0.0.1")),
        ("user_agent", json!("app/1")),
        ("metadata", json!({"a": 1, "b": 2})),
        ("source", json!("app")),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    let refusal = probe
        .refusal("SELECT report_connection('phone', 'online')")
        .await;
    assert_eq!(
        refusal.constraint,
        "connection_status_status_is_a_known_status"
    );
    let refusal = probe
        .refusal("SELECT report_connection('phone', NULL)")
        .await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.column.as_str()),
        ("23502", "status")
    );
    let refusal = probe.refusal("SELECT report_connection(NULL)").await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.column.as_str()),
        ("23502", "client_id")
    );
}

#[tokio::test]
async fn an_interval_that_makes_no_sense_is_refused_by_the_name_of_the_argument() {
    let probe = Probe::new().await;
    for (call, message) in [
        (
            "create_sync_status_snapshot('0')",
            "window_length: expected an interval above zero and up to ten years, got 00:00:00",
        ),
        (
            "create_sync_status_snapshot('-1 day')",
            "window_length: expected an interval above zero and up to ten years, got -1 days",
        ),
        (
            "create_sync_status_snapshot('11 years')",
            "window_length: expected an interval above zero and up to ten years, got 11 years",
        ),
        (
            "create_sync_status_snapshot(NULL)",
            "window_length: expected an interval above zero and up to ten years, got null",
        ),
        (
            "bellwether.mark_stalled('0')",
            "stalled_after: expected an interval above zero, got 00:00:00",
        ),
        (
            "bellwether.mark_stalled(NULL)",
            "stalled_after: expected an interval above zero, got null",
        ),
    ] {
        let refusal = probe.refusal(&format!("SELECT {call}")).await;
        assert_eq!(
            (refusal.sqlstate.as_str(), refusal.message.as_str()),
            ("22023", message)
        );
    }
    let refusal = probe
        .refusal("SELECT create_sync_status_snapshot(period_start => 'infinity')")
        .await;
    assert_eq!(
        refusal.constraint,
        "sync_status_snapshots_period_start_is_in_the_years_1_to_9999"
    );
}
