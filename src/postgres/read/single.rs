//! One row, with what belongs to it.

use deadpool_postgres::Pool;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{ReadError, session};

/// An operation `r` as JSON: the row, and `stalled_since` while it is stalled. Only an operation in progress can be.
pub(super) const OPERATION_JSON: &str = "coalesce((SELECT row_to_json(s) FROM \
    (SELECT r.*, stalled.since AS stalled_since FROM bellwether.stalled_operation AS stalled \
     WHERE stalled.operation_id = r.id AND r.status = 'in_progress') AS s), row_to_json(r))";

/// How many errors come with an operation: the newest.
const NEWEST_ERRORS: usize = 100;

/// Reads an operation: its row with `errors`, the newest of them first, and `errors_total`. `None` if there is no such
/// operation.
///
/// # Errors
/// Where the database is away, too slow, or refuses.
pub(crate) async fn operation(pool: &Pool, id: Uuid) -> Result<Option<String>, ReadError> {
    let sql = format!(
        "SELECT ({OPERATION_JSON})::text,
            (SELECT coalesce(json_agg(e ORDER BY e.id DESC), '[]')::text FROM
                (SELECT * FROM public.sync_operation_errors WHERE operation_id = r.id ORDER BY id DESC LIMIT {NEWEST_ERRORS}) AS e),
            (SELECT count(*) FROM public.sync_operation_errors WHERE operation_id = r.id)
        FROM public.sync_operations AS r WHERE r.id = $1"
    );
    let row = session::read(pool, async |transaction| {
        Ok(transaction
            .query_typed_opt(&sql, &[(&id, Type::UUID)])
            .await?)
    })
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (operation, errors, total): (String, String, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let fields = operation
        .strip_suffix('}')
        .expect("row_to_json makes an object");
    Ok(Some(format!(
        r#"{fields},"errors":{errors},"errors_total":{total}}}"#
    )))
}

/// Whether there is such an operation.
///
/// # Errors
/// Where the database is away, too slow, or refuses.
pub(crate) async fn operation_exists(pool: &Pool, id: Uuid) -> Result<bool, ReadError> {
    const SQL: &str = "SELECT EXISTS (SELECT FROM public.sync_operations WHERE id = $1)";
    session::read(pool, async |transaction| {
        let row = transaction
            .query_typed_one(SQL, &[(&id, Type::UUID)])
            .await?;
        Ok(row.try_get(0)?)
    })
    .await
}

/// Reads the latest health snapshot and its age in milliseconds by the database's clock. `None` if none was ever taken.
///
/// # Errors
/// Where the database is away, too slow, or refuses.
pub(crate) async fn health(pool: &Pool) -> Result<Option<(String, i64)>, ReadError> {
    const SQL: &str = "SELECT row_to_json(r)::text,
            greatest(0, extract(epoch FROM clock_timestamp() - r.taken_at) * 1000)::bigint
        FROM (SELECT * FROM public.sync_status_snapshots ORDER BY taken_at DESC, id DESC LIMIT 1) AS r";
    session::read(pool, async |transaction| {
        match transaction.query_typed_opt(SQL, &[]).await? {
            Some(row) => Ok(Some((row.try_get(0)?, row.try_get(1)?))),
            None => Ok(None),
        }
    })
    .await
}
