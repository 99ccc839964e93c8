"""One upgraded socket: frames in through websockets' sans-I/O protocol, frames out straight to the transport.

A server's text frame is a header of two to ten bytes before the text, so it is made here: the same event then costs one
encoding however many subscribers it has. The bytes being ours is also what lets a socket misbehave.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, cast

import msgspec
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.http11 import Response as HandshakeResponse
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from realtime.emulator.http import Request

MAX_MESSAGE = 4 * 1024 * 1024
# A client that lets this much pile up unread is not coming back for it.
MAX_UNREAD = 16 * 1024 * 1024
# How long the client may take to answer a close frame.
CLOSE_TIMEOUT = 5.0
logger = logging.getLogger("realtime.emulator")
frames_logger = logging.getLogger("realtime.emulator.frames")


class Reader(Protocol):
    """Whoever understands the messages of a socket."""

    def received(self, text: bytes) -> None:
        """Take one complete text or binary message."""

    def closed(self, code: int | None) -> None:
        """Take notice that the socket is gone; called once. ``code`` is the client's, if it sent one."""


def handshake(request: Request, subprotocol: str | None) -> HandshakeResponse:
    """Return the answer to an upgrade: 101 naming ``subprotocol`` (compression is declined), or the refusal."""

    def select(_: ServerProtocol, __: object) -> Subprotocol | None:
        return cast(Subprotocol | None, subprotocol)

    protocol = ServerProtocol(select_subprotocol=select, logger=frames_logger)
    headers = Headers(request.headers)
    # What was offered has been read already; a padded `header-` one is no token, and would be refused for that.
    headers.pop("sec-websocket-protocol", None)
    if subprotocol:
        headers["sec-websocket-protocol"] = subprotocol
    return protocol.accept(Handshake(request.path, headers))


class WebSocket(asyncio.Protocol):
    """Takes over ``transport`` after the 101. Set ``reader`` before any data comes; see its two methods."""

    reader: Reader

    def __init__(self, transport: asyncio.Transport, live: set[asyncio.Transport]) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=MAX_UNREAD)
        self._live = live
        self._frames = ServerProtocol(state=OPEN, max_size=MAX_MESSAGE, logger=frames_logger)
        self._message = bytearray()
        self._closing: asyncio.TimerHandle | None = None
        self.frozen = False

    # Writing

    def send(self, message: object) -> None:
        """Send ``message`` as JSON."""
        self.send_text(msgspec.json.encode(message))

    @property
    def open(self) -> bool:
        """Whether what is sent now goes onto the wire."""
        return not self.frozen and self._frames.state is OPEN

    def send_text(self, text: bytes) -> None:
        """Send a text frame; after a close or while frozen it goes nowhere, as on a real wire."""
        if self.open:
            self._transport.write(text_frame(text))

    def close(self, code: int | None = None, reason: str = "") -> None:
        """Begin the closing handshake, with a close frame of ``code``, or an empty one."""
        if not self.open:
            return
        self._frames.send_close(code, reason)
        self._flush()
        self._closing = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)

    def abort(self) -> None:
        """End the TCP connection without a close frame."""
        self._transport.abort()

    def freeze(self) -> None:
        """Go half-open: read nothing, write nothing, leave the TCP connection as it is."""
        self.frozen = True
        self._transport.pause_reading()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        self._frames.receive_data(data)
        for event in self._frames.events_received():
            self._receive(cast(Frame, event))
        self._flush()

    def eof_received(self) -> None:
        self._frames.receive_eof()
        self._transport.close()

    def pause_writing(self) -> None:
        logger.warning("a client left too much unread; its connection is dropped")
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._live.discard(self._transport)
        if self._closing is not None:
            self._closing.cancel()
        close = self._frames.close_rcvd
        self.reader.closed(None if close is None else close.code)

    def _receive(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        self._message += frame.data
        if frame.fin:
            message, self._message = bytes(self._message), bytearray()
            self.reader.received(message)

    def _flush(self) -> None:
        """Write what the protocol wants written: pongs, closes, and the end of the stream (an empty chunk)."""
        for chunk in self._frames.data_to_send():
            if self.frozen:
                continue
            if chunk:
                self._transport.write(chunk)
            else:
                self._transport.close()


def text_frame(text: bytes) -> bytes:
    """Return ``text`` as one unmasked frame (RFC 6455, 5.2)."""
    length = len(text)
    if length < 126:
        return b"\x81" + length.to_bytes(1, "big") + text
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2, "big") + text
    return b"\x81\x7f" + length.to_bytes(8, "big") + text
