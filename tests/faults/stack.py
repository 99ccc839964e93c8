"""The parts of the demo as processes of a test's own, each of which it may kill, stop and start when it wants."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from redis import Redis

from project.state import socket_path
from realtime import tether
from realtime.demo import Demo, DemoOptions
from realtime.emulator.clock import EPOCH
from tests.demo import HURRIED, LOCAL, ROOT, free_port, query, sign_in, until

PARTS = ("valkey", "emulator", "worker", "web")
KEPT = TemporaryDirectory(prefix="fleetlight-stacks-")
"""What is the same for every stack, and takes three processes to make."""

WITHIN = 30_000_000
"""Microseconds from an event's publication to its receipt, by which one without a time is recognized."""


class Process:
    """One part: the command and environment that the demo gives it, its log, and its life."""

    def __init__(self, part, log, extra):
        self.part = part
        self.log = log
        self._extra = extra
        self.popen = None

    def start(self, command=None):
        """Start it, or another ``command`` in its place, without waiting for anything."""
        assert self.popen is None or self.popen.poll() is not None, f"{self.part.name} runs"
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                tether.command(os.getpid(), command or self.part.command()),  # a run that is cut off leaves nothing
                cwd=ROOT,
                env={**_inherited(), **self.part.environment(), **self._extra},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self):
        """End it as a crash does."""
        self.popen.kill()
        self.popen.wait()

    def stop(self):
        """End it in order."""
        if self.popen is not None and self.popen.poll() is None:
            self.popen.send_signal(signal.SIGCONT)
            self.popen.terminate()
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    @contextmanager
    def frozen(self):
        """Hold it still, as a machine that swaps does."""
        self.popen.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.popen.send_signal(signal.SIGCONT)

    def said(self):
        return self.log.read_text() if self.log.exists() else ""


class Stack:
    """The whole product on a state folder of its own. Use ``with``.

    ``emulator`` are further arguments of the emulator, ``extra`` further settings of all parts.
    """

    def __init__(self, folder, devices=24, rate=20.0, emulator=(), **extra):
        self.state_dir = Path(folder) / "var"
        self.state_dir.mkdir(parents=True)
        self.database = self.state_dir / "db.sqlite3"
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._extra = {**HURRIED, "LOG_LEVEL": "INFO", **extra}
        self._demo = Demo(self._options(devices, rate))
        self.socket = socket_path(self.state_dir)
        parts = (self._demo.valkey(self.socket), self._demo.emulator(), self._demo.worker(), self._demo.web())
        self._parts = {part.name: Process(part, self._log(part.name), self._extra) for part in parts}
        self.valkey, self.emulator, self.worker, self.web = (self._parts[name] for name in PARTS)
        plain = self.emulator.part.command
        self.emulator.part.command = lambda: [*plain(), *emulator]
        self.transcript = Transcript(self)
        self.accounted = {}

    def __enter__(self):
        self.prepare_database()
        self.collect_files()
        self.valkey.start()
        self.start_emulator()
        self.transcript.start()
        self.start_workers()
        self.web.start()
        until(self.web_is_ready, "the start of the web process")
        return self

    def __exit__(self, *exception):
        self.transcript.stop()
        for name in reversed(PARTS):
            self._parts[name].stop()

    # ── Parts ────────────────────────────────────────────────────────────────────────────────────────────────

    def prepare_database(self):
        """Have the tables and the demo's accounts: the first stack makes them, the others copy."""
        kept = Path(KEPT.name) / "db.sqlite3"
        if kept.exists():
            shutil.copyfile(kept, self.database)
            return
        self.make_database()
        copy_of(self.database, kept)

    def make_database(self):
        """Make the tables and the demo's accounts, as an operator does."""
        self.run_manage("migrate", "--verbosity", "0")
        self.run_manage("shell", "-c", "from dashboard.demo import seed; seed()")

    def collect_files(self):
        """Have the static files collected: by the first stack, and copied by the others."""
        kept = Path(KEPT.name) / "static"
        if not kept.exists():
            self.run_manage("collectstatic", "--noinput", "--verbosity", "0")
            shutil.copytree(self.state_dir / "static", kept)
        else:
            shutil.copytree(kept, self.state_dir / "static")

    def start_workers(self):
        self.worker.start()

    def run_manage(self, *arguments):
        """Run a command on the site and return what it wrote. It knows AppSync's addresses once there are any."""
        site = self._demo._environment() if self._demo._endpoints else self._demo._site()
        process = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**_inherited(), **site, **self._extra},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    def start_emulator(self):
        """Start it where it was; it goes on with the world that it kept."""
        before = self.emulator.said().count('{"events_url"')
        self.emulator.start()
        until(lambda: self.emulator.said().count('{"events_url"') > before, "the emulator's start")
        line = [line for line in self.emulator.said().splitlines() if line.startswith('{"events_url"')][-1]
        self._demo._read_ready_line(line)
        self.urls = json.loads(line)
        self.control_url = self.urls["control_url"]

    def web_is_ready(self):
        try:
            return LOCAL.get(f"{self.address}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def valkey_client(self):
        return Redis.from_url(f"unix://{self.socket}", decode_responses=True)

    # ── The source ───────────────────────────────────────────────────────────────────────────────────────────

    def control(self, what, body=None, method=None):
        method = method or ("GET" if body is None else "POST")
        answer = LOCAL.request(method, f"{self.control_url}/{what}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, kind, **about):
        return self.control("faults", {"kind": kind, **about})

    def clear_faults(self):
        self.control("faults", method="DELETE")

    def operate(self, op, **about):
        """Change the source's world, or its pace."""
        return self.control("world", {"op": op, **about})

    @contextmanager
    def at_rest(self):
        """Let the source make no changes of its own meanwhile."""
        self.operate("pause")
        try:
            yield
        finally:
            self.operate("resume")

    def truth(self, sub):
        return self.control("world")["users"][sub]

    # ── What is kept ─────────────────────────────────────────────────────────────────────────────────────────

    def query(self, statement, *parameters):
        return query(self.database, statement, *parameters)

    def open_gaps(self, sub=None):
        rows = self.query(
            "SELECT link.subject, gap.* FROM realtime_gap AS gap JOIN realtime_link AS link ON link.id = gap.link_id "
            "WHERE gap.outcome = 'open'"
        )
        return [row for row in rows if sub in (None, row["subject"])]

    def link(self, sub):
        rows = self.query("SELECT * FROM realtime_link WHERE subject = ?", sub)
        return rows[0] if rows else None

    def is_live(self, sub):
        link = self.link(sub)
        return link is not None and bool(link["live"]) and not self.open_gaps(sub)

    def sign_in(self, username):
        """Lend a client that is signed in, as a browser would be."""
        return sign_in(self.address, username)

    def _options(self, devices, rate):
        return DemoOptions(
            host="127.0.0.1",
            port=self.port,
            devices=devices,
            rate=rate,
            state_dir=self.state_dir,
            manage=ROOT / "manage.py",
            secret_key="a secret of tests, and of tests alone, of fifty letters",
            token_key="dGVzdHMgb25seTogbm8gc2VjcmV0IGF0IGFsbC4uLi4=",
        )

    def _log(self, name):
        return self.state_dir.parent / f"{name}.log"


class Transcript(threading.Thread):
    """Keeps every event that the source published, also those before it was killed (but for its last moment)."""

    def __init__(self, stack):
        super().__init__(daemon=True)
        self._stack = stack
        self._ended = threading.Event()
        self.published = {}

    def run(self):
        since = 0
        while not self._ended.wait(0.1):
            since = self._read(since)

    def _read(self, since):
        try:
            page = self._stack.control(f"transcript?since={since}&kind=published")
        except (httpx.TransportError, AssertionError):
            return 0  # it was killed: its numbers begin anew
        for record in page["records"]:
            if record.get("sub"):
                self.published[record["us"], record["channel"], record["event"]] = record
        return page["next"]

    def stop(self):
        self._ended.set()
        self.join()


def unaccounted(stack, subs):
    """Return the published events of these people that have neither an entry nor lie in a window of the ledger.

    The account begins with the window that was opened first. A later one may begin before it: two seconds before the
    last frame of a connection that heard nothing since it began.
    """
    lost = []
    for sub in subs:
        link = stack.link(sub)
        gaps = stack.query("SELECT * FROM realtime_gap WHERE link_id = ? ORDER BY id", link["id"])
        entries = stack.query("SELECT key, body FROM realtime_feedentry WHERE topic_id = ?", f"user.{link['user_id']}")
        heard = Heard(entries)
        for record in list(stack.transcript.published.values()):
            if record["sub"] != sub or record["us"] < max(gaps[0]["started_at"], stack.accounted.get(sub, 0)):
                continue
            if record not in heard and not _in_window(record, gaps):
                lost.append(record)
    return lost


class Heard:
    """The published events that have an entry: found by the source's time, or by entity and time of receipt."""

    def __init__(self, entries):
        self._times, self._unstamped = set(), []
        for entry in entries:
            at = json.loads(entry["body"])["at"]
            if at["source"] is None:
                self._unstamped.append((entry["key"], at["received"]))
            else:
                self._times.add(at["source"])

    def __contains__(self, record):
        event = json.loads(record["event"])
        if "timestamp" in event:
            moment = datetime.fromisoformat(event["timestamp"])
            if round((moment - EPOCH).total_seconds() * 1_000_000) in self._times:
                return True
        # What came over GraphQL has no time of its source either.
        name = next(event[name] for name in ("archiveId", "deviceId", "userId", "orgId") if name in event)
        return any(
            key.endswith(f"/{name}") and 0 <= received - record["us"] < WITHIN for key, received in self._unstamped
        )


def _in_window(record, gaps):
    feed = record["channel"].split("/", 4)[-1]
    return any(
        gap["feed"] in ("", feed) and gap["started_at"] <= record["us"] <= (gap["closed_at"] or record["us"])
        for gap in gaps
    )


def _inherited():
    dropped = ("DJANGO_SETTINGS_MODULE", "PYTHONASYNCIODEBUG", "STATE_DIR", "DATABASE_URL", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if name not in dropped} | {"ENV_FILE": os.devnull}


def swap(path, other):
    """Put another database in the place of one, as a restore does."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(other, path)


def copy_of(database, to):
    """A copy as a backup makes it, whole although it is written to meanwhile."""
    with sqlite3.connect(database) as source, sqlite3.connect(to) as target:
        source.backup(target)
    source.close()
    target.close()
    return to
