"""A service on a real socket that plays a script to each connection: whatever a client may have to live through.

A script is a list of steps, the first for the first connection; once the scripts are used up, every connection is
treated well. So ``server.plays([refuse(503)], [accept, ack, close(1000)])`` is about the first two tries. After its
last step a connection stays as it is: a script that ends with ``accept`` is a service that accepts and says nothing.
"""

import asyncio
import json

from websockets.http11 import Request
from websockets.server import ServerProtocol

from realtime.emulator.auth import decode_object
from realtime.upstream.transport import WebSocketTransport, frames_logger
from tests.fakes import FakeService


class ScriptedServer:
    """Where the connections arrive; also the transport of a link that is to be connected with it.

    ``peers`` are the connections so far, ``service`` answers on those that are served.
    """

    def __init__(self, wire):
        self.wire = wire
        self.service = FakeService(wire)
        self.scripts = []
        self.peers = []
        self._transport = WebSocketTransport()

    def ping_every(self, seconds):
        """Have the links that connect from now on ping it so often."""
        self._transport = WebSocketTransport(ping_every=seconds)

    async def start(self):
        self._server = await asyncio.get_running_loop().create_server(self._meet, "127.0.0.1", 0)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self):
        """Cut what is connected, and listen no more."""
        self._server.close()
        for peer in self.peers:
            peer.playing.cancel()
            peer.hang_up()
        await asyncio.gather(*(peer.over.wait() for peer in self.peers))
        await asyncio.gather(*(peer.playing for peer in self.peers), return_exceptions=True)

    def plays(self, *scripts):
        """Play these to the next connections, one each."""
        self.scripts += scripts

    @property
    def socket(self):
        """The newest connection."""
        return self.peers[-1]

    async def open(self, opening):
        return await self._transport.open(opening)

    def _meet(self):
        peer = Peer(self.service, self.scripts.pop(0) if self.scripts else [accept, serve])
        self.peers.append(peer)
        return peer


class Peer(asyncio.Protocol):
    """The server's end of one connection: ``request`` and ``sent`` are what the client sent.

    ``over`` is set once the connection has ended, and ``close_code`` is the code of the client's close frame.
    """

    def __init__(self, service, script):
        self.service = service
        self.serving = False
        self.request = None
        self.sent = []
        self.over = asyncio.Event()
        self.close_code = None
        self._script = script
        self._news = asyncio.Event()
        self._cut = False
        self._protocol = ServerProtocol(select_subprotocol=lambda _, offered: offered[0], logger=frames_logger)

    # ── What the steps do ────────────────────────────────────────────────────────────────────────────────────

    async def until(self, condition):
        """Wait for something that only the client can bring about."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    def respond(self, make):
        """Answer the upgrade with the response that ``make`` gets from the protocol."""
        self._protocol.send_response(make(self._protocol))
        self._flush()

    def arrive(self, frame):
        """Let a frame arrive at the client, given as text or as what is to be encoded."""
        self._protocol.send_text((frame if isinstance(frame, str) else json.dumps(frame)).encode())
        self._flush()

    def serve(self):
        """Answer what has come, and what will come."""
        self.serving = True
        for frame in self.sent:
            self._answer(frame)

    def close(self, code, reason=""):
        """Begin the closing handshake."""
        self._protocol.send_close(code, reason)
        self._flush()

    def end(self):
        """End the connection in order, but without a close frame."""
        self._transport.close()

    def hang_up(self):
        """Reset the connection."""
        self._transport.abort()

    def cut(self):
        """Go half-open: read nothing, write nothing, let TCP go on."""
        self._cut = True
        self._transport.pause_reading()

    @property
    def authorization(self):
        """What the upgrade carried, by lower-case names."""
        return decode_object(self.request.headers["Sec-WebSocket-Protocol"].rpartition("header-")[2])

    def sent_of(self, kind):
        return [frame for frame in self.sent if frame["type"] == kind]

    # ── asyncio.Protocol ─────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport):
        self._transport = transport
        self.playing = asyncio.get_running_loop().create_task(self._play())

    def data_received(self, data):
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self.request = event
            elif event.opcode is event.opcode.TEXT:
                self.sent.append(json.loads(event.data))
                if self.serving:
                    self._answer(self.sent[-1])
        self._flush()
        self._news.set()

    def connection_lost(self, error):
        if self._protocol.close_rcvd is not None:
            self.close_code = self._protocol.close_rcvd.code
        self.over.set()

    async def _play(self):
        for step in self._script:
            await step(self)

    def _answer(self, frame):
        for answer in self.service.answers(frame):
            self.arrive(answer)

    def _flush(self):
        for chunk in self._protocol.data_to_send():
            if self._cut:
                continue
            if chunk:
                self._transport.write(chunk)
            else:
                self._transport.close()


# ── Steps ────────────────────────────────────────────────────────────────────────────────────────────────────


async def accept(peer):
    """Complete the upgrade."""
    await peer.until(lambda: peer.request)
    peer.respond(lambda protocol: protocol.accept(peer.request))


def refuse(status, text="no", **headers):
    """Answer the upgrade with this status. In the names of headers ``_`` stands for ``-``."""

    def answer(protocol):
        response = protocol.reject(status, text)
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    async def step(peer):
        await peer.until(lambda: peer.request)
        peer.respond(answer)

    return step


async def greeted(peer):
    """Wait for ``connection_init``."""
    await peer.until(lambda: peer.sent_of("connection_init"))


async def ack(peer):
    """Acknowledge the connection once it is greeted."""
    await greeted(peer)
    peer.arrive(peer.service.wire.ack())


async def asked(peer):
    """Wait for the first subscribe."""
    await peer.until(lambda: peer.sent_of(peer.service.wire.subscribes))


async def serve(peer):
    """From now on, answer every frame at once."""
    peer.serve()


def say(frame):
    """Send a frame, given as text or as what is to be encoded."""

    async def step(peer):
        peer.arrive(frame)

    return step


def close(code, reason=""):
    async def step(peer):
        peer.close(code, reason)

    return step


async def end(peer):
    peer.end()


async def hang_up(peer):
    peer.hang_up()


async def cut(peer):
    peer.cut()
