"""No process outlives the supervisor that started it, however that one ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from realtime import tether

DEADLINE = 10
SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
# Starts its arguments as a child, tells the child's process id, and waits.
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), *sys.argv[2:]])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def parent():
    """A process that has a tethered child, and that child's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, tether.__file__, *SLEEPER], stdout=subprocess.PIPE, text=True
    )
    pid = int(process.stdout.readline())
    assert process.stdout.readline() == "up\n"
    yield process, pid
    process.kill()
    process.communicate()


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
def test_a_killed_parent_takes_its_child_along(parent):
    process, child = parent
    assert _runs(child)
    process.kill()
    process.wait()
    _until(lambda: not _runs(child))


def test_becomes_the_program_with_the_same_process_id():
    show_pid = [sys.executable, "-c", "import os; print(os.getpid())"]
    process = subprocess.Popen(tether.command(os.getpid(), show_pid), stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=DEADLINE)
    assert int(said) == process.pid


def test_does_not_start_for_a_parent_that_has_gone():
    command = tether.command(os.getpid() + 1, [sys.executable, "-c", "print('started')"])
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == tether.EXIT_ORPHANED
    assert done.stdout == ""


def test_a_part_of_ours_ends_when_its_parent_is_another():
    code = "from realtime import tether; tether.watch_parent(); import time; time.sleep(60)"
    environment = {**os.environ, tether.PARENT_VARIABLE: "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, timeout=DEADLINE)
    assert done.returncode == tether.EXIT_ORPHANED


def test_nothing_is_watched_without_a_supervisor(monkeypatch):
    monkeypatch.delenv(tether.PARENT_VARIABLE, raising=False)
    code = "from realtime import tether; tether.watch_parent(); import threading; print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE)
    assert done.stdout == "1\n"


def _runs(pid):
    """Tell whether the process runs. One that ended may stay listed as a zombie until it is waited for."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_tethered_child_can_still_be_stopped_in_order(parent):
    _, child = parent
    os.kill(child, signal.SIGTERM)
    _until(lambda: not _runs(child))
