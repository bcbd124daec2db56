-- What the database derives for a row of connection_status.
CREATE OR REPLACE FUNCTION bellwether.derive_connection_status() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    present constant timestamptz := pg_catalog.clock_timestamp();
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.revision := (extract(epoch FROM present) * 1000000.0)::bigint;
        NEW.updated_at := present;
        IF NEW.status = 'connected' THEN
            NEW.connected_at := coalesce(NEW.connected_at, present);
        ELSE
            NEW.disconnected_at := coalesce(NEW.disconnected_at, present);
        END IF;
        RETURN NEW;
    END IF;

    IF NEW.client_id <> OLD.client_id THEN
        RAISE EXCEPTION 'column "client_id" of "connection_status" cannot be changed (% to %)', OLD.client_id, NEW.client_id
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'connection_status', COLUMN = 'client_id',
                  CONSTRAINT = 'connection_status_client_id_cannot_be_changed';
    END IF;
    -- An ORM that writes whole rows does not wipe out what is derived.
    NEW.updated_at := OLD.updated_at;
    NEW.revision := OLD.revision;
    NEW.connected_at := coalesce(NEW.connected_at, OLD.connected_at);
    IF NEW.status = OLD.status THEN
        NEW.disconnected_at := coalesce(NEW.disconnected_at, OLD.disconnected_at);
    ELSIF NEW.status = 'connected' THEN
        NEW.connected_at := present;
        NEW.disconnected_at := NULL;
    ELSIF OLD.status = 'connected' THEN
        NEW.disconnected_at := present;
    END IF;
    IF NEW OPERATOR(pg_catalog.*<>) OLD THEN
        NEW.updated_at := present;
        NEW.revision := OLD.revision + 1;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION bellwether.derive_connection_status() IS
    'Trigger: derives instants and revision of a connection_status row, and refuses to change its client_id.';

CREATE OR REPLACE TRIGGER zz_bellwether_derives_what_it_can
    BEFORE INSERT OR UPDATE ON public.connection_status
    FOR EACH ROW EXECUTE FUNCTION bellwether.derive_connection_status();
COMMENT ON TRIGGER zz_bellwether_derives_what_it_can ON public.connection_status IS
    'Fires last among BEFORE triggers (they fire by name), so that it sees what an application''s own have done; not for replicated rows, which arrive derived.';
