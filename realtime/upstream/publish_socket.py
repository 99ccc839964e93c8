"""Publishing over a WebSocket that is opened for it when first needed, and again after it ended.

https://docs.aws.amazon.com/appsync/latest/eventapi/event-api-websocket-protocol.html
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from realtime.appsync.auth import Authorization
from realtime.appsync.endpoint import Endpoint
from realtime.appsync.events_session import EventsSession
from realtime.appsync.exceptions import AppSyncError, NotSent, RequestTimeout, WireError, from_wire
from realtime.appsync.publishing import Outcome
from realtime.appsync.session import Accepted, Published, Rejected
from realtime.appsync.states import SessionState
from realtime.upstream.clock import Clock, Handle, timeout
from realtime.upstream.pace import Pace
from realtime.upstream.transport import Socket, Transport, TransportError

CONNECT_TIMEOUT = 15.0
"""Seconds from the dial to the service's acceptance."""

CLOSED = "the publisher is closed"


class SocketWay:
    """As publisher.Way, over one socket at a time. Nothing is subscribed on it."""

    def __init__(self, endpoint: Endpoint, transport: Transport, pace: Pace, clock: Clock) -> None:
        self._endpoint = endpoint
        self._transport = transport
        self._pace = pace
        self._clock = clock
        self._connecting = asyncio.Lock()
        self._line: _Line | None = None
        self._lines: set[_Line] = set()
        self._closed = False

    async def publish(self, channel: str, events: list[str], authorization: Authorization) -> tuple[Outcome, ...]:
        """As Way.publish."""
        line = await self._usable(authorization)
        await self._pace.turn()
        if not line.usable:
            raise NotSent(CLOSED if self._closed else "the connection ended before it was this publish's turn")
        return await line.publish(channel, events, authorization)

    async def close(self) -> None:
        """As Way.close: no publish waits for longer than its session lets it."""
        self._closed = True
        runs = {line.run for line in self._lines}
        for line in self._lines:
            line.close()
        if runs:
            await asyncio.wait(runs)

    async def _usable(self, authorization: Authorization) -> _Line:
        async with self._connecting:
            if self._closed:
                raise NotSent(CLOSED)
            if self._line is not None and not self._line.usable:
                self._line.retire()
                self._line = None
            self._line = self._line or await self._connect(authorization)
            return self._line

    async def _connect(self, authorization: Authorization) -> _Line:
        session = EventsSession(self._endpoint)
        line = _Line(session, self._transport, authorization, self._clock)
        self._lines.add(line)
        line.run.add_done_callback(lambda _: self._lines.discard(line))
        try:
            async with timeout(self._clock, CONNECT_TIMEOUT):
                await asyncio.wait([line.accepted, line.run], return_when=asyncio.FIRST_COMPLETED)
            if not line.accepted.done():
                raise NotSent(CLOSED)  # before it began
            line.accepted.result()
            if not line.usable:
                raise NotSent("the connection ended as soon as it was accepted")
        except TimeoutError:
            raise NotSent(f"not accepted within {CONNECT_TIMEOUT:.0f} s") from None
        finally:
            if not line.usable:
                line.retire()
        return line


class _Line:
    """One socket, from the dial to its end."""

    def __init__(
        self, session: EventsSession, transport: Transport, authorization: Authorization, clock: Clock
    ) -> None:
        self.accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.run = asyncio.create_task(self._run(transport, authorization), name="publisher")
        self._session = session
        self._clock = clock
        self._outgoing: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Published]] = {}
        self._written: set[str] = set()
        self._refusal: AppSyncError | None = None
        self._heard = 0.0
        self._silence = 0.0
        self._timer: Handle | None = None
        self._retired = False
        self._ending = False

    @property
    def usable(self) -> bool:
        """Whether another publish may be put on it.

        Not after one had no answer, nor after the service's silence, nor while it closes. A machine's sleep is silence
        too.
        """
        alive = self._clock.boottime() - self._heard < self._silence
        return alive and self._session.state is SessionState.OPEN and not (self._retired or self._ending)

    def close(self) -> None:
        """Write nothing more, and end when nobody waits for an answer any more."""
        while not self._outgoing.empty():
            ident, _ = self._outgoing.get_nowait()
            self._answered(Published(ident, (), NotSent(CLOSED)))
        self.retire()

    def retire(self) -> None:
        """Take nothing new, and end when nobody waits for an answer any more."""
        self._retired = True
        self._end_if_retired()

    async def publish(self, channel: str, events: list[str], authorization: Authorization) -> tuple[Outcome, ...]:
        ident = self._session.publish(channel, events, authorization, self._clock.monotonic())
        answer: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._answers[ident] = answer
        self._flush(ident)
        try:
            published = await answer
        finally:
            del self._answers[ident]
            written = ident in self._written
            self._written.discard(ident)
            self._end_if_retired()
        if published.error is None:
            return published.outcomes
        raise published.error if written else NotSent(str(published.error))

    async def _run(self, transport: Transport, authorization: Authorization) -> None:
        """Be open until the service or the publisher ends it; then nobody waits for an answer any more."""
        failure: AppSyncError = NotSent(CLOSED)
        try:
            socket = await transport.open(self._session.opening(authorization))
            try:
                await self._live(socket)
            finally:
                self._ending = True  # a cancel would cut its close short
                await socket.close()
        except TransportError as error:
            failure = _failure(error)
        finally:
            self._end(self._refusal or failure)

    async def _live(self, socket: Socket) -> None:
        writer = asyncio.create_task(self._write(socket), name="publisher's writer")
        try:
            self._session.opened()
            self._flush()
            await self._read(socket)
        finally:
            writer.cancel()
            await asyncio.wait([writer])

    async def _read(self, socket: Socket) -> None:
        async for text in socket:
            self._heard = self._clock.boottime()
            self._session.receive(text, self._clock.monotonic())
            self._advance()
            if self._session.state is SessionState.CLOSED:
                return

    async def _write(self, socket: Socket) -> None:
        with suppress(TransportError):  # the reader meets the same end
            while True:
                ident, text = await self._outgoing.get()
                if not ident or ident in self._answers:  # else nobody waits for it any more
                    self._written.add(ident)
                    await socket.send(text)

    def _advance(self) -> None:
        for event in self._session.events_received():
            if isinstance(event, Accepted):
                self._silence = event.timeout
                self.accepted.set_result(None)
            elif isinstance(event, Rejected):
                self._refusal = event.error
            elif isinstance(event, Published):
                self._answered(event)
        self._flush()

    def _answered(self, event: Published) -> None:
        self._retired = self._retired or isinstance(event.error, RequestTimeout)
        answer = self._answers.get(event.ident)
        if answer is not None and not answer.done():  # it is done if the caller was cancelled
            answer.set_result(event)

    def _end_if_retired(self) -> None:
        if self._retired and not self._answers and not self._ending:
            self._ending = True
            self.run.cancel()

    def _flush(self, ident: str = "") -> None:
        for text in self._session.data_to_send():
            self._outgoing.put_nowait((ident, text))
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._session.next_deadline()
        self._timer = None if deadline is None else self._clock.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._session.handle_timer(self._clock.monotonic())
        self._advance()

    def _end(self, failure: AppSyncError) -> None:
        self._session.closed(self._clock.monotonic(), str(failure))
        self._advance()
        if not self.accepted.done():
            self.accepted.set_exception(failure)
            self.accepted.exception()  # retrieved, in case nobody waits any more


def _failure(error: TransportError) -> AppSyncError:
    """Return what a connection that could not be had, or is over, means for what was not written."""
    if error.status is None:
        return NotSent(str(error))
    refusal = from_wire((WireError(error.kind, error.text, error.status),), "connection")
    refusal.retry_after = error.retry_after
    return refusal
