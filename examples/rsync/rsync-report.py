#!/usr/bin/env python3
"""Runs rsync and reports to PostgreSQL how far it is, through psql: nothing to install but rsync and psql.

    rsync-report.py SOURCE TARGET [option of rsync ...]

The database is the one of the environment: DATABASE_URL, or libpq's own PGHOST, PGDATABASE and so on.
"""

import os
import re
import selectors
import signal
import subprocess
import sys

# "    1,238,099  42%  146.38kB/s    0:00:08 (xfr#5, to-chk=169/396)"; the part in brackets only between files
PROGRESS = re.compile(rb"\s*[\d,.]+\w?\s+(\d+)%\s+\S+\s+[\d:]+(?:\s+\(xfr#\d+, (?:to|ir)-chk=(\d+)/(\d+)\))?")
# "item >f+++++++++ notes/a.txt", as --out-format below has it
ITEM = re.compile(rb"item (\S+) +(.*)")
QUOTED = re.compile(rb'"([^"]+)"')


class Psql:
    """A psql that is fed statements, one after the other, and answers with single values."""

    def __init__(self):
        command = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
        if "DATABASE_URL" in os.environ:
            command += ["--dbname", os.environ["DATABASE_URL"]]
        environment = os.environ | {"PGAPPNAME": "rsync-report", "PGCLIENTENCODING": "UTF8"}
        # A session of its own: Ctrl-C is not for it.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )

    def ask(self, statement):
        """Runs a statement and returns the first line of its answer: it is done when this returns."""
        self.process.stdin.write(f"{statement};\n\\echo done\n".encode())
        self.process.stdin.flush()
        answer = []
        for line in self.process.stdout:
            if line == b"done\n":
                return answer[0] if answer else None
            answer.append(line.decode().rstrip("\n"))
        sys.exit("psql has ended; see its message above")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def printable(value):
    """The bytes of a name, which need not be UTF-8, as text."""
    return value.decode("utf-8", "backslashreplace")


def literal(value):
    """A value as SQL text. Names of files can be anything, but hold no zero byte."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        value = printable(value)
    # The leading E makes a backslash mean the same whatever standard_conforming_strings says.
    return "E'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


class Report:
    """What rsync has said so far, and its row in sync_operations."""

    def __init__(self, database, source, target):
        self.database = database
        self.state = {}
        self.counts = {"inserted_items": 0, "updated_items": 0, "deleted_items": 0, "failed_items": 0}
        self.done = self.total = None
        self.error = None
        self.id = database.ask(
            "SELECT create_sync_operation('rsync', owner => current_user, triggered_by => 'rsync-report',"
            f" source => {literal(source)}, metadata => jsonb_build_object('target', {literal(target)}))"
        )

    def hear(self, line):
        """One line of rsync's output."""
        if not (item := ITEM.fullmatch(line)):
            self.hear_progress(line)
            return
        change, name = item.groups()
        self.state["current_item"] = name
        if change.startswith(b"*deleting"):
            self.counts["deleted_items"] += 1
        elif change[1:2] in (b"f", b"L") and change[2:3] == b"+":
            self.counts["inserted_items"] += 1
        elif change[1:2] in (b"f", b"L") and change[:1] != b".":
            self.counts["updated_items"] += 1

    def hear_progress(self, line):
        """What rsync writes over and over on one line."""
        if progress := PROGRESS.match(line):
            percent, left, total = progress.groups()
            self.state["progress"] = int(percent)
            if total:
                self.done, self.total = int(total) - int(left), int(total)

    def hear_complaint(self, line):
        """One line of rsync's errors: about one file, or the last one, about the whole."""
        print(printable(line), file=sys.stderr)
        if line.startswith(b"rsync error: "):
            self.error = self.error or line
        elif line and not line.startswith(b"rsync warning: "):
            self.counts["failed_items"] += 1
            name = QUOTED.search(line)
            self.database.ask(
                f"SELECT record_sync_error({literal(self.id)}, {literal(line)}, item => {literal(name and name[1])})"
            )

    def send(self):
        values = self.state | self.counts
        if self.total is not None:
            # rsync does not count what it cannot read.
            values["total_items"] = self.total + self.counts["failed_items"]
            values["processed_items"] = self.done + self.counts["failed_items"]
            if self.done == self.total:
                values["progress"] = 100  # rsync's percent leaves out what was there already
        settings = ", ".join(f"{column} => {literal(value)}" for column, value in values.items())
        self.database.ask(f"SELECT id FROM update_sync_progress({literal(self.id)}, {settings})")

    def end(self, code):
        status = {0: "completed", 20: "cancelled"}.get(code, "failed")
        self.database.ask(f"SELECT id FROM complete_sync_operation({literal(self.id)}, '{status}', error => {literal(self.error)})")


def follow(rsync, report):
    """Reports what comes whenever something comes. Both pipes are read, or rsync would wait for the one that is not."""
    hearers = {rsync.stdout: report.hear, rsync.stderr: report.hear_complaint}
    rest = dict.fromkeys(hearers, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in hearers:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                pipe = key.fileobj
                chunk = os.read(pipe.fileno(), 65536)
                *lines, rest[pipe] = re.split(rb"[\r\n]+", rest[pipe] + chunk)
                if not chunk:
                    selector.unregister(pipe)
                    lines.append(rest[pipe])
                for line in filter(None, lines):
                    hearers[pipe](line)
            report.hear_progress(rest[rsync.stdout])
            report.send()


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: rsync-report.py SOURCE TARGET [option of rsync ...]")
    source, target, *options = sys.argv[1:]
    database = Psql()
    report = Report(database, source, target)
    rsync = subprocess.Popen(
        ["rsync", "--archive", "--no-inc-recursive", "--info=progress2", "--outbuf=L"]
        + ["--8-bit-output", "--out-format=item %i %n"]
        + options
        + ["--", source, target],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"LC_ALL": "C"},
    )
    # A request to stop is rsync's to obey; what it says then, and its exit code, are reported like any other end.
    for request in (signal.SIGINT, signal.SIGTERM):
        signal.signal(request, lambda number, _: rsync.send_signal(number))
    follow(rsync, report)
    code = rsync.wait()
    report.end(code)
    database.close()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
