"""An upstream that goes away from everyone at once, refuses all for a while, and then admits only so many a second.

``python -m tests.bench.failing LINKS SECONDS`` prints its address, waits until this many links are subscribed to all
feeds and count as stable, fails for so many seconds, and prints as JSON how they came back.
"""

from __future__ import annotations

import asyncio
import json
import sys
from http import HTTPStatus

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.typing import Subprotocol

from realtime.token_bucket import TokenBucket
from tests.bench.fountain import greet
from tests.bench.processes import until
from tests.bench.recovery import ADMITTED, BURST, Recovery

WARM_UP = 40.0
"""Seconds after the last link subscribed: all of them count as stable by then."""


class Upstream:
    """Whoever is connected, and how the service is: there, away, or back."""

    def __init__(self) -> None:
        self.live: set[ServerConnection] = set()
        self.recovery: Recovery | None = None
        self._away = False
        self._bucket = TokenBucket(ADMITTED, BURST)

    def fail(self) -> None:
        """Let every connection break without a word."""
        self._away = True
        for socket in self.live:
            socket.transport.abort()

    def come_back(self) -> Recovery:
        self._away = False
        self.recovery = Recovery(asyncio.get_running_loop().time())
        return self.recovery

    def admit(self, socket: ServerConnection, request: Request) -> Response | None:
        """Refuse the upgrade with a 503, or return nothing to let it in."""
        refused = self._away
        if self.recovery is not None:
            self.recovery.dialled()
            refused = self._bucket.take(asyncio.get_running_loop().time()) > 0
        return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "") if refused else None

    async def link(self, socket: ServerConnection) -> None:
        subject, _ = await greet(socket)
        self.live.add(socket)
        if self.recovery is not None:
            self.recovery.recovered(subject, asyncio.get_running_loop().time())
        await socket.wait_closed()
        self.live.discard(socket)


async def main(count: int, seconds: float) -> None:
    upstream = Upstream()
    async with serve(
        upstream.link,
        "127.0.0.1",
        0,
        process_request=upstream.admit,
        compression=None,
        subprotocols=[Subprotocol("aws-appsync-event-ws")],
        ping_interval=None,
    ) as server:
        print(json.dumps({"port": next(iter(server.sockets)).getsockname()[1]}), flush=True)
        await until(lambda: len(upstream.live) == count)
        await asyncio.sleep(WARM_UP)
        upstream.fail()
        await asyncio.sleep(seconds)
        recovery = upstream.come_back()
        await until(lambda: recovery.links == count)
        print(json.dumps({"outage": recovery.figures()}), flush=True)
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
