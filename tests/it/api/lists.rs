//! Lists: what is in them, in which order, and how one gets from page to page.

use super::{Api, column_of, execute, id, value, values};
use crate::support::TestDatabase;

/// Six operations, all different.
const OPERATIONS: &str = "
    INSERT INTO sync_operations (id, operation_type, status, owner, source, message, current_item, error, created_at, completed_at) VALUES
    ('00000000-0000-0000-0000-000000000001', 'upload',    'pending',     'alice', 'disk', 'waiting', NULL, NULL, '2026-01-01T00:00:00Z', NULL),
    ('00000000-0000-0000-0000-000000000002', 'full_sync', 'in_progress', 'alice', 'mail', 'half of 100%', 'a_b.txt', NULL, '2026-01-02T00:00:00Z', NULL),
    ('00000000-0000-0000-0000-000000000003', 'upload',    'paused',      'bob',   'disk', NULL, 'axb.txt', NULL, '2026-01-03T00:00:00Z', NULL),
    ('00000000-0000-0000-0000-000000000004', 'upload',    'completed',   'bob',   NULL,   'Done', NULL, NULL, '2026-01-04T00:00:00Z', '2026-02-03T00:00:00Z'),
    ('00000000-0000-0000-0000-000000000005', 'delete',    'failed',      NULL,    'disk', NULL, NULL, 'disk is FULL', '2026-01-05T00:00:00Z', '2026-02-01T00:00:00Z'),
    ('00000000-0000-0000-0000-000000000006', 'delete',    'cancelled',   'eve\"; DROP', 'mail', NULL, NULL, NULL, '2026-01-06T00:00:00Z', '2026-02-02T00:00:00Z')";

async fn six_operations() -> (TestDatabase, Api) {
    let database = TestDatabase::new().await;
    execute(&database.client().await, OPERATIONS).await;
    let api = Api::of(&database, 2).await;
    (database, api)
}

#[tokio::test]
async fn filters_of_operations_keep_exactly_what_they_say() {
    let (_database, api) = six_operations().await;
    for (query, expected) in [
        ("", &[6, 5, 4, 3, 2, 1][..]),
        ("status=failed", &[5]),
        ("status=failed,paused,", &[5, 3]),
        ("status=", &[6, 5, 4, 3, 2, 1]),
        ("owner=alice", &[2, 1]),
        ("owner=alice,bob", &[4, 3, 2, 1]),
        ("owner=eve%22%3B+DROP", &[6]),
        ("owner=nobody", &[]),
        ("operation_type=delete", &[6, 5]),
        ("source=disk&operation_type=upload", &[3, 1]),
        (
            "operation_id=00000000-0000-0000-0000-000000000002,00000000-0000-0000-0000-000000000005",
            &[5, 2],
        ),
        ("active=true", &[3, 2, 1]),
        ("active=false", &[6, 5, 4]),
        ("active=true&status=failed", &[]),
        ("created_after=2026-01-03T00:00:00Z", &[6, 5, 4, 3]),
        ("created_before=2026-01-03T00:00:00Z", &[2, 1]),
        (
            "created_after=2026-01-02T01:00:00%2B01:00&created_before=2026-01-03T00:00:00Z",
            &[2],
        ),
        ("q=FULL", &[5, 2]),
        ("q=done", &[4]),
        ("q=100%25", &[2]),
        ("q=a_b", &[2]),
        ("q=%25", &[2]),
        ("q=upload", &[4, 3, 1]),
        ("limit=2", &[6, 5]),
        ("sort=created_at", &[1, 2, 3, 4, 5, 6]),
        ("sort=completed_at", &[5, 6, 4]),
        ("sort=-completed_at", &[4, 6, 5]),
        ("sort=-updated_at&owner=alice", &[2, 1]),
    ] {
        let expected: Vec<String> = expected.iter().map(|number| id(*number)).collect();
        let mut found = api
            .column(&format!("operations?{query}"), "operations", "id")
            .await;
        if query.contains("updated_at") {
            found.sort_by(|a, b| b.cmp(a));
        }
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn rows_are_as_the_table_has_them_in_utc_and_stalled_since_is_there_only_while_they_are() {
    let (database, api) = six_operations().await;
    let client = database.client().await;
    execute(
        &client,
        "SET TimeZone = 'Asia/Tokyo';
        INSERT INTO bellwether.stalled_operation VALUES
            ('00000000-0000-0000-0000-000000000002', '2026-01-02T03:04:05.678901Z'),
            ('00000000-0000-0000-0000-000000000005', '2026-01-02T03:04:05Z')",
    )
    .await;
    let rows = &api.get("operations").await["operations"];
    let columns = values(
        &client,
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'sync_operations'::regclass AND attnum > 0 ORDER BY attname",
    )
    .await;
    for row in rows.as_array().expect("rows") {
        let mut names: Vec<&String> = row.as_object().expect("an object").keys().collect();
        if row["id"] == id(2) {
            assert_eq!(row["stalled_since"], "2026-01-02T03:04:05.678901+00:00");
            names.retain(|name| *name != "stalled_since");
        }
        names.sort();
        assert_eq!(names, columns.iter().collect::<Vec<_>>());
    }
    assert_eq!(rows[5]["created_at"], "2026-01-01T00:00:00+00:00");
    let stalled = api.get(&format!("operations/{}", id(2))).await;
    assert_eq!(stalled["stalled_since"], "2026-01-02T03:04:05.678901+00:00");
}

#[tokio::test]
async fn pages_show_every_row_once_in_every_order_with_equal_and_extreme_sort_keys() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO sync_operations (operation_type, status, created_at, completed_at)
         SELECT 'import', 'completed', at, at FROM generate_series(1, 30) AS g,
            LATERAL (SELECT CASE WHEN g < 3 THEN '9999-12-31' WHEN g < 6 THEN '0001-01-01' ELSE timestamptz '2026-01-01' + g / 7 * interval '1 us' END) AS t (at)",
    )
    .await;
    let api = Api::of(&database, 2).await;
    for sort in [
        "created_at",
        "-created_at",
        "completed_at",
        "-completed_at",
        "updated_at",
        "-updated_at",
    ] {
        let (column, direction) = match sort.strip_prefix('-') {
            Some(column) => (column, "DESC"),
            None => (sort, "ASC"),
        };
        let expected = values(
            &client,
            &format!(
                "SELECT id::text FROM sync_operations ORDER BY {column} {direction}, id {direction}"
            ),
        )
        .await;
        for limit in [1, 4, 30] {
            let path = format!("operations?sort={sort}&limit={limit}");
            assert_eq!(
                api.walk(&path, "operations", "id").await,
                expected,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn rows_that_come_while_one_turns_the_pages_neither_double_nor_hide_others() {
    let (database, api) = six_operations().await;
    let client = database.client().await;
    let first = api.get("operations?limit=2").await;
    assert_eq!(column_of(&first["operations"], "id"), [id(6), id(5)]);
    execute(
        &client,
        "INSERT INTO sync_operations (operation_type) SELECT 'new' FROM generate_series(1, 10);
         DELETE FROM sync_operations WHERE id = '00000000-0000-0000-0000-000000000005'",
    )
    .await;
    let next = first["next"].as_str().expect("more");
    let second = api.get(&format!("operations?limit=9&page={next}")).await;
    assert_eq!(
        column_of(&second["operations"], "id"),
        [id(4), id(3), id(2), id(1)]
    );
    assert!(second["next"].is_null());
}

#[tokio::test]
async fn the_last_page_says_that_it_is_the_last_also_when_it_is_full() {
    let (_database, api) = six_operations().await;
    assert!(api.get("operations?limit=5").await["next"].is_string());
    assert!(api.get("operations?limit=6").await["next"].is_null());
    assert!(api.get("operations?owner=nobody").await["next"].is_null());
}

#[tokio::test]
async fn connections_are_filtered_and_paged_by_client_whatever_it_is_called() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "INSERT INTO connection_status (client_id, status, source, relay_id) VALUES
         ('plain', 'connected', 'app', NULL), ('with, comma', 'error', 'app', NULL), ('ünï\"cødé\\', 'connected', 'app', NULL),
         (repeat('long', 200), 'disconnected', 'app', NULL), ('r', 'connected', 'relay', gen_random_uuid()),
         (E'line\\nbreak', 'reconnecting', 'app', NULL)",
    )
    .await;
    let api = Api::of(&database, 2).await;
    for (sort, direction) in [("client_id", "ASC"), ("-client_id", "DESC")] {
        let expected = values(
            &client,
            &format!("SELECT client_id FROM connection_status ORDER BY client_id {direction}"),
        )
        .await;
        let path = format!("connections?sort={sort}&limit=1");
        assert_eq!(api.walk(&path, "connections", "client_id").await, expected);
    }
    let clients = async |query: &str| {
        api.column(&format!("connections?{query}"), "connections", "client_id")
            .await
    };
    assert_eq!(clients("source=relay").await, ["r"]);
    assert_eq!(clients("status=error").await, ["with, comma"]);
    assert_eq!(
        clients("status=error,reconnecting&source=app").await.len(),
        2
    );
}

#[tokio::test]
async fn snapshots_are_filtered_by_kind_status_and_time_and_paged() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(
        &client,
        "SELECT create_sync_status_snapshot() FROM generate_series(1, 5)",
    )
    .await;
    execute(&client, "UPDATE sync_status_snapshots SET taken_at = timestamptz '2026-01-01' + (id - 1) / 2 * interval '1 hour'").await;
    execute(&client, "UPDATE sync_status_snapshots SET kind = 'scheduled', period_start = taken_at, status = 'warning' WHERE id = 5").await;
    let api = Api::of(&database, 2).await;
    let ids = async |query: &str| {
        api.column(&format!("snapshots?{query}"), "snapshots", "id")
            .await
    };
    assert_eq!(ids("").await, ["5", "4", "3", "2", "1"]);
    assert_eq!(ids("kind=scheduled").await, ["5"]);
    assert_eq!(ids("kind=manual&sort=taken_at").await, ["1", "2", "3", "4"]);
    assert_eq!(ids("status=warning").await, ["5"]);
    assert_eq!(
        ids("taken_after=2026-01-01T01:00:00Z").await,
        ["5", "4", "3"]
    );
    assert_eq!(ids("taken_before=2026-01-01T01:00:00Z").await, ["2", "1"]);
    assert_eq!(
        api.walk("snapshots?limit=2", "snapshots", "id").await,
        ["5", "4", "3", "2", "1"]
    );
    let columns = value(
        &client,
        "SELECT row_to_json(s) FROM sync_status_snapshots s WHERE id = 5",
    )
    .await;
    let expected: serde_json::Value = serde_json::from_str(&columns).expect("a row");
    let found = &api.get("snapshots?limit=1").await["snapshots"][0];
    assert_eq!(
        found.as_object().expect("a row").keys().collect::<Vec<_>>(),
        expected
            .as_object()
            .expect("a row")
            .keys()
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_page_of_large_rows_ends_early_and_nothing_is_left_out() {
    let database = TestDatabase::new().await;
    let large = "INSERT INTO sync_operations (operation_type, created_at, metadata)
        SELECT 'n' || n, timestamptz '2026-01-01' + n * interval '1 day', jsonb_build_object('x', repeat('x', 3 << 20))
        FROM generate_series(1, 7) AS n";
    execute(&database.client().await, large).await;
    let api = Api::of(&database, 2).await;
    let path = "operations?sort=created_at&limit=500";
    let first = api.column(path, "operations", "operation_type").await;
    assert_eq!(first, ["n1", "n2", "n3"], "the third goes beyond the bound");
    let all = api.walk(path, "operations", "operation_type").await;
    assert_eq!(all, ["n1", "n2", "n3", "n4", "n5", "n6", "n7"]);
}
