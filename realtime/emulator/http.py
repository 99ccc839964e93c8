"""HTTP/1.1 on the emulator's one port: requests in, responses out, and the hand-over of an upgraded connection.

h11 knows the grammar, this knows the transport. Handlers are plain functions: everything is in memory, so the answer
is ready at once; a ``Response`` may ask to be sent later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

import h11
import msgspec

from realtime.emulator.errors import ApiError, bad_request

# A token of an identity provider in the sub-protocol header makes a line of several kilobytes.
MAX_HEAD = 64 * 1024
# Above the 1.2 MB that a publish may have, so that it is told so instead of being cut off.
MAX_BODY = 4 * 1024 * 1024


REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case, ``peer`` is the client's address."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    peer: str

    def form(self) -> dict[str, str]:
        """Return the fields of a form-encoded body."""
        return dict(parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; ``delay`` seconds pass before it is sent. A status below 200 resets the connection instead."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


Handler = Callable[[Request], Response]
# Takes over the transport and returns the protocol that goes on with it, or refuses.
Upgrade = Callable[[Request, asyncio.Transport], "asyncio.Protocol | Response"]


def json_response(value: object, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(status, msgspec.json.encode(value), headers=named)


def error_response(error: ApiError) -> Response:
    """Return a refusal as AppSync words it over HTTP: the error type is in a header too, where clients look first."""
    headers = {} if error.error_type is None else {"x-amzn-errortype": error.error_type}
    return Response(error.status, msgspec.json.encode({"errors": [error.as_dict()]}), headers=headers)


class Router:
    """Finds who answers a request by its path and method."""

    def __init__(self, upgrade: Upgrade) -> None:
        self.upgrade = upgrade
        self._handlers: dict[str, dict[str, Handler]] = {}

    def add(self, method: str, path: str, handler: Handler) -> None:
        self._handlers.setdefault(path, {})[method] = handler

    def answer(self, request: Request) -> Response:
        """Return the response; an ApiError that a handler raises becomes one, and so does JSON without a bottom."""
        methods = self._handlers.get(request.path)
        if methods is None:
            return json_response({"message": f"nothing is at {request.path}"}, 404)
        handler = methods.get(request.method)
        if handler is None:
            return json_response(
                {"message": f"{request.path} takes {', '.join(methods)}"}, 405, allow=", ".join(methods)
            )
        try:
            return handler(request)
        except ApiError as error:
            return error_response(error)
        except RecursionError:
            return error_response(bad_request("The request is nested too deep"))


class HttpConnection(asyncio.Protocol):
    """One connection until it closes or is upgraded. ``live`` holds the transports that are open."""

    def __init__(self, router: Router, live: set[asyncio.Transport]) -> None:
        self._router = router
        self._live = live
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._head: h11.Request | None = None
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._live.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._h11.receive_data(data)
        self._advance()

    def eof_received(self) -> None:
        self._transport.close()

    def _advance(self) -> None:
        try:
            while self._step(self._h11.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._refuse(error)

    def _step(self, event: Any) -> bool:
        """Deal with one h11 event; return whether there may be another now."""
        match event:
            case h11.Request():
                self._head = event
                self._body.clear()
            case h11.Data():
                self._body += event.data
                if len(self._body) > MAX_BODY:
                    raise h11.RemoteProtocolError("body too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            case h11.EndOfMessage():
                self._complete()
                return False
            case _:  # NEED_DATA, PAUSED, ConnectionClosed
                return False
        return True

    def _complete(self) -> None:
        assert self._head is not None
        request = _request(self._head, bytes(self._body), self._transport)
        if request.headers.get("upgrade", "").lower() == "websocket":
            self._hand_over(request)
        else:
            self._respond(self._router.answer(request))

    def _hand_over(self, request: Request) -> None:
        answer = self._router.upgrade(request, self._transport)
        if isinstance(answer, Response):
            self._respond(answer)
            return
        self._transport.set_protocol(answer)
        early, _ = self._h11.trailing_data
        if early:
            answer.data_received(early)

    def _respond(self, response: Response) -> None:
        if response.delay:
            asyncio.get_running_loop().call_later(response.delay, self._send, response)
        else:
            self._send(response)

    def _send(self, response: Response) -> None:
        if response.status < HTTPStatus.OK:
            self._transport.abort()
            return
        if self._transport.is_closing():
            return
        self._write(response)
        if self._h11.our_state is h11.MUST_CLOSE or self._h11.their_state is not h11.DONE:
            self._transport.close()
        else:
            self._h11.start_next_cycle()
            self._advance()

    def _write(self, response: Response) -> None:
        headers = [("content-type", response.content_type), ("content-length", str(len(response.body)))]
        head = h11.Response(
            status_code=response.status,
            headers=[*headers, *response.headers.items()],
            reason=REASONS.get(response.status, ""),
        )
        parts = [self._h11.send(head), self._h11.send(h11.Data(data=response.body))]
        parts.append(self._h11.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part for part in parts if part))

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no HTTP in words, if h11 still lets us, and close."""
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._write(json_response({"message": str(error)}, error.error_status_hint))
        self._transport.close()


def _request(head: h11.Request, body: bytes, transport: asyncio.Transport) -> Request:
    path, _, query = head.target.decode("ascii", "replace").partition("?")
    peer = transport.get_extra_info("peername")
    return Request(
        method=head.method.decode("ascii", "replace"),
        path=unquote(path),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
        body=body,
        peer=peer[0] if peer else "",
    )
