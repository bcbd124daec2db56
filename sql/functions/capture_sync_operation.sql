-- Records a change of sync_operations in the event log and rings the doorbell, in the writer's own transaction: if the
-- log cannot be written the write fails, since anything else would hide a loss. So nothing else here may fail.
--
-- It may write where the caller may not, hence SECURITY DEFINER with an empty search_path. What is recorded does not
-- depend on the writer's settings: row_to_json() has instants and numbers as they should be where the settings are the
-- usual ones, and row_in_utc() elsewhere. It fires for replicated rows too (ENABLE ALWAYS), and records an update only
-- where the revision moved: a mere sign of life is no event.
--
-- The hot path of every report: the commonest change, which moves nothing that subscribers filter on, has a statement of
-- its own. PL/pgSQL prepares each expression afresh in each transaction, so there are few; the test of the revision is in
-- here because a WHEN clause is parsed afresh by each statement.
CREATE OR REPLACE FUNCTION bellwether.capture_sync_operation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.revision = OLD.revision THEN
            RETURN NULL;
        ELSIF NEW.status = OLD.status AND NEW.operation_type = OLD.operation_type
              AND NEW.owner IS NOT DISTINCT FROM OLD.owner AND NEW.source IS NOT DISTINCT FROM OLD.source THEN
            INSERT INTO bellwether.event (topic, type, entity, revision, payload)
            VALUES ('operations', 'operation.progress', NEW.id, NEW.revision,
                CASE WHEN pg_catalog.current_setting('TimeZone') IN ('UTC', 'Etc/UTC') AND pg_catalog.current_setting('extra_float_digits')::integer > 0
                          AND pg_catalog.current_setting('IntervalStyle') = 'postgres' AND pg_catalog.current_setting('bytea_output') = 'hex'
                     THEN pg_catalog.row_to_json(NEW) ELSE bellwether.row_in_utc(NEW) END);
        ELSE
            INSERT INTO bellwether.event (topic, type, entity, revision, old_status, old_owner, old_operation_type, old_source, payload)
            VALUES ('operations',
                    CASE WHEN NEW.status = OLD.status THEN 'operation.progress'
                         WHEN NEW.status = 'in_progress' AND OLD.status = 'paused' THEN 'operation.resumed'
                         WHEN NEW.status = 'in_progress' THEN 'operation.started'
                         WHEN NEW.status = 'pending' THEN 'operation.requeued'
                         ELSE 'operation.' || NEW.status END,
                    NEW.id, NEW.revision,
                    CASE WHEN NEW.status <> OLD.status THEN OLD.status END,
                    CASE WHEN NEW.owner IS DISTINCT FROM OLD.owner THEN coalesce(OLD.owner, '') END,
                    CASE WHEN NEW.operation_type <> OLD.operation_type THEN OLD.operation_type END,
                    CASE WHEN NEW.source IS DISTINCT FROM OLD.source THEN coalesce(OLD.source, '') END,
                    bellwether.row_in_utc(NEW));
        END IF;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('operations',
                CASE WHEN NEW.status IN ('pending', 'in_progress') THEN 'operation.created' ELSE 'operation.' || NEW.status END,
                NEW.id, NEW.revision,
                CASE WHEN pg_catalog.current_setting('TimeZone') IN ('UTC', 'Etc/UTC') AND pg_catalog.current_setting('extra_float_digits')::integer > 0
                          AND pg_catalog.current_setting('IntervalStyle') = 'postgres' AND pg_catalog.current_setting('bytea_output') = 'hex'
                     THEN pg_catalog.row_to_json(NEW) ELSE bellwether.row_in_utc(NEW) END);
    ELSE
        INSERT INTO bellwether.event (topic, type, entity, revision, payload)
        VALUES ('operations', 'operation.deleted', OLD.id, OLD.revision + 1, bellwether.row_in_utc(OLD));
    END IF;
    -- bellwether.ring(), without the call
    IF (CASE pg_catalog.current_setting('bellwether.doorbell', true)
           WHEN 'never' THEN false
           WHEN 'always' THEN true
           ELSE NOT coalesce(pg_catalog.pg_sequence_last_value('bellwether.lease'::pg_catalog.regclass)
                             - (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000)::bigint BETWEEN 1 AND 1000, false)
       END) AND pg_catalog.pg_notification_queue_usage() < 0.5 THEN
        PERFORM pg_catalog.pg_notify('bellwether', '');
    END IF;
    RETURN NULL;
END
$$;
-- Whoever may attach it to a table of his own could write into the log what he likes.
REVOKE EXECUTE ON FUNCTION bellwether.capture_sync_operation() FROM PUBLIC;

CREATE OR REPLACE TRIGGER bellwether_records_inserts AFTER INSERT ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation();
CREATE OR REPLACE TRIGGER bellwether_records_updates AFTER UPDATE ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation();
CREATE OR REPLACE TRIGGER bellwether_records_deletes AFTER DELETE ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.capture_sync_operation();
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER bellwether_records_inserts;
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER bellwether_records_updates;
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER bellwether_records_deletes;
COMMENT ON FUNCTION bellwether.capture_sync_operation() IS
    'Trigger: records a change of sync_operations in bellwether.event and rings the doorbell.';
COMMENT ON TRIGGER bellwether_records_inserts ON public.sync_operations IS 'One event for each inserted row.';
COMMENT ON TRIGGER bellwether_records_updates ON public.sync_operations IS 'One event for each row whose revision moved.';
COMMENT ON TRIGGER bellwether_records_deletes ON public.sync_operations IS 'One event for each deleted row, with its last values.';
