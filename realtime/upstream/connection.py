"""One session on one socket, from token to end: the joint between the sans-I/O session and the manager.

Of the sessions of a link one speaks for it. While a second one is open, because it is to replace the first or was
replaced by it, both are heard and each event goes on once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Protocol

from realtime.appsync.auth import Authorization
from realtime.appsync.endpoint import Dialect, Endpoint
from realtime.appsync.events_session import EventsSession
from realtime.appsync.exceptions import AuthRejected, Throttled
from realtime.appsync.graphql_session import GraphQLSession
from realtime.appsync.session import (
    Accepted,
    Carrier,
    Data,
    Rejected,
    Session,
    SessionEvent,
    SubscriptionChanged,
    Trouble,
)
from realtime.appsync.states import SessionState
from realtime.upstream.clock import Clock, Handle, timeout
from realtime.upstream.credentials import Credentials, TokenRefused, TokenUnavailable
from realtime.upstream.manager import Sink
from realtime.upstream.model import Cause, Dial
from realtime.upstream.overlap import Overlap
from realtime.upstream.permits import Permits
from realtime.upstream.states import Trigger
from realtime.upstream.subscriptions import Subscription, Subscriptions
from realtime.upstream.transport import Socket, Transport, TransportError

logger = logging.getLogger("realtime.upstream")

TOKEN_TIMEOUT = 10.0
"""Seconds that a new token may take while a session is open; at a connect the policy's own time-out counts."""

SESSIONS: dict[Dialect, type[Session]] = {"events": EventsSession, "graphql": GraphQLSession}


class Inlet(Protocol):
    """Where a link's news go. Everything but ``room`` returns at once."""

    def data(self, feed: str, payload: str) -> None:
        """One event arrived on a feed's channel."""

    def subscription(self, subscription: Subscription) -> None:
        """A subscription changed its state."""

    def trouble(self, text: str) -> None:
        """The service said something that ends nothing, or something that could not be read."""

    async def room(self) -> None:
        """Wait until there is room for more: this is how a slow database slows the socket."""


class Connection:
    """Runs the sessions of one link, one after the other, as its manager asks."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        transport: Transport,
        subscriptions: Subscriptions,
        inlet: Inlet,
        clock: Clock,
        permits: Permits,
        carrier: Carrier = "subprotocol",
    ) -> None:
        self._endpoint = endpoint
        self._credentials = credentials
        self._transport = transport
        self._inlet = inlet
        self._clock = clock
        self._permits = permits
        self._carrier = carrier
        self._lives: dict[int, _Life] = {}
        self._using = 0
        self._overlap: Overlap | None = None
        self.subscriptions = subscriptions
        """Those of the session that speaks for the link, or of the last one that did."""

    def want(self, wanted: dict[str, str]) -> bool:
        """Hear these feeds from now on, as feed → channel or document; tell whether that changes anything."""
        changes = self.subscriptions.want(wanted)
        for life in self._lives.values():
            life.follow(wanted)
        return changes

    def use(self, session: int) -> None:
        """As Connector.use."""
        for life in self._lives.values():
            if life.id == self._using:
                life.retire()
        self._using = session
        if session in self._lives:
            self.subscriptions = self._lives[session].subscriptions

    async def run(self, dial: Dial, sink: Sink) -> None:
        """As Connector.run."""
        try:
            authorization = await self._credentials.get(refresh=dial.refresh)
            session = SESSIONS[self._endpoint.dialect](self._endpoint, carrier=self._carrier)
            async with self._permits.turn():
                sink.post(Trigger.PERMITTED)
                socket = await self._transport.open(session.opening(authorization))
        except TokenRefused as error:
            sink.post(Trigger.TOKEN_FAILED, cause=Cause("token", str(error)), final=True)
        except TokenUnavailable as error:
            sink.post(Trigger.TOKEN_FAILED, cause=Cause("token", str(error)))
        except TransportError as error:
            sink.post(Trigger.DROPPED, cause=_cause(error))
        else:
            life = _Life(self, session, socket, sink, authorization)
            self._begun(life)
            try:
                await life.run()
            finally:
                self._ended(life)

    # ── The lives of its sessions ────────────────────────────────────────────────────────────────────────────

    def is_used(self, life: _Life) -> bool:
        """Tell whether this is the session that speaks for the link."""
        return life.id == self._using

    def data(self, life: _Life, feed: str, payload: str) -> None:
        """Hand on an event, unless another session brought it already.

        That is asked only while every session hears the feed: what one heard alone is nobody's copy.
        """
        if self._overlap is None or not self._is_heard_by_all(feed) or self._overlap.first(life.id, feed, payload):
            self._inlet.data(feed, payload)

    def _is_heard_by_all(self, feed: str) -> bool:
        return all(life.subscriptions.is_live(feed) for life in self._lives.values())

    def _begun(self, life: _Life) -> None:
        self._lives[life.id] = life
        self._meet()
        if self.is_used(life):
            self.subscriptions = life.subscriptions

    def _ended(self, life: _Life) -> None:
        """Its socket is closed by now, and the next session may long have begun."""
        del self._lives[life.id]
        self._meet()

    def _meet(self) -> None:
        """Begin to compare what is heard, or cease to. What only one session has heard by then may go on twice.

        Recording it twice changes nothing where events have a time of their source; where they have none, the
        comparison that follows each replacement puts right what a late copy put back.
        """
        self._overlap = Overlap(set(self._lives)) if len(self._lives) > 1 else None


class _Life:
    """The time in which a socket is open. Its end is told last, when no task, timer or socket of it is left."""

    def __init__(
        self,
        connection: Connection,
        session: Session,
        socket: Socket,
        sink: Sink,
        authorization: Authorization,
    ) -> None:
        self.id = sink.session
        self.subscriptions = connection.subscriptions.successor()
        self._connection = connection
        self._credentials = connection._credentials
        self._inlet = connection._inlet
        self._clock = connection._clock
        self._session = session
        self._socket = socket
        self._sink = sink
        self._authorization = authorization
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: Handle | None = None
        self._timer_at: float | None = None
        self._renewing = False
        self._announced: list[str] | None = None
        self._retired = False

    def follow(self, wanted: dict[str, str]) -> None:
        """Bring an open session to what is wanted now; one that is not accepted yet asks for it then."""
        self.subscriptions.want(wanted)
        if self._session.state is SessionState.OPEN and not self._retired:
            self.subscriptions.follow(self._session, self._authorization, self._clock.monotonic())
            self._announce()
            self._flush()

    def retire(self) -> None:
        """Another session speaks for the link: nothing more is asked for on this one, what it still hears goes on."""
        self._retired = True
        self._arm(None)

    async def run(self) -> None:
        lost: TransportError | None = None
        self._spawn(self._write(), "upstream writer")
        try:
            self._sink.post(Trigger.TRANSPORT_UP)
            self._session.opened()
            self._flush()
            await self._read()
        except TransportError as error:
            lost = error
        finally:
            await self._end(str(lost or "connection closed"))
        if lost is not None:
            self._sink.post(Trigger.DROPPED, cause=_cause(lost))

    async def _read(self) -> None:
        session, sink, clock, inlet = self._session, self._sink, self._clock, self._inlet
        async for text in self._socket:
            now = clock.monotonic()
            sink.heard(now)
            session.receive(text, now)
            self._advance(now)
            sink.held_up = True
            await inlet.room()
            sink.held_up = False

    async def _write(self) -> None:
        with suppress(TransportError):  # the reader meets the same end, and reports it
            while True:
                await self._socket.send(await self._outgoing.get())

    def _advance(self, now: float) -> None:
        """Hand on what happened to the session. Data asks for nothing and moves no deadline: most frames end here."""
        quiet = True
        for event in self._session.events_received():
            if isinstance(event, Data):
                feed = self.subscriptions.feed_of(event.ident)
                if feed is not None:
                    self._connection.data(self, feed, event.payload)
            else:
                quiet = False
                self._take(event, now)
        if not quiet:
            self._flush()

    def _take(self, event: SessionEvent, now: float) -> None:
        if isinstance(event, SubscriptionChanged):
            self._subscription_changed(event, now)
        elif isinstance(event, Accepted):
            self._sink.post(Trigger.ACCEPTED, seconds=event.timeout)
            self.subscriptions.begin(self._session, self._authorization, now)
            self._announce()
        elif isinstance(event, Rejected):
            self._rejected(event)
        elif isinstance(event, Trouble):
            self._inlet.trouble(event.text)

    def _flush(self) -> None:
        """Send what the session has to say, and arm the timer for its next deadline."""
        if self._retired:
            return
        for text in self._session.data_to_send():
            self._outgoing.put_nowait(text)
        deadlines = [d for d in (self._session.next_deadline(), self.subscriptions.next_deadline()) if d is not None]
        self._arm(min(deadlines, default=None))

    # ── What the session says ────────────────────────────────────────────────────────────────────────────────

    def _subscription_changed(self, event: SubscriptionChanged, now: float) -> None:
        subscription = self.subscriptions.handle(event, now)
        if subscription is None:
            return
        self._tell(subscription)
        if self.subscriptions.wants_new_token and not self._renewing:
            self._renewing = True
            self._spawn(self._renew_token(), "upstream token")
        self._announce()

    def _tell(self, subscription: Subscription) -> None:
        """Of a session that does not speak for the link only the manager hears, once it is as far as it will be."""
        if self._connection.is_used(self):
            self._inlet.subscription(subscription)

    def _announce(self) -> None:
        """Tell the manager once every subscription has its answer, and again when that changes."""
        refused = [s.feed for s in self.subscriptions.refused]
        if self.subscriptions.settled and self._announced != refused:
            self._announced = refused
            text = f"refused: {', '.join(refused)}" if refused else ""
            self._sink.post(Trigger.SYNCED, final=not refused, text=text)

    def _rejected(self, event: Rejected) -> None:
        error = event.error
        cause = Cause("refused by the service", str(error), code=error.code)
        auth = isinstance(error, AuthRejected)
        if isinstance(error, Throttled):
            cause = Cause("throttled", str(error), code=error.code, retry_after=1.0)
        self._sink.post(Trigger.AUTH_REJECTED if auth else Trigger.DROPPED, cause=cause)

    async def _renew_token(self) -> None:
        """Subscriptions were refused for their token: get a new one, once, and ask for those feeds again."""
        subscriptions = self.subscriptions
        try:
            async with timeout(self._clock, TOKEN_TIMEOUT):
                self._authorization = await self._credentials.get(refresh=True)
        except (TokenUnavailable, TimeoutError) as error:
            reason = str(error) or f"no new token within {TOKEN_TIMEOUT:g} s"
            changed = subscriptions.put_off(reason, self._clock.monotonic())
        except TokenRefused as error:
            changed = subscriptions.give_up(str(error))
        else:
            changed = subscriptions.retry_with_new_token(self._session, self._authorization, self._clock.monotonic())
        self._renewing = False
        for subscription in changed:
            self._tell(subscription)
        self._announce()
        self._flush()

    # ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _arm(self, deadline: float | None) -> None:
        if deadline == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = None if deadline is None else self._clock.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, None
        now = self._clock.monotonic()
        try:
            self._session.handle_timer(now)
            self.subscriptions.retry_due(self._session, self._authorization, now)
            self._advance(now)
            self._flush()
        except Exception as fault:
            self._fail(fault)

    # ── The end ──────────────────────────────────────────────────────────────────────────────────────────────

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._fail(fault)

    def _fail(self, fault: BaseException) -> None:
        """Something of ours is broken: end the session, or it would hang without a word."""
        logger.error("a session failed", exc_info=fault)
        self._sink.post(Trigger.DROPPED, cause=Cause("internal error", repr(fault)))

    async def _end(self, reason: str) -> None:
        self._arm(None)
        self._session.closed(self._clock.monotonic(), reason)
        self.subscriptions.lose()
        for task in self._tasks:
            task.cancel()
        try:
            if self._tasks:
                await asyncio.wait(set(self._tasks))
        finally:
            await _close(self._socket)


async def _close(socket: Socket) -> None:
    """Close it, also when cancelled meanwhile: a session that is given up while it closes must not stay open."""
    closing = asyncio.ensure_future(socket.close())
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait([closing])
        raise


def _cause(error: TransportError) -> Cause:
    return Cause(error.kind, error.text, error.status, error.code, error.retry_after)
