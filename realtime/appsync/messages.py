"""The frames of the Events dialect, spelt in one place: made for the service, read from it.

Reading is lenient where the service is known to differ from its documents: ``event`` may be a string or a list of
them, unknown fields are ignored, nothing depends on the order of keys. What can't be read at all is Malformed, which
concerns that frame alone. https://docs.aws.amazon.com/appsync/latest/eventapi/event-api-websocket-protocol.html
"""

from __future__ import annotations

from typing import Any

import msgspec

from realtime.appsync.exceptions import WireError

SUBPROTOCOL = "aws-appsync-event-ws"

PATH = "/event"
"""The path of the HTTP request as which everything is signed, the upgrade too (not ``/event/connect``)."""


class Frame(msgspec.Struct, frozen=True, rename="camel"):
    """Any frame of the service. ``errors`` is at the top level in this dialect."""

    type: str
    id: str | None = None
    event: str | list[str] | None = None
    errors: tuple[WireError, ...] = ()
    connection_timeout_ms: float | None = None
    successful: tuple[dict[str, Any], ...] = ()
    failed: tuple[dict[str, Any], ...] = ()


class Malformed(ValueError):
    """A frame that is not JSON, has no type, or whose known fields are of another shape."""


UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding raises for text that is no JSON, of another shape, no Unicode, or nested without end."""

_decoder = msgspec.json.Decoder(Frame)
_encoder = msgspec.json.Encoder()


def read(text: str | bytes) -> Frame:
    """Return the frame; raises Malformed with the reason."""
    try:
        return _decoder.decode(text)
    except UNREADABLE as error:
        raise Malformed(str(error)) from error


def subscribe(ident: str, channel: str, authorization: dict[str, str]) -> str:
    return _text({"type": "subscribe", "id": ident, "channel": channel, "authorization": authorization})


def unsubscribe(ident: str) -> str:
    return _text({"type": "unsubscribe", "id": ident})


def publish(ident: str, channel: str, events: list[str], authorization: dict[str, str]) -> str:
    return _text({"type": "publish", "id": ident, "channel": channel, "events": events, "authorization": authorization})


def subscribe_body(channel: str) -> str:
    """Return the request body as which a subscribe is signed."""
    return _text({"channel": channel})


def publish_body(channel: str, events: list[str]) -> str:
    """Return the body of a publish over HTTP, as which one over a socket is signed too."""
    return _text({"channel": channel, "events": events})


def _text(message: dict[str, Any]) -> str:
    return _encoder.encode(message).decode()
