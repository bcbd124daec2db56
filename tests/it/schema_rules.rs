//! What the tables refuse, and how an application is told: SQLSTATE, the name of the rule, the column.

use serde_json::json;

use crate::schema_probe::{CHECK_VIOLATION, Probe, assert_refused};

#[tokio::test]
async fn an_operation_is_refused_what_cannot_be_by_the_name_of_the_rule_on_insert_and_on_update() {
    let probe = Probe::new().await;
    probe
        .run("INSERT INTO sync_operations (operation_type, status, total_items, processed_items) VALUES ('upload', 'in_progress', 10, 5)")
        .await;
    let before = probe.json("SELECT * FROM sync_operations").await;
    let mut cases: Vec<(String, String, String)> = Vec::new();
    let mut case = |column: &str, value: &str, rule: &str| {
        cases.push((
            column.to_owned(),
            value.to_owned(),
            format!("sync_operations_{rule}"),
        ));
    };
    case("operation_type", "''", "operation_type_is_not_empty");
    for status in ["'done'", "''", "'COMPLETED'", "' completed'"] {
        case("status", status, "status_is_a_known_status");
    }
    for progress in [
        "-0.01",
        "100.01",
        "'NaN'",
        "'Infinity'",
        "'-Infinity'",
        "1e1000",
        "-1e-300",
    ] {
        case("progress", progress, "progress_is_between_0_and_100");
    }
    for count in [
        "total",
        "processed",
        "failed",
        "inserted",
        "updated",
        "deleted",
        "kept",
        "skipped",
    ] {
        for value in ["-1", "-9223372036854775808"] {
            case(
                &format!("{count}_items"),
                value,
                &format!("{count}_items_is_not_negative"),
            );
        }
    }
    for map in [
        "entities_encountered",
        "counters",
        "metadata",
        "performance_data",
    ] {
        for value in ["'[]'", "'null'", "'1'", "'\"text\"'"] {
            case(map, value, &format!("{map}_is_a_json_object"));
        }
    }
    for instant in ["created_at", "started_at"] {
        for value in [
            "'infinity'",
            "'-infinity'",
            "'0001-12-31Z BC'",
            "'4713-01-01Z BC'",
            "'10000-01-01Z'",
            "'294276-12-31Z'",
        ] {
            case(
                instant,
                value,
                &format!("{instant}_is_in_the_years_1_to_9999"),
            );
        }
    }
    case(
        "completed_at",
        "now()",
        "completed_at_is_set_only_when_finished",
    );
    for value in ["-1", "'NaN'", "'Infinity'", "1.1e12"] {
        case(
            "duration_seconds",
            value,
            "duration_seconds_is_between_0_and_1e12",
        );
    }
    case("owner", "repeat('x', 1025)", "owner_is_at_most_1024_bytes");
    case("owner", "repeat('ä', 513)", "owner_is_at_most_1024_bytes");

    for (column, value, rule) in cases {
        let type_column = if column == "operation_type" {
            ""
        } else {
            "operation_type, "
        };
        let type_value = if column == "operation_type" {
            ""
        } else {
            "'upload', "
        };
        let insert = format!(
            "INSERT INTO sync_operations ({type_column}{column}) VALUES ({type_value}{value})"
        );
        assert_refused(&probe, &insert, &rule).await;
        assert_refused(
            &probe,
            &format!("UPDATE sync_operations SET {column} = {value}"),
            &rule,
        )
        .await;
        let and_more = format!(
            "UPDATE sync_operations SET {column} = {value}, message = 'x', current_item = 'y'"
        );
        assert_refused(&probe, &and_more, &rule).await;
    }
    assert_eq!(probe.json("SELECT * FROM sync_operations").await, before);
    assert_eq!(probe.kinds().await, ["operation.created"]);
}

#[tokio::test]
async fn an_operation_is_refused_numbers_and_instants_that_contradict_each_other() {
    let probe = Probe::new().await;
    let above = "sync_operations_processed_items_is_not_above_total_items";
    let finished = "sync_operations_completed_at_is_set_only_when_finished";
    let years = "sync_operations_completed_at_is_in_the_years_1_to_9999";
    for (columns, values, rule) in [
        ("total_items, processed_items", "1, 2", above),
        (
            "total_items, processed_items",
            "0, 9223372036854775807",
            above,
        ),
        ("status, completed_at", "'in_progress', now()", finished),
        ("status, completed_at", "'completed', 'infinity'", years),
        (
            "status, completed_at, started_at",
            "'failed', '-infinity', now()",
            years,
        ),
        (
            "status, completed_at, started_at",
            "'failed', now(), 'infinity'",
            "sync_operations_started_at_is_in_the_years_1_to_9999",
        ),
        (
            "status, completed_at, started_at",
            "'failed', 'infinity', 'infinity'",
            "sync_operations_started_at_is_in_the_years_1_to_9999",
        ),
        (
            "status, total_items, processed_items",
            "'in_progress', 9223372036854775807, -9223372036854775808",
            "sync_operations_processed_items_is_not_negative",
        ),
    ] {
        let insert = format!(
            "INSERT INTO sync_operations (operation_type, {columns}) VALUES ('upload', {values})"
        );
        assert_refused(&probe, &insert, rule).await;
    }
    probe
        .run("INSERT INTO sync_operations (operation_type, status, total_items, processed_items) VALUES ('upload', 'in_progress', 10, 5)")
        .await;
    for (change, rule) in [
        ("processed_items = 11", above),
        ("total_items = 4", above),
        (
            "processed_items = processed_items - 6",
            "sync_operations_processed_items_is_not_negative",
        ),
        (
            "total_items = 9223372036854775807, processed_items = -9223372036854775808",
            "sync_operations_processed_items_is_not_negative",
        ),
        ("status = 'completed', completed_at = 'infinity'", years),
        (
            "status = 'completed', started_at = '-infinity'",
            "sync_operations_started_at_is_in_the_years_1_to_9999",
        ),
        (
            "started_at = 'infinity', progress = 60",
            "sync_operations_started_at_is_in_the_years_1_to_9999",
        ),
        (
            "progress = 'NaN', total_items = 20",
            "sync_operations_progress_is_between_0_and_100",
        ),
    ] {
        assert_refused(
            &probe,
            &format!("UPDATE sync_operations SET {change}"),
            rule,
        )
        .await;
    }
}

#[tokio::test]
async fn a_finished_operation_does_not_start_again() {
    let probe = Probe::new().await;
    for ended in ["completed", "failed", "cancelled"] {
        for again in ["pending", "in_progress", "paused"] {
            probe
                .run(&format!(
                    "DELETE FROM sync_operations; INSERT INTO sync_operations (operation_type, status) VALUES ('upload', '{ended}')"
                ))
                .await;
            for change in [
                format!("status = '{again}'"),
                format!("status = '{again}', completed_at = NULL"),
            ] {
                let refusal = probe
                    .refusal(&format!("UPDATE sync_operations SET {change}"))
                    .await;
                assert_eq!(refusal.sqlstate, CHECK_VIOLATION);
                assert_eq!(
                    refusal.constraint,
                    "sync_operations_a_finished_operation_does_not_start_again"
                );
                assert_eq!(refusal.column, "status");
                let id = probe.text("SELECT id FROM sync_operations").await;
                let message = format!(
                    "column \"status\" of \"sync_operations\": a finished operation does not start again (operation {id}, {ended} to {again})"
                );
                assert_eq!(refusal.message, message);
            }
        }
        assert_refused(
            &probe,
            "UPDATE sync_operations SET status = 'redo'",
            "sync_operations_status_is_a_known_status",
        )
        .await;
        probe
            .run("UPDATE sync_operations SET status = 'failed', error = 'on second thoughts'")
            .await;
    }
}

#[tokio::test]
async fn text_of_any_kind_is_kept_as_it_is_and_recorded_as_it_is() {
    let probe = Probe::new().await;
    let hostile = "\u{1}\u{7f}\\\"'</script>\u{2028}\u{feff}\u{202e}\u{1f984}\t\r\n$$;--%s{}";
    let metadata = json!({ hostile: [hostile, 1e300, -0.0, null, {"": {}}], "nested": {"a": {"b": {"c": []}}} });
    probe
        .0
        .execute(
            "INSERT INTO sync_operations (operation_type, status, owner, source, message, current_item, error, triggered_by, metadata)
             VALUES ($1, 'failed', $1, $1, $1, $1, $1, $1, $2)",
            &[&hostile, &metadata],
        )
        .await
        .expect("a job");
    let event = probe.events().await.pop().expect("an event");
    for column in [
        "operation_type",
        "owner",
        "source",
        "message",
        "current_item",
        "error",
        "triggered_by",
    ] {
        assert_eq!(event.data[column], hostile, "{column}");
    }
    assert_eq!(event.data["metadata"], metadata);
    assert_eq!(
        event.data,
        probe.json("SELECT * FROM sync_operations").await
    );
}
