import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from realtime.management import arguments

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (arguments.port, "0", 0),
        (arguments.port, "65535", 65535),
        (arguments.place, "127.0.0.1:9101", ("127.0.0.1", 9101)),
        (arguments.place, "[::1]:9101", ("[::1]", 9101)),
        (arguments.count, "240", 240),
        (arguments.rate, "0.5", 0.5),
    ],
)
def test_what_is_meant_is_taken(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((arguments.port, text) for text in ("", "x", "-1", "65536", "8.0", "\u0661")),
        *((arguments.place, text) for text in ("", "9101", ":9101", "host", "host:", "host:99999")),
        *((arguments.count, text) for text in ("", "-1", "1.5", "many")),
        *((arguments.rate, text) for text in ("", "-0.1", "nan", "inf", "fast")),
    ],
)
def test_what_cannot_be_meant_is_refused(kind, text):
    with pytest.raises(argparse.ArgumentTypeError):
        kind(text)


@pytest.mark.parametrize(
    "line",
    [
        "demo --devices -1", "demo --rate inf", "demo --port x", "serve --port 99999", "emulator --port 99999",
        "emulator --tls-cert none.pem", "upstream --metrics 127.0.0.1:99999",
    ],
)  # fmt: skip
def test_bad_use_of_a_command_is_told_in_a_line_and_ends_with_2(line, tmp_path):
    command = [sys.executable, str(ROOT / "manage.py"), *line.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert line.split()[1] in done.stderr.splitlines()[-1]
