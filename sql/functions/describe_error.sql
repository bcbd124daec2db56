-- An error as subscribers get it: its row, and of its operation what they filter on. The operation may be gone: errors
-- are deleted with it, and after it.
CREATE OR REPLACE FUNCTION bellwether.describe_error(error public.sync_operation_errors) RETURNS json
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT (pg_catalog.to_jsonb(error) OPERATOR(pg_catalog.||) coalesce((
        SELECT pg_catalog.jsonb_build_object('owner', o.owner, 'operation_type', o.operation_type, 'source', o.source)
        FROM public.sync_operations o WHERE o.id = error.operation_id), '{}'))::json
$$;
COMMENT ON FUNCTION bellwether.describe_error(public.sync_operation_errors) IS
    'The payload of an event about an error: its row, and the owner, operation_type and source of its operation.';
REVOKE EXECUTE ON FUNCTION bellwether.describe_error(public.sync_operation_errors) FROM PUBLIC;
