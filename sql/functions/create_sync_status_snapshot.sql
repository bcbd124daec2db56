-- Takes one health snapshot and returns it whole. A scheduled one names its period and is taken once a period: where
-- another relay was first, no row comes back. No value that the tables can hold makes it fail.
CREATE OR REPLACE FUNCTION public.create_sync_status_snapshot(
    window_length interval    DEFAULT '15 minutes',
    period_start  timestamptz DEFAULT NULL
) RETURNS SETOF public.sync_status_snapshots
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    present      constant timestamptz := pg_catalog.clock_timestamp();
    window_start timestamptz; -- excluded
BEGIN
    IF window_length IS NULL OR window_length <= interval '0' OR window_length > interval '10 years' THEN
        RAISE EXCEPTION 'window_length: expected an interval above zero and up to ten years, got %', coalesce(window_length::text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    window_start := present - window_length;
    RETURN QUERY
    WITH ended AS (
        SELECT count(*) FILTER (WHERE status = 'completed') AS completed,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
               least(coalesce(sum(o.processed_items), 0), 9223372036854775807)::bigint AS processed_items,
               least(coalesce(sum(o.failed_items), 0), 9223372036854775807)::bigint AS failed_items,
               pg_catalog.round(avg(duration_seconds) FILTER (WHERE status <> 'cancelled'), 3) AS average_duration,
               pg_catalog.round((percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_seconds)
                                 FILTER (WHERE status <> 'cancelled'))::numeric, 3) AS p95_duration
        FROM public.sync_operations o WHERE completed_at > window_start AND completed_at <= present
    ), running AS (
        SELECT count(*) FILTER (WHERE status = 'pending') AS pending,
               count(*) FILTER (WHERE status = 'in_progress') AS in_progress,
               count(*) FILTER (WHERE status = 'paused') AS paused,
               -- A mark is as old as the relays' last round: who has moved since is no longer stalled.
               count(*) FILTER (WHERE status = 'in_progress' AND heartbeat_at <= since) AS stalled
        FROM public.sync_operations LEFT JOIN bellwether.stalled_operation ON operation_id = id
        WHERE status IN ('pending', 'in_progress', 'paused')
    ), run AS ( -- ended by the application's clock before it began by the database's: it took no time
        SELECT started_at AS began, CASE WHEN completed_at IS NOT NULL THEN greatest(completed_at, started_at) END AS ended
        FROM public.sync_operations
        WHERE started_at <= present AND (completed_at > window_start OR status IN ('in_progress', 'paused'))
    ), boundary AS ( -- +1 where a run of the window begins, -1 where it ends: the greatest running sum is the peak
        SELECT greatest(began, window_start) AS instant, 1 AS step FROM run
        UNION ALL
        SELECT run.ended, -1 FROM run WHERE run.ended <= present
    ), concurrency AS (
        SELECT coalesce(max(sum), 0) AS peak
        FROM (SELECT sum(step) OVER (ORDER BY instant, step DESC ROWS UNBOUNDED PRECEDING) FROM boundary) AS level
    ), client AS (
        SELECT count(*) FILTER (WHERE status = 'connected') AS connected,
               count(*) FILTER (WHERE status IN ('error', 'reconnecting')) AS lost,
               avg(latency_ms) FILTER (WHERE status = 'connected') AS latency,
               coalesce(sum(c.reconnect_attempts) FILTER (WHERE status <> 'disconnected'), 0)::bigint AS attempts
        FROM public.connection_status c
    ), rate AS ( -- not rounded: 4.99996 % is below 5 %
        SELECT pg_catalog.trim_scale(100.0 * failed / nullif(completed + failed, 0)) AS errors FROM ended
    )
    INSERT INTO public.sync_status_snapshots AS s (
        kind, period_start, taken_at, window_seconds, status, score, error_rate_percent, success_rate_percent,
        completed_operations, failed_operations, cancelled_operations, pending_operations, running_operations,
        paused_operations, stalled_operations, peak_concurrency, processed_items, failed_items,
        average_duration_seconds, p95_duration_seconds, connected_clients, lost_connections, average_latency_ms,
        reconnect_attempts)
    SELECT CASE WHEN create_sync_status_snapshot.period_start IS NULL THEN 'manual' ELSE 'scheduled' END,
           create_sync_status_snapshot.period_start, present, extract(epoch FROM present - window_start),
           public.sync_health_status(errors, pending + in_progress + paused, stalled),
           public.sync_health_score(errors, stalled, lost, latency), errors, 100 - errors,
           completed, failed, cancelled, pending, in_progress, paused, stalled, peak, ended.processed_items,
           ended.failed_items, average_duration, p95_duration, connected, lost, latency, attempts
    FROM ended, running, concurrency, client, rate
    ON CONFLICT (period_start) WHERE kind = 'scheduled' DO NOTHING
    RETURNING s.*;
END
$$;
COMMENT ON FUNCTION public.create_sync_status_snapshot(interval, timestamptz) IS
    'Takes a health snapshot now over the given window and returns it: SELECT * FROM create_sync_status_snapshot(). The relay''s scheduler gives period_start; then it is taken once a period, and no row comes back where another relay was first.';
