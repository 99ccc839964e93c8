"""``python -m tests.on_postgres PYTEST-ARGUMENT…``: run tests on a private PostgreSQL instead of SQLite.

It needs PostgreSQL's programs (`initdb`, `postgres`) and makes a cluster of its own in a temporary folder, on a free
port of this machine. PostgreSQL refuses to be run by root: then the account `postgres` runs it.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from tests.demo import free_port

DEADLINE = 30
LOGIN = "fleetlight"


def main(*arguments):
    if missing := absent():
        sys.exit(missing)
    with cluster() as address:
        environment = {**os.environ, "DATABASE_URL": address}
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment).returncode


def absent():
    """Return why no cluster can be made here, or nothing."""
    missing = [program for program in ("initdb", "postgres", "pg_isready") if shutil.which(program) is None]
    return f"{', '.join(missing)} not found: install PostgreSQL and put its programs on PATH" if missing else ""


@contextmanager
def cluster():
    """Lend a running cluster: its address as `DATABASE_URL` spells it."""
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="fleetlight-postgres-"))
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    who = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid}
    quiet = {"stdout": subprocess.DEVNULL, "cwd": folder, **who}
    subprocess.run(["initdb", "-D", folder / "data", "-U", LOGIN, "-A", "trust", "--no-sync"], check=True, **quiet)
    port = str(free_port())
    options = ["-k", folder, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    server = subprocess.Popen(["postgres", "-D", folder / "data", *options], stderr=subprocess.DEVNULL, **quiet)
    try:
        _wait(port)
        yield f"postgres://{LOGIN}@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(DEADLINE)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port):
    deadline = time.monotonic() + DEADLINE
    while subprocess.run(["pg_isready", "-q", "-h", "127.0.0.1", "-p", port]).returncode:
        assert time.monotonic() < deadline, "PostgreSQL did not start"
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
