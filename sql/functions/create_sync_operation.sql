CREATE OR REPLACE FUNCTION public.create_sync_operation(
    operation_type text,
    total_items    bigint DEFAULT NULL,
    owner          text   DEFAULT NULL,
    source         text   DEFAULT NULL,
    triggered_by   text   DEFAULT NULL,
    message        text   DEFAULT NULL,
    metadata       jsonb  DEFAULT '{}',
    status         text   DEFAULT 'in_progress',
    id             uuid   DEFAULT NULL
) RETURNS uuid
LANGUAGE sql AS $$
    INSERT INTO public.sync_operations (id, operation_type, total_items, owner, source, triggered_by, message, metadata, status)
    VALUES (coalesce(create_sync_operation.id, pg_catalog.gen_random_uuid()), create_sync_operation.operation_type,
            create_sync_operation.total_items, create_sync_operation.owner, create_sync_operation.source,
            create_sync_operation.triggered_by, create_sync_operation.message,
            coalesce(create_sync_operation.metadata, '{}'), coalesce(create_sync_operation.status, 'in_progress'))
    RETURNING sync_operations.id
$$;
COMMENT ON FUNCTION public.create_sync_operation(text, bigint, text, text, text, text, jsonb, text, uuid) IS
    'Creates a job and returns its id at once; it is in_progress unless the status says otherwise. Example: SELECT create_sync_operation(''full_sync'', total_items => 120, owner => ''alice'').';
