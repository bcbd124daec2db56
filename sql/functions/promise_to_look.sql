-- Extends the doorbell lease: until it runs out, relays look often and writers need not ring. Only relays call this; the
-- lock makes one of them do it at a time. It is a lock on a table and not an advisory one, which any role could take and
-- keep; nothing else takes it on that table but a vacuum. A promise that cannot be made at once is not made: writers ring.
--
-- The rights are the owner's, so a relay needs none on the sequence, with which it could silence writers.
--
-- If the lease had run out before this extension took hold (hence the clock is read after setval), other relays may have
-- turned calm meanwhile and would not hear the writers that are silent from now on: then it returns true, and the caller
-- owes them a ring (NOTIFY bellwether). In a transaction of its own: its commit queues with those of all writers who ring, and
-- this one has to be over before it can be extended again.
CREATE OR REPLACE FUNCTION bellwether.promise_to_look(milliseconds integer) RETURNS boolean
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
    RETURN (held - (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint) >> 10 <> 0;
END
$$;
COMMENT ON FUNCTION bellwether.promise_to_look(integer) IS
    'For relays: promises to look often for the given time. Returns whether the lease had run out before: then the caller owes the other relays a ring (NOTIFY bellwether), in another transaction.';
REVOKE EXECUTE ON FUNCTION bellwether.promise_to_look(integer) FROM PUBLIC;
