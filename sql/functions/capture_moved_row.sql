-- A primary key cannot be updated, but a publisher without these triggers may do so, and refusing its row would stop the
-- replication for good. So the row under its old key is recorded as deleted, before the new one is recorded.
CREATE OR REPLACE FUNCTION bellwether.capture_moved_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET extra_float_digits = 1 AS $$
BEGIN
    INSERT INTO bellwether.event (topic, type, entity, revision, payload)
    VALUES (TG_ARGV[0], TG_ARGV[1], pg_catalog.to_jsonb(OLD) ->> TG_ARGV[2], OLD.revision + 1, pg_catalog.row_to_json(OLD));
    RETURN NULL; -- the trigger that records the new key rings
END
$$;
COMMENT ON FUNCTION bellwether.capture_moved_row() IS
    'Trigger for replicated rows whose key was changed: records the end of the old key; its arguments are the topic, the event''s type and the key''s column.';
-- Whoever may attach it to a table of his own could write into the log what he likes.
REVOKE EXECUTE ON FUNCTION bellwether.capture_moved_row() FROM PUBLIC;

DO $$
DECLARE
    name  text;
    topic text;
    type  text;
    key   text;
BEGIN
    FOR name, topic, type, key IN VALUES ('sync_operations', 'operations', 'operation.deleted', 'id'),
                                         ('connection_status', 'connections', 'connection.deleted', 'client_id'),
                                         ('sync_status_snapshots', 'health', 'health.deleted', 'id') LOOP
        EXECUTE pg_catalog.format('CREATE OR REPLACE TRIGGER bellwether_records_moves AFTER UPDATE ON public.%I
            FOR EACH ROW WHEN (OLD.%I <> NEW.%I) EXECUTE FUNCTION bellwether.capture_moved_row(%L, %L, %L)',
            name, key, key, topic, type, key);
        EXECUTE pg_catalog.format('ALTER TABLE public.%I ENABLE REPLICA TRIGGER bellwether_records_moves', name);
        EXECUTE pg_catalog.format('COMMENT ON TRIGGER bellwether_records_moves ON public.%I IS %L', name,
            'Fires only for replicated rows, and before the trigger that records the new key (they fire by name).');
    END LOOP;
END
$$;
