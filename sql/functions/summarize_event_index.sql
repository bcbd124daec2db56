-- Keeps the index event_is_found_by_entity useful, in two steps:
--   1. page ranges without a summary get one; until then the readers of a history scan them;
--   2. some ranges are summarised afresh, in turn. Trimming makes room that new events fill, and a Bloom filter forgets
--      nothing: without this step it would in time say "perhaps" to everything.
-- It locks out neither writers nor readers. Vacuum and it exclude each other, so it gives up at once where it would have
-- to wait: an automatic vacuum that somebody waits for is cancelled after deadlock_timeout (one second).
CREATE OR REPLACE FUNCTION bellwether.summarize_event_index(refreshed_ranges integer DEFAULT 50) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' SET lock_timeout = '200ms' AS $$
DECLARE
    range_pages constant bigint := (SELECT o.option_value FROM pg_catalog.pg_class c, pg_catalog.pg_options_to_table(c.reloptions) o
                                    WHERE c.oid = 'bellwether.event_is_found_by_entity'::regclass AND o.option_name = 'pages_per_range');
    ranges      constant bigint := pg_catalog.pg_relation_size('bellwether.event') / pg_catalog.current_setting('block_size')::bigint / range_pages;
    summarized  bigint;
    first_page  bigint;
BEGIN
    IF refreshed_ranges IS NULL OR refreshed_ranges < 0 THEN
        RAISE EXCEPTION 'refreshed_ranges: % is not a number of page ranges, 0 or more', refreshed_ranges
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('bellwether.summarize_event_index', 0)) THEN
        RETURN 0;
    END IF;
    summarized := pg_catalog.brin_summarize_new_values('bellwether.event_is_found_by_entity');
    FOR i IN 1..least(refreshed_ranges, ranges) LOOP
        first_page := pg_catalog.nextval('bellwether.event_index_refresh') % ranges * range_pages;
        PERFORM pg_catalog.brin_desummarize_range('bellwether.event_is_found_by_entity', first_page);
        summarized := summarized + pg_catalog.brin_summarize_range('bellwether.event_is_found_by_entity', first_page);
    END LOOP;
    RETURN summarized;
EXCEPTION WHEN lock_not_available THEN
    RETURN 0;
END
$$;
COMMENT ON FUNCTION bellwether.summarize_event_index(integer) IS
    'Summarises the page ranges of the event log that writers have filled since the last call, and the given number of older ones afresh, in turn. Returns how many it summarised; 0 where a vacuum or another relay is at it. The relays run it every minute.';
REVOKE EXECUTE ON FUNCTION bellwether.summarize_event_index(integer) FROM PUBLIC;
