"""The HTTP doors: plain ASGI applications beside Django's handler, which would keep a thread for each open stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec
from django.db import DatabaseError

from realtime import metrics
from realtime.clock import now_us
from realtime.delivery import envelope
from realtime.delivery.admission import NotAdmitted, Visitor
from realtime.delivery.connection import Live, attend, let_in
from realtime.delivery.envelope import Close, Fault
from realtime.delivery.run import Run
from realtime.delivery.session import Outgoing, Session
from realtime.delivery.transports import EXTENSION, AsgiSend, Plain, Written
from realtime.delivery.websocket import AsgiReceive

RETRY_AFTER = {envelope.TOO_MANY.code: 10, envelope.TOO_FAST.code: 2, envelope.UNAVAILABLE.code: 2}
"""Seconds to wait before the same request may do better."""

HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"), (b"vary", b"Cookie")]
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would otherwise gather the stream
    *HEADERS,
]


# ── The stream ────────────────────────────────────────────────────────────────────────────────────────────────


def event(text: bytes) -> bytes:
    """Return a frame as a server-sent event; JSON text holds no line break."""
    return b"data: %b\n\n" % text


class EventStream:
    """Each frame is one event. After what was sent together comes the cursor, as an id that shows no event.

    If the connection ends before that, some events come twice, and the client drops them by their offset.
    """

    name = "sse"
    sign_of_life = b": alive\n\n"

    def data(self, items: Sequence[Outgoing], session: Session) -> bytes:
        parts = [item.encoded(event) if isinstance(item, Run) else event(item) for item in items]
        return b"%bid: %b\n\n" % (b"".join(parts), session.cursor().encode())

    def messages(self, items: Sequence[Outgoing], session: Session) -> Iterable[Mapping[str, Any]]:
        yield {"type": "http.response.body", "body": self.data(items, session), "more_body": True}


async def stream(live: Live, scope: Mapping[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
    """Serve one event stream until either side ends it."""

    async def end(close: Close) -> None:
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    try:
        _demand_method(scope, "GET")
        visitor = await let_in(live, scope, shows_origin=False)
    except NotAdmitted as refusal:
        await _refuse(refusal.fault, send)
        return
    try:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})
        await send({"type": "http.response.body", "body": EventStream.sign_of_life, "more_body": True})
        writer = (scope.get("extensions") or {}).get(EXTENSION)
        encoding = EventStream()
        transport = Plain(send, encoding, end) if writer is None else Written(writer, encoding, end)
        async with attend(live, visitor, transport, _cursor(scope)):
            while (await receive())["type"] != "http.disconnect":
                pass
    finally:
        live.occupancy.leave(visitor.user.pk)


def _cursor(scope: Mapping[str, Any]) -> str:
    """Return where the client says it is: what an EventSource sends by itself is newer than its address."""
    for name, value in scope["headers"]:
        if name == b"last-event-id":
            return str(value.decode("latin-1"))
    return str(parse_qs(scope["query_string"].decode("latin-1")).get("cursor", [""])[0])


# ── The snapshot and the client's messages ────────────────────────────────────────────────────────────────────


async def snapshot(live: Live, scope: Mapping[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
    """Answer with everything that the visitor may see, and the cursor that continues it."""
    try:
        _demand_method(scope, "GET")
        visitor = await live.admission.admit(scope, shows_origin=False)
        await _respond(send, 200, await _state(live, visitor))
    except NotAdmitted as refusal:
        await _refuse(refusal.fault, send)


async def post(live: Live, scope: Mapping[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
    """Answer one message of a client that has no socket to send it on."""
    try:
        _demand_method(scope, "POST")
        visitor = await live.admission.admit(scope, shows_origin=True)
        if live.occupancy.wait_to_post(visitor.user.pk, time.monotonic()):
            raise NotAdmitted(envelope.TOO_FAST)
        command = envelope.decode_command(await _body(receive, live.limits.command_bytes))
        await _respond(send, 200, await _answer(live, visitor, command))
    except envelope.Refused as refused:
        await _respond(send, refused.status, refused.error)
    except NotAdmitted as refusal:
        await _refuse(refusal.fault, send)


async def _answer(live: Live, visitor: Visitor, command: envelope.Command) -> envelope.Frame:
    match command:
        case envelope.Ping(id=ident):
            return envelope.Pong(id=ident, t=now_us())
        case envelope.Sync(id=ident):
            return msgspec.structs.replace(await _state(live, visitor), id=ident)
    raise envelope.Refused(envelope.NEEDS_STREAM.error(command.id), envelope.NEEDS_STREAM.status)


async def _state(live: Live, visitor: Visitor) -> envelope.State:
    try:
        return await live.hub.state(visitor.user, ())
    except DatabaseError as exc:
        raise NotAdmitted(envelope.UNAVAILABLE) from exc


async def _body(receive: AsgiReceive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit:
            raise NotAdmitted(envelope.TOO_LARGE)
        if not message.get("more_body"):
            return bytes(body)


def _demand_method(scope: Mapping[str, Any], method: str) -> None:
    if scope["method"] != method:
        raise NotAdmitted(envelope.BAD_METHOD)


async def _refuse(fault: Fault, send: AsgiSend) -> None:
    metrics.REFUSED.labels(fault.code).inc()
    wait = RETRY_AFTER.get(fault.code)
    headers = [(b"retry-after", b"%d" % wait)] if wait else []
    await _respond(send, fault.status, fault.error(), headers)


async def _respond(
    send: AsgiSend, status: int, frame: envelope.Frame, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    body = envelope.encode(frame)
    length = (b"content-length", b"%d" % len(body))
    all_headers = [(b"content-type", b"application/json"), length, *headers, *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})
