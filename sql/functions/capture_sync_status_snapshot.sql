-- Records a change of sync_status_snapshots in the event log; see capture_updated_operations. health.changed rather than
-- health.snapshot where the status differs from the snapshot before.
CREATE OR REPLACE FUNCTION bellwether.capture_sync_status_snapshot() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET extra_float_digits = 1 AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('health', 'health.deleted', OLD.id, OLD.revision + 1, pg_catalog.row_to_json(OLD));
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO bellwether.event (topic, type, entity, revision, changed_from, payload)
        VALUES ('health', 'health.snapshot', NEW.id, NEW.revision,
                CASE WHEN NEW.status <> OLD.status THEN pg_catalog.jsonb_build_object('status', OLD.status) END, pg_catalog.row_to_json(NEW));
    ELSE
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('health',
                CASE WHEN NEW.status = (SELECT before.status FROM public.sync_status_snapshots before
                                         WHERE (before.taken_at, before.id) < (NEW.taken_at, NEW.id)
                                         ORDER BY before.taken_at DESC, before.id DESC LIMIT 1)
                     THEN 'health.snapshot' ELSE 'health.changed' END,
                NEW.id, NEW.revision, pg_catalog.row_to_json(NEW));
    END IF;
    PERFORM bellwether.ring();
    RETURN NULL;
END
$$;
-- Whoever may attach it to a table of his own could write into the log what he likes.
REVOKE EXECUTE ON FUNCTION bellwether.capture_sync_status_snapshot() FROM PUBLIC;

CREATE OR REPLACE TRIGGER bellwether_records_inserts AFTER INSERT ON public.sync_status_snapshots
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_status_snapshot();
CREATE OR REPLACE TRIGGER bellwether_records_updates AFTER UPDATE ON public.sync_status_snapshots
    FOR EACH ROW WHEN (OLD.revision IS DISTINCT FROM NEW.revision) EXECUTE FUNCTION bellwether.capture_sync_status_snapshot();
CREATE OR REPLACE TRIGGER bellwether_records_deletes AFTER DELETE ON public.sync_status_snapshots
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_status_snapshot();
ALTER TABLE public.sync_status_snapshots ENABLE ALWAYS TRIGGER bellwether_records_inserts;
ALTER TABLE public.sync_status_snapshots ENABLE ALWAYS TRIGGER bellwether_records_updates;
ALTER TABLE public.sync_status_snapshots ENABLE ALWAYS TRIGGER bellwether_records_deletes;
COMMENT ON FUNCTION bellwether.capture_sync_status_snapshot() IS
    'Trigger: records a change of sync_status_snapshots in bellwether.event and rings the doorbell.';
COMMENT ON TRIGGER bellwether_records_inserts ON public.sync_status_snapshots IS 'One event for each inserted row.';
COMMENT ON TRIGGER bellwether_records_updates ON public.sync_status_snapshots IS 'One event for each row whose revision moved.';
COMMENT ON TRIGGER bellwether_records_deletes ON public.sync_status_snapshots IS 'One event for each deleted row, with its last values.';
