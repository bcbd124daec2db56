-- Rings the doorbell: NOTIFY without a payload, once a transaction however often it is called. The setting
-- bellwether.doorbell decides (ALTER ROLE reporting SET bellwether.doorbell = 'never'; PostgreSQL itself resolves which
-- setting wins): never, always, or else only where no relay has promised to look often (bellwether.lease). Not when the
-- notification queue is more than half full, since a full one would fail the writer: the relay's safety tick finds the
-- events all the same.
--
-- The lease runs up to and including its millisecond, and one that is 1,024 ms or more ahead has run out (clocks jump):
-- what is left of it, shifted by 10 bits, is 0. Every reader of the lease computes the clock in the same way, so that none
-- rounds it differently.
--
-- The caller has written its events, and so has its transaction id, before the lease is read here: a relay that turns
-- calm relies on it.
CREATE OR REPLACE FUNCTION bellwether.ring() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (CASE pg_catalog.current_setting('bellwether.doorbell', true)
           WHEN 'never' THEN false
           WHEN 'always' THEN true
           ELSE ((pg_catalog.pg_sequence_last_value('bellwether.lease'::pg_catalog.regclass)
                  - (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint) >> 10 = 0) IS NOT TRUE
       END) AND pg_catalog.pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_catalog.pg_notify('bellwether', '');
    END IF;
END
$$;
COMMENT ON FUNCTION bellwether.ring() IS
    'Rings the doorbell (NOTIFY bellwether), unless the setting bellwether.doorbell is ''never'', or is not ''always'' while a relay''s lease runs, or the notification queue is over half full.';
