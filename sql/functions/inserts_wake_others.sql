-- Whether an application has triggers of its own that an INSERT into sync_operations fires afterwards, which may change the
-- new row again before its event is recorded.
--
-- Declared IMMUTABLE, which it is not, for the reason that sync_operations_is_as_made() gives: a trigger that is made or
-- dropped has every plan made anew that names its table. A transaction whose snapshot is older than the trigger may not see
-- it, though it fires it.
CREATE OR REPLACE FUNCTION bellwether.inserts_wake_others(sync_operations regclass) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM pg_catalog.pg_trigger t
        WHERE t.tgrelid = sync_operations AND NOT t.tgisinternal AND t.tgenabled <> 'D'
          AND t.tgtype & (2 + 4 + 64) = 4 -- INSERT, and neither BEFORE nor INSTEAD OF
          AND t.tgname NOT IN ('bellwether_records_inserts', 'bellwether_records_replicated_rows'))
$$;
COMMENT ON FUNCTION bellwether.inserts_wake_others(regclass) IS
    'Whether an INSERT fires AFTER triggers that are not ours: then the id of its event is drawn before they fire.';
