-- Marks operations in progress without a sign of life, and unmarks those that moved or ended, each with an event. Run
-- by every relay; the lock makes one of them do it (one on a table and not an advisory one, which any role could take and
-- keep), and the flag lives outside the application's row. The rights are the owner's, so a relay needs none to write events.
CREATE OR REPLACE FUNCTION bellwether.mark_stalled(stalled_after interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET extra_float_digits = 1 AS $$
DECLARE
    present constant pg_catalog.timestamptz := pg_catalog.clock_timestamp();
    changed bigint;
BEGIN
    IF stalled_after IS NULL OR stalled_after <= interval '0' THEN
        RAISE EXCEPTION 'stalled_after: expected an interval above zero, got %', coalesce(stalled_after::pg_catalog.text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    BEGIN
        LOCK TABLE bellwether.stalled_operation IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN 0;
    END;
    WITH moved AS (
        DELETE FROM bellwether.stalled_operation s
        WHERE NOT EXISTS (SELECT FROM public.sync_operations o
                          WHERE o.id = s.operation_id AND o.status = 'in_progress' AND o.heartbeat_at < present - stalled_after)
        RETURNING s.operation_id
    ), silent AS (
        INSERT INTO bellwether.stalled_operation (operation_id, since)
        SELECT o.id, o.heartbeat_at FROM public.sync_operations o
        WHERE o.status = 'in_progress' AND o.heartbeat_at < present - stalled_after
        ON CONFLICT (operation_id) DO UPDATE SET since = excluded.since -- it has moved and fallen silent again
            WHERE bellwether.stalled_operation.since <> excluded.since
        RETURNING operation_id, since
    ), recorded AS ( -- a row read here may be older than one that an application commits now: its revision says so
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        SELECT 'operations', 'operation.unstalled', o.id, o.revision, pg_catalog.row_to_json(o)
        FROM moved m JOIN public.sync_operations o ON o.id = m.operation_id
        UNION ALL
        SELECT 'operations', 'operation.stalled', o.id, o.revision,
               (pg_catalog.to_jsonb(o) || pg_catalog.jsonb_build_object('stalled_since', s.since))::pg_catalog.json
        FROM silent s JOIN public.sync_operations o ON o.id = s.operation_id
        RETURNING 1
    )
    SELECT pg_catalog.count(*) INTO changed FROM recorded;
    IF changed > 0 THEN
        PERFORM bellwether.ring();
    END IF;
    RETURN changed;
END
$$;
COMMENT ON FUNCTION bellwether.mark_stalled(interval) IS
    'Marks the operations in progress whose last sign of life is older than the given time, unmarks the others, records an event for each, and returns how many changed. The relays run it every few seconds.';
REVOKE EXECUTE ON FUNCTION bellwether.mark_stalled(interval) FROM PUBLIC;
