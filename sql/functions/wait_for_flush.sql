-- Waits, but not for long, until the WAL is flushed up to a position, and says how far it is. Relays call it at the end of
-- reading the log, since they show nothing that a crash could undo.
CREATE OR REPLACE FUNCTION bellwether.wait_for_flush(wanted pg_lsn, milliseconds integer) RETURNS pg_lsn
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    flushed pg_catalog.pg_lsn := pg_catalog.pg_current_wal_flush_lsn();
BEGIN
    FOR waited IN 1 .. milliseconds LOOP
        EXIT WHEN flushed >= wanted;
        PERFORM pg_catalog.pg_sleep(0.001);
        flushed := pg_catalog.pg_current_wal_flush_lsn();
    END LOOP;
    RETURN flushed;
END
$$;
COMMENT ON FUNCTION bellwether.wait_for_flush(pg_lsn, integer) IS
    'For relays: waits at most so many milliseconds, roughly, for the WAL to be flushed up to a position, and returns how far it is.';
