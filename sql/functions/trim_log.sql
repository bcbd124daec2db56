-- Retention: empties the oldest slot of the event log once all of it is old, or once the log is too large, and moves the
-- writers on to the next slot, which is empty by then. The relays run it every minute; one at a time does it.
--
-- Writers never wait: they write to the present slot, which is not touched. The lock for truncating is taken within 20
-- milliseconds or not at all; a transaction that once wrote to the slot and is still open holds it up, as does a reader.
-- A slot is truncated in one call and written to only after a later one, so no writer meets the lock.
--
-- Readers are told in the same transaction how far the log is trimmed, and compare that with their cursor after reading.
-- Nothing is trimmed that an open transaction precedes: a reader that has seen everything but that transaction has a
-- cursor that would look too old.
--
-- The rights are the owner's, so a relay needs none to empty a table. The lock that makes one do it is one on a table and
-- not an advisory one, which any role could take and keep.
CREATE OR REPLACE FUNCTION bellwether.trim_log(older_than interval, larger_than bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '20ms' AS $$
DECLARE
    present   constant pg_catalog.timestamptz := pg_catalog.clock_timestamp();
    filling   constant bigint := pg_catalog.pg_sequence_last_value('bellwether.event_slot');
    following constant pg_catalog.text := pg_catalog.format('bellwether.event_%s', (filling + 1) & 3);
    filled    constant pg_catalog.text := pg_catalog.format('bellwether.event_%s', filling & 3);
    slot      pg_catalog.text;
    oldest    pg_catalog.timestamptz;
    newest    pg_catalog.timestamptz;
    through   pg_catalog.xid8;
    excess    bigint; -- bytes beyond what the log may have
    size      bigint;
    freed     bigint := 0;
    free      boolean;
BEGIN
    IF older_than IS NULL OR older_than < interval '0' THEN
        RAISE EXCEPTION 'older_than: expected an interval of zero or more, got %', coalesce(older_than::pg_catalog.text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF larger_than < 0 THEN
        RAISE EXCEPTION 'larger_than: expected a number of bytes, got %', larger_than USING ERRCODE = 'invalid_parameter_value';
    END IF;
    BEGIN
        LOCK TABLE bellwether.log IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN 0;
    END;
    EXECUTE 'SELECT NOT EXISTS (SELECT FROM ' || following || ')' INTO free;
    SELECT pg_catalog.sum(pg_catalog.pg_total_relation_size(i.inhrelid)) - larger_than INTO excess
    FROM pg_catalog.pg_inherits i WHERE i.inhparent = 'bellwether.event'::pg_catalog.regclass;

    FOR number IN filling + 1 .. filling + 3 LOOP -- the oldest first
        slot := pg_catalog.format('bellwether.event_%s', number & 3);
        EXECUTE 'SELECT xid, at FROM ' || slot || ' ORDER BY xid DESC LIMIT 1' INTO through, newest;
        CONTINUE WHEN through IS NULL;
        -- Large or not: what relays may just be reading stays.
        EXIT WHEN newest >= present - older_than AND (coalesce(excess, 0) <= 0 OR newest >= present - interval '1 minute');
        BEGIN
            EXECUTE 'LOCK TABLE ' || slot || ' IN ACCESS EXCLUSIVE MODE';
        EXCEPTION WHEN lock_not_available THEN
            EXIT;
        END;
        EXECUTE 'SELECT pg_catalog.max(xid) FROM ' || slot INTO through; -- an open transaction may have added to it
        EXIT WHEN through >= pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot());
        UPDATE bellwether.log SET trimmed_through = through WHERE trimmed_through < through;
        size := pg_catalog.pg_total_relation_size(slot);
        EXECUTE 'TRUNCATE ' || slot;
        freed := freed + size;
        excess := excess - size;
    END LOOP;

    EXECUTE 'SELECT at FROM ' || filled || ' ORDER BY xid LIMIT 1' INTO oldest;
    IF free AND (oldest < present - older_than / 3 OR pg_catalog.pg_total_relation_size(filled) > larger_than / 4) THEN
        PERFORM pg_catalog.nextval('bellwether.event_slot');
    END IF;
    RETURN freed;
END
$$;
COMMENT ON FUNCTION bellwether.trim_log(interval, bigint) IS
    'Empties the slots of the event log whose events are all older than the given time, or the oldest ones while the log has more than the given bytes, and returns how many bytes were freed. Events are kept up to a third longer than asked. The relays run it every minute. Readers whose cursor is older are told so.';
REVOKE EXECUTE ON FUNCTION bellwether.trim_log(interval, bigint) FROM PUBLIC;
