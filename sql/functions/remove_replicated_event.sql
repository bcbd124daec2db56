-- Removes from the event log what a publication FOR ALL TABLES sends of another database's log, in the transaction that brings
-- it, so that nobody ever sees it; see ignore_replicated_row. Not by a BEFORE trigger, as for the other tables: where a
-- partition has one, each insert checks the partition's constraint once more, a fortieth of what a small report costs.
CREATE OR REPLACE FUNCTION bellwether.remove_replicated_event() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM bellwether.event WHERE tableoid = TG_RELID AND ctid = NEW.ctid;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION bellwether.remove_replicated_event() IS
    'Trigger: removes what a publication sends of another database''s event log.';

CREATE OR REPLACE TRIGGER bellwether_removes_replicated_events AFTER INSERT ON bellwether.event
    FOR EACH ROW WHEN (pg_catalog.pg_trigger_depth() = 0) EXECUTE FUNCTION bellwether.remove_replicated_event();
ALTER TABLE bellwether.event ENABLE REPLICA TRIGGER bellwether_removes_replicated_events;
COMMENT ON TRIGGER bellwether_removes_replicated_events ON bellwether.event IS
    'Fires only in a logical-replication apply worker and under session_replication_role = replica.';
