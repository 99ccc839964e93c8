"""`manage.py fault` on the running demo."""

import json
import os
import subprocess
import sys

import pytest

from tests.demo import ROOT

pytestmark = pytest.mark.faults


def fault(state_dir, *arguments):
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    return subprocess.run(
        [sys.executable, "manage.py", "fault", *arguments],
        cwd=ROOT,
        env={**inherited, "ENV_FILE": os.devnull, "STATE_DIR": str(state_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def play(demo):
    """Play a fault on the demo, and clear all of them afterwards."""
    yield lambda *arguments: fault(demo.state_dir, *arguments)
    fault(demo.state_dir, "clear")


def test_a_fault_stands_until_it_is_cleared(play):
    played = play("refuse", "--user", "viewer", "--status", "503", "--for", "60")
    assert played.returncode == 0, played.stderr
    assert "refuse user=viewer" in play("list").stdout
    assert play("clear").returncode == 0
    assert "no fault stands" in play("list").stdout


def test_what_is_denied_for_good_can_be_played(play):
    denied = ("--channel", "roleChanged", "--error-type", "UnauthorizedException", "--message", "Not for you")
    played = play("subscribe-error", *denied)
    assert played.returncode == 0, played.stderr
    said = "subscribe-error channel=roleChanged errorType=UnauthorizedException message=Not for you\n"
    assert play("list").stdout == said


def test_programs_get_one_json_object(play):
    answer = json.loads(play("late-ack", "--delay", "50", "--count", "1", "--json").stdout)
    assert answer["faults"][0]["delay"] == 50


def test_an_unknown_fault_is_bad_use(play):
    played = play("explode")
    assert played.returncode == 2
    assert "invalid choice: 'explode'" in played.stderr


def test_without_a_demo_it_says_how_to_start_one(tmp_path):
    played = fault(tmp_path, "drop")
    assert played.returncode == 1
    assert "make demo" in played.stderr
