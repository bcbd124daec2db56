-- Rules for columns of sync_operations that are seldom written. They are no CHECK constraints, because those cost every
-- statement, whatever it changes; this trigger fires only where one of its columns is written, for replicated rows too. To an
-- application a refusal looks the same: SQLSTATE 23514 with the name of the rule. As to operators, see keep_revision.
CREATE OR REPLACE FUNCTION bellwether.refuse_implausible_operation() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    -- 0001-01-01 and 10000-01-01 in UTC: as text they would be read anew for each row.
    first   constant timestamptz := pg_catalog.to_timestamp(-62135596800);
    beyond  constant timestamptz := pg_catalog.to_timestamp(253402300800);
    refused text;
    rule    text := 'is_in_the_years_1_to_9999';
    value   text;
BEGIN
    IF NEW.created_at < first OR NEW.created_at >= beyond THEN
        refused := 'created_at';
        value := NEW.created_at;
    ELSIF NEW.started_at < first OR NEW.started_at >= beyond THEN
        refused := 'started_at';
        value := NEW.started_at;
    ELSIF NEW.completed_at < first OR NEW.completed_at >= beyond THEN
        refused := 'completed_at';
        value := NEW.completed_at;
    ELSIF NEW.duration_seconds < 0.0 OR NEW.duration_seconds > 1e12 THEN
        refused := 'duration_seconds';
        rule := 'is_between_0_and_1e12';
        value := NEW.duration_seconds;
    ELSIF pg_catalog.octet_length(NEW.owner) > 1024 THEN -- an index on it has to hold it
        refused := 'owner';
        rule := 'is_at_most_1024_bytes';
        value := pg_catalog.octet_length(NEW.owner)::text || ' bytes';
    ELSIF NEW.operation_type = '' THEN
        refused := 'operation_type';
        rule := 'is_not_empty';
        value := '''''';
    ELSIF pg_catalog.jsonb_typeof(NEW.entities_encountered) <> 'object' THEN
        refused := 'entities_encountered';
        rule := 'is_a_json_object';
        value := pg_catalog.jsonb_typeof(NEW.entities_encountered);
    ELSIF pg_catalog.jsonb_typeof(NEW.counters) <> 'object' THEN
        refused := 'counters';
        rule := 'is_a_json_object';
        value := pg_catalog.jsonb_typeof(NEW.counters);
    ELSIF pg_catalog.jsonb_typeof(NEW.metadata) <> 'object' THEN
        refused := 'metadata';
        rule := 'is_a_json_object';
        value := pg_catalog.jsonb_typeof(NEW.metadata);
    ELSIF pg_catalog.jsonb_typeof(NEW.performance_data) <> 'object' THEN
        refused := 'performance_data';
        rule := 'is_a_json_object';
        value := pg_catalog.jsonb_typeof(NEW.performance_data);
    ELSE
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'column "%" of "sync_operations" violates the rule "sync_operations_%_%" (%)', refused, refused, rule, value
        USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'sync_operations', COLUMN = refused,
              CONSTRAINT = 'sync_operations_' || refused || '_' || rule;
END
$$;
COMMENT ON FUNCTION bellwether.refuse_implausible_operation() IS
    'Trigger: refuses instants that are infinite or outside the years 1 to 9999, durations that are negative or above 1e12 seconds, owners of more than 1024 bytes, empty operation types, and maps that are no JSON objects.';

CREATE OR REPLACE TRIGGER zz_bellwether_refuses_what_cannot_be
    BEFORE INSERT OR UPDATE OF created_at, started_at, completed_at, duration_seconds, owner, operation_type,
        entities_encountered, counters, metadata, performance_data ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.refuse_implausible_operation();
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER zz_bellwether_refuses_what_cannot_be;
COMMENT ON TRIGGER zz_bellwether_refuses_what_cannot_be ON public.sync_operations IS
    'Fires after what derives, for replicated rows too.';
