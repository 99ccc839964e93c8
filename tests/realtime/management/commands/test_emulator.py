"""The emulator as a process."""

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from realtime.emulator.options import DEFAULT_API_KEY
from tests.certificates import Authority
from tests.demo import LOCAL

ROOT = Path(__file__).parents[4]
DEADLINE = 20
HEADERS = {"x-api-key": DEFAULT_API_KEY}


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


def open_events(urls, **options):
    """Upgrade and say nothing yet."""
    options = {"additional_headers": HEADERS, **options}
    return connect(urls["events_realtime_url"], subprotocols=["aws-appsync-event-ws"], **options)


def say(socket, kind, **about):
    socket.send(json.dumps({"type": kind, **about}))


def frame_of(socket):
    return json.loads(socket.recv(timeout=DEADLINE))


def until(socket, *kinds):
    """Return the next frame of one of these types, whatever comes before it."""
    while (frame := frame_of(socket))["type"] not in kinds:
        pass
    return frame


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
    assert LOCAL.post(urls["events_url"], json=body, headers=HEADERS).status_code == 401
    assert LOCAL.post(urls["events_url"], json=body, headers={"authorization": "open sesame"}).status_code == 200


@pytest.mark.feature("S0.7")
def test_c13_a_day_can_pass_in_seconds(run):
    """Sockets end, tokens expire and keep-alives come at the pace of that day."""
    _, urls = run("--day", "0.8", "--token-ttl", "7", "--fleet", "1")
    assert LOCAL.post(urls["token_url"], json={"sub": "sub-viewer"}).json()["expires_in"] == 7
    frames = []
    with open_events(urls) as ws:
        say(ws, "connection_init")
        with pytest.raises(ConnectionClosed) as ended:
            while True:
                frames.append(frame_of(ws))
    assert frames[0] == {"type": "connection_ack", "connectionTimeoutMs": 3}
    assert len(frames) > 20 and {frame["type"] for frame in frames[1:]} == {"ka"}
    assert ended.value.rcvd.code == 1000


def test_the_number_of_subscriptions_on_a_socket_can_be_chosen(run):
    _, urls = run("--max-subscriptions", "1", "--fleet", "1")
    with open_events(urls) as ws:
        for ident in ("1", "2"):
            say(ws, "subscribe", id=ident, channel="/default/a", authorization=HEADERS)
        assert [frame_of(ws)["type"] for _ in range(2)] == ["subscribe_success", "subscribe_error"]


SCHEMA = """
type Note { id: ID! text: String }
type Query { note(id: ID!): Note }
type Mutation { addNote(id: ID!, text: String): Note }
type Subscription { onNote(id: ID): Note @aws_subscribe(mutations: ["addNote"]) }
"""


def test_another_schema_answers_queries_and_feeds_subscriptions(run, tmp_path):
    path = tmp_path / "schema.graphql"
    path.write_text(SCHEMA)
    _, urls = run("--schema", str(path), "--fleet", "1")

    def ask(document):
        return LOCAL.post(urls["graphql_url"], json={"query": document}, headers=HEADERS).json()

    assert ask('{ note(id: "1") { id } }') == {"data": {"note": {"id": "1"}}}
    with connect(urls["graphql_realtime_url"], subprotocols=["graphql-ws"], additional_headers=HEADERS) as ws:
        say(ws, "connection_init")
        data = json.dumps({"query": 'subscription { onNote(id: "2") { id text } }'})
        say(ws, "start", id="s", payload={"data": data, "extensions": {"authorization": HEADERS}})
        until(ws, "start_ack")
        for ident in ("1", "2"):
            note = {"id": ident, "text": "a"}
            assert ask(f'mutation {{ addNote(id: "{ident}", text: "a") {{ id text }} }}') == {"data": {"addNote": note}}
        assert frame_of(ws) == {"id": "s", "type": "data", "payload": {"data": {"onNote": note}}}


def test_the_timers_of_a_socket_can_be_chosen(run):
    _, urls = run(
        *("--keep-alive", "10", "--early-keep-alive", "--timeout", "777"),
        *("--lifetime", "0.2", "--lifetime-code", "1001", "--fleet", "1"),
    )
    with open_events(urls) as ws:
        assert [frame_of(ws) for _ in range(3)] == [{"type": "ka"}] * 3
        say(ws, "connection_init")
        assert until(ws, "connection_ack")["connectionTimeoutMs"] == 777
        with pytest.raises(ConnectionClosed) as ended:
            while frame_of(ws):
                pass
    assert ended.value.rcvd.code == 1001


def test_whom_it_lets_in_can_be_chosen(run):
    _, urls = run(
        *("--api-key", "da2-mine", "--iam-key", "AKIDEXAMPLE:secret", "--snapshot-token", "a service", "--fleet", "1"),
        *("--namespace", "rooms", "--check-host", "--refuse-upgrade", "--html-escape", "--require-init"),
    )
    mine = {"x-api-key": "da2-mine"}
    elsewhere = {**mine, "host": "api.test"}
    for auth, status in ((HEADERS, 401), (elsewhere, 400), (mine, 200)):
        body = {"channel": "/rooms/a", "events": ["1"]}
        assert LOCAL.post(urls["events_url"], json=body, headers=auth).status_code == status
    with pytest.raises(InvalidStatus, match="401"):
        open_events(urls)
    view = LOCAL.get(urls["snapshot_url"], params={"userId": "sub-owner"}, headers={"authorization": "a service"})
    assert view.json()["user"]["userId"] == "sub-owner"
    with open_events(urls, additional_headers=mine) as ws:
        say(ws, "subscribe", id="ignored", channel="/rooms/a", authorization=mine)
        say(ws, "connection_init")
        assert frame_of(ws)["type"] == "connection_ack"
        for event, reply in (('"x"', "publish_success"), ('"<x>"', "publish_error")):
            body = {"channel": "/rooms/a", "events": [event]}
            say(ws, "publish", id="p", **body, authorization=signed(urls["events_url"], body))
            assert until(ws, "publish_success", "publish_error")["type"] == reply


def signed(url, body):
    """Return the authorization object that botocore's signer makes for a POST."""
    request = AWSRequest("POST", url, data=json.dumps(body, separators=(",", ":")))
    SigV4Auth(Credentials("AKIDEXAMPLE", "secret"), "appsync", "eu-west-1").add_auth(request)
    return {**dict(request.headers.items()), "host": urlsplit(url).netloc}


def test_its_limits_can_be_chosen(run):
    _, urls = run(
        *("--max-events", "20", "--max-event-bytes", "8", "--max-publish-bytes", "15", "--event-limit", "12"),
        *("--publish-limit", "1", "--connect-limit", "1", "--replace-duplicates", "--fleet", "1"),
    )

    def refusal(*events):
        body = {"channel": "/default/a", "events": list(events)}
        return LOCAL.post(urls["events_url"], json=body, headers=HEADERS).json()["errors"][0]["message"]

    assert refusal(*["1"] * 21) == "Input exceeded 20 event limit"
    assert refusal("123456789") == refusal(*["12345678"] * 2) == "An event may have 8 bytes, a publish 15"
    assert refusal(*["1"] * 13) == "Rate limit exceeded"
    with open_events(urls) as ws:
        for _ in range(2):
            say(ws, "subscribe", id="s", channel="/default/a", authorization=HEADERS)
            assert frame_of(ws)["type"] == "subscribe_success"
        for _ in range(10):
            say(ws, "publish", id="p", channel="/default/b", events=["1"], authorization=HEADERS)
        assert until(ws, "publish_error")["errors"][0]["errorType"] == "LimitExceededError"
        assert any(is_throttled(urls) for _ in range(20))


def is_throttled(urls):
    with open_events(urls) as ws:
        say(ws, "connection_init")
        return frame_of(ws).get("errors", [{}])[0].get("errorType") == "LimitExceededError"


def test_what_it_reads_and_writes_can_be_chosen(run, tmp_path):
    authority = Authority(tmp_path)
    cert, key = authority.issue()
    faults, transcript = tmp_path / "faults.json", tmp_path / "transcript"
    faults.write_text('[{"kind":"connection-error","message":"so it goes","count":1}]')
    process, urls = run(
        *("--tls-cert", str(cert), "--tls-key", str(key), "--faults", str(faults), "--fleet", "1"),
        *("--transcript", str(transcript), "--json", "-v", "2"),
    )
    with open_events(urls, ssl=ssl.create_default_context(cafile=authority.file)) as ws:
        say(ws, "connection_init")
        assert frame_of(ws)["errors"][0]["message"] == "so it goes"
    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=DEADLINE)
    assert [record["kind"] for record in map(json.loads, transcript.read_text().splitlines())] == [
        *("opened", "received", "sent", "closed")
    ]
    assert {"time", "level", "message"} == set.union(*(set(json.loads(line)) for line in logged.splitlines()))


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
