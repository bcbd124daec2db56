-- Bumps the revision of a row of a table that derives nothing else, and refuses to change its id.
--
-- Both sides of each operator have one type: then it is PostgreSQL's own that is meant, whatever operators somebody has
-- made in a schema of the writer's search_path. One of (numeric, integer) would be taken, and run with the writer's rights.
CREATE OR REPLACE FUNCTION bellwether.keep_revision() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.revision := (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000.0)::bigint;
        RETURN NEW;
    END IF;
    IF NEW.id <> OLD.id THEN
        RAISE EXCEPTION 'column "id" of "%" cannot be changed (% to %)', TG_TABLE_NAME, OLD.id, NEW.id
            USING ERRCODE = 'check_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'id',
                  CONSTRAINT = TG_TABLE_NAME::text || '_id_cannot_be_changed';
    END IF;
    NEW.revision := OLD.revision;
    IF NEW OPERATOR(pg_catalog.*<>) OLD THEN
        NEW.revision := OLD.revision + 1;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION bellwether.keep_revision() IS
    'Trigger: bumps the revision of a row that really changed, and refuses to change its id.';

CREATE OR REPLACE TRIGGER zz_bellwether_keeps_the_revision BEFORE INSERT OR UPDATE ON public.sync_operation_errors
    FOR EACH ROW EXECUTE FUNCTION bellwether.keep_revision();
CREATE OR REPLACE TRIGGER zz_bellwether_keeps_the_revision BEFORE INSERT OR UPDATE ON public.sync_status_snapshots
    FOR EACH ROW EXECUTE FUNCTION bellwether.keep_revision();
COMMENT ON TRIGGER zz_bellwether_keeps_the_revision ON public.sync_operation_errors IS
    'Fires last among BEFORE triggers (they fire by name); not for replicated rows, which arrive with a revision.';
COMMENT ON TRIGGER zz_bellwether_keeps_the_revision ON public.sync_status_snapshots IS
    'Fires last among BEFORE triggers (they fire by name); not for replicated rows, which arrive with a revision.';
