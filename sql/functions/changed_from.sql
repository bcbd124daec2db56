-- What a change of sync_operations moved of what subscribers filter on, with the values before it; null where it moved none.
--
-- It runs with the rights of whoever's trigger calls it, who may be the owner: see capture_updated_operations.
CREATE OR REPLACE FUNCTION bellwether.changed_from(before record, after record) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    -- No filter is as long, and a value in jsonb has a bound.
    longest constant pg_catalog.int4 := 65536;
    moved   pg_catalog.jsonb := '{}';
BEGIN
    IF before.status::pg_catalog.text OPERATOR(pg_catalog.<>) after.status::pg_catalog.text THEN
        moved := pg_catalog.jsonb_build_object('status', before.status);
    END IF;
    IF before.operation_type::pg_catalog.text OPERATOR(pg_catalog.<>) after.operation_type::pg_catalog.text THEN
        moved := moved OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('operation_type', pg_catalog.left(before.operation_type, longest));
    END IF;
    IF coalesce(before.owner::pg_catalog.text, '') OPERATOR(pg_catalog.<>) coalesce(after.owner::pg_catalog.text, '') THEN
        moved := moved OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('owner', before.owner);
    END IF;
    IF coalesce(before.source::pg_catalog.text, '') OPERATOR(pg_catalog.<>) coalesce(after.source::pg_catalog.text, '') THEN
        moved := moved OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('source', pg_catalog.left(before.source, longest));
    END IF;
    RETURN CASE WHEN moved OPERATOR(pg_catalog.<>) '{}' THEN moved END;
END
$$;
COMMENT ON FUNCTION bellwether.changed_from(record, record) IS
    'What a change of a sync_operations row moved of status, owner, operation_type and source, with the values before it; null where it moved none of them.';
