-- Keeps the index event_is_found_by_entity useful: page ranges that writers have filled since the last call get their
-- summary; until then the readers of a history scan them. It locks out neither writers nor readers. Vacuum and it exclude
-- each other, so it gives up at once where it would have to wait: an automatic vacuum that somebody waits for is cancelled
-- after deadlock_timeout (one second). Two relays exclude each other in the same way.
--
-- Only the owner of an index may summarise it, hence SECURITY DEFINER: a relay need not own the log.
CREATE OR REPLACE FUNCTION bellwether.summarize_event_index() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
BEGIN
    RETURN (SELECT pg_catalog.sum(pg_catalog.brin_summarize_new_values(i.inhrelid)) FROM pg_catalog.pg_inherits i
            WHERE i.inhparent = 'bellwether.event_is_found_by_entity'::pg_catalog.regclass);
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END
$$;
COMMENT ON FUNCTION bellwether.summarize_event_index() IS
    'Summarises the page ranges of the event log that writers have filled since the last call. Returns how many it summarised; 0 where a vacuum or another relay is at it. The relays run it every minute.';
REVOKE EXECUTE ON FUNCTION bellwether.summarize_event_index() FROM PUBLIC;
