-- Rules for the status of sync_operations and what goes with it. They are no CHECK constraints, because those cost every
-- statement, whatever it changes; this trigger fires only where one of its columns is written, for replicated rows too. To
-- an application a refusal looks the same: SQLSTATE 23514 with the name of the rule.
CREATE OR REPLACE FUNCTION bellwether.refuse_unknown_status() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status NOT IN ('pending', 'in_progress', 'paused', 'completed', 'failed', 'cancelled') THEN
        RAISE EXCEPTION 'column "status" of "sync_operations" violates the rule "sync_operations_status_is_a_known_status" (%)', NEW.status
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'sync_operations', COLUMN = 'status',
                  CONSTRAINT = 'sync_operations_status_is_a_known_status',
                  HINT = 'pending, in_progress, paused, completed, failed or cancelled';
    END IF;
    -- What derives has set it for an operation that ended.
    IF NEW.completed_at IS NOT NULL AND NEW.status IN ('pending', 'in_progress', 'paused') THEN
        RAISE EXCEPTION 'column "completed_at" of "sync_operations" violates the rule "sync_operations_completed_at_is_set_only_when_finished" (%, %)',
            NEW.status, NEW.completed_at
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'sync_operations', COLUMN = 'completed_at',
                  CONSTRAINT = 'sync_operations_completed_at_is_set_only_when_finished';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION bellwether.refuse_unknown_status() IS
    'Trigger: refuses a status other than pending, in_progress, paused, completed, failed and cancelled, and an instant of completion for an operation that has not ended.';

CREATE OR REPLACE TRIGGER zz_bellwether_refuses_unknown_status
    BEFORE INSERT OR UPDATE OF status, completed_at ON public.sync_operations
    FOR EACH ROW EXECUTE FUNCTION bellwether.refuse_unknown_status();
ALTER TABLE public.sync_operations ENABLE ALWAYS TRIGGER zz_bellwether_refuses_unknown_status;
COMMENT ON TRIGGER zz_bellwether_refuses_unknown_status ON public.sync_operations IS
    'Fires after what derives, for replicated rows too.';
