-- For rows that arrive by logical replication or under session_replication_role = replica: they come with a revision, but
-- the publisher may know none (or not ours), and a change that does not move it would be no event. So it is moved where
-- the publisher did not, unless only signs of life changed, and it never goes back. updated_at, where there is one, too.
-- A revision that no clock gives (and no JavaScript number holds) is none: after the greatest of all, every later change of
-- the row would fail. As to operators, see keep_revision.
CREATE OR REPLACE FUNCTION bellwether.keep_replicated_revision() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    life           constant text[] := ARRAY['heartbeat_at', 'updated_at', 'revision', 'event_id'];
    greatest_known constant bigint := 9007199254740991;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.revision <= 1 OR NEW.revision > greatest_known THEN -- the default: none was sent
            NEW.revision := (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000.0)::bigint;
        END IF;
    ELSIF NEW.revision <= OLD.revision OR NEW.revision > greatest_known THEN
        NEW.revision := OLD.revision;
        IF pg_catalog.to_jsonb(NEW) OPERATOR(pg_catalog.-) life IS DISTINCT FROM pg_catalog.to_jsonb(OLD) OPERATOR(pg_catalog.-) life THEN
            NEW.revision := OLD.revision + 1;
            IF TG_TABLE_NAME IN ('sync_operations', 'connection_status') THEN
                IF NEW.updated_at = OLD.updated_at THEN
                    NEW.updated_at := pg_catalog.clock_timestamp();
                END IF;
            END IF;
        END IF;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION bellwether.keep_replicated_revision() IS
    'Trigger for replicated rows: gives those a revision that come without one, and moves it (and updated_at) where the publisher did not.';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sync_operations', 'sync_operation_errors', 'connection_status', 'sync_status_snapshots'] LOOP
        EXECUTE pg_catalog.format('CREATE OR REPLACE TRIGGER zz_bellwether_keeps_the_replicated_revision BEFORE INSERT OR UPDATE ON public.%I
            FOR EACH ROW EXECUTE FUNCTION bellwether.keep_replicated_revision()', name);
        EXECUTE pg_catalog.format('ALTER TABLE public.%I ENABLE REPLICA TRIGGER zz_bellwether_keeps_the_replicated_revision', name);
        EXECUTE pg_catalog.format('COMMENT ON TRIGGER zz_bellwether_keeps_the_replicated_revision ON public.%I IS %L', name,
            'Fires only where the ordinary triggers do not: in a logical-replication apply worker and under session_replication_role = replica.');
    END LOOP;
END
$$;
