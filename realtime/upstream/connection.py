"""The sessions of a link, each from token to end, as its manager asks for them.

Of the sessions of a link one speaks for it. While a second one is open, because it is to replace the first or was
replaced by it, both are heard and each event goes on once. A session is one connection, and further ones only for what
one is not let hold; these hear other feeds, so nothing comes twice by them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Protocol

from realtime.appsync.endpoint import Dialect, Endpoint
from realtime.appsync.events_session import EventsSession
from realtime.appsync.exceptions import AuthRejected, RemoteError, Throttled
from realtime.appsync.graphql_session import GraphQLSession
from realtime.appsync.session import Carrier, Session
from realtime.upstream.clock import Clock, sleep, timeout
from realtime.upstream.credentials import Credentials, TokenRefused, TokenUnavailable
from realtime.upstream.failures import REFUSED, THROTTLED, TOKEN, UNAUTHORIZED
from realtime.upstream.line import Line, Opened
from realtime.upstream.manager import Sink
from realtime.upstream.model import Cause, Dial
from realtime.upstream.overlap import Overlap
from realtime.upstream.permits import Permits
from realtime.upstream.shards import Shards
from realtime.upstream.states import Trigger
from realtime.upstream.subscriptions import RETRY, STABLE_AFTER, Subscription, Subscriptions
from realtime.upstream.transport import Transport, TransportError

logger = logging.getLogger("realtime.upstream")

OPEN_TIMEOUT = 60.0
"""Seconds that a further connection may take for its token, its turn to dial and the upgrade."""

ACCEPT_TIMEOUT = 10.0
"""Seconds from then until the service has to accept it."""

SESSIONS: dict[Dialect, type[Session]] = {"events": EventsSession, "graphql": GraphQLSession}


class Inlet(Protocol):
    """Where a link's news go. Everything but ``room`` returns at once."""

    def data(self, feed: str, payload: str) -> None:
        """One event arrived on a feed's channel."""

    def not_taken(self, feed: str, payload: str, fault: Exception) -> None:
        """``data`` failed by this with an event: nobody knows what became of it, and the session goes on."""

    def subscription(self, subscription: Subscription) -> None:
        """A subscription changed its state."""

    def trouble(self, text: str, lossy: bool) -> None:
        """The service said something that ends nothing, or that could not be read: ``lossy`` if that was an event."""

    async def room(self) -> None:
        """Wait until there is room for more: this is how a slow database slows the socket."""


class Connection:
    """Runs the sessions of one link, one after the other, as its manager asks."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        transport: Transport,
        subscriptions: Shards,
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
            self.subscriptions = self._lives[session].shards

    async def run(self, dial: Dial, sink: Sink) -> None:
        """As Connector.run."""
        try:
            opened = await self.open(dial.refresh, lambda: sink.post(Trigger.PERMITTED))
        except TokenRefused as error:
            sink.post(Trigger.TOKEN_FAILED, cause=Cause(TOKEN, str(error)), final=True)
        except TokenUnavailable as error:
            sink.post(Trigger.TOKEN_FAILED, cause=Cause(TOKEN, str(error)))
        except TransportError as error:
            sink.post(Trigger.DROPPED, cause=_cause(error))
        else:
            life = _Life(self, sink)
            self._begun(life)
            try:
                await life.run(opened)
            finally:
                self._ended(life)

    async def open(self, refresh: bool, permitted: Callable[[], None] = lambda: None) -> Opened:
        """Fetch the token and dial; ``permitted`` is called between, when it is our turn to.

        Raises TokenRefused, TokenUnavailable and TransportError.
        """
        authorization = await self._credentials.get(refresh=refresh)
        session = SESSIONS[self._endpoint.dialect](self._endpoint, carrier=self._carrier)
        async with self._permits.turn():
            permitted()
            socket = await self._transport.open(session.opening(authorization))
        return Opened(socket, session, authorization)

    # ── The lives of its sessions ────────────────────────────────────────────────────────────────────────────

    def is_used(self, life: _Life) -> bool:
        """Tell whether this is the session that speaks for the link."""
        return life.id == self._using

    def data(self, life: _Life, feed: str, payload: str) -> None:
        """Hand on an event, unless another session brought it already.

        That is asked only while every session hears the feed: what one heard alone is nobody's copy.
        """
        if self._overlap is None or not self._is_heard_by_all(feed) or self._overlap.first(life.id, feed, payload):
            try:
                self._inlet.data(feed, payload)
            except Exception as fault:
                logger.exception("an event of the feed %s could not be taken", feed)
                self._inlet.not_taken(feed, payload, fault)

    def _is_heard_by_all(self, feed: str) -> bool:
        return all(life.shards.is_live(feed) for life in self._lives.values())

    def _begun(self, life: _Life) -> None:
        self._lives[life.id] = life
        self._meet()
        if self.is_used(life):
            self.subscriptions = life.shards

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
    """The time in which a session is open: its first connection, and those that hold what does not fit on it.

    To its manager the session is its first connection. It has been silent as long as any of them has, as what it
    heard last proves that nothing is missing. One of the others that is lost is deaf for itself, and is dialled again.
    """

    def __init__(self, connection: Connection, sink: Sink) -> None:
        self.id = sink.session
        self.shards = connection.subscriptions.successor()
        self._connection = connection
        self._inlet = connection._inlet
        self._clock = connection._clock
        self._sink = sink
        self._lines: dict[Subscriptions, Line] = {}
        self._overflow: dict[Subscriptions, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers_held_up = 0
        self._announced: str | None = None
        self._retired = False

    def follow(self, wanted: dict[str, str]) -> None:
        """Bring what is open to what is wanted now."""
        self.shards.want(wanted)
        self._spread()
        self.answered()

    def retire(self) -> None:
        """Another session speaks for the link: nothing more is asked for on this one, what it still hears goes on."""
        self._retired = True
        for line in self._lines.values():
            line.retire()
        for shard, task in self._overflow.items():
            if shard not in self._lines:
                task.cancel()

    async def run(self, opened: Opened) -> None:
        """Run until the first connection ends. Its end is told last, when no task, timer or socket is left."""
        self._sink.post(Trigger.TRANSPORT_UP)
        lost: RemoteError | TransportError | None = None
        try:
            await self._hear(self.shards.first, opened)
        except (RemoteError, TransportError) as error:
            lost = error
        finally:
            if self._tasks:
                await asyncio.wait(set(self._tasks))
        if lost is not None:
            trigger = Trigger.AUTH_REJECTED if isinstance(lost, AuthRejected) else Trigger.DROPPED
            self._sink.post(trigger, cause=_cause(lost))

    async def _hear(self, shard: Subscriptions, opened: Opened, patience: float | None = None) -> None:
        line = Line(self, opened, shard, self._connection._credentials, self._clock, patience)
        self._lines[shard] = line
        try:
            await line.run()
        finally:
            del self._lines[shard]

    # ── What does not fit on the first connection ────────────────────────────────────────────────────────────

    def _spread(self) -> None:
        """Ask on every open connection for what is its own, have one for each shard, and none for any other."""
        if self._retired or not self._is_accepted():
            return
        for line in self._lines.values():
            line.follow()
        for shard in set(self._overflow).difference(self.shards.overflow):
            self._overflow.pop(shard).cancel()
        for shard in self.shards.overflow:
            if shard not in self._overflow:
                self._overflow[shard] = self._spawn(self._keep(shard))

    async def _keep(self, shard: Subscriptions) -> None:
        """Keep a connection for this shard, with full jitter between the tries.

        Refused credentials cost one token that is forced to be new. Refused again they are tried all the same: it is
        the first connection that speaks for them.
        """
        attempt, refused, refresh = 0, False, False
        while not self._retired:
            began = self._clock.monotonic()
            error = await self._try(shard, refresh)
            self._lost(shard, str(error))
            refused_before, refused = refused, _refuses_credentials(error)
            refresh = refused and not refused_before
            attempt = 1 if self._clock.monotonic() - began >= STABLE_AFTER else attempt + 1
            asked = error.retry_after if isinstance(error, TransportError) else 0.0
            await sleep(self._clock, max(RETRY.delay(attempt, self.shards.rng), asked))

    async def _try(self, shard: Subscriptions, refresh: bool) -> Exception:
        """Have a connection for this shard as long as it holds, and return why it ended."""
        try:
            async with timeout(self._clock, OPEN_TIMEOUT):
                opened = await self._connection.open(refresh)
        except TimeoutError:
            return TransportError("connect timeout", f"no connection within {OPEN_TIMEOUT:g} s")
        except (TokenRefused, TokenUnavailable, TransportError) as error:
            return error
        try:
            await self._hear(shard, opened, ACCEPT_TIMEOUT)
        except (RemoteError, TransportError) as error:
            return error
        return TransportError("connection ended")

    def _lost(self, shard: Subscriptions, reason: str) -> None:
        """Its feeds are deaf until it is back, and only they are: the silence of the link is that of the others."""
        for subscription in shard:
            subscription.error = reason
            self.changed(subscription)
        self._heard_by_all()
        self.answered()

    # ── What its lines tell (line.Owner) ─────────────────────────────────────────────────────────────────────

    def accepted(self, line: Line, seconds: float) -> None:
        if line.subscriptions is self.shards.first:
            self._sink.post(Trigger.ACCEPTED, seconds=seconds)
            self._spread()

    def heard(self, line: Line) -> None:
        if len(self._lines) == 1:
            self._sink.heard(line.heard_at)
        else:
            self._heard_by_all()

    def _heard_by_all(self) -> None:
        oldest = min(line.heard_at for line in self._lines.values())
        if self._sink.heard_at is None or oldest > self._sink.heard_at:
            self._sink.heard(oldest)

    def data(self, feed: str, payload: str) -> None:
        self._connection.data(self, feed, payload)

    def changed(self, subscription: Subscription) -> None:
        """Of a session that does not speak for the link only the manager hears, once it is as far as it will be."""
        if self._connection.is_used(self):
            self._inlet.subscription(subscription)

    def full(self, line: Line, subscription: Subscription) -> None:
        if not self._retired and self.shards.spill(subscription, line.subscriptions):
            self._spread()

    def answered(self) -> None:
        """Tell the manager once every subscription has its answer, and again when that changes."""
        if self._retired or not self._is_accepted():
            return
        away = sum(len(shard) for shard in self.shards.overflow if shard not in self._lines)
        if self.shards.settled:
            refused = ", ".join(subscription.feed for subscription in self.shards.refused)
            text = f"refused: {refused}" if refused else ""
        elif away and self._announced is not None:
            text = f"feeds that wait for their connection: {away}"
        else:
            return
        if text != self._announced:
            self._announced = text
            self._sink.post(Trigger.SYNCED, final=not text, text=text)

    def trouble(self, text: str, lossy: bool) -> None:
        self._inlet.trouble(text, lossy)

    def ended(self, line: Line) -> None:
        """The others end with the first, and none waits for another one's socket to be closed."""
        if line.subscriptions is self.shards.first:
            self._retired = True
            for task in self._tasks:
                task.cancel()

    def failed(self, fault: BaseException) -> None:
        """End the session, or it would hang without a word."""
        logger.error("a session failed", exc_info=fault)
        self._sink.post(Trigger.DROPPED, cause=Cause("internal error", repr(fault)))

    async def room(self) -> None:
        self._readers_held_up += 1
        self._sink.held_up = True
        try:
            await self._inlet.room()
        finally:
            self._readers_held_up -= 1
            self._sink.held_up = self._readers_held_up > 0

    # ── Its tasks ────────────────────────────────────────────────────────────────────────────────────────────

    def _is_accepted(self) -> bool:
        line = self._lines.get(self.shards.first)
        return line is not None and line.is_accepted

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="upstream overflow")
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self.failed(fault)


def _refuses_credentials(error: Exception) -> bool:
    upgrade = error.status if isinstance(error, TransportError) else None
    return isinstance(error, AuthRejected) or upgrade in UNAUTHORIZED


def _cause(error: RemoteError | TransportError) -> Cause:
    if isinstance(error, TransportError):
        return Cause(error.kind, error.text, error.status, error.code, error.retry_after)
    if isinstance(error, Throttled):
        return Cause(THROTTLED, str(error), code=error.code, retry_after=1.0)
    return Cause(REFUSED, str(error), code=error.code)
