"""The WebSocket door: a plain ASGI application, without a consumer between the socket and the session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from websockets.frames import Frame, Opcode

from realtime import metrics
from realtime.delivery import envelope
from realtime.delivery.admission import NotAdmitted
from realtime.delivery.connection import Connection, Live, attend, close_code, let_in
from realtime.delivery.envelope import Close, Fault
from realtime.delivery.run import Run
from realtime.delivery.session import Outgoing, Session
from realtime.delivery.transports import EXTENSION, AsgiSend, Plain, Written

AsgiReceive = Callable[[], Awaitable[Mapping[str, Any]]]


def frame(text: bytes) -> bytes:
    """Return the WebSocket frame of a server's text message."""
    return Frame(Opcode.TEXT, text).serialize(mask=False)


class SocketFrames:
    """Each frame is one text message."""

    name = "websocket"
    sign_of_life = b""

    def data(self, items: Sequence[Outgoing], session: Session) -> bytes:
        parts = [item.encoded(frame) if isinstance(item, Run) else frame(item) for item in items]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def messages(self, items: Sequence[Outgoing], session: Session) -> Iterable[Mapping[str, Any]]:
        for item in items:
            for text in [entry.body for entry in item.entries] if isinstance(item, Run) else [item]:
                yield {"type": "websocket.send", "text": text.decode()}


async def websocket(live: Live, scope: Mapping[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
    """Serve one socket: from the request to come in until it is closed by either side."""

    async def end(close: Close) -> None:
        await send({"type": "websocket.close", "code": int(close), "reason": close.name.lower()})

    await receive()
    try:
        visitor = await let_in(live, scope, shows_origin=True)
    except NotAdmitted as refusal:
        await _refuse(refusal.fault, send, end)
        return
    try:
        await send({"type": "websocket.accept"})
        writer = (scope.get("extensions") or {}).get(EXTENSION)
        encoding = SocketFrames()
        transport = Plain(send, encoding, end) if writer is None else Written(writer, encoding, end)
        async with attend(live, visitor, transport, _cursor(scope)) as connection:
            await _listen(connection, receive, live.limits.command_bytes)
    finally:
        live.occupancy.leave(visitor.user.pk)


async def _listen(connection: Connection, receive: AsgiReceive, command_bytes: int) -> None:
    while (event := await receive())["type"] != "websocket.disconnect":
        text = event.get("text") or event.get("bytes") or b""
        if len(text) > command_bytes:
            connection.close(Close.MALFORMED)
        else:
            connection.receive(text)


async def _refuse(fault: Fault, send: AsgiSend, end: Callable[[Close], Awaitable[None]]) -> None:
    """Refuse so that the page learns why. A page of another site learns nothing: its handshake fails."""
    metrics.REFUSED.labels(fault.code).inc()
    if fault not in (envelope.BAD_ORIGIN, envelope.BAD_HOST):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": envelope.encode(fault.error()).decode()})
    await end(close_code(fault))


def _cursor(scope: Mapping[str, Any]) -> str:
    return str(parse_qs(scope["query_string"].decode("latin-1")).get("cursor", [""])[0])
