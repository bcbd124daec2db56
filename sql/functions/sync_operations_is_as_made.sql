-- Whether sync_operations has just the columns that bellwether.operation has, so that a row of it can be kept as one. An
-- application may add columns or change a type; its rows are then kept as JSON.
--
-- It is called with a constant and declared IMMUTABLE, which it is not, so that the planner puts its result into the
-- statement, where it costs nothing. What makes that right: a plan that names a table is made anew once the table has been
-- altered, and the caller's statement holds a lock on it until it ends.
--
-- A statement's snapshot may be older than a column that has just been added. The last condition does not go by the
-- snapshot: has_column_privilege() knows the table as it is, and is null only where there is no such column.
CREATE OR REPLACE FUNCTION bellwether.sync_operations_is_as_made(sync_operations regclass) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (
        SELECT column_of_table.attname, column_of_table.atttypid, column_of_table.atttypmod
        FROM pg_catalog.pg_attribute column_of_table
        WHERE column_of_table.attrelid = sync_operations AND column_of_table.attnum > 0 AND NOT column_of_table.attisdropped
        EXCEPT
        SELECT attribute.attname, attribute.atttypid, attribute.atttypmod
        FROM pg_catalog.pg_attribute attribute JOIN pg_catalog.pg_type kept ON kept.typrelid = attribute.attrelid
        WHERE kept.oid = 'bellwether.operation'::pg_catalog.regtype AND NOT attribute.attisdropped)
       AND pg_catalog.has_column_privilege(sync_operations,
               (SELECT pg_catalog.max(known.attnum) + 1 FROM pg_catalog.pg_attribute known WHERE known.attrelid = sync_operations)::smallint,
               'SELECT') IS NULL
$$;
COMMENT ON FUNCTION bellwether.sync_operations_is_as_made(regclass) IS
    'Whether sync_operations has only the columns that bellwether.operation has, of the same types: then an event keeps its row as one.';
