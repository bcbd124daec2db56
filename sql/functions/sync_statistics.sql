-- What ran and how it went within a span of time, by type of operation and in all. One SELECT without settings of its own,
-- so that the planner sees through it and finds the span by index. An operation that ended is found by when it ended,
-- any other by its being active: that takes in all that ran in the span, and needs no index on started_at.
CREATE OR REPLACE FUNCTION public.sync_statistics(
    since           timestamptz DEFAULT pg_catalog.now() - interval '24 hours',
    until           timestamptz DEFAULT pg_catalog.now(),
    operation_types text[]      DEFAULT NULL,
    owners          text[]      DEFAULT NULL
) RETURNS TABLE (
    operation_type           text,
    started                  bigint,
    completed                bigint,
    failed                   bigint,
    cancelled                bigint,
    success_rate             numeric,
    duration_seconds_average numeric,
    duration_seconds_p95     numeric,
    peak_concurrency         bigint
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    WITH run AS (
        SELECT o.operation_type, o.started_at AS began, o.duration_seconds,
               -- Ended by the application's clock before it began by the database's: it took no time.
               CASE WHEN o.completed_at IS NOT NULL THEN greatest(o.completed_at, o.started_at) END AS ended,
               CASE WHEN o.completed_at < until THEN o.status END AS outcome
        FROM public.sync_operations AS o
        WHERE (o.completed_at >= since OR o.status IN ('pending', 'in_progress', 'paused'))
          AND (o.started_at < until OR o.completed_at < until)
          AND since < until
          AND (operation_types IS NULL OR o.operation_type = ANY (operation_types))
          AND (owners IS NULL OR o.owner = ANY (owners))
    ), counted AS (
        SELECT run.operation_type,
               count(*) FILTER (WHERE began >= since AND began < until) AS started,
               count(*) FILTER (WHERE outcome = 'completed') AS completed,
               count(*) FILTER (WHERE outcome = 'failed') AS failed,
               count(*) FILTER (WHERE outcome = 'cancelled') AS cancelled,
               pg_catalog.round(avg(run.duration_seconds) FILTER (WHERE outcome IN ('completed', 'failed')), 3) AS average,
               pg_catalog.round((percentile_cont(0.95) WITHIN GROUP (ORDER BY run.duration_seconds)
                                 FILTER (WHERE outcome IN ('completed', 'failed')))::numeric, 3) AS p95
        FROM run GROUP BY GROUPING SETS ((run.operation_type), ())
    ), boundary AS ( -- +1 where a run of the span begins, -1 where it ends: the greatest running sum is the peak
        SELECT run.operation_type, greatest(began, since) AS instant, 1 AS step FROM run WHERE began < until
        UNION ALL
        SELECT run.operation_type, run.ended, -1 FROM run WHERE began < until AND run.ended < until
    ), level AS (
        SELECT boundary.operation_type,
               sum(step) OVER (PARTITION BY boundary.operation_type ORDER BY instant, step DESC ROWS UNBOUNDED PRECEDING) AS of_type,
               sum(step) OVER (ORDER BY instant, step DESC ROWS UNBOUNDED PRECEDING) AS of_all
        FROM boundary
    ), peak AS (
        SELECT level.operation_type, CASE WHEN grouping(level.operation_type) = 0 THEN max(of_type) ELSE max(of_all) END AS peak
        FROM level GROUP BY GROUPING SETS ((level.operation_type), ())
    )
    SELECT c.operation_type, c.started, c.completed, c.failed, c.cancelled,
           pg_catalog.trim_scale(c.completed::numeric / nullif(c.completed + c.failed, 0)), c.average, c.p95, coalesce(p.peak, 0)
    FROM counted AS c
    -- No type is empty, so that the empty text can stand for all types and the join be one by hash.
    LEFT JOIN peak AS p ON coalesce(p.operation_type, '') = coalesce(c.operation_type, '')
$$;
COMMENT ON FUNCTION public.sync_statistics(timestamptz, timestamptz, text[], text[]) IS
    'What ran within a span of time (since included, until excluded; the last 24 hours unless given), a row for each type of operation and one, with operation_type null, for all: SELECT * FROM sync_statistics(now() - interval ''7 days''). started counts by started_at, completed, failed and cancelled by completed_at. success_rate is completed / (completed + failed), 0 to 1, null where neither. Durations are those of the operations that completed or failed in the span. peak_concurrency is the most operations that ran at the same instant of the span, from started_at to completed_at, both included, paused ones too. The last two arguments narrow it to some types and owners.';
