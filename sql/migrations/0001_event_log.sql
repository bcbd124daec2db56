-- The event log and everything else that is the relay's own. The log is the truth: a trigger writes one row for
-- each change in the writer's own transaction, and NOTIFY carries nothing; it only says "look".

CREATE SEQUENCE bellwether.event_id;
COMMENT ON SEQUENCE bellwether.event_id IS
    'The ids of events. Without a cache: two changes of one row must get their ids in the order of its row lock.';
-- An update of sync_operations draws its id while the row is locked, with the writer's own rights.
GRANT USAGE ON SEQUENCE bellwether.event_id TO PUBLIC;

CREATE SEQUENCE bellwether.event_slot MINVALUE 0;
SELECT pg_catalog.setval('bellwether.event_slot', 0);
COMMENT ON SEQUENCE bellwether.event_slot IS
    'Its last value, modulo 4, is the slot that writers write to. A sequence, since it is not MVCC: no writer goes on filling a slot that others have left.';

-- A row of sync_operations as an event keeps it: as it lies in the table, so that a writer need not turn it into JSON, which
-- would be a fifth of what a report costs and three times as large. Not the row type of the table itself: a table whose
-- row type is stored in another refuses most of ALTER TABLE, a new column with a default for one.
CREATE TYPE bellwether.operation AS (
    id                      uuid,
    operation_type          text,
    status                  text,
    progress                numeric,
    message                 text,
    current_item            text,
    total_items             bigint,
    processed_items         bigint,
    failed_items            bigint,
    inserted_items          bigint,
    updated_items           bigint,
    deleted_items           bigint,
    kept_items              bigint,
    skipped_items           bigint,
    entities_encountered    jsonb,
    counters                jsonb,
    owner                   text,
    source                  text,
    triggered_by            text,
    created_at              timestamptz,
    started_at              timestamptz,
    updated_at              timestamptz,
    heartbeat_at            timestamptz,
    progressed_at           timestamptz,
    completed_at            timestamptz,
    duration_seconds        numeric,
    items_per_second        real,
    estimated_completion_at timestamptz,
    error                   text,
    metadata                jsonb,
    performance_data        jsonb,
    revision                bigint,
    event_id                bigint,
    changed_from            jsonb
);
COMMENT ON TYPE bellwether.operation IS
    'A row of sync_operations as an event keeps it. Its attributes are the columns that the table was made with.';

-- Four slots, of which one is written to. Trimming truncates the oldest one, which nobody writes to any more: it leaves
-- no dead rows, needs no vacuum, and takes no lock that a writer could meet. The four exist for good, so that no write
-- fails because a partition is missing. Routing a row to its slot costs a writer 2 % of the instructions of a small update;
-- deleting rows one by one, and vacuuming after that, costs several times as much.
CREATE TABLE bellwether.event (
    id         bigint      NOT NULL DEFAULT pg_catalog.nextval('bellwether.event_id'),
    xid        xid8        NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    at         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    revision   bigint      NOT NULL,
    slot       smallint    NOT NULL DEFAULT pg_catalog.pg_sequence_last_value('bellwether.event_slot') & 3,
    topic      text        NOT NULL,
    type       text        NOT NULL,
    entity     text        NOT NULL,
    changed_from jsonb,
    operation  bellwether.operation,
    payload    json
) PARTITION BY LIST (slot);
ALTER SEQUENCE bellwether.event_id OWNED BY bellwether.event.id;

-- Nothing of ours is ever updated or deleted in a slot, so there is next to nothing to vacuum; statistics are still gathered.
CREATE TABLE bellwether.event_0 PARTITION OF bellwether.event FOR VALUES IN (0) WITH (autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE bellwether.event_1 PARTITION OF bellwether.event FOR VALUES IN (1) WITH (autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE bellwether.event_2 PARTITION OF bellwether.event FOR VALUES IN (2) WITH (autovacuum_vacuum_insert_threshold = -1);
CREATE TABLE bellwether.event_3 PARTITION OF bellwether.event FOR VALUES IN (3) WITH (autovacuum_vacuum_insert_threshold = -1);
COMMENT ON TABLE bellwether.event_0 IS 'A slot of the event log; see bellwether.event and bellwether.trim_log().';
COMMENT ON TABLE bellwether.event_1 IS 'A slot of the event log; see bellwether.event and bellwether.trim_log().';
COMMENT ON TABLE bellwether.event_2 IS 'A slot of the event log; see bellwether.event and bellwether.trim_log().';
COMMENT ON TABLE bellwether.event_3 IS 'A slot of the event log; see bellwether.event and bellwether.trim_log().';

-- The one index that reading needs: a reader is owed the rows from a transaction id upwards. There is deliberately
-- no primary key and no index on id or entity: the writer would pay for each of them.
CREATE INDEX event_is_found_by_transaction ON bellwether.event (xid);

-- A log with foreign transaction ids (a restored dump) is emptied by DELETE, which would fail without an identity wherever
-- a publication FOR ALL TABLES exists.
ALTER TABLE bellwether.event_0 REPLICA IDENTITY FULL;
ALTER TABLE bellwether.event_1 REPLICA IDENTITY FULL;
ALTER TABLE bellwether.event_2 REPLICA IDENTITY FULL;
ALTER TABLE bellwether.event_3 REPLICA IDENTITY FULL;

COMMENT ON TABLE bellwether.event IS
    'The event log: one row for each change of a user table, written by triggers in the writer''s own transaction. Readers must not use "id > last seen": ids are handed out before commit and commits land out of order. A cursor is a pg_snapshot; see docs/architecture.md.';
COMMENT ON COLUMN bellwether.event.id IS
    'Order within one interval of the log. Two changes of one row are serialised by its row lock, so their ids are in order.';
COMMENT ON COLUMN bellwether.event.xid IS
    'The top-level transaction that made the change: what a cursor (a pg_snapshot) is compared with.';
COMMENT ON COLUMN bellwether.event.at IS
    'When the change was made (the clock while the statement ran, not the commit).';
COMMENT ON COLUMN bellwether.event.revision IS
    'The revision of the row after the change; on delete the last revision + 1; 0 where the event is about a whole table. Per-entity order is the order of revision.';
COMMENT ON COLUMN bellwether.event.slot IS
    'Which of the four parts of the log the event is in; says nothing about order.';
COMMENT ON COLUMN bellwether.event.topic IS
    'What subscribers choose by: operations, errors, connections or health.';
COMMENT ON COLUMN bellwether.event.type IS
    'What happened, for example operation.progress; docs/protocol.md lists all types.';
COMMENT ON COLUMN bellwether.event.entity IS
    'The row that changed: the operation''s id (for errors too), the client id of a connection, the id of a health snapshot, or the name of a truncated table.';
COMMENT ON COLUMN bellwether.event.changed_from IS
    'What the change moved of status, owner, operation_type and source, with the values before it: {"status": "pending"}; null where it moved none of them. It lets a filtered subscriber learn that a row has left its filter.';
COMMENT ON COLUMN bellwether.event.operation IS
    'The row of sync_operations after the change; (operation).progress is one column of it, bellwether.row_in_utc(operation) what subscribers get. Null where the row is in payload.';
COMMENT ON COLUMN bellwether.event.payload IS
    'The row after the change, on delete the row before it, as JSON. Null where it is in operation.';

CREATE TABLE bellwether.log (
    only_row          boolean PRIMARY KEY DEFAULT true,
    id                uuid    NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    system_identifier bigint  NOT NULL,
    trimmed_through   xid8    NOT NULL DEFAULT '0',
    CONSTRAINT log_has_only_one_row CHECK (only_row)
);
COMMENT ON TABLE bellwether.log IS
    'What the event log is: its identity and how far it has been trimmed. One row.';
COMMENT ON COLUMN bellwether.log.only_row IS 'Always true; keeps the table to one row.';
COMMENT ON COLUMN bellwether.log.id IS
    'Made when the log was created or emptied for good; part of the epoch that every cursor carries.';
COMMENT ON COLUMN bellwether.log.system_identifier IS
    'The cluster that the transaction ids in the log belong to. A dump restored into another cluster carries foreign ones: the relay then empties the log and gives it a new id before serving.';
COMMENT ON COLUMN bellwether.log.trimmed_through IS
    'No event with this transaction id or a lower one is kept any more. Set in the transaction that truncates; readers check it after reading.';
INSERT INTO bellwether.log (system_identifier) SELECT system_identifier FROM pg_catalog.pg_control_system();

CREATE TABLE bellwether.timeline (
    timeline text        PRIMARY KEY,
    epoch    uuid        NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    seen_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE bellwether.timeline IS
    'A random name for each timeline of the cluster''s WAL that a relay has met. After a failover transaction ids are handed out again; two standbys may both be promoted to the same timeline number, so the number alone names nothing.';
COMMENT ON COLUMN bellwether.timeline.timeline IS
    'The timeline: the first 8 hex digits of pg_walfile_name(pg_current_wal_lsn()).';
COMMENT ON COLUMN bellwether.timeline.epoch IS 'Its random name, part of the epoch that every cursor carries.';
COMMENT ON COLUMN bellwether.timeline.seen_at IS 'When a relay first met it.';

CREATE TABLE bellwether.relay (
    id         uuid        PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    seen_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    host       text        NOT NULL,
    version    text        NOT NULL
);
COMMENT ON TABLE bellwether.relay IS
    'The relays that are alive: each one writes its own row every few seconds. When a row grows old, the connections that this relay had recorded are marked disconnected by any other relay, and the row is deleted.';
COMMENT ON COLUMN bellwether.relay.id IS 'Made by the relay when it starts.';
COMMENT ON COLUMN bellwether.relay.started_at IS 'When the relay started.';
COMMENT ON COLUMN bellwether.relay.seen_at IS 'The relay''s last sign of life.';
COMMENT ON COLUMN bellwether.relay.host IS 'The machine it runs on, and its process id.';
COMMENT ON COLUMN bellwether.relay.version IS 'Its version.';

CREATE SEQUENCE bellwether.lease MINVALUE 0 START WITH 0;
COMMENT ON SEQUENCE bellwether.lease IS
    'The doorbell lease: until when relays promise to look often, in milliseconds since 1970 by the database''s clock. While it runs, writers do not ring, so their commits do not queue for NOTIFY''s lock. A sequence, since it is not MVCC: every transaction sees its present value. With 1,024 or more to go it counts as run out (clocks jump).';
