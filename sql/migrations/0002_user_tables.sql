-- The tables that applications write and DBAs read. They live in public under the names people know. Every rule is a
-- named constraint, or a trigger that reports as one; what can be derived is derived by triggers (sql/functions), also for a
-- plain UPDATE.

-- sync_operations has no CHECK constraints: PostgreSQL parses each of them afresh in each statement, whatever it changes,
-- and 18 of them cost a report more than all that is done for it here. Its rules are in triggers instead, and a refusal
-- looks the same to an application: bellwether.refuse_implausible_progress(), refuse_unknown_status(),
-- refuse_negative_items() and refuse_implausible_operation(), where a trigger fires only if one of its columns is written.
-- Each rule is about one thing: none fails for what another one is about.
CREATE TABLE public.sync_operations (
    id                      uuid        CONSTRAINT sync_operations_pkey PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    operation_type          text        NOT NULL,
    status                  text        NOT NULL DEFAULT 'pending',
    progress                numeric     NOT NULL DEFAULT 0,
    message                 text,
    current_item            text,
    total_items             bigint,
    processed_items         bigint      NOT NULL DEFAULT 0,
    failed_items            bigint      NOT NULL DEFAULT 0,
    inserted_items          bigint      NOT NULL DEFAULT 0,
    updated_items           bigint      NOT NULL DEFAULT 0,
    deleted_items           bigint      NOT NULL DEFAULT 0,
    kept_items              bigint      NOT NULL DEFAULT 0,
    skipped_items           bigint      NOT NULL DEFAULT 0,
    entities_encountered    jsonb       NOT NULL DEFAULT '{}',
    counters                jsonb       NOT NULL DEFAULT '{}',
    owner                   text,
    source                  text,
    triggered_by            text,
    created_at              timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    started_at              timestamptz,
    updated_at              timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    heartbeat_at            timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    progressed_at           timestamptz,
    completed_at            timestamptz,
    duration_seconds        numeric,
    items_per_second        real,
    estimated_completion_at timestamptz,
    error                   text,
    metadata                jsonb       NOT NULL DEFAULT '{}',
    performance_data        jsonb       NOT NULL DEFAULT '{}',
    revision                bigint      NOT NULL DEFAULT 1,
    event_id                bigint,
    changed_from            jsonb
) WITH (fillfactor = 85);

-- No index holds a column that a progress report moves, so that reports stay heap-only updates.
CREATE INDEX sync_operations_newest_first ON public.sync_operations (created_at DESC, id DESC);
CREATE INDEX sync_operations_of_an_owner ON public.sync_operations (owner, created_at DESC, id DESC) WHERE owner IS NOT NULL;
CREATE INDEX sync_operations_that_are_active ON public.sync_operations (created_at)
    WHERE status IN ('pending', 'in_progress', 'paused');
CREATE INDEX sync_operations_that_ended ON public.sync_operations (completed_at) WHERE completed_at IS NOT NULL;

COMMENT ON TABLE public.sync_operations IS
    'One row for each sync job. Applications insert and update it with plain SQL; subscribers of the relay see each change. A row may be born in any state.';
COMMENT ON COLUMN public.sync_operations.id IS 'The job. Made by the database unless given; cannot be changed.';
COMMENT ON COLUMN public.sync_operations.operation_type IS 'What kind of job, in the application''s own words: upload, delete, full_sync, webhook, journal_entries, ...';
COMMENT ON COLUMN public.sync_operations.status IS 'pending, in_progress, paused, completed, failed or cancelled. The last three are final: a finished operation does not start again.';
COMMENT ON COLUMN public.sync_operations.progress IS 'Percent done, 0 to 100. Derived from processed_items and total_items when these move and the statement does not set it; 100 once completed.';
COMMENT ON COLUMN public.sync_operations.message IS 'What the job is doing, for people.';
COMMENT ON COLUMN public.sync_operations.current_item IS 'The item in hand, for example a file name.';
COMMENT ON COLUMN public.sync_operations.total_items IS 'How many items there are; null while unknown.';
COMMENT ON COLUMN public.sync_operations.processed_items IS 'How many items have been dealt with, failed ones included; never above total_items.';
COMMENT ON COLUMN public.sync_operations.failed_items IS 'How many of the processed items failed.';
COMMENT ON COLUMN public.sync_operations.inserted_items IS 'How many items were new at the target.';
COMMENT ON COLUMN public.sync_operations.updated_items IS 'How many items were changed at the target.';
COMMENT ON COLUMN public.sync_operations.deleted_items IS 'How many items were removed from the target.';
COMMENT ON COLUMN public.sync_operations.kept_items IS 'How many items were already right.';
COMMENT ON COLUMN public.sync_operations.skipped_items IS 'How many items were left out on purpose.';
COMMENT ON COLUMN public.sync_operations.entities_encountered IS 'Counts of what was met, by kind: {"invoice": 12, "contact": 3}.';
COMMENT ON COLUMN public.sync_operations.counters IS 'Any further counts of the application: {"sessions": 4, "messages": 310}.';
COMMENT ON COLUMN public.sync_operations.owner IS 'Whose job it is: a user, a tenant, a connection. At most 1024 bytes. Subscribers filter on it.';
COMMENT ON COLUMN public.sync_operations.source IS 'Where the data comes from. Subscribers filter on it.';
COMMENT ON COLUMN public.sync_operations.triggered_by IS 'What started the job: a person, a schedule, a webhook.';
COMMENT ON COLUMN public.sync_operations.created_at IS 'When the job was asked for.';
COMMENT ON COLUMN public.sync_operations.started_at IS 'When work began. Derived: the first time the status leaves pending for in_progress or paused; created_at for a pending job that is ended at once though work was done. Null for a row born finished that does not say. Once set it can be moved but not taken away.';
COMMENT ON COLUMN public.sync_operations.updated_at IS 'When something other than heartbeat_at last changed. Derived, whatever a statement gives.';
COMMENT ON COLUMN public.sync_operations.heartbeat_at IS 'The sign of life: moves with any UPDATE of the row, also one that changes nothing else, and makes no event by itself. Derived, whatever a statement gives.';
COMMENT ON COLUMN public.sync_operations.progressed_at IS 'When processed_items last moved, or work was taken up again: what the rate is measured from. Derived, whatever a statement gives.';
COMMENT ON COLUMN public.sync_operations.completed_at IS 'When the job ended, in whatever way. Derived unless given; set exactly when the status is final.';
COMMENT ON COLUMN public.sync_operations.duration_seconds IS 'completed_at - started_at in seconds, 0 where the clocks of the two disagree. Derived where both are known; else what the application gives (0 to 1e12), or null.';
COMMENT ON COLUMN public.sync_operations.items_per_second IS 'Processed items per second, smoothed: each report moves it by dt / (dt + T) of the way to the rate since the report before, T being the age of the work, at most 10 s; time between being paused and being resumed does not count. The mean where the job ended without a report. Derived, whatever a statement gives.';
COMMENT ON COLUMN public.sync_operations.estimated_completion_at IS 'The instant at which the job would end at items_per_second, or, where items do not tell, at the pace of progress since started_at; null where unknown or more than ten years away. An instant, because seconds remaining rot. Derived, whatever a statement gives.';
COMMENT ON COLUMN public.sync_operations.error IS 'Why the job failed.';
COMMENT ON COLUMN public.sync_operations.metadata IS 'Anything else the application wants to say. Not filtered on.';
COMMENT ON COLUMN public.sync_operations.performance_data IS 'Measurements of the application. Not filtered on.';
COMMENT ON COLUMN public.sync_operations.revision IS 'Grows with every change of the row and does not come again for the same id, even after a delete and a new insert: it starts at the insert''s clock in microseconds. Only its order means something. Derived.';
COMMENT ON COLUMN public.sync_operations.event_id IS 'The id that the last change of the row drew for its event in bellwether.event. Null where none was drawn: a new row (its event draws one later), a mere sign of life, a row that came by replication. Derived, whatever a statement gives.';
COMMENT ON COLUMN public.sync_operations.changed_from IS 'What the last change moved of status, owner, operation_type and source, with the values before it: {"status": "pending"}; null where it moved none of them. Derived, whatever a statement gives.';

CREATE TABLE public.sync_operation_errors (
    id           bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT sync_operation_errors_pkey PRIMARY KEY,
    operation_id uuid        NOT NULL
        CONSTRAINT sync_operation_errors_belong_to_an_operation REFERENCES public.sync_operations (id) ON DELETE CASCADE,
    item         text,
    message      text        NOT NULL,
    code         text,
    details      jsonb       NOT NULL DEFAULT '{}',
    occurred_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    revision     bigint      NOT NULL DEFAULT 1,
    CONSTRAINT sync_operation_errors_message_is_not_empty CHECK (message <> ''),
    CONSTRAINT sync_operation_errors_details_is_a_json_object CHECK (jsonb_typeof(details) = 'object'),
    CONSTRAINT sync_operation_errors_occurred_at_is_in_the_years_1_to_9999
        CHECK (occurred_at >= '0001-01-01 00:00:00+00' AND occurred_at < '10000-01-01 00:00:00+00')
);
CREATE INDEX sync_operation_errors_of_an_operation ON public.sync_operation_errors (operation_id, id);
COMMENT ON TABLE public.sync_operation_errors IS 'What went wrong with single items of a job. Deleted with the job.';
COMMENT ON COLUMN public.sync_operation_errors.id IS 'Made by the database.';
COMMENT ON COLUMN public.sync_operation_errors.operation_id IS 'The job.';
COMMENT ON COLUMN public.sync_operation_errors.item IS 'The item that failed, for example a file name; null where the error is not about one.';
COMMENT ON COLUMN public.sync_operation_errors.message IS 'What went wrong, for people.';
COMMENT ON COLUMN public.sync_operation_errors.code IS 'What went wrong, for programs, in the application''s own codes.';
COMMENT ON COLUMN public.sync_operation_errors.details IS 'Anything else about the error.';
COMMENT ON COLUMN public.sync_operation_errors.occurred_at IS 'When it happened.';
COMMENT ON COLUMN public.sync_operation_errors.revision IS 'Grows with every change of the row; only its order means something. Derived.';

CREATE TABLE public.connection_status (
    client_id          text        CONSTRAINT connection_status_pkey PRIMARY KEY,
    status             text        NOT NULL DEFAULT 'connected',
    last_ping          timestamptz,
    latency_ms         double precision,
    reconnect_attempts integer     NOT NULL DEFAULT 0,
    source             text        NOT NULL DEFAULT 'app',
    address            text,
    user_agent         text,
    metadata           jsonb       NOT NULL DEFAULT '{}',
    relay_id           uuid,
    connected_at       timestamptz,
    disconnected_at    timestamptz,
    updated_at         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    revision           bigint      NOT NULL DEFAULT 1,
    CONSTRAINT connection_status_client_id_is_not_empty CHECK (client_id <> ''),
    CONSTRAINT connection_status_client_id_is_at_most_1024_bytes CHECK (octet_length(client_id) <= 1024),
    CONSTRAINT connection_status_status_is_a_known_status
        CHECK (status IN ('connected', 'disconnected', 'reconnecting', 'error')),
    CONSTRAINT connection_status_latency_ms_is_between_0_and_one_day
        CHECK (latency_ms >= 0 AND latency_ms <= 86400000),
    CONSTRAINT connection_status_reconnect_attempts_is_not_negative CHECK (reconnect_attempts >= 0),
    CONSTRAINT connection_status_source_is_app_or_relay CHECK (source IN ('app', 'relay')),
    CONSTRAINT connection_status_relay_id_is_set_only_by_a_relay CHECK ((relay_id IS NOT NULL) = (source = 'relay')),
    CONSTRAINT connection_status_metadata_is_a_json_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT connection_status_last_ping_is_in_the_years_1_to_9999
        CHECK (last_ping >= '0001-01-01 00:00:00+00' AND last_ping < '10000-01-01 00:00:00+00'),
    CONSTRAINT connection_status_connected_at_is_in_the_years_1_to_9999
        CHECK (connected_at >= '0001-01-01 00:00:00+00' AND connected_at < '10000-01-01 00:00:00+00'),
    CONSTRAINT connection_status_disconnected_at_is_in_the_years_1_to_9999
        CHECK (disconnected_at >= '0001-01-01 00:00:00+00' AND disconnected_at < '10000-01-01 00:00:00+00')
) WITH (fillfactor = 85);
CREATE INDEX connection_status_of_a_relay ON public.connection_status (relay_id) WHERE relay_id IS NOT NULL;
COMMENT ON TABLE public.connection_status IS
    'One row for each client whose connection somebody watches: an application''s own (source app), or a subscriber of a relay (source relay, written and removed by the relay).';
COMMENT ON COLUMN public.connection_status.client_id IS 'The client, at most 1024 bytes. Cannot be changed.';
COMMENT ON COLUMN public.connection_status.status IS 'connected, disconnected, reconnecting or error.';
COMMENT ON COLUMN public.connection_status.last_ping IS 'When the client was last heard of. For relay rows: when the relay last wrote the row; the relay''s own sign of life is in bellwether.relay.';
COMMENT ON COLUMN public.connection_status.latency_ms IS 'Round trip to the client in milliseconds, at most one day; null while unknown.';
COMMENT ON COLUMN public.connection_status.reconnect_attempts IS 'How often the client has tried to reconnect since it was last connected.';
COMMENT ON COLUMN public.connection_status.source IS 'Who writes the row: app or relay.';
COMMENT ON COLUMN public.connection_status.address IS 'The client''s network address.';
COMMENT ON COLUMN public.connection_status.user_agent IS 'The client''s program, as it names itself.';
COMMENT ON COLUMN public.connection_status.metadata IS 'Anything else about the connection.';
COMMENT ON COLUMN public.connection_status.relay_id IS 'The relay that holds the socket; null for app rows.';
COMMENT ON COLUMN public.connection_status.connected_at IS 'When the status last became connected. Derived.';
COMMENT ON COLUMN public.connection_status.disconnected_at IS 'When the status last left connected; null while connected. Derived.';
COMMENT ON COLUMN public.connection_status.updated_at IS 'When something last changed. Derived, whatever a statement gives.';
COMMENT ON COLUMN public.connection_status.revision IS 'Grows with every change of the row and does not come again for the same client. Only its order means something. Derived.';

CREATE TABLE public.sync_status_snapshots (
    id                      bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT sync_status_snapshots_pkey PRIMARY KEY,
    kind                    text        NOT NULL DEFAULT 'manual',
    period_start            timestamptz,
    taken_at                timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    window_seconds          numeric     NOT NULL,
    status                  text        NOT NULL,
    score                   numeric,
    error_rate_percent      numeric,
    success_rate_percent    numeric,
    completed_operations    bigint      NOT NULL,
    failed_operations       bigint      NOT NULL,
    cancelled_operations    bigint      NOT NULL,
    pending_operations      bigint      NOT NULL,
    running_operations      bigint      NOT NULL,
    paused_operations       bigint      NOT NULL,
    stalled_operations      bigint      NOT NULL,
    peak_concurrency        bigint      NOT NULL,
    processed_items         bigint      NOT NULL,
    failed_items            bigint      NOT NULL,
    average_duration_seconds numeric,
    p95_duration_seconds    numeric,
    connected_clients       bigint      NOT NULL,
    lost_connections        bigint      NOT NULL,
    average_latency_ms      double precision,
    reconnect_attempts      bigint      NOT NULL,
    revision                bigint      NOT NULL DEFAULT 1,
    CONSTRAINT sync_status_snapshots_kind_is_scheduled_or_manual CHECK (kind IN ('scheduled', 'manual')),
    CONSTRAINT sync_status_snapshots_period_start_is_set_only_when_scheduled
        CHECK ((period_start IS NOT NULL) = (kind = 'scheduled')),
    CONSTRAINT sync_status_snapshots_status_is_a_known_health
        CHECK (status IN ('healthy', 'warning', 'critical', 'active', 'idle')),
    CONSTRAINT sync_status_snapshots_score_is_between_0_and_100 CHECK (score >= 0 AND score <= 100),
    CONSTRAINT sync_status_snapshots_error_rate_is_between_0_and_100
        CHECK (error_rate_percent >= 0 AND error_rate_percent <= 100),
    CONSTRAINT sync_status_snapshots_success_rate_is_between_0_and_100
        CHECK (success_rate_percent >= 0 AND success_rate_percent <= 100),
    CONSTRAINT sync_status_snapshots_window_seconds_is_above_0
        CHECK (window_seconds > 0 AND window_seconds < 'Infinity'),
    CONSTRAINT sync_status_snapshots_period_start_is_in_the_years_1_to_9999
        CHECK (period_start >= '0001-01-01 00:00:00+00' AND period_start < '10000-01-01 00:00:00+00'),
    CONSTRAINT sync_status_snapshots_taken_at_is_in_the_years_1_to_9999
        CHECK (taken_at >= '0001-01-01 00:00:00+00' AND taken_at < '10000-01-01 00:00:00+00')
);
CREATE UNIQUE INDEX sync_status_snapshots_once_a_period ON public.sync_status_snapshots (period_start) WHERE kind = 'scheduled';
CREATE INDEX sync_status_snapshots_newest_first ON public.sync_status_snapshots (taken_at DESC, id DESC);
COMMENT ON TABLE public.sync_status_snapshots IS
    'Health over time, with every input of the score, so that SQL can reproduce it. Written by create_sync_status_snapshot(): every two minutes by the relay (kind scheduled, one a period however many relays run; a missing period is an outage), at any time by a person (kind manual).';
COMMENT ON COLUMN public.sync_status_snapshots.id IS 'Made by the database.';
COMMENT ON COLUMN public.sync_status_snapshots.kind IS 'scheduled (by a relay) or manual (by a person or program).';
COMMENT ON COLUMN public.sync_status_snapshots.period_start IS 'The period that a scheduled snapshot stands for; null for a manual one.';
COMMENT ON COLUMN public.sync_status_snapshots.taken_at IS 'When it was taken; the end of the window.';
COMMENT ON COLUMN public.sync_status_snapshots.window_seconds IS 'How far back ended operations were counted, in seconds.';
COMMENT ON COLUMN public.sync_status_snapshots.status IS 'healthy (error rate below 5 %), warning (5 to 10 %, or something is stalled), critical (above 10 %), active (nothing ended but something runs), idle (nothing ended, nothing runs).';
COMMENT ON COLUMN public.sync_status_snapshots.score IS '0 to 100 by sync_health_score(); null where nothing ended in the window, since missing data is not health.';
COMMENT ON COLUMN public.sync_status_snapshots.error_rate_percent IS '100 * failed / (completed + failed) of the operations that ended in the window, not rounded; null where none did.';
COMMENT ON COLUMN public.sync_status_snapshots.success_rate_percent IS '100 - error_rate_percent.';
COMMENT ON COLUMN public.sync_status_snapshots.completed_operations IS 'Operations that completed in the window.';
COMMENT ON COLUMN public.sync_status_snapshots.failed_operations IS 'Operations that failed in the window.';
COMMENT ON COLUMN public.sync_status_snapshots.cancelled_operations IS 'Operations that were cancelled in the window; they count in no rate.';
COMMENT ON COLUMN public.sync_status_snapshots.pending_operations IS 'Operations waiting at taken_at.';
COMMENT ON COLUMN public.sync_status_snapshots.running_operations IS 'Operations in progress at taken_at, stalled ones included.';
COMMENT ON COLUMN public.sync_status_snapshots.paused_operations IS 'Operations paused at taken_at.';
COMMENT ON COLUMN public.sync_status_snapshots.stalled_operations IS 'Operations in progress that have given no sign of life since they were marked in bellwether.stalled_operation.';
COMMENT ON COLUMN public.sync_status_snapshots.peak_concurrency IS 'The most operations that ran at the same instant of the window, from started_at to completed_at, both included.';
COMMENT ON COLUMN public.sync_status_snapshots.processed_items IS 'Processed items of the operations that ended in the window.';
COMMENT ON COLUMN public.sync_status_snapshots.failed_items IS 'Failed items of the operations that ended in the window.';
COMMENT ON COLUMN public.sync_status_snapshots.average_duration_seconds IS 'Mean duration of the operations that completed or failed in the window; null where none says.';
COMMENT ON COLUMN public.sync_status_snapshots.p95_duration_seconds IS '95th percentile of the same durations.';
COMMENT ON COLUMN public.sync_status_snapshots.connected_clients IS 'Connections with status connected at taken_at.';
COMMENT ON COLUMN public.sync_status_snapshots.lost_connections IS 'Connections with status error or reconnecting at taken_at.';
COMMENT ON COLUMN public.sync_status_snapshots.average_latency_ms IS 'Mean latency of the connected clients in milliseconds; null where unknown.';
COMMENT ON COLUMN public.sync_status_snapshots.reconnect_attempts IS 'Sum of reconnect_attempts of the connections that are not disconnected.';
COMMENT ON COLUMN public.sync_status_snapshots.revision IS 'Grows with every change of the row; only its order means something. Derived.';

CREATE TABLE bellwether.stalled_operation (
    operation_id uuid        PRIMARY KEY,
    since        timestamptz NOT NULL
);
COMMENT ON TABLE bellwether.stalled_operation IS
    'Operations in progress without a sign of life, kept up to date by bellwether.mark_stalled(). A table of its own, and without a foreign key, because the relay never writes to or locks a row that an application may write.';
COMMENT ON COLUMN bellwether.stalled_operation.operation_id IS 'The operation.';
COMMENT ON COLUMN bellwether.stalled_operation.since IS 'Its last sign of life.';

GRANT USAGE ON SCHEMA bellwether TO PUBLIC;
GRANT SELECT ON bellwether.stalled_operation TO PUBLIC;
