import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo import LOCAL

ROOT = Path(__file__).parents[4]
DEADLINE = 30


def manage(*arguments):
    """Run a command as a person would; its output, lines of JSON parsed, and its status."""
    command = [sys.executable, str(ROOT / "manage.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    done.rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done


@pytest.fixture(scope="module")
def appsync():
    """The addresses of an emulator whose fleet stands still."""
    command = [sys.executable, str(ROOT / "manage.py"), "emulator", "--fleet", "6", "--rate", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@pytest.fixture
def token(appsync):
    def give(sub):
        return LOCAL.post(appsync["token_url"], json={"sub": sub}).json()["id_token"]

    return give
