"""The socket: one WebSocket connection, opened and closed, with no policy of its own."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from realtime.appsync.session import Opening
from realtime.upstream.failures import BROKEN_FRAME
from realtime.upstream.policy import PING_EVERY, retry_after

MAX_FRAME = 4 * 1024 * 1024
"""Bytes in one frame: an event may have 240 kB, and JSON in JSON can multiply its quotes and backslashes."""

CLOSE_TIMEOUT = 3.0

NO_HEADERS = Headers()

frames_logger = logging.getLogger("realtime.upstream.frames")
# What the library says below INFO holds headers and frames: the credentials. The level saves it the work, the filter
# stays when a configuration of logging resets the levels of loggers that it does not name.
frames_logger.setLevel(logging.INFO)
frames_logger.addFilter(lambda record: record.levelno >= logging.INFO)


class TransportError(Exception):
    """The connection could not be had, or is over. ``status`` is set if HTTP answered, ``code`` if a close frame."""

    def __init__(
        self, kind: str, text: str = "", *, status: int | None = None, code: int | None = None, retry_after: float = 0.0
    ) -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind
        self.text = text
        self.status = status
        self.code = code
        self.retry_after = retry_after


class Socket(Protocol):
    """An open connection."""

    async def send(self, text: str) -> None:
        """Send one text frame; raises TransportError when the connection is over."""

    def __aiter__(self) -> AsyncIterator[str]:
        """Give the frames that arrive; raises TransportError when the connection ends, however it does."""

    async def close(self) -> None:
        """Close it, within ``CLOSE_TIMEOUT`` seconds; idempotent."""


class Transport(Protocol):
    async def open(self, opening: Opening) -> Socket:
        """Return an open connection on which the server selected the right subprotocol; raises TransportError."""


class WebSocketTransport:
    """Connections by the websockets library. ``tls`` is none for ``ws://``, and may hold a pinned CA.

    Each is pinged every ``ping_every`` seconds.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, ping_every: float = PING_EVERY) -> None:
        self._tls = tls
        self._ping_every = ping_every

    async def open(self, opening: Opening) -> Socket:
        try:
            connection = await _Connect(
                opening.url,
                subprotocols=[Subprotocol(name) for name in opening.subprotocols],
                additional_headers=opening.headers,
                ssl=self._tls if opening.url.startswith("wss:") else None,
                compression=None,
                max_size=MAX_FRAME,
                open_timeout=None,
                ping_interval=None,
                close_timeout=CLOSE_TIMEOUT,
                proxy=None,
                logger=frames_logger,
            )
        except InvalidStatus as error:
            raise _refused(error) from None
        except ssl.SSLCertVerificationError as error:
            raise TransportError("connect failed", _untrusted(error)) from None
        except (InvalidHandshake, InvalidURI, OSError, EOFError, UnicodeError) as error:
            raise TransportError("connect failed", _name(error)) from None
        if connection.subprotocol != opening.selected:
            await connection.close()
            raise TransportError("connect failed", f"the server selected the subprotocol {connection.subprotocol!r}")
        connection.request = None  # it would hold the credentials for as long as the connection lasts
        if connection.response is not None:
            connection.response.headers = NO_HEADERS  # they are two kilobytes a link
        return _WebSocket(connection, self._ping_every)


class _Connect(connect):
    """Follows no redirect: the next host would be sent the authorization, which travels in the subprotocol."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _WebSocket:
    """Pings by itself: the library's own pings take a reader that is slow for a peer that is gone.

    While nobody reads, the pong waits behind the frames that were not read yet.
    """

    def __init__(self, connection: ClientConnection, ping_every: float) -> None:
        self._connection = connection
        self._ping_every = ping_every
        self._waiting_since: float | None = None
        self._unanswered = False
        self._ping_later()

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as error:
            raise _ended(error) from None

    async def __aiter__(self) -> AsyncIterator[str]:
        time = asyncio.get_running_loop().time
        try:
            while True:
                self._waiting_since = time()
                message = await self._connection.recv()
                self._waiting_since = None
                yield message if isinstance(message, str) else message.decode(errors="replace")
        except ConnectionClosed as error:
            if self._unanswered:
                raise TransportError("ping timeout", f"no pong within {self._ping_every:g} s") from None
            raise _ended(error) from None

    async def close(self) -> None:
        self._next_ping.cancel()
        if self._pinging is not None:
            self._pinging.cancel()
        await self._connection.close()

    def _ping_later(self) -> None:
        self._pinging: asyncio.Task[None] | None = None
        self._next_ping = asyncio.get_running_loop().call_later(self._ping_every, self._begin_to_ping)

    def _begin_to_ping(self) -> None:
        self._pinging = asyncio.create_task(self._ping(), name="upstream ping")

    async def _ping(self) -> None:
        """Ping once; cut the connection when the pong and everything else stays away for as long as it may."""
        with suppress(ConnectionClosed):
            pong = asyncio.ensure_future(await self._connection.ping())
            while not (await asyncio.wait([pong], timeout=self._ping_every))[0]:
                if self._has_waited():
                    self._unanswered = True
                    self._connection.transport.abort()
                    return
            await pong
            self._ping_later()

    def _has_waited(self) -> bool:
        """Tell whether a reader has been waiting for a frame all the time that a pong may take."""
        since = self._waiting_since
        return since is not None and asyncio.get_running_loop().time() - since >= self._ping_every


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities, or only those of ``ca_file``."""
    return ssl.create_default_context(cafile=ca_file or None)


def _untrusted(error: ssl.SSLCertVerificationError) -> str:
    """Return why a server's certificate was refused, and what decides that."""
    return f"its certificate is not trusted ({error.verify_message}): is APPSYNC_CA_FILE that of its authority?"


def _refused(error: InvalidStatus) -> TransportError:
    response = error.response
    text = bytes(response.body or b"")[:200].decode(errors="replace").strip()
    return TransportError(
        f"HTTP {response.status_code}",
        text or response.reason_phrase,
        status=response.status_code,
        retry_after=retry_after(response.headers.get("Retry-After")),
    )


def _ended(error: ConnectionClosed) -> TransportError:
    """Say how it ended. The code says nothing of health: the service was seen to close normally on failure."""
    received = error.rcvd
    if received is not None:
        return TransportError("closed by the service", received.reason or f"code {received.code}", code=received.code)
    if error.sent is not None:
        return TransportError(BROKEN_FRAME, error.sent.reason or f"code {error.sent.code}", code=error.sent.code)
    return TransportError("connection lost", "it ended without a close frame")


def _name(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
