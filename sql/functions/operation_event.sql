-- The type of the event of a row of sync_operations that has changed.
--
-- It runs with the owner's rights and the writer's search_path: see capture_updated_operations.
CREATE OR REPLACE FUNCTION bellwether.operation_event(status text, changed_from jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    old_status constant pg_catalog.text := changed_from OPERATOR(pg_catalog.->>) 'status';
BEGIN
    RETURN CASE WHEN old_status IS NULL THEN 'operation.progress'
                WHEN status OPERATOR(pg_catalog.=) 'in_progress' AND old_status OPERATOR(pg_catalog.=) 'paused' THEN 'operation.resumed'
                WHEN status OPERATOR(pg_catalog.=) 'in_progress' THEN 'operation.started'
                WHEN status OPERATOR(pg_catalog.=) 'pending' THEN 'operation.requeued'
                ELSE 'operation.' OPERATOR(pg_catalog.||) status END;
END
$$;
COMMENT ON FUNCTION bellwether.operation_event(text, jsonb) IS
    'The type of the event of a row of sync_operations that has changed, from its status and what was moved.';
