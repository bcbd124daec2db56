-- Records a change of sync_operation_errors in the event log; see capture_updated_operations. The entity is the operation,
-- and the payload has what subscribers filter operations on besides the error's own columns.
CREATE OR REPLACE FUNCTION bellwether.capture_sync_operation_error() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET extra_float_digits = 1 AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('errors', 'error.deleted', OLD.operation_id, OLD.revision + 1, bellwether.describe_error(OLD));
    ELSIF TG_OP = 'UPDATE' AND NEW.operation_id = OLD.operation_id THEN
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('errors', 'error.changed', NEW.operation_id, NEW.revision, bellwether.describe_error(NEW));
    ELSE
        IF TG_OP = 'UPDATE' THEN -- moved from one operation to another
            INSERT INTO bellwether.event (topic, type, entity, revision, payload)
            VALUES ('errors', 'error.deleted', OLD.operation_id, NEW.revision, bellwether.describe_error(OLD));
        END IF;
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('errors', 'error.recorded', NEW.operation_id, NEW.revision, bellwether.describe_error(NEW));
    END IF;
    PERFORM bellwether.ring();
    RETURN NULL;
END
$$;
-- Whoever may attach it to a table of his own could write into the log what he likes.
REVOKE EXECUTE ON FUNCTION bellwether.capture_sync_operation_error() FROM PUBLIC;

CREATE OR REPLACE TRIGGER bellwether_records_inserts AFTER INSERT ON public.sync_operation_errors
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation_error();
CREATE OR REPLACE TRIGGER bellwether_records_updates AFTER UPDATE ON public.sync_operation_errors
    FOR EACH ROW WHEN (OLD.revision IS DISTINCT FROM NEW.revision) EXECUTE FUNCTION bellwether.capture_sync_operation_error();
CREATE OR REPLACE TRIGGER bellwether_records_deletes AFTER DELETE ON public.sync_operation_errors
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation_error();
ALTER TABLE public.sync_operation_errors ENABLE ALWAYS TRIGGER bellwether_records_inserts;
ALTER TABLE public.sync_operation_errors ENABLE ALWAYS TRIGGER bellwether_records_updates;
ALTER TABLE public.sync_operation_errors ENABLE ALWAYS TRIGGER bellwether_records_deletes;
COMMENT ON FUNCTION bellwether.capture_sync_operation_error() IS
    'Trigger: records a change of sync_operation_errors in bellwether.event and rings the doorbell.';
COMMENT ON TRIGGER bellwether_records_inserts ON public.sync_operation_errors IS 'One event for each inserted row.';
COMMENT ON TRIGGER bellwether_records_updates ON public.sync_operation_errors IS 'One event for each row whose revision moved.';
COMMENT ON TRIGGER bellwether_records_deletes ON public.sync_operation_errors IS 'One event for each deleted row, with its last values.';
