"""The frames of the GraphQL dialect (``graphql-ws`` as AppSync speaks it), spelt in one place.

Everything but ids is below ``payload``. Errors may be a list or a single object; an emulator of AWS's own names the
time-out differently. https://docs.aws.amazon.com/appsync/latest/devguide/real-time-websocket-client.html
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from realtime.appsync.exceptions import WireError
from realtime.appsync.messages import UNREADABLE, Malformed

SUBPROTOCOL = "graphql-ws"
PATH = "/graphql"
CONNECT_PATH = "/graphql/connect"
"""The path as which the upgrade is signed; operations are signed as ``/graphql``."""


class Frame(msgspec.Struct, frozen=True):
    """Any frame of the service; ``payload`` is read once it is known what it has to be."""

    type: str
    id: str | None = None
    payload: msgspec.Raw = msgspec.Raw(b"null")


class Ack(msgspec.Struct, frozen=True, rename="camel"):
    connection_timeout_ms: float | None = None
    connection_timeout: float | None = None


class Result(msgspec.Struct, frozen=True):
    """What a subscription's data frame holds."""

    data: msgspec.Raw = msgspec.Raw(b"null")
    errors: tuple[WireError, ...] | None = None


class _Errors(msgspec.Struct, frozen=True, rename="camel"):
    errors: tuple[WireError, ...] | WireError | None = None
    error_type: str | None = None
    message: str | None = None
    error_code: int | None = None


T = TypeVar("T")

_frames = msgspec.json.Decoder(Frame)
_acks = msgspec.json.Decoder(Ack | None)
_results = msgspec.json.Decoder(Result)
_errors = msgspec.json.Decoder(_Errors | None)


def read(text: str | bytes) -> Frame:
    """Return the frame; raises Malformed with the reason."""
    return _read(_frames, text)


def timeout_ms(frame: Frame) -> float | None:
    """Return the time-out of a ``connection_ack``, if it names one under either name."""
    ack = _read(_acks, frame.payload)
    return None if ack is None else ack.connection_timeout_ms or ack.connection_timeout


def result(frame: Frame) -> Result:
    return _read(_results, frame.payload)


def errors(frame: Frame) -> tuple[WireError, ...]:
    """Return the errors of a frame, whether they are a list, a single object, or stand in the payload itself."""
    payload = _read(_errors, frame.payload) or _Errors()
    if isinstance(payload.errors, WireError):
        return (payload.errors,)
    if payload.errors:
        return payload.errors
    return (WireError(payload.error_type, payload.message, payload.error_code),)


def start(ident: str, data: str, authorization: dict[str, str]) -> str:
    """``data`` is the JSON text of query and variables, sent as it was signed."""
    payload = {"data": data, "extensions": {"authorization": authorization}}
    return _text({"id": ident, "type": "start", "payload": payload})


def stop(ident: str) -> str:
    return _text({"id": ident, "type": "stop"})


def _read(decoder: msgspec.json.Decoder[T], text: str | bytes | msgspec.Raw) -> T:
    try:
        return decoder.decode(text)
    except UNREADABLE as error:
        raise Malformed(str(error)) from error


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
