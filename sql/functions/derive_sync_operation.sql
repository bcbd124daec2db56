-- What the database derives for a row of sync_operations, whoever writes it: rows are born in any state, and plain
-- UPDATEs by applications that know nothing of us are enough. Nonsense passes through untouched, so that the named rules
-- refuse it in their own words: nothing here may fail on it, not on infinity and not on the greatest numbers either.
--
-- It is on the hot path of every report. PL/pgSQL prepares each expression afresh in each transaction, so a report pays
-- for each operator and each function call, some 1,500 instructions apiece, whether it is evaluated or not. So the
-- commonest report has a short way of its own, and its condition leaves out whatever would need a distinction.
--
-- The id of an update's event is drawn here, under the row's lock, and not where the event is recorded, which is at the end
-- of the statement: a trigger of an application may change the row again before that. A new row has no lock yet, and may
-- still have to wait for another transaction to delete one of the same key; so its event draws the id when it is recorded,
-- unless an application's trigger may come before. What a change moved is noted here too, since
-- capture_updated_operations sees only what was written.
--
-- It runs as the writer, with his search_path: each operator gets exactly the types that one of pg_catalog takes, or
-- somebody's own operator in another schema might fit better and run his code.
CREATE OR REPLACE FUNCTION bellwether.derive_sync_operation() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    present   constant timestamptz := pg_catalog.clock_timestamp();
    ends      boolean;
    moved     boolean;          -- whether processed_items or total_items did
    elapsed   double precision; -- seconds since processed_items last moved, or work was taken up
    worked    double precision; -- seconds of work before that, at most 10: what the rate so far weighs
    remaining double precision; -- seconds to go
BEGIN
    -- An operation that runs at a known rate got further, towards a known total. In an INSERT all of OLD is null. All that is
    -- derived is written, so nothing that a statement gives can stay, and no rule about what is written here can be broken.
    IF NEW.processed_items > OLD.processed_items AND NEW.processed_items <= NEW.total_items
       AND NEW.status = 'in_progress' AND OLD.status = NEW.status AND NEW.id = OLD.id AND NEW.progress = OLD.progress
       AND NEW.started_at = OLD.started_at AND OLD.progressed_at < present AND OLD.items_per_second IS NOT NULL
       AND NEW.operation_type = OLD.operation_type AND NEW.owner IS NOT DISTINCT FROM OLD.owner
       AND NEW.source IS NOT DISTINCT FROM OLD.source AND NEW.changed_from IS NULL THEN
        NEW.progress := pg_catalog.round(100.0 * NEW.processed_items::numeric / NEW.total_items::numeric, 2);
        worked := greatest(0, least(10, pg_catalog.date_part('epoch', OLD.progressed_at - NEW.started_at)));
        NEW.items_per_second := bellwether.smoothed_rate(
            OLD.items_per_second, (NEW.processed_items - OLD.processed_items)::double precision,
            pg_catalog.date_part('epoch', present - OLD.progressed_at), worked)::real;
        remaining := (NEW.total_items - NEW.processed_items)::double precision / NEW.items_per_second;
        -- Beyond ten years it is not known, and must not overflow.
        NEW.estimated_completion_at :=
            CASE WHEN remaining > 0::double precision AND remaining < 315360000::double precision THEN present + pg_catalog.make_interval(secs => remaining) END;
        NEW.progressed_at := present;
        NEW.updated_at := present;
        NEW.heartbeat_at := present;
        NEW.revision := OLD.revision + 1;
        NEW.event_id := pg_catalog.nextval('bellwether.event_id'::pg_catalog.regclass);
        RETURN NEW;
    END IF;

    ends := NEW.status IN ('completed', 'failed', 'cancelled');
    IF TG_OP = 'INSERT' THEN
        NEW.revision := (extract(epoch FROM present) * 1000000.0)::bigint;
        NEW.event_id := CASE WHEN bellwether.inserts_wake_others('public.sync_operations')
                             THEN pg_catalog.nextval('bellwether.event_id'::pg_catalog.regclass) END;
        NEW.changed_from := NULL;
        NEW.updated_at := present;
        NEW.progressed_at := CASE WHEN NEW.processed_items > 0 THEN present END;
        NEW.items_per_second := NULL;
        NEW.estimated_completion_at := NULL;
        IF NEW.progress = 0.0 AND NEW.total_items > 0 AND NEW.processed_items BETWEEN 0 AND NEW.total_items THEN
            NEW.progress := pg_catalog.round(100.0 * NEW.processed_items::numeric / NEW.total_items::numeric, 2);
        END IF;
    ELSE
        IF NEW.id <> OLD.id THEN
            RAISE EXCEPTION 'column "id" of "sync_operations" cannot be changed (% to %)', OLD.id, NEW.id
                USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'sync_operations', COLUMN = 'id',
                      CONSTRAINT = 'sync_operations_id_cannot_be_changed';
        END IF;
        IF NEW.status <> OLD.status AND OLD.status IN ('completed', 'failed', 'cancelled')
           AND NEW.status IN ('pending', 'in_progress', 'paused') THEN
            RAISE EXCEPTION 'column "status" of "sync_operations": a finished operation does not start again (operation %, % to %)',
                OLD.id, OLD.status, NEW.status
                USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'sync_operations', COLUMN = 'status',
                      CONSTRAINT = 'sync_operations_a_finished_operation_does_not_start_again',
                      HINT = 'Insert a new row for the new run.';
        END IF;

        -- An ORM that writes whole rows neither fakes what is derived nor wipes it out.
        NEW.heartbeat_at := OLD.heartbeat_at;
        NEW.updated_at := OLD.updated_at;
        NEW.progressed_at := OLD.progressed_at;
        NEW.items_per_second := OLD.items_per_second;
        NEW.estimated_completion_at := OLD.estimated_completion_at;
        NEW.revision := OLD.revision;
        NEW.event_id := OLD.event_id;
        NEW.changed_from := OLD.changed_from;
        NEW.started_at := coalesce(NEW.started_at, OLD.started_at);
        IF NEW.progress = OLD.progress THEN
            NEW.progress := OLD.progress; -- 50 is no change from 50.00
        END IF;

        moved := NEW.processed_items <> OLD.processed_items OR NEW.total_items IS DISTINCT FROM OLD.total_items;
        IF moved THEN
            IF NEW.progress = OLD.progress AND NEW.total_items > 0
               AND NEW.processed_items BETWEEN 0 AND NEW.total_items THEN
                NEW.progress := pg_catalog.round(100.0 * NEW.processed_items::numeric / NEW.total_items::numeric, 2);
            END IF;
            IF NEW.processed_items > OLD.processed_items AND NOT ends THEN
                elapsed := pg_catalog.date_part('epoch', present) - pg_catalog.date_part('epoch', coalesce(OLD.progressed_at, OLD.started_at, OLD.created_at));
                IF elapsed > 0::double precision AND (OLD.status = 'in_progress' OR NEW.status = OLD.status) THEN
                    worked := CASE WHEN OLD.items_per_second IS NULL THEN 0
                                   ELSE greatest(0, least(10, pg_catalog.date_part('epoch', OLD.progressed_at)
                                                              - pg_catalog.date_part('epoch', coalesce(OLD.started_at, OLD.created_at)))) END;
                    NEW.items_per_second := bellwether.smoothed_rate(
                        OLD.items_per_second, (NEW.processed_items - OLD.processed_items)::double precision, elapsed, worked)::real;
                END IF;
                NEW.progressed_at := present;
            END IF;
        END IF;
    END IF;

    IF NEW.started_at IS NULL AND NEW.status IN ('in_progress', 'paused') THEN
        NEW.started_at := present;
    END IF;

    IF TG_OP = 'UPDATE' THEN
        IF NEW.status <> 'in_progress' THEN
            NEW.estimated_completion_at := NULL;
        ELSIF moved OR NEW.status <> OLD.status OR NEW.progress <> OLD.progress THEN
            IF NEW.status <> OLD.status AND OLD.started_at IS NOT NULL THEN
                NEW.progressed_at := present; -- taken up again: the time in between was not work
            END IF;
            remaining := bellwether.seconds_left(NEW.items_per_second, NEW.total_items::double precision - NEW.processed_items::double precision, NEW.progress,
                                                 pg_catalog.date_part('epoch', present) - pg_catalog.date_part('epoch', NEW.started_at));
            NEW.estimated_completion_at :=
                CASE WHEN remaining > 0::double precision AND remaining < 315360000::double precision THEN present + pg_catalog.make_interval(secs => remaining) END;
        END IF;
    END IF;

    IF ends THEN
        IF TG_OP = 'UPDATE' THEN
            NEW.completed_at := coalesce(NEW.completed_at, OLD.completed_at);
            IF NEW.started_at IS NULL AND OLD.status = 'pending' AND (NEW.status = 'completed' OR NEW.processed_items > 0) THEN
                NEW.started_at := NEW.created_at;
            END IF;
        END IF;
        NEW.completed_at := coalesce(NEW.completed_at, present);
        IF pg_catalog.isfinite(NEW.started_at) AND pg_catalog.isfinite(NEW.completed_at) THEN
            NEW.duration_seconds := greatest(0, extract(epoch FROM NEW.completed_at) - extract(epoch FROM NEW.started_at));
        END IF;
        IF NEW.items_per_second IS NULL AND NEW.duration_seconds BETWEEN 0.000001 AND 1e12 AND NEW.processed_items > 0 THEN
            NEW.items_per_second := NEW.processed_items::numeric / NEW.duration_seconds;
        END IF;
        IF NEW.status = 'completed' THEN
            NEW.progress := 100;
        END IF;
    END IF;

    IF NEW.progress < 0.0 OR NEW.progress > 100.0 OR NEW.processed_items < 0 OR NEW.processed_items > NEW.total_items THEN
        PERFORM bellwether.refuse_implausible_progress(NEW.progress, NEW.processed_items, NEW.total_items);
    END IF;

    IF TG_OP = 'UPDATE' THEN
        IF NEW OPERATOR(pg_catalog.*<>) OLD THEN
            NEW.updated_at := present;
            NEW.revision := OLD.revision + 1;
            NEW.event_id := pg_catalog.nextval('bellwether.event_id'::pg_catalog.regclass);
            NEW.changed_from := NULL;
            IF NEW.status <> OLD.status OR NEW.operation_type <> OLD.operation_type
               OR NEW.owner IS DISTINCT FROM OLD.owner OR NEW.source IS DISTINCT FROM OLD.source THEN
                NEW.changed_from := bellwether.changed_from(OLD, NEW);
            END IF;
        ELSE
            NEW.event_id := NULL; -- no event
        END IF;
    END IF;
    NEW.heartbeat_at := present; -- a sign of life, even where nothing else has changed
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION bellwether.derive_sync_operation() IS
    'Trigger: derives progress, instants, duration, rate, estimate and revision of a sync_operations row, and refuses to change its id or to start a finished operation again.';

CREATE OR REPLACE TRIGGER zz_bellwether_derives_what_it_can
    BEFORE INSERT OR UPDATE ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.derive_sync_operation();
COMMENT ON TRIGGER zz_bellwether_derives_what_it_can ON public.sync_operations IS
    'Fires last among BEFORE triggers (they fire by name), so that it sees what an application''s own have done; not for replicated rows, which have a trigger of their own.';
