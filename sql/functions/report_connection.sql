CREATE OR REPLACE FUNCTION public.report_connection(
    client_id          text,
    status             text             DEFAULT 'connected',
    latency_ms         double precision DEFAULT NULL,
    reconnect_attempts integer          DEFAULT NULL,
    address            text             DEFAULT NULL,
    user_agent         text             DEFAULT NULL,
    metadata           jsonb            DEFAULT NULL
) RETURNS public.connection_status
LANGUAGE sql AS $$
    INSERT INTO public.connection_status AS c (client_id, status, last_ping, latency_ms, reconnect_attempts, address, user_agent, metadata)
    VALUES (report_connection.client_id, report_connection.status, pg_catalog.clock_timestamp(), report_connection.latency_ms,
            coalesce(report_connection.reconnect_attempts, 0), report_connection.address, report_connection.user_agent,
            coalesce(report_connection.metadata, '{}'))
    ON CONFLICT ON CONSTRAINT connection_status_pkey DO UPDATE SET
        status = excluded.status,
        last_ping = excluded.last_ping,
        latency_ms = coalesce(excluded.latency_ms, c.latency_ms),
        reconnect_attempts = coalesce(report_connection.reconnect_attempts,
                                      CASE excluded.status WHEN 'connected' THEN 0 WHEN 'reconnecting' THEN c.reconnect_attempts + 1
                                                           ELSE c.reconnect_attempts END),
        address = coalesce(excluded.address, c.address),
        user_agent = coalesce(excluded.user_agent, c.user_agent),
        metadata = c.metadata || excluded.metadata
    RETURNING c.*
$$;
COMMENT ON FUNCTION public.report_connection(text, text, double precision, integer, text, text, jsonb) IS
    'Records how a client is connected, whether it was known or not, and returns the row. What is null stays as it is; without a number of its own, each reconnecting counts one attempt and connected sets the count back.';
