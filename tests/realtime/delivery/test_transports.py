import asyncio

import pytest

from realtime.delivery.envelope import Close
from realtime.delivery.http import EventStream
from realtime.delivery.run import Run
from realtime.delivery.transports import Plain, Written
from realtime.delivery.websocket import SocketFrames, frame
from tests.realtime.delivery.world import Client, Line, Truth, make_entry


@pytest.fixture
def session():
    truth = Truth()
    return Line(truth, Client(truth)).session


class Server:
    """An ASGI server whose send takes as long as the test wants."""

    def __init__(self):
        self.sent = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def send(self, message):
        await self.takes.wait()
        self.sent.append(message)

    async def end(self, close):
        self.sent.append(close)


class Writer:
    """A socket that notes what is written."""

    on_drained = None
    blocked = False

    def __init__(self):
        self.calls = []

    def open(self):
        self.calls.append("open")

    def write(self, data):
        self.calls.append(data)

    def close(self):
        self.calls.append("close")

    def abort(self):
        self.calls.append("abort")


def run():
    return Run([make_entry(1), make_entry(2)])


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_on_another_server_each_frame_is_a_message_and_the_server_sets_the_pace(session):
    server, drained = Server(), []
    transport = Plain(server.send, SocketFrames(), server.end)
    transport.open(lambda: drained.append(True))
    server.takes.clear()
    entries = run()
    transport.send([entries, b"{}"], session)
    await settle()
    assert transport.blocked and not drained
    server.takes.set()
    await settle()
    assert not transport.blocked and drained == [True]
    texts = [entry.body.decode() for entry in entries.entries] + ["{}"]
    assert server.sent == [{"type": "websocket.send", "text": text} for text in texts]


async def test_on_another_server_the_end_comes_after_what_was_sent(session):
    server = Server()
    transport = Plain(server.send, EventStream(), server.end)
    transport.open(lambda: None)
    transport.send([b"{}"], session)
    transport.close(Close.MOVING)
    await settle()
    assert [type(message) for message in server.sent] == [dict, Close]


async def test_on_another_server_a_client_that_is_let_go_gets_no_more(session):
    server = Server()
    transport = Plain(server.send, SocketFrames(), server.end)
    server.takes.clear()
    transport.send([b"{}"], session)
    transport.abort()
    await settle()
    assert server.sent == [Close.SLOW]


async def test_on_our_server_all_frames_are_written_in_one_piece(session):
    writer, server = Writer(), Server()
    transport = Written(writer, SocketFrames(), server.end)
    transport.open(lambda: None)
    entries = run()
    transport.send([entries, b"{}"], session)
    transport.send([entries], session)
    assert writer.calls == ["open", entries.encoded(frame) + frame(b"{}"), entries.encoded(frame)]
    assert writer.calls[2] is entries.encoded(frame)


async def test_on_our_server_the_end_is_the_servers(session):
    writer, server = Writer(), Server()
    transport = Written(writer, SocketFrames(), server.end)
    transport.close(Close.MOVING)
    await settle()
    assert (writer.calls, server.sent) == (["close"], [Close.MOVING])


async def test_a_sign_of_life_is_given_after_silence_only_and_not_into_a_full_socket(session):
    writer, server = Writer(), Server()
    transport = Written(writer, EventStream(), server.end)
    transport.keep_alive(silent=60)
    assert writer.calls == []
    transport.keep_alive(silent=0)
    assert writer.calls == [b": alive\n\n"]
    writer.blocked = True
    transport.keep_alive(silent=0)
    assert len(writer.calls) == 1


async def test_a_websocket_is_kept_alive_by_the_servers_own_pings(session):
    writer, server = Writer(), Server()
    Written(writer, SocketFrames(), server.end).keep_alive(silent=0)
    assert writer.calls == []
