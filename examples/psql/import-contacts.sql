-- Imports contacts from a CSV file (columns email, name) into the table contacts, with psql alone:
--
--   psql "$DATABASE_URL" -f import-contacts.sql < contacts.csv
--
-- Lines go in by batches. Each batch is one statement that writes contacts and progress together, so the counts are
-- never ahead of the data, nor behind it.
\set ON_ERROR_STOP on
\if :{?batch}
\else
    \set batch 100
\endif

CREATE TABLE IF NOT EXISTS contacts (email text PRIMARY KEY, name text NOT NULL);
CREATE TEMPORARY TABLE line (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, name text, problem text);

INSERT INTO sync_operations (operation_type, status, owner, source, triggered_by, message)
VALUES ('contacts', 'in_progress', current_user, 'csv', 'psql', 'reading the file')
RETURNING id AS operation \gset

-- Until it has been read, the total is unknown. psql does not say whether a COPY has failed; what comes after it in the
-- same transaction does.
\set ON_ERROR_STOP off
BEGIN;
\copy line (email, name) FROM pstdin WITH (FORMAT csv, HEADER)
SELECT 1 AS readable \gset
\if :ERROR
    ROLLBACK;
    UPDATE sync_operations SET status = 'failed', error = 'the file cannot be read as CSV' WHERE id = :'operation';
    \set ON_ERROR_STOP on
    DO $$ BEGIN RAISE EXCEPTION 'the file cannot be read as CSV'; END $$;
\endif
COMMIT;
\set ON_ERROR_STOP on

UPDATE line SET problem = CASE
    WHEN email IS NULL OR email NOT LIKE '_%@%_' THEN 'no e-mail address'
    WHEN name IS NULL THEN 'no name'
    WHEN EXISTS (SELECT FROM line later WHERE later.email = line.email AND later.number > line.number) THEN 'comes again'
END;
UPDATE sync_operations SET total_items = (SELECT count(*) FROM line), message = 'importing' WHERE id = :'operation';

-- psql runs each line of this query's result as a statement of its own, and so as a transaction of its own.
SELECT format($$
    WITH batch AS (
        SELECT * FROM line WHERE number BETWEEN %1$s AND %2$s
    ), written AS (
        INSERT INTO contacts AS known (email, name) SELECT email, name FROM batch WHERE problem IS NULL
        ON CONFLICT (email) DO UPDATE SET name = excluded.name WHERE known.name <> excluded.name
        RETURNING xmax = 0 AS is_new
    ), refused AS (
        INSERT INTO sync_operation_errors (operation_id, item, message, details)
        SELECT %3$L, 'line ' || number + 1, problem, jsonb_build_object('email', email, 'name', name)
        FROM batch WHERE problem <> 'comes again'
        RETURNING 1
    ), counted AS (
        SELECT (SELECT count(*) FROM batch) AS lines,
               (SELECT count(*) FROM batch WHERE problem IS NULL) AS good,
               (SELECT count(*) FROM batch WHERE problem = 'comes again') AS skipped,
               (SELECT count(*) FROM refused) AS failed,
               (SELECT count(*) FROM written WHERE is_new) AS inserted,
               (SELECT count(*) FROM written WHERE NOT is_new) AS updated
    )
    UPDATE sync_operations SET
        processed_items = processed_items + lines, failed_items = failed_items + failed, skipped_items = skipped_items + skipped,
        inserted_items = inserted_items + inserted, updated_items = updated_items + updated,
        kept_items = kept_items + good - inserted - updated, current_item = 'line ' || %2$s + 1
    FROM counted WHERE id = %3$L$$, first, least(first + :batch - 1, last), :'operation')
FROM (SELECT max(number) AS last FROM line) AS file, generate_series(1, last, :batch) AS first \gexec

UPDATE sync_operations SET status = 'completed', message = 'imported' WHERE id = :'operation'
RETURNING processed_items AS lines, inserted_items AS new, updated_items AS changed, kept_items AS unchanged,
          skipped_items AS skipped, failed_items AS refused, duration_seconds AS seconds;
