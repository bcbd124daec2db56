CREATE OR REPLACE FUNCTION public.update_sync_progress(
    operation_id         uuid,
    processed_items      bigint  DEFAULT NULL,
    total_items          bigint  DEFAULT NULL,
    current_item         text    DEFAULT NULL,
    message              text    DEFAULT NULL,
    progress             numeric DEFAULT NULL,
    failed_items         bigint  DEFAULT NULL,
    inserted_items       bigint  DEFAULT NULL,
    updated_items        bigint  DEFAULT NULL,
    deleted_items        bigint  DEFAULT NULL,
    kept_items           bigint  DEFAULT NULL,
    skipped_items        bigint  DEFAULT NULL,
    entities_encountered jsonb   DEFAULT NULL,
    counters             jsonb   DEFAULT NULL
) RETURNS public.sync_operations
LANGUAGE plpgsql AS $$
DECLARE
    reported public.sync_operations;
BEGIN
    UPDATE public.sync_operations o SET
        status = CASE o.status WHEN 'pending' THEN 'in_progress' ELSE o.status END,
        processed_items = coalesce(update_sync_progress.processed_items, o.processed_items),
        total_items = coalesce(update_sync_progress.total_items, o.total_items),
        current_item = coalesce(update_sync_progress.current_item, o.current_item),
        message = coalesce(update_sync_progress.message, o.message),
        progress = coalesce(update_sync_progress.progress, o.progress),
        failed_items = coalesce(update_sync_progress.failed_items, o.failed_items),
        inserted_items = coalesce(update_sync_progress.inserted_items, o.inserted_items),
        updated_items = coalesce(update_sync_progress.updated_items, o.updated_items),
        deleted_items = coalesce(update_sync_progress.deleted_items, o.deleted_items),
        kept_items = coalesce(update_sync_progress.kept_items, o.kept_items),
        skipped_items = coalesce(update_sync_progress.skipped_items, o.skipped_items),
        entities_encountered = o.entities_encountered || coalesce(update_sync_progress.entities_encountered, '{}'),
        counters = o.counters || coalesce(update_sync_progress.counters, '{}')
    WHERE o.id = update_sync_progress.operation_id
    RETURNING o.* INTO reported;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'operation_id: there is no sync operation %', operation_id USING ERRCODE = 'no_data_found';
    END IF;
    RETURN reported;
END
$$;
COMMENT ON FUNCTION public.update_sync_progress(uuid, bigint, bigint, text, text, numeric, bigint, bigint, bigint, bigint, bigint, bigint, jsonb, jsonb) IS
    'Reports progress: what is null stays as it is, the two maps are merged key by key, a pending job is started. With the id alone it is a sign of life. Returns the row; an unknown id is an error.';
