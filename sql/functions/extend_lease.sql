-- Extends the doorbell lease: until it runs out, relays look often and writers need not ring. Only relays call this; the
-- lock makes one of them do it at a time. It is a lock on a table and not an advisory one, which any role could take and
-- keep; nothing else takes it on that table but a vacuum. A promise that cannot be made at once is not made: writers ring.
--
-- The rights are the owner's, so a relay needs none on the sequence, with which it could silence writers.
--
-- If the lease had run out before this extension took hold (hence the clock is read after setval), other relays may have
-- turned calm meanwhile and would not hear the writers that are silent from now on. So they are rung for. Not into a
-- queue that is more than half full: a full one would refuse it, and there writers do not ring either.
CREATE OR REPLACE FUNCTION bellwether.extend_lease(milliseconds integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    held bigint;
BEGIN
    IF milliseconds IS NULL OR milliseconds NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'milliseconds: expected 1 to 1000, got %', coalesce(milliseconds::pg_catalog.text, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE bellwether.timeline IN SHARE UPDATE EXCLUSIVE MODE;
    held := coalesce(pg_catalog.pg_sequence_last_value('bellwether.lease'::pg_catalog.regclass), 0);
    PERFORM pg_catalog.setval('bellwether.lease'::pg_catalog.regclass,
                              (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint + milliseconds);
    IF (held - (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint) >> 10 <> 0
       AND pg_catalog.pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_catalog.pg_notify('bellwether', '');
    END IF;
END
$$;
COMMENT ON FUNCTION bellwether.extend_lease(integer) IS
    'For relays: promises to look often for the given time, and rings for the other relays if the lease had run out before.';
REVOKE EXECUTE ON FUNCTION bellwether.extend_lease(integer) FROM PUBLIC;
