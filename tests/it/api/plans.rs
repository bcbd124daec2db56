//! That reads stay cheap as the tables grow: which index the database used, by its own count.

use super::{Api, execute, id, values};
use crate::support::TestDatabase;

const FILL: &str = "
    SET session_replication_role = replica;
    INSERT INTO sync_operations (id, operation_type, status, owner, created_at, completed_at)
    SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'import', CASE WHEN n % 200 = 0 THEN 'in_progress' ELSE 'completed' END,
        'owner ' || n % 500, timestamptz '2026-01-01' + n * interval '1 second', CASE WHEN n % 200 <> 0 THEN timestamptz '2026-01-02' + n * interval '1 second' END
    FROM generate_series(1, 20000) AS n;
    INSERT INTO sync_operation_errors (operation_id, message)
    SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'oops' FROM generate_series(1, 20000) AS n;
    INSERT INTO bellwether.event (xid, topic, type, entity, revision, payload)
    SELECT (1000 + n)::text::xid8, 'operations', 'operation.progress', '00000000-0000-0000-0000-' || lpad((n / 4)::text, 12, '0'), n, '{\"status\":\"completed\"}'
    FROM generate_series(1, 80000) AS n;
    INSERT INTO connection_status (client_id) SELECT 'client ' || n FROM generate_series(1, 20000) AS n;
    INSERT INTO sync_status_snapshots (taken_at, window_seconds, status, completed_operations, failed_operations, cancelled_operations,
        pending_operations, running_operations, paused_operations, stalled_operations, peak_concurrency, processed_items, failed_items,
        connected_clients, lost_connections, reconnect_attempts)
    SELECT timestamptz '2026-01-01' + n * interval '1 minute', 900, 'idle', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 20000) AS n;
    SELECT bellwether.summarize_event_index();
    ANALYZE";

/// The indexes that were used and the tables that were scanned since the server started counting for this database.
const USED: &str = "
    SELECT indexrelname || ' ' || idx_scan FROM pg_stat_user_indexes WHERE idx_scan > 0
    UNION ALL SELECT 'all of ' || relname || ' ' || seq_scan FROM pg_stat_user_tables
        WHERE seq_scan > 0 AND relname NOT IN ('log', 'stalled_operation') ORDER BY 1";

#[tokio::test]
async fn every_request_that_should_be_cheap_is_found_by_an_index() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    execute(&client, FILL).await;
    let api = Api::of(&database, 1).await;
    let deep = api.get("operations?limit=500").await["next"]
        .as_str()
        .expect("more")
        .to_owned();
    let deep = format!("operations?page={deep}");
    let (single, errors, events) = (
        format!("operations/{}", id(77)),
        format!("operations/{}/errors", id(77)),
        format!("operations/{}/events", id(77)),
    );
    for (path, index) in [
        ("operations", "sync_operations_newest_first"),
        (&*deep, "sync_operations_newest_first"),
        ("operations?sort=created_at", "sync_operations_newest_first"),
        (
            "operations?created_after=2026-01-01T05:00:00Z&created_before=2026-01-01T05:00:10Z",
            "sync_operations_newest_first",
        ),
        ("operations?owner=owner%207", "sync_operations_of_an_owner"),
        ("operations?active=true", "sync_operations_that_are_active"),
        (
            "operations?status=in_progress,paused",
            "sync_operations_that_are_active",
        ),
        (
            "operations?sort=-completed_at",
            "sync_operations_that_ended",
        ),
        ("operations?sort=completed_at", "sync_operations_that_ended"),
        (
            "operations?operation_id=00000000-0000-0000-0000-000000000077",
            "sync_operations_pkey",
        ),
        (&*single, "sync_operations_pkey"),
        (&*single, "sync_operation_errors_of_an_operation"),
        (&*errors, "sync_operation_errors_of_an_operation"),
        (&*events, "event_0_entity_id_idx"),
        (&*events, "event_0_xid_idx"),
        ("connections", "connection_status_pkey"),
        ("snapshots", "sync_status_snapshots_newest_first"),
        (
            "snapshots?taken_before=2026-01-02T00:00:00Z",
            "sync_status_snapshots_newest_first",
        ),
        ("health", "sync_status_snapshots_newest_first"),
        (
            "statistics?since=2026-01-02T05:00:00Z&until=2026-01-02T05:00:10Z",
            "sync_operations_that_ended",
        ),
        (
            "statistics?since=2026-01-02T05:00:00Z&until=2026-01-02T05:00:10Z",
            "sync_operations_that_are_active",
        ),
    ] {
        let before = used(&api, &client).await;
        api.get(path).await;
        let after = used(&api, &client).await;
        let new: Vec<&String> = after.iter().filter(|use_| !before.contains(use_)).collect();
        assert!(
            new.iter()
                .any(|use_| use_.starts_with(&format!("{index} "))),
            "{path}: {new:?}"
        );
        assert!(
            !new.iter().any(|use_| use_.starts_with("all of ")),
            "{path}: {new:?}"
        );
    }
}

/// The session that served the request has the counts; it is the only one, and is made to hand them in.
async fn used(api: &Api, client: &tokio_postgres::Client) -> Vec<String> {
    let session = api.pool.get().await.expect("a session");
    session
        .batch_execute("SELECT pg_stat_force_next_flush()")
        .await
        .expect("counted");
    session.batch_execute("SELECT 1").await.expect("handed in");
    values(client, USED).await
}
