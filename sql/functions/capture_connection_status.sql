-- Records a change of connection_status in the event log and rings the doorbell; see capture_updated_operations.
CREATE OR REPLACE FUNCTION bellwether.capture_connection_status() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET extra_float_digits = 1 AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO bellwether.event (topic, type, entity, revision, changed_from, payload)
        VALUES ('connections',
                CASE WHEN NEW.status = OLD.status THEN 'connection.changed'
                     WHEN NEW.status = 'connected' THEN 'connection.opened'
                     WHEN NEW.status = 'disconnected' THEN 'connection.closed'
                     ELSE 'connection.changed' END,
                NEW.client_id, NEW.revision,
                CASE WHEN NEW.status <> OLD.status OR NEW.source <> OLD.source THEN
                    pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                        'status', CASE WHEN NEW.status <> OLD.status THEN OLD.status END,
                        'source', CASE WHEN NEW.source <> OLD.source THEN OLD.source END)) END,
                pg_catalog.row_to_json(NEW));
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('connections',
                CASE NEW.status WHEN 'connected' THEN 'connection.opened'
                                WHEN 'disconnected' THEN 'connection.closed'
                                ELSE 'connection.changed' END,
                NEW.client_id, NEW.revision, pg_catalog.row_to_json(NEW));
    ELSE
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('connections', 'connection.deleted', OLD.client_id, OLD.revision + 1, pg_catalog.row_to_json(OLD));
    END IF;
    PERFORM bellwether.ring();
    RETURN NULL;
END
$$;
-- Whoever may attach it to a table of his own could write into the log what he likes.
REVOKE EXECUTE ON FUNCTION bellwether.capture_connection_status() FROM PUBLIC;

CREATE OR REPLACE TRIGGER bellwether_records_inserts AFTER INSERT ON public.connection_status
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_connection_status();
CREATE OR REPLACE TRIGGER bellwether_records_updates AFTER UPDATE ON public.connection_status
    FOR EACH ROW WHEN (OLD.revision IS DISTINCT FROM NEW.revision) EXECUTE FUNCTION bellwether.capture_connection_status();
CREATE OR REPLACE TRIGGER bellwether_records_deletes AFTER DELETE ON public.connection_status
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_connection_status();
ALTER TABLE public.connection_status ENABLE ALWAYS TRIGGER bellwether_records_inserts;
ALTER TABLE public.connection_status ENABLE ALWAYS TRIGGER bellwether_records_updates;
ALTER TABLE public.connection_status ENABLE ALWAYS TRIGGER bellwether_records_deletes;
COMMENT ON FUNCTION bellwether.capture_connection_status() IS
    'Trigger: records a change of connection_status in bellwether.event and rings the doorbell.';
COMMENT ON TRIGGER bellwether_records_inserts ON public.connection_status IS 'One event for each inserted row.';
COMMENT ON TRIGGER bellwether_records_updates ON public.connection_status IS 'One event for each row whose revision moved.';
COMMENT ON TRIGGER bellwether_records_deletes ON public.connection_status IS 'One event for each deleted row, with its last values.';
