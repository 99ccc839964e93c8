"""Our own Daphne: it knows how much a client has not read, writes frames at once, and leaves in an orderly way.

This is the only file that touches the insides of Daphne and Twisted. Public are the producer interface (which is the
back-pressure), ``getHandle``, ``abortConnection`` and Autobahn's ``state``. Private is one attribute of Twisted's
transport, ``_tempDataBuffer``: whether something is queued there, so that our bytes must queue behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from daphne.server import Server as DaphneServer, twisted_loop  # isort: skip  (it installs the reactor)
from daphne.endpoints import build_endpoint_description_strings
from daphne.http_protocol import WebRequest
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import defer, reactor, tcp

from realtime.delivery.transports import EXTENSION

logger = logging.getLogger("realtime.serve")

SEND_BUFFER = 131_072
"""Bytes that the kernel may hold for one client. By default it takes megabytes on a fast network, and a client that has
stopped reading is noticed only when they are full of stale data."""

PING_EVERY, PING_DEADLINE = 20, 30
"""Seconds. Proxies and home routers forget a connection that is silent for a minute."""


class _Producer:
    """Knows from Twisted whether a client reads: paused while more than 64 KiB wait, resumed when nothing does."""

    def __init__(self) -> None:
        self.on_drained: Callable[[], None] | None = None
        self.blocked = False

    def pauseProducing(self) -> None:
        self.blocked = True

    def resumeProducing(self) -> None:
        self.blocked = False
        if self.on_drained is not None:
            self.on_drained()

    def stopProducing(self) -> None:
        """The connection is lost."""
        self.on_drained = None


class SocketWriter(_Producer):
    """Writes to an accepted WebSocket's connection."""

    OPEN = WebSocketProtocol.STATE_OPEN

    def __init__(self, protocol: WebSocketProtocol) -> None:
        super().__init__()
        self._protocol = protocol
        self._transport: Any = None
        self._direct: socket.socket | None = None

    def open(self) -> None:
        """Take the place of Twisted's HTTP channel, which stays the connection's producer after the upgrade."""
        transport = self._transport = self._protocol.transport
        transport.unregisterProducer()
        transport.registerProducer(self, True)
        # Under TLS the wrapper passes unknown attributes on to the bare socket: never send past it.
        if type(transport) is tcp.Server and not transport.TLS:
            self._direct = transport.getHandle()
            limit_send_buffer(self._direct)

    def write(self, data: bytes) -> None:
        """Hand the bytes to the kernel at once if nothing is queued before them, else queue them."""
        if self._protocol.state != self.OPEN:
            return
        transport = self._transport
        if self._direct is not None and not transport._tempDataBuffer and not transport.dataBuffer:
            try:
                sent = self._direct.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the connection is lost; the reactor will say so
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(data)

    def close(self) -> None:
        """Nothing is to be done: the close frame queues behind what was written."""

    def abort(self) -> None:
        """Drop the connection with whatever is unsent."""
        self._protocol.transport.abortConnection()


class ResponseWriter(_Producer):
    """Writes the body of a response that has been started."""

    def __init__(self, request: WebRequest) -> None:
        super().__init__()
        self._request = request

    def open(self) -> None:
        """Become the response's producer."""
        self._request.registerProducer(self, True)
        connection = self._request.channel.transport
        if type(connection) is tcp.Server:
            limit_send_buffer(connection.getHandle())

    def write(self, data: bytes) -> None:
        """Write a part of the body."""
        if not self._request.finished and self._request.channel is not None:
            self._request.write(data)

    def close(self) -> None:
        """Stop being the producer, so that the response can be finished."""
        if self._request.channel is not None:
            self._request.unregisterProducer()

    def abort(self) -> None:
        """Drop the connection with whatever is unsent."""
        if self._request.channel is not None:
            self._request.channel.transport.abortConnection()


def limit_send_buffer(handle: socket.socket) -> None:
    """Have the kernel hold less for a slow client."""
    with contextlib.suppress(OSError):  # lost already
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


class CannotListen(Exception):
    """The address can't be listened on; the message says why."""


class Server(DaphneServer):  # type: ignore[misc]
    """Daphne with writers, and with a way to leave.

    ``started`` is called in the loop when the server listens, with its address. ``leave`` is awaited on SIGTERM or
    SIGINT, after the server has stopped accepting: it sends the live sessions away. ``trust_proxy``: who a visitor is
    and whether the visit is encrypted is what the proxy's headers say.
    """

    def __init__(
        self,
        application: Any,
        host: str,
        port: int,
        *,
        started: Callable[[str, int], None],
        leave: Callable[[], Awaitable[None]],
        patience: float,
        frame_bytes: int,
        trust_proxy: bool = False,
    ) -> None:
        super().__init__(
            application,
            endpoints=build_endpoint_description_strings(host=host, port=port),
            signal_handlers=False,
            ping_interval=PING_EVERY,
            ping_timeout=PING_DEADLINE,
            websocket_timeout=-1,
            websocket_max_message_size=4 * frame_bytes,
            websocket_max_frame_size=4 * frame_bytes,
            server_name="fleetlight",
            proxy_forwarded_address_header="X-Forwarded-For" if trust_proxy else None,
            proxy_forwarded_proto_header="X-Forwarded-Proto" if trust_proxy else None,
        )
        self._started = started
        self._leave = leave
        self._patience = patience
        self._leaving: asyncio.Task[None] | None = None
        self._refusal = ""

    def serve(self) -> None:
        """Run until told to leave. Raises CannotListen."""
        reactor.callWhenRunning(self._take_signals)
        self.run()
        if self._refusal:
            raise CannotListen(self._refusal)

    def create_application(self, protocol: Any, scope: Any) -> Any:
        """As Daphne, offering a writer."""
        writer = SocketWriter(protocol) if scope["type"] == "websocket" else ResponseWriter(protocol)
        scope["extensions"] = {EXTENSION: writer}
        return super().create_application(protocol, scope)

    def listen_success(self, port: Any) -> None:
        """As Daphne, and say where."""
        super().listen_success(port)
        reactor.callWhenRunning(self._started, port.getHost().host, port.getHost().port)

    def listen_error(self, failure: Any) -> None:
        """Keep the reason for whoever started the server."""
        self._refusal = f"{failure.getErrorMessage()}."
        self.stop()

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            twisted_loop.add_signal_handler(number, self._told_to_leave)

    def _told_to_leave(self) -> None:
        """Leave in an orderly way; told a second time, leave at once."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._go())
        else:
            self.stop()

    async def _go(self) -> None:
        """Wait until nothing runs any more, sessions and requests alike, but not longer than our patience."""
        try:
            for listener in self.listeners:
                listener.addCallback(lambda port: port.stopListening())
            await self._leave()
            running = self._running()
            if running:
                _, late = await asyncio.wait(running, timeout=self._patience)
                if late:
                    logger.warning("%d connections did not end in time and are cut", len(late))
        finally:
            self.stop()

    def kill_all_applications(self) -> Any:
        """Cancel what still runs. Not as Daphne, which trips over a connection whose application has ended."""
        running = self._running()
        for application in running:
            application.cancel()
        return defer.Deferred.fromFuture(asyncio.gather(*running, return_exceptions=True))

    def _running(self) -> list[asyncio.Future[None]]:
        applications = [details.get("application_instance") for details in self.connections.values()]
        return [application for application in applications if application is not None and not application.done()]
