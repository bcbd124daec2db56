//! What the tables beside the operations refuse, and what all of them do.

use crate::schema_probe::{CHECK_VIOLATION, NOT_NULL_VIOLATION, Probe, Refusal, assert_refused};

#[tokio::test]
async fn null_is_refused_by_the_name_of_the_column() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type, status) VALUES ('upload', 'in_progress');
             INSERT INTO connection_status (client_id) VALUES ('a');
             INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations;",
        )
        .await;
    for (table, columns) in [
        (
            "sync_operations",
            "id operation_type status progress processed_items failed_items inserted_items updated_items deleted_items kept_items
             skipped_items entities_encountered counters created_at metadata performance_data",
        ),
        ("sync_operation_errors", "operation_id message details occurred_at"),
        ("connection_status", "client_id status reconnect_attempts source metadata"),
    ] {
        for column in columns.split_whitespace() {
            let refusal = probe.refusal(&format!("UPDATE {table} SET {column} = NULL")).await;
            assert_eq!((refusal.sqlstate.as_str(), refusal.column.as_str()), (NOT_NULL_VIOLATION, column), "{}", refusal.message);
        }
    }
    let refusal = probe
        .refusal("INSERT INTO sync_operations (message) VALUES ('no type')")
        .await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.column.as_str()),
        (NOT_NULL_VIOLATION, "operation_type")
    );
    let refusal = probe
        .refusal("INSERT INTO sync_operations (operation_type, status) VALUES ('upload', NULL)")
        .await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.column.as_str()),
        (NOT_NULL_VIOLATION, "status")
    );
}

#[tokio::test]
async fn a_primary_key_cannot_be_changed() {
    let probe = Probe::new().await;
    probe
        .run(
            "INSERT INTO sync_operations (operation_type) VALUES ('upload');
             INSERT INTO sync_operation_errors (operation_id, message) SELECT id, 'broken' FROM sync_operations;
             INSERT INTO connection_status (client_id) VALUES ('a');
             SELECT create_sync_status_snapshot();",
        )
        .await;
    for (table, column, value) in [
        ("sync_operations", "id", "gen_random_uuid()"),
        ("sync_operation_errors", "id", "DEFAULT"),
        ("connection_status", "client_id", "'b'"),
        ("sync_status_snapshots", "id", "DEFAULT"),
    ] {
        let refusal = probe
            .refusal(&format!("UPDATE {table} SET {column} = {value}"))
            .await;
        assert_eq!(refusal.sqlstate, CHECK_VIOLATION, "{}", refusal.message);
        assert_eq!(
            refusal.constraint,
            format!("{table}_{column}_cannot_be_changed")
        );
        assert_eq!(refusal.column, column);
        assert!(
            refusal.message.starts_with(&format!(
                "column \"{column}\" of \"{table}\" cannot be changed"
            )),
            "{}",
            refusal.message
        );
        probe
            .run(
                &format!("UPDATE {table} SET {column} = {column}")
                    .replace("id = id", "revision = revision"),
            )
            .await;
    }
}

#[tokio::test]
async fn an_error_is_refused_what_cannot_be() {
    let probe = Probe::new().await;
    probe
        .run("INSERT INTO sync_operations (operation_type) VALUES ('upload')")
        .await;
    for (columns, values, rule) in [
        ("message", "''", "message_is_not_empty"),
        (
            "message, details",
            "'broken', '[]'",
            "details_is_a_json_object",
        ),
        (
            "message, occurred_at",
            "'broken', 'infinity'",
            "occurred_at_is_in_the_years_1_to_9999",
        ),
    ] {
        let insert = format!(
            "INSERT INTO sync_operation_errors (operation_id, {columns}) SELECT id, {values} FROM sync_operations"
        );
        assert_refused(&probe, &insert, &format!("sync_operation_errors_{rule}")).await;
    }
    let refusal = probe
        .refusal("INSERT INTO sync_operation_errors (operation_id, message) VALUES (gen_random_uuid(), 'whose?')")
        .await;
    assert_eq!(
        (refusal.sqlstate.as_str(), refusal.constraint.as_str()),
        ("23503", "sync_operation_errors_belong_to_an_operation")
    );
}

#[tokio::test]
async fn a_connection_is_refused_what_cannot_be() {
    let probe = Probe::new().await;
    for (columns, values, rule) in [
        ("client_id", "''", "client_id_is_not_empty"),
        (
            "client_id",
            "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 200) n)",
            "client_id_is_at_most_1024_bytes",
        ),
        (
            "client_id, status",
            "'a', 'online'",
            "status_is_a_known_status",
        ),
        (
            "client_id, latency_ms",
            "'a', -1",
            "latency_ms_is_between_0_and_one_day",
        ),
        (
            "client_id, latency_ms",
            "'a', 'NaN'",
            "latency_ms_is_between_0_and_one_day",
        ),
        (
            "client_id, latency_ms",
            "'a', 'Infinity'",
            "latency_ms_is_between_0_and_one_day",
        ),
        (
            "client_id, latency_ms",
            "'a', 1e308",
            "latency_ms_is_between_0_and_one_day",
        ),
        (
            "client_id, reconnect_attempts",
            "'a', -1",
            "reconnect_attempts_is_not_negative",
        ),
        (
            "client_id, source",
            "'a', 'proxy'",
            "source_is_app_or_relay",
        ),
        (
            "client_id, source",
            "'a', 'relay'",
            "relay_id_is_set_only_by_a_relay",
        ),
        (
            "client_id, relay_id",
            "'a', gen_random_uuid()",
            "relay_id_is_set_only_by_a_relay",
        ),
        (
            "client_id, metadata",
            "'a', '[]'",
            "metadata_is_a_json_object",
        ),
        (
            "client_id, last_ping",
            "'a', 'infinity'",
            "last_ping_is_in_the_years_1_to_9999",
        ),
        (
            "client_id, connected_at",
            "'a', 'infinity'",
            "connected_at_is_in_the_years_1_to_9999",
        ),
        (
            "client_id, disconnected_at",
            "'a', '-infinity'",
            "disconnected_at_is_in_the_years_1_to_9999",
        ),
    ] {
        let insert = format!("INSERT INTO connection_status ({columns}) VALUES ({values})");
        assert_refused(&probe, &insert, &format!("connection_status_{rule}")).await;
    }
    assert_eq!(probe.kinds().await, [""; 0]);
}

#[tokio::test]
async fn a_health_snapshot_is_refused_what_cannot_be() {
    let probe = Probe::new().await;
    probe
        .run("SELECT create_sync_status_snapshot(period_start => '2026-01-01Z')")
        .await;
    for (change, rule) in [
        ("kind = 'weekly'", "kind_is_scheduled_or_manual"),
        ("kind = 'manual'", "period_start_is_set_only_when_scheduled"),
        (
            "period_start = 'infinity'",
            "period_start_is_in_the_years_1_to_9999",
        ),
        (
            "taken_at = 'infinity'",
            "taken_at_is_in_the_years_1_to_9999",
        ),
        ("status = 'fine'", "status_is_a_known_health"),
        ("score = 100.01", "score_is_between_0_and_100"),
        ("score = 'NaN'", "score_is_between_0_and_100"),
        (
            "error_rate_percent = 'NaN'",
            "error_rate_is_between_0_and_100",
        ),
        (
            "success_rate_percent = -1",
            "success_rate_is_between_0_and_100",
        ),
        ("window_seconds = 0", "window_seconds_is_above_0"),
        ("window_seconds = 'Infinity'", "window_seconds_is_above_0"),
    ] {
        let rule = format!("sync_status_snapshots_{rule}");
        assert_refused(
            &probe,
            &format!("UPDATE sync_status_snapshots SET {change}"),
            &rule,
        )
        .await;
    }
    let second = "INSERT INTO sync_status_snapshots SELECT (jsonb_populate_record(s, '{\"id\": 99}')).* FROM sync_status_snapshots s";
    let refusal = probe
        .refusal(&second.replace(
            "snapshots SELECT",
            "snapshots OVERRIDING SYSTEM VALUE SELECT",
        ))
        .await;
    let expected = Refusal {
        sqlstate: "23505".to_owned(),
        constraint: "sync_status_snapshots_once_a_period".to_owned(),
        message:
            "duplicate key value violates unique constraint \"sync_status_snapshots_once_a_period\""
                .to_owned(),
        ..Refusal::default()
    };
    assert_eq!(refusal, expected);
}
