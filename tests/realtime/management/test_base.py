import os
import subprocess
import sys
from pathlib import Path

from realtime.management.base import BROKEN_PIPE

ROOT = Path(__file__).parents[3]


def test_a_command_whose_reader_has_had_enough_ends_without_a_word(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "manage.py"), "schema", "export"]
    try:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, "")
