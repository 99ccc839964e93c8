"""The settings of the tests: a site of its own in a temporary folder, whatever the developer's `.env` says."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

state = Path(tempfile.mkdtemp(prefix="fleetlight-tests-"))
atexit.register(shutil.rmtree, state, ignore_errors=True)
os.environ.update(ENV_FILE=os.devnull, STATE_DIR=str(state), LOG_LEVEL="WARNING")

from project.settings import *  # noqa: E402, F403
from project.settings import DATABASES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file: threads and transactions then behave as in production. No test cuts the power, so no fsync.
    DATABASES["default"]["TEST"] = {"NAME": state / "test.sqlite3"}
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
else:
    # Threads that a test leaves behind would keep the pool's connections.
    DATABASES["default"]["OPTIONS"].pop("pool")
