-- For rows of sync_operations that arrive by logical replication or under session_replication_role = replica. A publisher
-- with these triggers sends rows that are derived already, and they stay as they came. One that has only some of the
-- columns gets filled in what it cannot send, or a constraint would stop its replication for good. Rate and estimate are
-- not filled in: they need the writer's clock.
CREATE OR REPLACE FUNCTION bellwether.derive_replicated_sync_operation() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    present constant timestamptz := pg_catalog.clock_timestamp();
    moved   jsonb;
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.progress = 0.0 AND NEW.total_items > 0 AND NEW.processed_items BETWEEN 0 AND NEW.total_items THEN
            NEW.progress := pg_catalog.round(100.0 * NEW.processed_items::numeric / NEW.total_items::numeric, 2);
        END IF;
    ELSE
        IF NEW.progress = OLD.progress AND NEW.total_items > 0 AND NEW.processed_items BETWEEN 0 AND NEW.total_items
           AND (NEW.processed_items <> OLD.processed_items OR NEW.total_items IS DISTINCT FROM OLD.total_items) THEN
            NEW.progress := pg_catalog.round(100.0 * NEW.processed_items::numeric / NEW.total_items::numeric, 2);
        END IF;
        IF NEW.processed_items > OLD.processed_items AND NEW.progressed_at IS NOT DISTINCT FROM OLD.progressed_at THEN
            NEW.progressed_at := present;
        END IF;
        IF NEW.heartbeat_at = OLD.heartbeat_at THEN
            NEW.heartbeat_at := present;
        END IF;
        IF NEW.changed_from IS NOT DISTINCT FROM OLD.changed_from THEN -- perhaps not sent
            moved := bellwether.changed_from(OLD, NEW);
            IF moved IS NOT NULL OR NEW.revision <> OLD.revision THEN
                NEW.changed_from := moved;
            END IF;
        END IF;
    END IF;
    IF NEW.started_at IS NULL AND NEW.status IN ('in_progress', 'paused') THEN
        NEW.started_at := present;
    END IF;
    IF NEW.status IN ('completed', 'failed', 'cancelled') THEN
        NEW.completed_at := coalesce(NEW.completed_at, present);
        IF NEW.duration_seconds IS NULL AND pg_catalog.isfinite(NEW.started_at) AND pg_catalog.isfinite(NEW.completed_at) THEN
            NEW.duration_seconds := greatest(0, extract(epoch FROM NEW.completed_at) - extract(epoch FROM NEW.started_at));
        END IF;
        IF NEW.status = 'completed' THEN
            NEW.progress := 100;
        END IF;
    ELSE
        NEW.completed_at := NULL;
    END IF;
    NEW.event_id := NULL; -- a publisher's says nothing here
    -- What no trigger of ours writes: a report that is made here later would fail on it.
    IF NOT pg_catalog.isfinite(NEW.progressed_at) THEN
        NEW.progressed_at := NULL;
    END IF;
    IF NOT (NEW.items_per_second > 0::real AND NEW.items_per_second < 'infinity'::real) THEN
        NEW.items_per_second := NULL;
    END IF;
    IF NEW.progress < 0.0 OR NEW.progress > 100.0 OR NEW.processed_items < 0 OR NEW.processed_items > NEW.total_items THEN
        PERFORM bellwether.refuse_implausible_progress(NEW.progress, NEW.processed_items, NEW.total_items);
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION bellwether.derive_replicated_sync_operation() IS
    'Trigger for replicated rows: derives what the publisher does not send.';

CREATE OR REPLACE TRIGGER zz_bellwether_derives_what_was_not_published
    BEFORE INSERT OR UPDATE ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.derive_replicated_sync_operation();
ALTER TABLE public.sync_operations ENABLE REPLICA TRIGGER zz_bellwether_derives_what_was_not_published;
COMMENT ON TRIGGER zz_bellwether_derives_what_was_not_published ON public.sync_operations IS
    'Fires only where the ordinary triggers do not: in a logical-replication apply worker and under session_replication_role = replica.';
