-- Records what a statement has changed in sync_operations in the event log and rings the doorbell, in the writer's own
-- transaction: if the log cannot be written the write fails, since anything else would hide a loss. So nothing else here
-- may fail. capture_inserted_operations does the same for what was inserted.
--
-- It fires once a statement, and not for each row: to start a statement of its own for each row would be most of what
-- many rows cost. So it comes after the triggers that an application has for each row, and these may have changed rows
-- again. Their order is right all the same, because derive_sync_operation has drawn the ids of the events row by row; it
-- has also noted what each change moved. It draws no id for a mere sign of life, which is no event. Rows that arrive by
-- replication and deleted ones are capture_sync_operation()'s.
--
-- It may write where the caller may not, hence SECURITY DEFINER, and must find nothing by the caller's search_path, or his
-- code would run with the owner's rights. The other such functions set a path of their own; here that would be a
-- fortieth of what a report costs. So each name, type and operator is written with its schema, and nothing is that looks
-- for an operator by itself: no IN, no BETWEEN, no IS DISTINCT FROM. (What a statement wrote goes before any table of
-- that name.) What is recorded does not depend on the writer's settings.
--
-- The hot path of every report, and PL/pgSQL prepares each expression afresh in each transaction: see
-- derive_sync_operation. That is why it shares nothing with capture_inserted_operations that would have to be decided.
-- sync_operations_is_as_made() is a constant by the time that it runs; ROW(written.*) fits where it is true, and is not even
-- planned where it is not. Where the table has children, theirs are among the rows written, and are passed over.
CREATE OR REPLACE FUNCTION bellwether.capture_updated_operations() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF pg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN
        RETURN NULL; -- it fires for statements that found no row, too
    END IF;

    IF bellwether.sync_operations_is_as_made('public.sync_operations') THEN
        INSERT INTO bellwether.event (id, topic, type, entity, revision, changed_from, operation)
        SELECT written.event_id, 'operations',
               CASE WHEN written.changed_from IS NULL THEN 'operation.progress'
                    ELSE bellwether.operation_event(written.status::pg_catalog.text, written.changed_from) END,
               written.id, written.revision, written.changed_from, ROW(written.*)::bellwether.operation
        FROM written WHERE written.event_id OPERATOR(pg_catalog.>) 0;
    ELSE
        INSERT INTO bellwether.event (id, topic, type, entity, revision, changed_from, payload)
        SELECT written.event_id, 'operations', bellwether.operation_event(written.status::pg_catalog.text, written.changed_from),
               written.id, written.revision, written.changed_from, bellwether.row_in_utc(written)
        FROM written WHERE written.event_id OPERATOR(pg_catalog.>) 0
            AND NOT (EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent OPERATOR(pg_catalog.=) 'public.sync_operations'::pg_catalog.regclass)
                     AND EXISTS (SELECT FROM public.sync_operations child
                                 WHERE child.id OPERATOR(pg_catalog.=) written.id AND child.event_id OPERATOR(pg_catalog.=) written.event_id
                                   AND child.tableoid OPERATOR(pg_catalog.<>) 'public.sync_operations'::pg_catalog.regclass));
    END IF;

    -- A relay has promised to look: most writers need not know more. See bellwether.ring().
    IF (pg_catalog.pg_sequence_last_value('bellwether.lease'::pg_catalog.regclass) OPERATOR(pg_catalog.-)
        (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000)::bigint)
       OPERATOR(pg_catalog.>>) 10 OPERATOR(pg_catalog.=) 0
       AND coalesce(pg_catalog.current_setting('bellwether.doorbell', true), '') OPERATOR(pg_catalog.<>) 'always' THEN
        RETURN NULL;
    END IF;
    IF FOUND THEN
        PERFORM bellwether.ring();
    END IF;
    RETURN NULL;
END
$$;
-- Whoever may attach it to a table of his own could write into the log what he likes.
REVOKE EXECUTE ON FUNCTION bellwether.capture_updated_operations() FROM PUBLIC;

CREATE OR REPLACE TRIGGER bellwether_records_updates AFTER UPDATE ON public.sync_operations
    REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION bellwether.capture_updated_operations();
COMMENT ON FUNCTION bellwether.capture_updated_operations() IS
    'Trigger: records the rows of sync_operations that a statement changed in bellwether.event and rings the doorbell.';
COMMENT ON TRIGGER bellwether_records_updates ON public.sync_operations IS
    'One event for each row that has an event_id, which means that it really changed; not for replicated rows, which have a trigger of their own.';
