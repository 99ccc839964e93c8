"""How frames reach a client: written straight to its socket where our own server offers that, else as ASGI messages.

Both carry any encoding, so a WebSocket and an event stream differ in their encoding only. Nothing here waits: what a
client does not take stays in its session's outbox.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from realtime.delivery.envelope import Close
from realtime.delivery.session import Outgoing, Session

EXTENSION = "fleetlight.writer"
"""The ASGI extension by which a server offers a Writer."""

AsgiSend = Callable[[Mapping[str, Any]], Awaitable[None]]
End = Callable[[Close], Awaitable[None]]


class Writer(Protocol):
    """A connection's socket, as a server that counts unsent bytes offers it."""

    on_drained: Callable[[], None] | None

    @property
    def blocked(self) -> bool:
        """Whether so much is unsent that nothing more should be written; ``on_drained`` is called when it is gone."""

    def open(self) -> None:
        """Begin: the response has been started, or the socket accepted."""

    def write(self, data: bytes) -> None:
        """Send bytes that are complete frames; after the end of the connection nothing happens."""

    def close(self) -> None:
        """Write no more; what is written goes out."""

    def abort(self) -> None:
        """Drop the connection with whatever is unsent."""


class Encoding(Protocol):
    """One wire form of frames."""

    name: str
    sign_of_life: bytes
    """What to send when there is nothing to send; empty where the server's own pings do it."""

    def data(self, items: Sequence[Outgoing], session: Session) -> bytes:
        """Return the bytes of these frames."""

    def messages(self, items: Sequence[Outgoing], session: Session) -> Iterable[Mapping[str, Any]]:
        """Return the ASGI messages of these frames."""


class Written:
    """Carries frames through a Writer: built once for all sessions, sent at once, with back-pressure."""

    def __init__(self, writer: Writer, encoding: Encoding, end: End) -> None:
        self.name = encoding.name
        self._writer = writer
        self._encoding = encoding
        self._end = end
        self._sent_at = time.monotonic()
        self._ending: asyncio.Future[None] | None = None

    def open(self, drained: Callable[[], None]) -> None:
        """Begin; ``drained`` is called when a blocked transport takes more again."""
        self._writer.on_drained = drained
        self._writer.open()

    @property
    def blocked(self) -> bool:
        return self._writer.blocked

    def send(self, items: Sequence[Outgoing], session: Session) -> None:
        self._writer.write(self._encoding.data(items, session))
        self._sent_at = time.monotonic()

    def keep_alive(self, silent: float) -> None:
        if self._encoding.sign_of_life and time.monotonic() - self._sent_at >= silent and not self.blocked:
            self._writer.write(self._encoding.sign_of_life)
            self._sent_at = time.monotonic()

    def close(self, close: Close) -> None:
        self._writer.close()
        self._ending = asyncio.ensure_future(self._end(close))

    def abort(self) -> None:
        self._writer.abort()


class Plain:
    """Carries frames as ASGI messages, one batch at a time; as slow as the server's own send makes it."""

    def __init__(self, send: AsgiSend, encoding: Encoding, end: End) -> None:
        self.name = encoding.name
        self._send = send
        self._encoding = encoding
        self._end = end
        self._drained: Callable[[], None] | None = None
        self._sent_at = time.monotonic()
        self._batch: asyncio.Task[None] | None = None
        self._ending: asyncio.Future[None] | None = None

    def open(self, drained: Callable[[], None]) -> None:
        """Begin; ``drained`` is called when a blocked transport takes more again."""
        self._drained = drained

    @property
    def blocked(self) -> bool:
        return self._batch is not None

    def send(self, items: Sequence[Outgoing], session: Session) -> None:
        messages = list(self._encoding.messages(items, session))
        self._batch = asyncio.create_task(self._carry(messages))

    def keep_alive(self, silent: float) -> None:
        """A server that is not ours is left to its own ways; what it has not taken is no sign of life."""

    def close(self, close: Close) -> None:
        self._ending = asyncio.ensure_future(self._finish(close))

    def abort(self) -> None:
        if self._batch is not None:
            self._batch.cancel()
        self._ending = asyncio.ensure_future(self._end(Close.SLOW))

    async def _carry(self, messages: Iterable[Mapping[str, Any]]) -> None:
        for message in messages:
            await self._send(message)
        self._sent_at = time.monotonic()
        self._batch = None
        if self._drained is not None:
            self._drained()

    async def _finish(self, close: Close) -> None:
        if self._batch is not None:
            await asyncio.wait([self._batch])
        await self._end(close)
