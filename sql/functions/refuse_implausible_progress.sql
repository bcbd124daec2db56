-- Rules for the columns of sync_operations that every report writes. What derives calls this for a row that breaks one of
-- them: the test costs a report nothing where it stands, while a CHECK constraint is parsed afresh by each statement
-- (these three cost 70,000 of the 320,000 instructions of a small UPDATE). To an application a refusal looks the same:
-- SQLSTATE 23514 with the name of the rule.
CREATE OR REPLACE FUNCTION bellwether.refuse_implausible_progress(progress numeric, processed_items bigint, total_items bigint) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    refused text := 'processed_items';
    rule    text := 'is_not_above_total_items';
    value   text := processed_items;
BEGIN
    IF progress < 0.0 OR progress > 100.0 THEN
        refused := 'progress';
        rule := 'is_between_0_and_100';
        value := progress;
    ELSIF processed_items < 0 THEN
        rule := 'is_not_negative';
    ELSIF total_items < 0 THEN
        refused := 'total_items';
        rule := 'is_not_negative';
        value := total_items;
    ELSIF processed_items > total_items THEN
        value := value || ' of ' || total_items::text;
    ELSE
        RETURN;
    END IF;
    RAISE EXCEPTION 'column "%" of "sync_operations" violates the rule "sync_operations_%_%" (%)', refused, refused, rule, value
        USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'sync_operations', COLUMN = refused,
              CONSTRAINT = 'sync_operations_' || refused || '_' || rule;
END
$$;
COMMENT ON FUNCTION bellwether.refuse_implausible_progress(numeric, bigint, bigint) IS
    'Refuses a progress outside 0 to 100, negative processed_items and total_items, and more processed_items than total_items.';
