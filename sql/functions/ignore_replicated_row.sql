-- Every database keeps its own event log: its triggers record the rows that arrive, with its own transaction ids. What a
-- publication FOR ALL TABLES sends of another database's log and records would poison these, so it is dropped.
CREATE OR REPLACE FUNCTION bellwether.ignore_replicated_row() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bellwether.ignore_replicated_row() IS
    'Trigger: drops what a publication sends of another database''s own records.';

DO $$
DECLARE
    name text;
BEGIN
    -- An apply worker writes at trigger depth 0, the triggers of the user tables that it fires write deeper.
    FOREACH name IN ARRAY ARRAY['event', 'log', 'timeline', 'relay', 'stalled_operation', 'migration', 'function'] LOOP
        -- What is inserted into the log is removed again by remove_replicated_event.
        EXECUTE pg_catalog.format('CREATE OR REPLACE TRIGGER bellwether_ignores_replicated_rows BEFORE %s ON bellwether.%I
            FOR EACH ROW WHEN (pg_catalog.pg_trigger_depth() = 0) EXECUTE FUNCTION bellwether.ignore_replicated_row()',
            CASE name WHEN 'event' THEN 'UPDATE OR DELETE' ELSE 'INSERT OR UPDATE OR DELETE' END, name);
        EXECUTE pg_catalog.format('ALTER TABLE bellwether.%I ENABLE REPLICA TRIGGER bellwether_ignores_replicated_rows', name);
        EXECUTE pg_catalog.format('COMMENT ON TRIGGER bellwether_ignores_replicated_rows ON bellwether.%I IS %L', name,
            'Fires only in a logical-replication apply worker and under session_replication_role = replica.');
    END LOOP;
END
$$;
