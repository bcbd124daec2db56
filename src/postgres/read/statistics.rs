//! What ran within a span of time and how it went, counted by the SQL function `sync_statistics`.

use deadpool_postgres::Pool;
use jiff::Timestamp;
use tokio_postgres::types::{ToSql, Type};

use super::{DatabaseInstant, ReadError, session};

/// Most types of operation that are told one by one.
const MOST_TYPES: i64 = 1_000;

/// How long a span is that does not say when it begins, in microseconds: 24 hours.
const USUAL_SPAN: i64 = 24 * 60 * 60 * 1_000_000;

const NOW: &str = "SELECT transaction_timestamp()";

/// What anyone gets from `SELECT * FROM sync_statistics(…)`, as JSON. The total is in place 0, the type with the most
/// operations in place 1.
const STATISTICS: &str = "WITH ranked AS (
        SELECT *, row_number() OVER (ORDER BY operation_type IS NULL DESC,
                                     greatest(started, completed + failed + cancelled) DESC, operation_type) - 1 AS place
        FROM public.sync_statistics($1, $2, $3, $4)
    ), told AS (
        SELECT operation_type, started, completed, failed, cancelled, success_rate, duration_seconds_average,
               duration_seconds_p95, peak_concurrency
        FROM ranked WHERE place BETWEEN 1 AND $5 ORDER BY place
    ), total AS (
        SELECT started, completed, failed, cancelled, success_rate, duration_seconds_average, duration_seconds_p95, peak_concurrency
        FROM ranked WHERE place = 0
    )
    SELECT json_build_object(
        'since', $1, 'until', $2, 'operation_types', (SELECT max(place) FROM ranked),
        'by_operation_type', coalesce((SELECT json_agg(told) FROM told), '[]'),
        'total', (SELECT row_to_json(total) FROM total))::text";

/// Which operations are counted, and when.
#[derive(Debug, Default)]
pub(crate) struct StatisticsFilter {
    /// From then on; 24 hours before the end unless given.
    pub(crate) since: Option<Timestamp>,
    /// Before then; now unless given.
    pub(crate) until: Option<Timestamp>,
    /// Of one of these types; of any if there are none.
    pub(crate) operation_types: Vec<String>,
    /// Of one of these owners; of any if there are none.
    pub(crate) owners: Vec<String>,
}

/// Reads the statistics as a JSON object. `None` where the span ends before it begins.
///
/// # Errors
/// Where the database is away, too slow, or refuses.
pub(crate) async fn statistics(
    pool: &Pool,
    filter: StatisticsFilter,
) -> Result<Option<String>, ReadError> {
    let instant = |given: Option<Timestamp>| given.map(DatabaseInstant::from);
    let (since, until) = (instant(filter.since), instant(filter.until));
    let listed = |values: Vec<String>| Some(values).filter(|values| !values.is_empty());
    let (types, owners) = (listed(filter.operation_types), listed(filter.owners));
    session::read(pool, async |transaction| {
        let until = match until {
            Some(until) => until,
            None => transaction.query_typed_one(NOW, &[]).await?.try_get(0)?,
        };
        let since = since.unwrap_or_else(|| until.earlier(USUAL_SPAN));
        if since.count() >= until.count() {
            return Ok(None);
        }
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&since, Type::TIMESTAMPTZ),
            (&until, Type::TIMESTAMPTZ),
            (&types, Type::TEXT_ARRAY),
            (&owners, Type::TEXT_ARRAY),
            (&MOST_TYPES, Type::INT8),
        ];
        let row = transaction.query_typed_one(STATISTICS, &parameters).await?;
        Ok(Some(row.try_get(0)?))
    })
    .await
}
