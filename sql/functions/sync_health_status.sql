CREATE OR REPLACE FUNCTION public.sync_health_status(
    error_rate_percent numeric,
    active_operations  bigint DEFAULT 0,
    stalled_operations bigint DEFAULT 0
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN error_rate_percent > 10 THEN 'critical'
        WHEN error_rate_percent >= 5 OR stalled_operations > 0 THEN 'warning'
        WHEN error_rate_percent IS NOT NULL THEN 'healthy'
        WHEN active_operations > 0 THEN 'active'
        ELSE 'idle'
    END
$$;
COMMENT ON FUNCTION public.sync_health_status(numeric, bigint, bigint) IS
    'critical above 10 % errors, warning from 5 % to 10 % or where anything is stalled, healthy below 5 %; where nothing ended (null) active if something runs, else idle.';
