CREATE OR REPLACE FUNCTION public.complete_sync_operation(
    operation_id     uuid,
    status           text  DEFAULT 'completed',
    message          text  DEFAULT NULL,
    error            text  DEFAULT NULL,
    performance_data jsonb DEFAULT NULL
) RETURNS public.sync_operations
LANGUAGE plpgsql AS $$
DECLARE
    ended public.sync_operations;
BEGIN
    IF status IS NULL OR status NOT IN ('completed', 'failed', 'cancelled') THEN
        RAISE EXCEPTION 'status: expected completed, failed or cancelled, got %', coalesce(status, 'null')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE public.sync_operations o SET
        status = complete_sync_operation.status,
        message = coalesce(complete_sync_operation.message, o.message),
        error = coalesce(complete_sync_operation.error, o.error),
        performance_data = o.performance_data || coalesce(complete_sync_operation.performance_data, '{}')
    WHERE o.id = complete_sync_operation.operation_id
    RETURNING o.* INTO ended;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'operation_id: there is no sync operation %', operation_id USING ERRCODE = 'no_data_found';
    END IF;
    RETURN ended;
END
$$;
COMMENT ON FUNCTION public.complete_sync_operation(uuid, text, text, text, jsonb) IS
    'Ends a job as completed, failed or cancelled and returns the row; an unknown id is an error.';
