"""What `fault` orders, on an emulator that stands in for the demo's."""

import contextlib
import io
import json

import pytest
from django.core.management import call_command
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from realtime.emulator.options import DEFAULT_API_KEY
from tests.demo import LOCAL

HEADERS = {"x-api-key": DEFAULT_API_KEY}
DEADLINE = 10


@pytest.fixture
def play(appsync, settings, tmp_path):
    """Play a fault and return what is said; all faults are cleared afterwards."""
    settings.STATE_DIR = tmp_path
    (tmp_path / "demo.json").write_text(json.dumps(appsync))

    def play(*arguments):
        output = io.StringIO()
        call_command("fault", *arguments, stdout=output)
        return output.getvalue()

    yield play
    play("clear")


@pytest.fixture
def ready(appsync):
    """Open acknowledged sockets; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def open_socket(**headers):
            url = appsync["events_realtime_url"]
            socket = connect(url, subprotocols=["aws-appsync-event-ws"], additional_headers=headers or HEADERS)
            stack.enter_context(socket)
            socket.send('{"type":"connection_init"}')
            assert [frame_of(socket)["type"] for _ in range(2)] == ["connection_ack", "ka"]
            return socket

        yield open_socket


def frame_of(socket):
    return json.loads(socket.recv(timeout=DEADLINE))


def publish(appsync, *events):
    body = {"channel": "/default/a", "events": list(events)}
    return LOCAL.post(appsync["events_url"], json=body, headers=HEADERS).json()


def test_a_drop_has_a_code_and_a_reason(play, ready):
    socket = ready()
    assert play("drop", "--code", "1011", "--reason", "so it goes") == (
        "drop code=1011 reason=so it goes\n1 connections hit at once\n"
    )
    with pytest.raises(ConnectionClosed) as ended:
        socket.recv(timeout=DEADLINE)
    assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1011, "so it goes")


def test_a_malformed_frame_holds_what_is_asked_for(play, ready):
    socket = ready()
    play("malformed", "--frame", '{"type":"a-new-one"}')
    assert frame_of(socket) == {"type": "a-new-one"}


def test_one_event_of_a_publish_is_refused_and_another_transformed(play, ready, appsync):
    socket = ready()
    socket.send(json.dumps({"type": "subscribe", "id": "1", "channel": "/default/a", "authorization": HEADERS}))
    assert frame_of(socket)["type"] == "subscribe_success"
    assert play("reject-event", "--index", "1", "--message", "no").startswith("reject-event index=1 message=no\n")
    play("transform-event", "--index", "0", "--event", '"other"')
    outcome = publish(appsync, "1", "2", "3")
    assert [(item["index"], item["message"]) for item in outcome["failed"]] == [(1, "no")]
    assert [frame_of(socket)["event"] for _ in range(2)] == ['"other"', "3"]


def test_a_subject_is_meant_as_an_accounts_name_is(play, ready, token):
    ready()
    viewer = ready(authorization=token("sub-viewer"))
    assert play("error-frame", "--sub", "sub-viewer", "--for", "60") == (
        "error-frame sub=sub-viewer for=60.0\n1 connections hit at once\n"
    )
    assert frame_of(viewer)["type"] == "error"
    play("lose", "--user", "viewer")
    assert "lose user=viewer\n" in play("list")
