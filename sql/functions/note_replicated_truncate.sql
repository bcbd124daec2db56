-- A publication FOR ALL TABLES sends the trimming of another database's log, too: a slot of this one is emptied with it. That
-- cannot be refused without stopping the replication for good, so readers are told, as after a trimming of their own. Where
-- an open transaction precedes what is gone, each later cursor would look too old as well: then the log counts as another one.
CREATE OR REPLACE FUNCTION bellwether.note_replicated_truncate() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    through pg_catalog.xid8;
BEGIN
    EXECUTE pg_catalog.format('SELECT pg_catalog.max(xid) FROM bellwether.%I', TG_TABLE_NAME) INTO through;
    IF through >= pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()) THEN
        UPDATE bellwether.log SET id = pg_catalog.gen_random_uuid();
    ELSE
        UPDATE bellwether.log SET trimmed_through = through WHERE trimmed_through < through;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bellwether.note_replicated_truncate() IS
    'Trigger: records in bellwether.log what a publication''s TRUNCATE of a slot takes away.';

DO $$
BEGIN
    FOR slot IN 0 .. 3 LOOP
        EXECUTE pg_catalog.format('CREATE OR REPLACE TRIGGER bellwether_notes_replicated_truncates BEFORE TRUNCATE ON bellwether.event_%s
            FOR EACH STATEMENT EXECUTE FUNCTION bellwether.note_replicated_truncate()', slot);
        EXECUTE pg_catalog.format('ALTER TABLE bellwether.event_%s ENABLE REPLICA TRIGGER bellwether_notes_replicated_truncates', slot);
        EXECUTE pg_catalog.format('COMMENT ON TRIGGER bellwether_notes_replicated_truncates ON bellwether.event_%s IS %L', slot,
            'Fires only in a logical-replication apply worker and under session_replication_role = replica.');
    END LOOP;
END
$$;
