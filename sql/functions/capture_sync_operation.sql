-- Records a change of sync_operations in the event log and rings the doorbell, in the writer's own transaction: if the
-- log cannot be written the write fails, since anything else would hide a loss. So nothing else here may fail.
--
-- It may write where the caller may not, hence SECURITY DEFINER, and must find nothing by the caller's search_path, or his
-- code would run with the owner's rights. The other such functions set a path of their own; here that would be a
-- fortieth of what a report costs. So each name, type and operator is written with its schema, and nothing is that looks
-- for an operator by itself: no IN, no BETWEEN, no IS DISTINCT FROM. What is recorded does not depend on the writer's
-- settings. It fires for replicated rows too (ENABLE ALWAYS), and records an update only where the revision moved: a mere
-- sign of life is no event.
--
-- The hot path of every report, and PL/pgSQL prepares each expression afresh in each transaction: see
-- derive_sync_operation. The test of the revision is in here because a WHEN clause is parsed afresh by each statement.
-- sync_operations_is_as_made() is a constant by the time that it runs. It is asked once: two expressions would be planned at
-- different times, and might not agree.
CREATE OR REPLACE FUNCTION bellwether.capture_sync_operation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    kind               pg_catalog.text := 'operation.progress';
    old_status         pg_catalog.text;
    old_owner          pg_catalog.text;
    old_operation_type pg_catalog.text;
    old_source         pg_catalog.text;
    operation          bellwether.operation;
    payload            pg_catalog.json;
BEGIN
    -- Not the commonest change, which moves nothing that subscribers filter on. In an INSERT all of OLD is null.
    IF (NEW.revision OPERATOR(pg_catalog.<>) OLD.revision AND NEW.status OPERATOR(pg_catalog.=) OLD.status
        AND NEW.operation_type OPERATOR(pg_catalog.=) OLD.operation_type
        AND coalesce(NEW.owner::pg_catalog.text, '') OPERATOR(pg_catalog.=) coalesce(OLD.owner::pg_catalog.text, '')
        AND coalesce(NEW.source::pg_catalog.text, '') OPERATOR(pg_catalog.=) coalesce(OLD.source::pg_catalog.text, '')) IS NOT TRUE THEN
        IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
            kind := CASE WHEN NEW.status OPERATOR(pg_catalog.=) 'pending' OR NEW.status OPERATOR(pg_catalog.=) 'in_progress'
                         THEN 'operation.created' ELSE 'operation.' OPERATOR(pg_catalog.||) NEW.status END;
        ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
            INSERT INTO bellwether.event (topic, type, entity, revision, payload)
            VALUES ('operations', 'operation.deleted', OLD.id, OLD.revision OPERATOR(pg_catalog.+) 1, bellwether.row_in_utc(OLD));
            PERFORM bellwether.ring();
            RETURN NULL;
        ELSIF NEW.revision OPERATOR(pg_catalog.=) OLD.revision THEN
            RETURN NULL;
        ELSE
            IF NEW.status OPERATOR(pg_catalog.<>) OLD.status THEN
                old_status := OLD.status;
                kind := CASE WHEN NEW.status OPERATOR(pg_catalog.=) 'in_progress' AND OLD.status OPERATOR(pg_catalog.=) 'paused'
                                  THEN 'operation.resumed'
                             WHEN NEW.status OPERATOR(pg_catalog.=) 'in_progress' THEN 'operation.started'
                             WHEN NEW.status OPERATOR(pg_catalog.=) 'pending' THEN 'operation.requeued'
                             ELSE 'operation.' OPERATOR(pg_catalog.||) NEW.status END;
            END IF;
            IF NEW.operation_type OPERATOR(pg_catalog.<>) OLD.operation_type THEN
                old_operation_type := OLD.operation_type;
            END IF;
            IF coalesce(NEW.owner::pg_catalog.text, '') OPERATOR(pg_catalog.<>) coalesce(OLD.owner::pg_catalog.text, '') THEN
                old_owner := coalesce(OLD.owner::pg_catalog.text, '');
            END IF;
            IF coalesce(NEW.source::pg_catalog.text, '') OPERATOR(pg_catalog.<>) coalesce(OLD.source::pg_catalog.text, '') THEN
                old_source := coalesce(OLD.source::pg_catalog.text, '');
            END IF;
        END IF;
    END IF;

    IF bellwether.sync_operations_is_as_made('public.sync_operations') THEN
        operation := NEW;
    ELSE
        payload := bellwether.row_in_utc(NEW);
    END IF;
    INSERT INTO bellwether.event (topic, type, entity, revision, old_status, old_owner, old_operation_type, old_source, operation, payload)
    VALUES ('operations', kind, NEW.id, NEW.revision, old_status, old_owner, old_operation_type, old_source, operation, payload);

    -- A relay has promised to look: most writers need not know more. See bellwether.ring().
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
REVOKE EXECUTE ON FUNCTION bellwether.capture_sync_operation() FROM PUBLIC;

CREATE OR REPLACE TRIGGER bellwether_records_inserts AFTER INSERT ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation();
CREATE OR REPLACE TRIGGER bellwether_records_updates AFTER UPDATE ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation();
CREATE OR REPLACE TRIGGER bellwether_records_deletes AFTER DELETE ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation();
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER bellwether_records_inserts;
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER bellwether_records_updates;
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER bellwether_records_deletes;
COMMENT ON FUNCTION bellwether.capture_sync_operation() IS
    'Trigger: records a change of sync_operations in bellwether.event and rings the doorbell.';
COMMENT ON TRIGGER bellwether_records_inserts ON public.sync_operations IS 'One event for each inserted row.';
COMMENT ON TRIGGER bellwether_records_updates ON public.sync_operations IS 'One event for each row whose revision moved.';
COMMENT ON TRIGGER bellwether_records_deletes ON public.sync_operations IS 'One event for each deleted row, with its last values.';
