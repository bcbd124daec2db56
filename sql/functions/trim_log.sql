-- Deletes the oldest events, a bounded number at a time, and says in the same transaction how far: readers compare that
-- with their cursor after reading. Never beyond what an open transaction may still add to. One relay at a time does it.
CREATE OR REPLACE FUNCTION bellwether.trim_log(older_than interval, at_most integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    cutoff  constant timestamptz := pg_catalog.clock_timestamp() - older_than;
    through xid8;
    trimmed bigint;
BEGIN
    IF NOT pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('bellwether.trim_log', 0)) THEN
        RETURN 0;
    END IF;
    -- The end of the old ones at the head of the log; the transaction at the edge stays whole.
    SELECT pg_catalog.max(head.xid) INTO through
    FROM (SELECT e.xid, pg_catalog.bool_and(e.at < cutoff) OVER (ORDER BY e.xid) AS old
          FROM (SELECT xid, at FROM bellwether.event ORDER BY xid LIMIT at_most) AS e) AS head
    WHERE head.old AND head.xid < pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot());
    IF through IS NULL THEN
        RETURN 0;
    END IF;
    UPDATE bellwether.log SET trimmed_through = through WHERE trimmed_through < through;
    DELETE FROM bellwether.event WHERE xid <= through;
    GET DIAGNOSTICS trimmed = ROW_COUNT;
    RETURN trimmed;
END
$$;
COMMENT ON FUNCTION bellwether.trim_log(interval, integer) IS
    'Deletes events older than the given time from the head of the log and returns how many: about at_most a call, whole transactions at a time. The relays run it until nothing is left to delete. Readers whose cursor is older are told so.';
REVOKE EXECUTE ON FUNCTION bellwether.trim_log(interval, integer) FROM PUBLIC;
