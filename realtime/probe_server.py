"""A small HTTP server for the probes of a worker, which has no web server of its own.

It runs in the worker's event loop, so that a worker whose loop is stuck does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import h11

from realtime.probes import Probes

READ_SIZE = 65_536
IDLE = 10.0


async def start(probes: Probes, host: str, port: int) -> asyncio.Server:
    """Listen on `host:port`; the caller closes what is returned.

    Raises:
        OSError: the address cannot be listened on.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(TimeoutError, OSError, h11.RemoteProtocolError):
            async with asyncio.timeout(IDLE):
                await _answer(probes, reader, writer)
        writer.close()

    return await asyncio.start_server(serve, host, port)


async def _answer(probes: Probes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request, then the connection is closed: probes come seconds apart."""
    connection = h11.Connection(h11.SERVER)
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(READ_SIZE))
    if not isinstance(event, h11.Request):
        return

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"connection", b"close")]
            writer.write(connection.send(h11.Response(status_code=message["status"], headers=headers)) or b"")
        else:
            writer.write(connection.send(h11.Data(data=message["body"])) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            await writer.drain()

    scope = {
        "type": "http",
        "method": event.method.decode(),
        "path": event.target.decode().partition("?")[0],
        "headers": list(event.headers),
        "client": writer.get_extra_info("peername"),
    }
    await probes(scope, receive, send)
