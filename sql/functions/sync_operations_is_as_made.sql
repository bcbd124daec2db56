-- Whether sync_operations has just the columns that bellwether.operation has, in the same places, and no child tables, so that
-- a row of it can be kept as one. An application may add columns or change a type; its rows are then kept as JSON.
--
-- It is called with a constant and declared IMMUTABLE, which it is not, so that the planner puts its result into the
-- statement, where it costs nothing. What makes that right: a plan that names a table is made anew once the table has been
-- altered, and the caller's statement holds a lock on it until it ends.
--
-- A statement's snapshot may be older than a column that has just been added or dropped. So has_column_privilege() is asked,
-- which knows the table as it is, and is null only where there is no such column.
--
-- Each session asks once, in its first report; so it is one short query.
CREATE OR REPLACE FUNCTION bellwether.sync_operations_is_as_made(sync_operations regclass) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (
               SELECT FROM pg_catalog.pg_attribute a
               WHERE a.attrelid IN (sync_operations, 'bellwether.operation'::pg_catalog.regclass) AND a.attnum > 0 AND NOT a.attisdropped
               GROUP BY a.attnum, a.attname, a.atttypid, a.atttypmod
               HAVING pg_catalog.count(*) <> 2 OR pg_catalog.has_column_privilege(sync_operations, a.attnum, 'SELECT') IS NULL)
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = sync_operations)
       AND pg_catalog.has_column_privilege(sync_operations,
               (SELECT c.relnatts + 1 FROM pg_catalog.pg_class c WHERE c.oid = sync_operations)::smallint, 'SELECT') IS NULL
$$;
COMMENT ON FUNCTION bellwether.sync_operations_is_as_made(regclass) IS
    'Whether sync_operations has only the columns that bellwether.operation has, of the same types and in the same places, and no child tables: then an event keeps its row as one.';
