-- Records one row of sync_operations in the event log and rings the doorbell: one that was deleted, or that arrived by
-- replication, where no trigger fires for a statement. See capture_updated_operations.
CREATE OR REPLACE FUNCTION bellwether.capture_sync_operation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    type      text;
    moved     jsonb;
    operation bellwether.operation;
    payload   json;
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('operations', 'operation.deleted', OLD.id, OLD.revision + 1, bellwether.row_in_utc(OLD));
    ELSIF TG_OP = 'UPDATE' AND NEW.revision = OLD.revision THEN
        RETURN NULL; -- a mere sign of life is no event
    ELSE
        IF TG_OP = 'INSERT' THEN
            type := CASE WHEN NEW.status IN ('pending', 'in_progress') THEN 'operation.created' ELSE 'operation.' || NEW.status END;
        ELSE
            moved := bellwether.changed_from(OLD, NEW);
            type := bellwether.operation_event(NEW.status, moved);
        END IF;
        IF bellwether.sync_operations_is_as_made('public.sync_operations') THEN
            operation := NEW;
        ELSE
            payload := bellwether.row_in_utc(NEW);
        END IF;
        INSERT INTO bellwether.event (topic, type, entity, revision, changed_from, operation, payload)
        VALUES ('operations', type, NEW.id, NEW.revision, moved, operation, payload);
    END IF;
    PERFORM bellwether.ring();
    RETURN NULL;
END
$$;
-- Whoever may attach it to a table of his own could write into the log what he likes.
REVOKE EXECUTE ON FUNCTION bellwether.capture_sync_operation() FROM PUBLIC;

CREATE OR REPLACE TRIGGER bellwether_records_deletes AFTER DELETE ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation();
CREATE OR REPLACE TRIGGER bellwether_records_replicated_rows AFTER INSERT OR UPDATE ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation();
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER bellwether_records_deletes;
ALTER TABLE public.sync_operations ENABLE REPLICA TRIGGER bellwether_records_replicated_rows;
COMMENT ON FUNCTION bellwether.capture_sync_operation() IS
    'Trigger: records a deleted or replicated row of sync_operations in bellwether.event and rings the doorbell.';
COMMENT ON TRIGGER bellwether_records_deletes ON public.sync_operations IS 'One event for each deleted row, with its last values.';
COMMENT ON TRIGGER bellwether_records_replicated_rows ON public.sync_operations IS
    'One event for each row that was inserted or whose revision moved. Fires only where the ordinary triggers do not: in a logical-replication apply worker and under session_replication_role = replica.';
