"""The emulator as a process."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from realtime.emulator.options import DEFAULT_API_KEY
from tests.demo import LOCAL

ROOT = Path(__file__).parents[4]
DEADLINE = 20


def command(*options):
    return [sys.executable, str(ROOT / "manage.py"), "emulator", *options]


@pytest.fixture
def run():
    """Start emulators and read their ready lines; what still runs at the end is killed."""
    with contextlib.ExitStack() as stack:

        def start(*options):
            process = subprocess.Popen(command(*options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(lambda: process.poll() is None and process.kill())
            line = process.stdout.readline()
            assert line, process.stderr.read()
            return process, json.loads(line)

        yield start


def outcome(*options):
    return subprocess.run(command(*options), capture_output=True, text=True, timeout=DEADLINE, check=False)


def devices(urls):
    world = LOCAL.get(f"{urls['control_url']}/world").json()
    return world["users"]["sub-owner"]["devices"]


def test_one_line_tells_all_addresses_and_a_signal_ends_it_cleanly(run):
    process, urls = run("--fleet", "6")
    names = ("events_url", "events_realtime_url", "graphql_url", "graphql_realtime_url", "token_url", "control_url")
    assert set(names) <= urls.keys()
    assert LOCAL.post(urls["token_url"], json={"sub": "sub-viewer"}).status_code == 200
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_a_killed_one_goes_on_from_everything_it_had_told(run, tmp_path):
    options = ("--fleet", "6", "--rate", "200", "--state", str(tmp_path / "state"))
    process, urls = run(*options)
    with contextlib.suppress(httpx.TransportError):
        while LOCAL.get(f"{urls['control_url']}/stats").json()["published"] < 100:
            pass
    before = devices(urls)
    process.kill()
    process.wait(DEADLINE)
    _, urls = run("--state", str(tmp_path / "state"))
    after = {device["deviceId"]: device for device in devices(urls)}
    for device in before:
        told = device.get("changedAt", "")
        assert after[device["deviceId"]].get("changedAt", "") >= told
        if after[device["deviceId"]].get("changedAt", "") == told:
            assert after[device["deviceId"]] == device


def test_a_taken_port_is_named_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = outcome("--port", str(port))
    assert process.returncode == 1
    assert str(port) in process.stderr
    assert "--port" in process.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--nonsense",),
        ("--port", "x"),
        ("--iam-key", "nocolon"),
        ("--auth-mode", "publish=magic"),
        ("--auth-mode", "dance=jwt"),
        ("--tls-key", "k"),
        ("--rate", "-1"),
        ("--day", "-1"),
        ("--lifetime-code", "1005"),
    ],
)
def test_bad_use_is_an_error_of_its_own(options):
    process = outcome(*options)
    assert process.returncode == 2
    assert options[0] in process.stderr


def test_the_modes_of_an_operation_can_be_chosen(run):
    _, urls = run("--auth-mode", "publish=iam,lambda", "--lambda-token", "open sesame", "--fleet", "1")
    body = {"channel": "/default/a", "events": ["1"]}
    assert LOCAL.post(urls["events_url"], json=body, headers={"x-api-key": DEFAULT_API_KEY}).status_code == 401
    assert LOCAL.post(urls["events_url"], json=body, headers={"authorization": "open sesame"}).status_code == 200


@pytest.mark.feature("S0.7")
def test_c13_a_day_can_pass_in_seconds(run):
    """Sockets end, tokens expire and keep-alives come at the pace of that day."""
    _, urls = run("--day", "0.8", "--token-ttl", "7", "--fleet", "1")
    assert LOCAL.post(urls["token_url"], json={"sub": "sub-viewer"}).json()["expires_in"] == 7
    frames = []
    headers = {"x-api-key": DEFAULT_API_KEY}
    with connect(urls["events_realtime_url"], subprotocols=["aws-appsync-event-ws"], additional_headers=headers) as ws:
        ws.send('{"type":"connection_init"}')
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                frames.append(json.loads(ws.recv(timeout=DEADLINE)))
    assert frames[0] == {"type": "connection_ack", "connectionTimeoutMs": 3}
    assert len(frames) > 20 and {frame["type"] for frame in frames[1:]} == {"ka"}
    assert ended.value.rcvd.code == 1000


def test_the_number_of_subscriptions_on_a_socket_can_be_chosen(run):
    _, urls = run("--max-subscriptions", "1", "--fleet", "1")
    headers = {"x-api-key": DEFAULT_API_KEY}
    with connect(urls["events_realtime_url"], subprotocols=["aws-appsync-event-ws"], additional_headers=headers) as ws:
        ws.send('{"type":"connection_init"}')
        for ident in ("1", "2"):
            subscribe = {"type": "subscribe", "id": ident, "channel": "/default/a", "authorization": headers}
            ws.send(json.dumps(subscribe))
        types = [json.loads(ws.recv(timeout=DEADLINE))["type"] for _ in range(4)]
    assert types[2:] == ["subscribe_success", "subscribe_error"]


def test_a_file_that_is_missing_or_foreign_is_named(tmp_path):
    foreign = tmp_path / "state"
    foreign.write_text("nonsense")
    half_foreign = tmp_path / "half"
    half_foreign.with_name("half.issuer").write_text("nonsense")
    missing = tmp_path / "none"
    for options in (
        ("--faults", str(missing)),
        ("--schema", str(missing)),
        ("--state", str(foreign)),
        ("--state", str(half_foreign)),
    ):
        process = outcome(*options)
        assert process.returncode == 1
        assert options[1] in process.stderr


def test_help_has_examples():
    process = outcome("--help")
    assert process.returncode == 0
    assert "manage.py emulator --port" in process.stdout
