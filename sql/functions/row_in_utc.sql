-- A row as the event log has it, for writers whose settings would make something else of it: instants in UTC, numbers with
-- all their digits. Functions that capture call it only where they must, because its settings cost a writer two
-- microseconds.
CREATE OR REPLACE FUNCTION bellwether.row_in_utc(row_of_a_table record) RETURNS json
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET extra_float_digits = 1 SET IntervalStyle = 'postgres' SET bytea_output = 'hex' AS $$
BEGIN
    RETURN pg_catalog.row_to_json(row_of_a_table);
END
$$;
COMMENT ON FUNCTION bellwether.row_in_utc(record) IS
    'The row as JSON, whatever the session''s TimeZone, extra_float_digits, IntervalStyle and bytea_output.';
