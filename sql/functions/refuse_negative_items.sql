-- Rules for the counts of sync_operations that not every report writes. They are no CHECK constraints, because those cost
-- every statement, whatever it changes; this trigger fires only where one of its columns is written, for replicated rows
-- too. To an application a refusal looks the same: SQLSTATE 23514 with the name of the rule.
CREATE OR REPLACE FUNCTION bellwether.refuse_negative_items() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    refused text;
    value   bigint;
BEGIN
    IF least(NEW.total_items, NEW.failed_items, NEW.inserted_items, NEW.updated_items, NEW.deleted_items, NEW.kept_items,
             NEW.skipped_items) < 0 THEN
        SELECT counts.name, counts.value INTO refused, value
        FROM (VALUES ('total_items', NEW.total_items), ('failed_items', NEW.failed_items), ('inserted_items', NEW.inserted_items),
                     ('updated_items', NEW.updated_items), ('deleted_items', NEW.deleted_items), ('kept_items', NEW.kept_items),
                     ('skipped_items', NEW.skipped_items)) AS counts (name, value)
        WHERE counts.value < 0 LIMIT 1;
        RAISE EXCEPTION 'column "%" of "sync_operations" violates the rule "sync_operations_%_is_not_negative" (%)', refused, refused, value
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'sync_operations', COLUMN = refused,
                  CONSTRAINT = 'sync_operations_' || refused || '_is_not_negative';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION bellwether.refuse_negative_items() IS
    'Trigger: refuses a negative total_items, failed_items, inserted_items, updated_items, deleted_items, kept_items or skipped_items.';

CREATE OR REPLACE TRIGGER zz_bellwether_refuses_negative_items
    BEFORE INSERT OR UPDATE OF total_items, failed_items, inserted_items, updated_items, deleted_items, kept_items, skipped_items
    ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.refuse_negative_items();
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER zz_bellwether_refuses_negative_items;
COMMENT ON TRIGGER zz_bellwether_refuses_negative_items ON public.sync_operations IS
    'Fires after what derives, for replicated rows too.';
