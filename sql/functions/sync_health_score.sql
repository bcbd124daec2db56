CREATE OR REPLACE FUNCTION public.sync_health_score(
    error_rate_percent numeric,
    stalled_operations bigint           DEFAULT 0,
    lost_connections   bigint           DEFAULT 0,
    average_latency_ms double precision DEFAULT NULL
) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN error_rate_percent IS NOT NULL THEN
        pg_catalog.round(greatest(0, 100.0
            - least(60, greatest(0, 3.0 * error_rate_percent))
            - least(30, greatest(0, 10.0 * coalesce(stalled_operations, 0)::numeric))
            - least(10, greatest(0, 2.0 * coalesce(lost_connections, 0)::numeric))
            - least(10, greatest(0, coalesce(average_latency_ms, 0)::numeric / 100.0))), 2)
    END
$$;
COMMENT ON FUNCTION public.sync_health_score(numeric, bigint, bigint, double precision) IS
    'Health from 0 to 100: 100 minus 3 points a percent of error rate (60 at most), 10 a stalled operation (30 at most), 2 a lost connection (10 at most) and 1 each 100 ms of latency (10 at most). Never better when an input grows; an input below zero counts as zero. Null where the error rate is: missing data is not health.';
