CREATE OR REPLACE FUNCTION public.record_sync_error(
    operation_id uuid,
    message      text,
    item         text  DEFAULT NULL,
    code         text  DEFAULT NULL,
    details      jsonb DEFAULT '{}'
) RETURNS bigint
LANGUAGE sql AS $$
    INSERT INTO public.sync_operation_errors (operation_id, message, item, code, details)
    VALUES (record_sync_error.operation_id, record_sync_error.message, record_sync_error.item, record_sync_error.code,
            coalesce(record_sync_error.details, '{}'))
    RETURNING id
$$;
COMMENT ON FUNCTION public.record_sync_error(uuid, text, text, text, jsonb) IS
    'Records what went wrong with one item of a job and returns the error''s id. It counts nothing: failed_items is the application''s.';
