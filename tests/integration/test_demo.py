"""`manage.py demo` as a newcomer meets it: all real parts, one command, and nothing left behind."""

import os
import signal
import socket
import sys

import httpx
import pytest

from tests.demo import LOCAL, DemoProcess, runs, until

pytestmark = pytest.mark.faults
LIVE_DEADLINE = 30


@pytest.fixture
def fresh(tmp_path):
    """A demo on an empty state folder, not started."""
    demo = DemoProcess(tmp_path / "var", "--devices", "30", "--rate", "5")
    yield demo
    demo.stop()


def devices_of(client):
    entities = client.get("/live/snapshot/").json()["entities"]
    return {key: fields for key, fields in entities.items() if key.startswith("device/")}


def test_is_ready_says_where_and_for_whom_and_ends_without_a_trace(fresh):
    fresh.start_and_wait()
    for promised in (fresh.address, "viewer", "owner", "operator", "rival", "fleetlight"):
        assert promised in fresh.said()
    assert LOCAL.get(f"{fresh.address}/readyz").status_code == 200
    assert LOCAL.get(f"{fresh.record['worker_url']}readyz").status_code == 200
    pids = [*fresh.parts.values(), fresh.pid]

    assert fresh.interrupt() == 0
    assert not [pid for pid in pids if runs(pid)]
    assert not (fresh.state_dir / "demo.json").exists()


def test_shows_a_device_that_came_over_the_whole_way(demo):
    with demo.sign_in("owner") as owner:
        until(lambda: devices_of(owner), "a device's arrival", LIVE_DEADLINE)


def test_runs_again_on_the_same_data(fresh):
    fresh.start_and_wait()
    with fresh.sign_in("viewer") as viewer:
        before = until(lambda: devices_of(viewer), "a device's arrival", LIVE_DEADLINE)
    assert fresh.interrupt() == 0

    fresh.start_and_wait()
    with fresh.sign_in("viewer") as viewer:
        assert devices_of(viewer).keys() >= before.keys()


@pytest.mark.parametrize("part", ["worker", "emulator", "valkey", "web"])
def test_a_part_that_dies_is_started_again_where_it_was(demo, part):
    record = demo.record
    demo.kill_part(part)
    assert f"{part:<8} | was killed by SIGKILL; it is started again" in demo.said()
    until(lambda: _ready(demo), "readiness", LIVE_DEADLINE)
    assert {**demo.record, "parts": None} == {**record, "parts": None}


def test_three_deaths_within_a_minute_are_the_end(fresh):
    fresh.start_and_wait()
    fresh.kill_part("web")
    fresh.kill_part("web")
    os.kill(fresh.parts["web"], signal.SIGKILL)
    until(lambda: fresh.ended, "the end")
    assert fresh.interrupt() == 1
    assert "web ended 3 times within a minute" in fresh.said()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
def test_a_killed_supervisor_leaves_no_orphan(fresh):
    fresh.start_and_wait()
    pids = list(fresh.parts.values())
    fresh.kill()
    until(lambda: not [pid for pid in pids if runs(pid)], "the end of all parts", 5)


def test_a_taken_port_is_named_with_what_to_do(fresh):
    with socket.create_server(("127.0.0.1", fresh.port)):
        fresh.start()
        until(lambda: fresh.ended, "the end")
    assert fresh.interrupt() == 1
    assert f"Cannot listen on 127.0.0.1:{fresh.port}" in fresh.said()
    assert "PORT=" in fresh.said()


@pytest.mark.parametrize("port", ["eighty", "70000", "-1"])
def test_what_is_no_port_is_bad_use(fresh, port):
    fresh.port = port
    fresh.start()
    until(lambda: fresh.ended, "the end")
    assert fresh.interrupt() == 2
    assert "is not a port" in fresh.said() or "expected one argument" in fresh.said()


def test_a_database_that_is_away_is_named_with_what_to_do(fresh, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
    fresh.start()
    until(lambda: fresh.ended, "the end")
    assert fresh.interrupt() == 1
    assert "Check DATABASE_URL." in fresh.said()
    assert "Traceback" not in fresh.said()


def test_two_demos_do_not_share_a_state_folder(demo):
    second = DemoProcess(demo.state_dir).start()
    until(lambda: second.ended, "the end")
    assert second.interrupt() == 1
    assert "A demo is already running" in second.said()
    assert _ready(demo)


@pytest.mark.parametrize("moment", ["starting", "emulator | {"])
def test_ctrl_c_during_the_start_leaves_nothing(fresh, moment):
    fresh.start()
    until(lambda: moment in fresh.said(), "that moment")
    assert fresh.interrupt() == 0
    assert fresh.said().rstrip().endswith("stopped")


def _ready(demo):
    try:
        answers = [LOCAL.get(f"{demo.address}/readyz"), LOCAL.get(f"{demo.record['worker_url']}readyz")]
    except httpx.TransportError:
        return False
    return all(answer.status_code == 200 for answer in answers)
