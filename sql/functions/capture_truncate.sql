-- Records that a whole table was emptied: one event whose entity is the table's name, for every subscriber of the topic.
CREATE OR REPLACE FUNCTION bellwether.capture_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO bellwether.event (topic, type, entity, revision, payload)
    VALUES (TG_ARGV[0], 'table.truncated', TG_TABLE_NAME, 0, pg_catalog.json_build_object('table', TG_TABLE_NAME));
    PERFORM bellwether.ring();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bellwether.capture_truncate() IS
    'Trigger: records in bellwether.event that a table was truncated; its argument is the table''s topic.';
-- Whoever may attach it to a table of his own could write into the log what he likes.
REVOKE EXECUTE ON FUNCTION bellwether.capture_truncate() FROM PUBLIC;

DO $$
DECLARE
    name  text;
    topic text;
BEGIN
    FOR name, topic IN VALUES ('sync_operations', 'operations'), ('sync_operation_errors', 'errors'),
                              ('connection_status', 'connections'), ('sync_status_snapshots', 'health') LOOP
        EXECUTE pg_catalog.format('CREATE OR REPLACE TRIGGER bellwether_records_truncates AFTER TRUNCATE ON public.%I
            FOR EACH STATEMENT EXECUTE FUNCTION bellwether.capture_truncate(%L)', name, topic);
        EXECUTE pg_catalog.format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER bellwether_records_truncates', name);
        EXECUTE pg_catalog.format('COMMENT ON TRIGGER bellwether_records_truncates ON public.%I IS %L', name,
            'One table.truncated event.');
    END LOOP;
END
$$;
