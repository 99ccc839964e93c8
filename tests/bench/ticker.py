"""An upstream that sends numbered events at a steady rate to whoever is subscribed, on all feeds in turn.

``python -m tests.bench.ticker PER_SECOND`` prints its address. The numbers go on whether or not somebody listens.
"""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol

from tests.bench.fountain import greet

TICK = 0.01
"""Seconds between writes."""


async def main(per_second: int) -> None:
    listeners: dict[ServerConnection, list[str]] = {}

    async def link(socket: ServerConnection) -> None:
        _, idents = await greet(socket)
        listeners[socket] = [idents[feed] for feed in sorted(idents)]
        await socket.wait_closed()
        del listeners[socket]

    protocols = [Subprotocol("aws-appsync-event-ws")]
    async with serve(link, "127.0.0.1", 0, compression=None, subprotocols=protocols, ping_interval=None) as server:
        print(json.dumps({"port": next(iter(server.sockets)).getsockname()[1]}), flush=True)
        now = asyncio.get_running_loop().time
        began, sent = now(), 0
        while True:
            due = int((now() - began) * per_second)
            for socket, idents in listeners.items():
                if socket.state is State.OPEN:
                    socket.transport.write(b"".join(_frame(number, idents) for number in range(sent, due)))
            sent = due
            await asyncio.sleep(TICK)


def _frame(number: int, idents: list[str]) -> bytes:
    text = f'{{"id":"{idents[number % len(idents)]}","type":"data","event":"{number}"}}'
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
