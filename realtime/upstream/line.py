"""One socket of a link, from its opening to its end: the joint between it, the sans-I/O session and the subscriptions.

A line knows nothing of the others of its link. It renews a token that was refused under a subscription, keeps the
session's deadlines, and tells the rest to its owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import NamedTuple, Protocol

from realtime.appsync.auth import Authorization
from realtime.appsync.exceptions import MaxSubscriptionsReached
from realtime.appsync.session import (
    Accepted,
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
from realtime.upstream.subscriptions import Subscription, Subscriptions
from realtime.upstream.transport import Socket, TransportError

TOKEN_TIMEOUT = 10.0
"""Seconds that a new token may take while a session is open; at a connect the policy's own time-out counts."""

PATIENCE = 0.9
"""The share of the service's own time-out after which a line that ends itself is given up: before its link would be."""


class Opened(NamedTuple):
    """A socket that was just opened, with the session that is to run on it and what it was opened with."""

    socket: Socket
    session: Session
    authorization: Authorization


class Owner(Protocol):
    """Whom a line tells. Everything but ``room`` returns at once."""

    def accepted(self, line: Line, seconds: float) -> None:
        """The service took the connection; ``seconds`` is how long it may be silent."""

    def heard(self, line: Line) -> None:
        """A frame came. Cheap, because it is called for each one."""

    def data(self, feed: str, payload: str) -> None:
        """An event arrived."""

    def changed(self, subscription: Subscription) -> None:
        """A subscription changed its state."""

    def answered(self) -> None:
        """Maybe every subscription has its answer now."""

    def full(self, line: Line, subscription: Subscription) -> None:
        """The service refused this one, because the connection holds as many as it may."""

    def trouble(self, text: str, lossy: bool) -> None:
        """The service said something that ends nothing, or that could not be read: ``lossy`` if that was an event."""

    def ended(self, line: Line) -> None:
        """The connection is over; what is left is to close its socket."""

    def failed(self, fault: BaseException) -> None:
        """Something of ours is broken."""

    async def room(self) -> None:
        """Wait until there is room for more."""


class Line:
    """The time in which a socket is open. ``heard_at`` is when the last frame came, in seconds of boot time."""

    def __init__(
        self,
        owner: Owner,
        opened: Opened,
        subscriptions: Subscriptions,
        credentials: Credentials,
        clock: Clock,
        patience: float | None = None,
    ) -> None:
        """``patience`` is for how many seconds to bear silence until the connection is accepted.

        From then on it is a share of the service's own time-out. With none, silence is somebody else's business.
        """
        self.subscriptions = subscriptions
        self.heard_at = clock.boottime()
        self._owner = owner
        self._socket, self._session, self._authorization = opened
        self._credentials = credentials
        self._clock = clock
        self._patience = patience
        self._waiting_since: float | None = clock.monotonic()
        self._reading = asyncio.timeout(None)
        self._outgoing: list[str] = []
        self._writing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: Handle | None = None
        self._timer_at: float | None = None
        self._renewing = False
        self._retired = False

    @property
    def is_accepted(self) -> bool:
        """Whether the service took the connection, and it was not closed since."""
        return self._session.state is SessionState.OPEN

    def follow(self) -> None:
        """Bring an open session to what is wanted now; one that is not accepted yet asks for it then."""
        if self.is_accepted and not self._retired:
            self.subscriptions.follow(self._session, self._authorization, self._clock.monotonic())
            self._flush()

    def retire(self) -> None:
        """Nothing more is asked for on this connection; what it still hears goes on."""
        self._retired = True
        self._arm(None)

    async def run(self) -> None:
        """Speak until the connection ends; no task, timer or socket of it is left then.

        Raises TransportError when it is lost, and RemoteError when the service does not accept it.
        """
        reason = "connection closed"
        try:
            self._session.opened()
            self._flush()
            async with self._reading:
                await self._read()
        except TimeoutError:
            if not self._reading.expired():
                raise
            silence = f"no frame for {self._clock.boottime() - self.heard_at:.0f} s"
            raise TransportError("keep-alive timeout", silence) from None
        except TransportError as error:
            reason = str(error)
            raise
        finally:
            await self._end(reason)

    async def _read(self) -> None:
        session, owner, clock = self._session, self._owner, self._clock
        async for text in self._socket:
            now, self.heard_at = clock.monotonic(), clock.boottime()
            owner.heard(self)
            session.receive(text, now)
            self._advance(now)
            self._waiting_since = None
            await owner.room()
            self._waiting_since = clock.monotonic()

    async def _write(self) -> None:
        """Send what waits, in its order; most of the time nothing does, and there is no task for it."""
        with suppress(TransportError):  # the reader meets the same end, and reports it
            while self._outgoing:
                texts, self._outgoing = self._outgoing, []
                for text in texts:
                    await self._socket.send(text)
        self._writing = False

    def _advance(self, now: float) -> None:
        """Hand on what happened to the session. Data asks for nothing and moves no deadline: most frames end here."""
        quiet = True
        for event in self._session.events_received():
            if isinstance(event, Data):
                feed = self.subscriptions.feed_of(event.ident)
                if feed is not None:
                    self._owner.data(feed, event.payload)
            else:
                quiet = False
                self._take(event, now)
        if not quiet:
            self._flush()

    def _take(self, event: SessionEvent, now: float) -> None:
        if isinstance(event, SubscriptionChanged):
            self._subscription_changed(event, now)
        elif isinstance(event, Accepted):
            self._accepted(event.timeout, now)
        elif isinstance(event, Rejected):
            raise event.error
        elif isinstance(event, Trouble):
            self._owner.trouble(event.text, event.lossy)

    def _accepted(self, seconds: float, now: float) -> None:
        if self._patience is not None:
            self._patience = PATIENCE * seconds
        self._owner.accepted(self, seconds)
        self.subscriptions.begin(self._session, self._authorization, now)
        self._owner.answered()

    def _flush(self) -> None:
        """Send what the session has to say, and arm the timer for its next deadline."""
        if self._retired:
            return
        self._outgoing += self._session.data_to_send()
        if self._outgoing and not self._writing:
            self._writing = True
            self._spawn(self._write(), "upstream writer")
        deadlines = (self._session.next_deadline(), self.subscriptions.next_deadline(), self._silent_at())
        self._arm(min((d for d in deadlines if d is not None), default=None))

    # ── What the session says ────────────────────────────────────────────────────────────────────────────────

    def _subscription_changed(self, event: SubscriptionChanged, now: float) -> None:
        subscription = self.subscriptions.handle(event, now)
        if subscription is None:
            return
        if isinstance(event.error, MaxSubscriptionsReached):
            self._owner.full(self, subscription)
        self._owner.changed(subscription)
        if self.subscriptions.wants_new_token and not self._renewing:
            self._renewing = True
            self._spawn(self._renew_token(), "upstream token")
        self._owner.answered()

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
            self._owner.changed(subscription)
        self._owner.answered()
        self._flush()

    # ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _silent_at(self) -> float | None:
        """Return when the silence will have been borne long enough; while it is us who do not read, it is our own."""
        if self._patience is None:
            return None
        since = self._clock.monotonic() if self._waiting_since is None else self._waiting_since
        return since + self._patience

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
        silent_at = self._silent_at()
        if silent_at is not None and now >= silent_at:
            self.retire()
            self._reading.reschedule(0.0)
            return
        try:
            self._session.handle_timer(now)
            self.subscriptions.retry_due(self._session, self._authorization, now)
            self._advance(now)
            self._flush()
        except Exception as fault:
            self._owner.failed(fault)

    # ── The end ──────────────────────────────────────────────────────────────────────────────────────────────

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._owner.failed(fault)

    async def _end(self, reason: str) -> None:
        self._arm(None)
        self._session.closed(self._clock.monotonic(), reason)
        self.subscriptions.lose(self.heard_at)
        self._owner.ended(self)
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
