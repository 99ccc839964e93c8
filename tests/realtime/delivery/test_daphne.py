"""Our own server: what a client does not read, and how the process leaves."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tests.realtime.delivery.serving import DEADLINE, MANAGE, Browser

CHANGES = 3_000
BALLAST = "x" * 4_000


@pytest.fixture
def topic(viewer):
    return f"user.{viewer.pk}"


async def flood(writer, topic, changes):
    """Write that many large changes of twenty entities."""
    for start in range(0, changes, 100):
        rows = [(f"device/org1/d{n % 20}", {"name": f"{n}-{BALLAST}"}) for n in range(start, start + 100)]
        await writer.write(topic, rows)
    return {f"device/org1/d{n % 20}": f"{n}-{BALLAST}" for n in range(changes)}


def newest(frames):
    state = {}
    for frame in frames:
        if frame["type"] == "event":
            name, at, tie = frame["fields"]["name"]
            if (at, tie) > state.get(frame["key"], (None, 0, 0))[1:]:
                state[frame["key"]] = (name, at, tie)
    return {key: name for key, (name, _, _) in state.items()}


@pytest.mark.faults
@pytest.mark.feature("S2.11")
async def test_a_socket_that_is_not_read_costs_little_and_ends_with_the_newest_state(server, browser, topic, writer):
    async with browser.socket(max_queue=1) as stopped, browser.socket() as reading:
        await stopped.next()
        await reading.next()
        before = server.resident_bytes
        sent = time.monotonic()
        wanted = await flood(writer, topic, CHANGES)  # 12 MB; nobody reads `stopped` meanwhile
        await reading.until(lambda frame: frame.get("offset") == CHANGES)
        assert time.monotonic() - sent < DEADLINE
        grown = server.resident_bytes - before
        last = await stopped.until(lambda frame: frame.get("position", frame.get("offset")) == CHANGES)
        assert grown < 6_000_000
        assert last["offset"] <= CHANGES
        assert newest(stopped.seen) == wanted
        assert len(stopped.seen) < CHANGES / 2


@pytest.mark.faults
async def test_a_stream_that_is_not_read_costs_little_and_ends_with_the_newest_state(server, browser, topic, writer):
    async with browser.stream() as stopped:
        await stopped.next()
        before = server.resident_bytes
        wanted = await flood(writer, topic, CHANGES)
        grown = server.resident_bytes - before
        await stopped.until(lambda frame: frame.get("position", frame.get("offset")) == CHANGES)
        assert grown < 6_000_000
        assert newest(stopped.seen) == wanted


@pytest.mark.faults
async def test_a_client_that_never_reads_again_is_let_go(viewers_session, topic, started, writer):
    server = started(LIVE_STUCK_SECONDS="1", LOG_LEVEL="INFO")
    async with Browser(server, viewers_session).socket(max_queue=1) as stopped:
        await stopped.next()
        await flood(writer, topic, CHANGES)
        await asyncio.to_thread(server.says, "reads nothing")


@pytest.mark.feature("B8")
@pytest.mark.feature("S1.15")
async def test_told_to_leave_it_sends_everybody_away_and_exits_cleanly(viewers_session, started):
    server = started()
    browser = Browser(server, viewers_session)
    async with browser.socket() as socket, browser.stream() as stream:
        await socket.next()
        await stream.next()
        server.process.send_signal(signal.SIGTERM)
        assert await socket.ending() == 4012
        moving = socket.seen[-1]
        assert (moving["type"], moving["event"]) == ("system", "moving")
        assert (await stream.of_type("system"))["after_ms"] > 0
        await stream.ended()
    assert await asyncio.to_thread(server.process.wait, DEADLINE) == 0


async def test_killed_it_leaves_a_cursor_that_another_process_continues(viewers_session, topic, started, writer):
    first, second = started(), started()
    first.expected_status = -signal.SIGKILL
    async with Browser(first, viewers_session).socket() as socket:
        cursor = (await socket.next())["cursor"]
        first.process.kill()
        await socket.ending()
    await writer.online(topic, 1)
    async with Browser(second, viewers_session).socket(cursor) as socket:
        assert (await socket.next())["topics"][topic]["recovered"] is True
        assert (await socket.of_type("event"))["offset"] == 1


def test_a_port_that_is_taken_is_said_in_plain_words(server):
    port = server.url.rpartition(":")[2]
    second = subprocess.run(
        [sys.executable, str(MANAGE), "serve", "--port", port],
        env={**os.environ, "ENV_FILE": os.devnull, "DJANGO_SETTINGS_MODULE": "project.settings"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert second.returncode == 1
    assert "already in use" in second.stderr
    assert "--port" in second.stderr
    assert "Traceback" not in second.stderr


async def test_requests_in_pieces_and_connections_that_end_at_once_do_no_harm(server, browser):
    for piece in (b"", b"GET /live/sse/ HT", b"GET /ws/live/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
            connection.sendall(piece)
    async with browser.socket() as again:
        assert (await again.next())["type"] == "hello"
    assert not [line for line in server.log if "Traceback" in line]


async def test_it_starts_without_valkey_and_database_and_says_so_in_a_line_each(valkey, started, tmp_path):
    await asyncio.to_thread(valkey.kill)
    server = started(DATABASE_URL=f"sqlite:///{tmp_path}")  # a folder is no database
    server.says("The valkey is away")
    server.says("The database is away")
    answer = await Browser(server, "somesession").get("/live/snapshot/")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"]
    async with Browser(server, "somesession").socket() as socket:
        assert await socket.ending() == 4013


# ── The writer ────────────────────────────────────────────────────────────────────────────────────────────────


class Wrapped:
    """A transport behind TLS: it passes what it does not know on to the bare socket, as Twisted's wrapper does."""

    _tempDataBuffer = ()
    dataBuffer = b""
    TLS = True

    def __init__(self):
        self.written = []
        self.producer = "the HTTP channel"

    def unregisterProducer(self):
        self.producer = None

    def registerProducer(self, producer, streaming):
        assert self.producer is None and streaming
        self.producer = producer

    def getHandle(self):
        raise AssertionError("clear text would go past the encryption")

    def write(self, data):
        self.written.append(data)


def test_behind_tls_nothing_is_sent_past_the_encryption():
    from realtime.delivery.daphne import SocketWriter

    transport = Wrapped()
    writer = SocketWriter(SimpleNamespace(transport=transport, state=SocketWriter.OPEN))
    writer.open()
    writer.write(b"frame")
    assert transport.written == [b"frame"]
    assert transport.producer is writer


def test_after_the_end_nothing_is_written():
    from realtime.delivery.daphne import SocketWriter

    transport = Wrapped()
    writer = SocketWriter(SimpleNamespace(transport=transport, state=None))
    writer.open()
    writer.write(b"frame")
    assert transport.written == []


def test_a_writer_says_when_it_takes_no_more_and_when_it_does_again():
    from realtime.delivery.daphne import SocketWriter

    drained = []
    writer = SocketWriter(None)
    writer.on_drained = lambda: drained.append(True)
    writer.pauseProducing()
    assert writer.blocked and not drained
    writer.resumeProducing()
    assert not writer.blocked and drained == [True]
    writer.stopProducing()
    writer.resumeProducing()
    assert drained == [True]
