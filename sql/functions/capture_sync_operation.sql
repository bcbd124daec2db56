-- Records a change of sync_operations in the event log and rings the doorbell, in the writer's own transaction: if the
-- log cannot be written the write fails, since anything else would hide a loss. So nothing else here may fail.
--
-- It may write where the caller may not, hence SECURITY DEFINER, with a search_path in which pg_temp comes last: where it is not
-- named it comes first, even in an empty one, and a type of the writer's own there would run his code with the owner's
-- rights. What is recorded does not depend on the writer's settings. It fires for replicated rows too (ENABLE ALWAYS), and records an update only where the
-- revision moved: a mere sign of life is no event.
--
-- The hot path of every report, and PL/pgSQL prepares each expression afresh in each transaction: see
-- derive_sync_operation. The test of the revision is in here because a WHEN clause is parsed afresh by each statement.
-- sync_operations_is_as_made() is a constant by the time that the statement runs.
CREATE OR REPLACE FUNCTION bellwether.capture_sync_operation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kind               text := 'operation.progress';
    old_status         text;
    old_owner          text;
    old_operation_type text;
    old_source         text;
BEGIN
    -- Not the commonest change, which moves nothing that subscribers filter on. In an INSERT all of OLD is null.
    IF (NEW.revision <> OLD.revision AND NEW.status = OLD.status AND NEW.operation_type = OLD.operation_type
        AND NEW.owner IS NOT DISTINCT FROM OLD.owner AND NEW.source IS NOT DISTINCT FROM OLD.source) IS NOT TRUE THEN
        IF TG_OP = 'INSERT' THEN
            kind := CASE WHEN NEW.status IN ('pending', 'in_progress') THEN 'operation.created' ELSE 'operation.' || NEW.status END;
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO bellwether.event (topic, type, entity, revision, payload)
            VALUES ('operations', 'operation.deleted', OLD.id, OLD.revision + 1, bellwether.row_in_utc(OLD));
            PERFORM bellwether.ring();
            RETURN NULL;
        ELSIF NEW.revision = OLD.revision THEN
            RETURN NULL;
        ELSE
            kind := CASE WHEN NEW.status = OLD.status THEN 'operation.progress'
                         WHEN NEW.status = 'in_progress' AND OLD.status = 'paused' THEN 'operation.resumed'
                         WHEN NEW.status = 'in_progress' THEN 'operation.started'
                         WHEN NEW.status = 'pending' THEN 'operation.requeued'
                         ELSE 'operation.' || NEW.status END;
            old_status := CASE WHEN NEW.status <> OLD.status THEN OLD.status END;
            old_owner := CASE WHEN NEW.owner IS DISTINCT FROM OLD.owner THEN coalesce(OLD.owner, '') END;
            old_operation_type := CASE WHEN NEW.operation_type <> OLD.operation_type THEN OLD.operation_type END;
            old_source := CASE WHEN NEW.source IS DISTINCT FROM OLD.source THEN coalesce(OLD.source, '') END;
        END IF;
    END IF;

    INSERT INTO bellwether.event (topic, type, entity, revision, old_status, old_owner, old_operation_type, old_source, operation, payload)
    VALUES ('operations', kind, NEW.id, NEW.revision, old_status, old_owner, old_operation_type, old_source,
            CASE WHEN bellwether.sync_operations_is_as_made('public.sync_operations') THEN ROW(
                 NEW.id, NEW.operation_type, NEW.status, NEW.progress, NEW.message, NEW.current_item, NEW.total_items,
                 NEW.processed_items, NEW.failed_items, NEW.inserted_items, NEW.updated_items, NEW.deleted_items,
                 NEW.kept_items, NEW.skipped_items, NEW.entities_encountered, NEW.counters, NEW.owner, NEW.source,
                 NEW.triggered_by, NEW.created_at, NEW.started_at, NEW.updated_at, NEW.heartbeat_at, NEW.progressed_at,
                 NEW.completed_at, NEW.duration_seconds, NEW.items_per_second, NEW.estimated_completion_at, NEW.error,
                 NEW.metadata, NEW.performance_data, NEW.revision)::bellwether.operation END,
            CASE WHEN NOT bellwether.sync_operations_is_as_made('public.sync_operations') THEN bellwether.row_in_utc(NEW) END);

    -- A relay has promised to look: most writers need not know more. See bellwether.ring().
    IF pg_catalog.pg_sequence_last_value('bellwether.lease'::pg_catalog.regclass)
       - (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint BETWEEN 1 AND 1000
       AND pg_catalog.current_setting('bellwether.doorbell', true) IS DISTINCT FROM 'always' THEN
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
