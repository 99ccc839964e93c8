"""A plain client for tests: says exactly what it is told to say, and waits for exactly what it is told to expect."""

import asyncio
import base64
import json

import websockets

DEADLINE = 5.0


def encoded(auth):
    """Return an authorization object as the `header-` sub-protocol that carries it."""
    return "header-" + base64.urlsafe_b64encode(json.dumps(auth).encode()).decode().rstrip("=")


async def eventually(condition):
    """Wait until a condition holds that nothing tells us of."""
    for _ in range(int(DEADLINE * 500)):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise TimeoutError


def spoken(emulator, *kinds):
    """Return the frames of these types that went over the emulator's sockets, in order, as (direction, frame)."""
    records, _ = emulator.api.transcript.since(0)
    frames = [(record.kind, record.frame) for record in records if record.kind in ("received", "sent")]
    return [(direction, frame) for direction, frame in frames if frame["type"] in kinds]


class Client:
    """One socket. `frames` are all that came, in order."""

    def __init__(self, socket, auth):
        self.socket = socket
        self.auth = auth
        self.frames = []

    @classmethod
    async def open(cls, emulator, auth, **options):
        """Upgrade, and say nothing yet."""
        options = {"subprotocols": ["aws-appsync-event-ws", encoded(auth)], **options}
        url = options.pop("url", emulator.urls["events_realtime_url"])
        return cls(await websockets.connect(url, open_timeout=DEADLINE, **options), auth)

    @classmethod
    async def ready(cls, emulator, auth, **options):
        """Upgrade and be acknowledged."""
        client = await cls.open(emulator, auth, **options)
        await client.send(type="connection_init")
        await client.expect(type="connection_ack")
        await client.expect(type="ka")
        return client

    async def send(self, **message):
        await self.socket.send(json.dumps(message))

    async def subscribe(self, channel, ident="s1", auth=None):
        await self.send(type="subscribe", id=ident, channel=channel, authorization=auth or self.auth)

    async def subscribed(self, channel, ident="s1"):
        await self.subscribe(channel, ident)
        await self.expect(type="subscribe_success", id=ident)

    async def publish(self, channel, *events, ident="p1", auth=None):
        await self.send(type="publish", id=ident, channel=channel, events=list(events), authorization=auth or self.auth)

    async def receive(self):
        async with asyncio.timeout(DEADLINE):
            frame = json.loads(await self.socket.recv())
        self.frames.append(frame)
        return frame

    async def expect(self, **members):
        """Return the next frame, which has to have these members."""
        frame = await self.receive()
        assert {name: frame.get(name) for name in members} == members, frame
        return frame

    async def until(self, **members):
        """Return the next frame with these members, whatever comes before it."""
        while True:
            frame = await self.receive()
            if {name: frame.get(name) for name in members} == members:
                return frame

    async def quiet(self):
        """Show that nothing else was on its way: the answer to a bad message comes next."""
        await self.send(type="nothing-like-this")
        frame = await self.expect(type="error")
        assert frame["errors"][0]["errorType"] == "UnsupportedOperation"

    async def closed(self):
        """Wait until the server has ended the connection, and return the close code."""
        async with asyncio.timeout(DEADLINE):
            await self.socket.wait_closed()
        return self.socket.close_code

    async def close(self):
        await self.socket.close()
