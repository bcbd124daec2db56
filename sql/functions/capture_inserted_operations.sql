-- Records what a statement has inserted into sync_operations in the event log and rings the doorbell: see
-- capture_updated_operations. The event has the id that the row was given, or else draws it now, when no other transaction
-- can have a row of this key any more: see derive_sync_operation.
CREATE OR REPLACE FUNCTION bellwether.capture_inserted_operations() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM written) THEN
        RETURN NULL; -- it fires for an INSERT ... ON CONFLICT that found each row there, too
    END IF;

    IF bellwether.sync_operations_is_as_made('public.sync_operations') THEN
        INSERT INTO bellwether.event (id, topic, type, entity, revision, operation)
        SELECT CASE WHEN written.event_id OPERATOR(pg_catalog.>) 0 THEN written.event_id
                    ELSE pg_catalog.nextval('bellwether.event_id'::pg_catalog.regclass) END, 'operations',
               CASE WHEN written.status OPERATOR(pg_catalog.=) 'pending' OR written.status OPERATOR(pg_catalog.=) 'in_progress'
                    THEN 'operation.created' ELSE 'operation.' OPERATOR(pg_catalog.||) written.status END,
               written.id, written.revision, ROW(written.*)::bellwether.operation
        FROM written;
    ELSE
        INSERT INTO bellwether.event (id, topic, type, entity, revision, payload)
        SELECT CASE WHEN written.event_id OPERATOR(pg_catalog.>) 0 THEN written.event_id
                    ELSE pg_catalog.nextval('bellwether.event_id'::pg_catalog.regclass) END, 'operations',
               CASE WHEN written.status OPERATOR(pg_catalog.=) 'pending' OR written.status OPERATOR(pg_catalog.=) 'in_progress'
                    THEN 'operation.created' ELSE 'operation.' OPERATOR(pg_catalog.||) written.status END,
               written.id, written.revision, bellwether.row_in_utc(written)
        FROM written;
    END IF;

    -- See bellwether.ring().
    IF (pg_catalog.pg_sequence_last_value('bellwether.lease'::pg_catalog.regclass) OPERATOR(pg_catalog.-)
        (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000)::bigint)
       OPERATOR(pg_catalog.>>) 10 OPERATOR(pg_catalog.=) 0
       AND coalesce(pg_catalog.current_setting('bellwether.doorbell', true), '') OPERATOR(pg_catalog.<>) 'always' THEN
        RETURN NULL;
    END IF;
    PERFORM bellwether.ring();
    RETURN NULL;
END
$$;
-- Whoever may attach it to a table of his own could write into the log what he likes.
REVOKE EXECUTE ON FUNCTION bellwether.capture_inserted_operations() FROM PUBLIC;

CREATE OR REPLACE TRIGGER bellwether_records_inserts AFTER INSERT ON public.sync_operations
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION bellwether.capture_inserted_operations();
COMMENT ON FUNCTION bellwether.capture_inserted_operations() IS
    'Trigger: records the rows that a statement inserted into sync_operations in bellwether.event and rings the doorbell.';
COMMENT ON TRIGGER bellwether_records_inserts ON public.sync_operations IS
    'One event for each inserted row; not for replicated rows, which have a trigger of their own.';
