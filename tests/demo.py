"""The demo as a person starts it, under a test's control."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx

from realtime.tether import PARENT_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 60
PASSWORD = "fleetlight"
HURRIED = {"UPSTREAM_SETTLE_SECONDS": "0.3", "UPSTREAM_STABLE_SECONDS": "1"}
"""The emulator is live when it says so. A connection that held for a second is believed: the faults of several tests
are not one series of failures.
"""


LOCAL = httpx.Client(
    trust_env=False,
    verify=False,
    timeout=10,
    limits=httpx.Limits(max_keepalive_connections=0),
    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
)
"""Asks what runs on this machine, unencrypted. A client of its own for each request would read all certificates anew:
twenty times the work, by those who ask ten times a second. It keeps no cookie, and no connection: tests kill servers.
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what, deadline=DEADLINE):
    """Wait for `condition()` to be true, and return what it returned."""
    end = time.monotonic() + deadline
    while not (result := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {deadline} s"
        time.sleep(0.05)
    return result


def runs(pid):
    """Tell whether the process runs. One that ended may stay listed as a zombie until it is waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def query(database, statement, *parameters):
    """Read what is kept, without a process of its own for it: those who wait for something ask often."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute(statement, parameters).fetchall()
    connection.close()
    return rows


class DemoProcess:
    """One run of `manage.py demo` on a state folder of its own."""

    def __init__(self, state_dir, *arguments, port=None):
        self.state_dir = Path(state_dir)
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._log = self.state_dir.parent / f"{self.state_dir.name}.log"
        self._process = None

    def start(self):
        """Start it, without waiting for anything."""
        inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--port", str(self.port), *self._arguments],
                cwd=ROOT,
                env={
                    **inherited,
                    "ENV_FILE": os.devnull,
                    **HURRIED,
                    "STATE_DIR": str(self.state_dir),
                    PARENT_VARIABLE: str(os.getpid()),  # a run of the tests that is cut off leaves nothing either
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def start_and_wait(self):
        """Start it and wait until it says that it is ready to use."""
        starts = self.said().count("Fleetlight is ready")
        self.start()
        until(lambda: self.said().count("Fleetlight is ready") > starts or self.ended, "the demo's start")
        assert not self.ended, self.said()
        return self

    def said(self):
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self):
        return self._process.pid

    @property
    def ended(self):
        return self._process.poll() is not None

    @property
    def record(self):
        return json.loads((self.state_dir / "demo.json").read_text())

    @property
    def parts(self):
        return self.record["parts"]

    def query(self, statement, *parameters):
        return query(self.state_dir / "db.sqlite3", statement, *parameters)

    def interrupt(self):
        """Press Ctrl-C and return the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(DEADLINE)

    def kill(self):
        """End the supervisor as a crash does."""
        self._process.kill()
        self._process.wait()

    def kill_part(self, name):
        """Kill a part and wait until it runs again under another process id."""
        before = self.parts[name]
        os.kill(before, signal.SIGKILL)
        until(lambda: self.parts[name] not in (None, before), f"the restart of {name}")

    def stop(self):
        if self._process is not None and not self.ended:
            self.interrupt()

    def sign_in(self, username):
        """Lend a client that is signed in, as a browser would be."""
        return sign_in(self.address, username)


def look_at(client, org_id):
    """Make an organisation the active one of the person signed in, once it is known to be one of theirs.

    Before anybody chose, it is the one that was heard of first.
    """
    entities = until(lambda: _entities_of_member(client, org_id), f"the membership of {org_id}")
    if entities["view/self"]["organization"][0] != org_id:
        form = client.get("/")
        fields = {"csrfmiddlewaretoken": _token(form), "organization": org_id}
        assert client.post("/organization/active/", data=fields, headers={"Referer": str(form.url)}).is_success


def _entities_of_member(client, org_id):
    entities = client.get("/live/snapshot/").json()["entities"]
    return entities if any(key.startswith(f"member/{org_id}/") for key in entities) else None


def _token(form):
    return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text).group(1)


@contextmanager
def sign_in(address, username):
    """Lend a client that is signed in at this address, as a browser would be."""
    with httpx.Client(base_url=address, follow_redirects=True, timeout=DEADLINE, verify=False) as client:
        form = client.get("/")
        answer = client.post(
            str(form.url),
            data={"csrfmiddlewaretoken": _token(form), "username": username, "password": PASSWORD},
            headers={"Referer": str(form.url)},
        )
        assert answer.url.path == "/", answer.text
        yield client
