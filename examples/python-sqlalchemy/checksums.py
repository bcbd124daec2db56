"""Keeps a list of checksums of a folder up to date, and reports each file through SQLAlchemy models.

    python checksums.py FOLDER LIST

LIST has the format of sha256sum, so `sha256sum --check LIST` in FOLDER verifies it. The database is named by
DATABASE_URL.
"""

import hashlib
import os
import sys
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from models import SyncOperation, SyncOperationError


def read_list(path):
    """What the list has: checksum by name."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}


def write_list(path, checksums):
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(f"{checksums[name]}  {name}\n" for name in sorted(checksums)), encoding="utf-8")
    partial.replace(path)


def names_below(folder):
    names = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sorted(str(name.relative_to(folder)) for name in names)


def update_list(session, folder, list_path):
    known, found = read_list(list_path), {}
    names = names_below(folder)
    gone = sorted(known.keys() - set(names))
    job = SyncOperation(
        operation_type="checksums",
        status="in_progress",
        owner=os.environ.get("USER"),
        source=str(folder),
        total_items=len(names) + len(gone),
        counters={"bytes": 0},
    )
    session.add(job)
    # Others see what is committed, so every file is a transaction of its own.
    session.commit()
    try:
        for name in names:
            job.current_item = name
            job.processed_items += 1
            try:
                content = (folder / name).read_bytes()
            except OSError as error:
                job.failed_items += 1
                job.errors.append(SyncOperationError(item=name, message=error.strerror))
            else:
                found[name] = hashlib.sha256(content).hexdigest()
                job.counters = {"bytes": job.counters["bytes"] + len(content)}
                if name not in known:
                    job.inserted_items += 1
                elif known[name] != found[name]:
                    job.updated_items += 1
                else:
                    job.kept_items += 1
            session.commit()
        write_list(list_path, found)
        job.processed_items += len(gone)
        job.deleted_items = len(gone)
        job.current_item = None
        job.status = "completed"
        session.commit()
    except BaseException as error:
        session.rollback()
        job.status = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
        job.error = str(error) or None
        session.commit()
        raise
    return job


def main():
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_dir() or "DATABASE_URL" not in os.environ:
        sys.exit("usage: DATABASE_URL=postgresql://... checksums.py FOLDER LIST, where FOLDER is a folder")
    _, _, rest = os.environ["DATABASE_URL"].partition("://")
    engine = create_engine(f"postgresql+psycopg://{rest}", connect_args={"application_name": "checksums.py"})
    with Session(engine, expire_on_commit=False) as session:
        job = update_list(session, Path(sys.argv[1]), Path(sys.argv[2]))
        print(f"{job.id}: {job.processed_items} files in {job.duration_seconds} s, {job.failed_items} failed")


if __name__ == "__main__":
    main()
