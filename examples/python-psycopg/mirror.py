"""Mirrors a folder into another one and reports each file to PostgreSQL, with plain INSERT and UPDATE.

    python mirror.py SOURCE TARGET

The database is the one of the environment: DATABASE_URL, or libpq's own PGHOST, PGDATABASE and so on.
"""

import hashlib
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb


class Cancelled(Exception):
    """Somebody has set the job to cancelled."""


class Job:
    """One row of sync_operations."""

    def __init__(self, connection, source, total):
        self.connection = connection
        self.counts = Counter()
        self.kinds = Counter()
        self.id = connection.execute(
            "INSERT INTO sync_operations (operation_type, status, total_items, owner, source, triggered_by)"
            " VALUES ('full_sync', 'in_progress', %s, current_user, %s, 'mirror.py') RETURNING id",
            (total, str(source)),
        ).fetchone()[0]

    def report(self, item, outcome):
        """One more file is dealt with. The database derives progress, rate and the estimated end."""
        self.counts[outcome] += 1
        self.kinds[item.suffix or "none"] += 1
        status = self.connection.execute(
            "UPDATE sync_operations SET current_item = %(item)s, processed_items = %(processed)s,"
            " inserted_items = %(inserted)s, updated_items = %(updated)s, deleted_items = %(deleted)s,"
            " kept_items = %(kept)s, failed_items = %(failed)s, entities_encountered = %(kinds)s"
            " WHERE id = %(id)s RETURNING status",
            {
                "id": self.id,
                "item": printable(item),
                "processed": self.counts.total(),
                "kinds": Jsonb(self.kinds),
                **{name: self.counts[name] for name in ("inserted", "updated", "deleted", "kept", "failed")},
            },
        ).fetchone()[0]
        if status == "cancelled":
            raise Cancelled

    def record_error(self, item, error):
        self.connection.execute(
            "INSERT INTO sync_operation_errors (operation_id, item, message, code) VALUES (%s, %s, %s, %s)",
            (self.id, printable(item), error.strerror or str(error), error.__class__.__name__),
        )

    def end(self, status, error=None):
        self.connection.execute(
            "UPDATE sync_operations SET status = %s, error = %s, current_item = NULL WHERE id = %s",
            (status, error, self.id),
        )


def printable(path):
    """A name that need not be UTF-8, as text that PostgreSQL takes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def files_below(folder):
    """The files below a folder, relative to it. Symbolic links are listed too; they are followed when copied."""
    return {
        Path(parent, name).relative_to(folder)
        for parent, _, names in os.walk(folder)
        for name in names
    }


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def mirror_file(source, target):
    """Makes one target file like its source, and says what that took."""
    known = target.is_file()
    if known and source.stat().st_size == target.stat().st_size and digest(source) == digest(target):
        return "kept"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    shutil.copy2(source, partial)
    partial.replace(target)
    return "updated" if known else "inserted"


def mirror(connection, source, target):
    wanted, present = files_below(source), files_below(target)
    job = Job(connection, source, len(wanted | present))
    try:
        for item in sorted(wanted | present):
            try:
                if item in wanted:
                    outcome = mirror_file(source / item, target / item)
                else:
                    (target / item).unlink()
                    outcome = "deleted"
            except OSError as error:
                job.record_error(item, error)
                outcome = "failed"
            job.report(item, outcome)
    except Cancelled:
        pass  # the row says so already
    except KeyboardInterrupt:
        job.end("cancelled")
        raise
    except Exception as error:
        job.end("failed", str(error))
        raise
    else:
        job.end("completed")
    print(job.id, dict(job.counts))


def main():
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: mirror.py SOURCE TARGET, where SOURCE is a folder")
    conninfo = os.environ.get("DATABASE_URL", "")
    # Every report is a transaction of its own, so that others see it at once.
    with psycopg.connect(conninfo, autocommit=True, application_name="mirror.py") as connection:
        mirror(connection, Path(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
