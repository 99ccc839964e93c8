"""An upstream that sends as fast as its readers read: the wire of AppSync Events, prepared frames, nothing else.

``python -m tests.bench.fountain CONNECTIONS COUNT`` prints its address. Once each connection has subscribed to all
feeds, it sends them ``COUNT`` copies in all, to each what concerns its user. The emulator is faithful, and far too slow
for this.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol

from realtime.feeds import FEEDS
from tests.bench import load
from tests.bench.processes import until

CHUNK = 50
"""Frames in one write."""

UNSENT = 256 * 1024
"""Bytes that may wait for a reader."""


async def main(connections: int, count: int) -> None:
    subjects = load.subjects()[:connections]
    shares: dict[str, list[load.Sent]] = defaultdict(list)
    for sent in load.copies(count, set(subjects)):
        shares[sent.subject].append(sent)
    ready = asyncio.Barrier(connections)

    async def link(socket: ServerConnection) -> None:
        subject, idents = await greet(socket)
        chunks = list(_chunks(shares[subject], idents))
        await ready.wait()
        for chunk in chunks:
            socket.transport.write(chunk)
            await until(lambda: socket.transport.get_write_buffer_size() < UNSENT)
            await asyncio.sleep(0)
        await socket.wait_closed()

    protocols = [Subprotocol("aws-appsync-event-ws")]
    async with serve(link, "127.0.0.1", 0, compression=None, subprotocols=protocols, ping_interval=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"port": port}), flush=True)
        await asyncio.get_running_loop().create_future()


async def greet(socket: ServerConnection) -> tuple[str, dict[str, str]]:
    """Acknowledge the connection and its subscriptions; return whose they are, and their ids by feed."""
    await socket.recv()
    await socket.send('{"type":"connection_ack","connectionTimeoutMs":300000}')
    idents: dict[str, str] = {}
    subject = ""
    while len(idents) < len(FEEDS):
        request: dict[str, Any] = json.loads(await socket.recv())
        _, _, _, subject, feed = request["channel"].split("/", 4)
        idents[feed] = request["id"]
        await socket.send(json.dumps({"type": "subscribe_success", "id": request["id"]}))
    return subject, idents


def _chunks(share: list[load.Sent], idents: dict[str, str]):  # type: ignore[no-untyped-def]
    for start in range(0, len(share), CHUNK):
        yield b"".join(_frame(sent, idents[sent.feed]) for sent in share[start : start + CHUNK])


def _frame(sent: load.Sent, ident: str) -> bytes:
    text = f'{{"id":"{ident}","type":"data","event":{json.dumps(sent.payload)}}}'
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
