"""One session joined to one transport: it does what the session asks, and keeps to what the transport can take."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from django.db import DatabaseError

from realtime import metrics
from realtime.clock import now_us
from realtime.cursor import parse_cursor
from realtime.delivery import envelope
from realtime.delivery.admission import Admission, NotAdmitted, Scope, Visitor
from realtime.delivery.continuity import Repair
from realtime.delivery.envelope import Close, RequestId, ResyncCause
from realtime.delivery.limits import Limits, Occupancy
from realtime.delivery.run import Run
from realtime.delivery.session import DropTopics, EndSession, Outgoing, Session, WantState, WantTime, WantTopics
from realtime.events import Entry, Head

if TYPE_CHECKING:
    from realtime.delivery.hub import Hub

logger = logging.getLogger("realtime.delivery")

ROOM = 65_536
"""Bytes handed to a transport at once: as much as it takes before it says that it is blocked."""


class Transport(Protocol):
    """Carries frames to one client. Nothing here waits, and nothing is sent after ``close``."""

    name: str

    def open(self, drained: Callable[[], None]) -> None:
        """Begin; ``drained`` is called when a blocked transport takes more again."""

    @property
    def blocked(self) -> bool:
        """Whether it takes nothing now."""

    def send(self, items: Sequence[Outgoing], session: Session) -> None:
        """Send frames, in order."""

    def keep_alive(self, silent: float) -> None:
        """Show a sign of life if nothing was sent for ``silent`` seconds and the transport does not by itself."""

    def close(self, close: Close) -> None:
        """End in an orderly way, after what was sent."""

    def abort(self) -> None:
        """End now, with whatever was not sent."""


@dataclass(frozen=True, slots=True)
class Live:
    """What all doors of this process share."""

    hub: Hub
    admission: Admission
    occupancy: Occupancy
    limits: Limits


class Connection:
    """A session, its transport, and the tasks that answer what the session asks."""

    def __init__(
        self, live: Live, visitor: Visitor, session: Session, transport: Transport, tasks: asyncio.TaskGroup
    ) -> None:
        self.visitor = visitor
        self._live = live
        self._session = session
        self._transport = transport
        self._tasks = tasks
        self._recovered = asyncio.Event()
        self._blocked_at = 0.0
        self._checked_at = time.monotonic()
        self._checking = False
        self._access: dict[str, int] = {}
        self._counted = 0
        self._closed = False

    @property
    def user_id(self) -> int:
        return int(self.visitor.user.pk)

    async def open(self) -> None:
        """Join the topics of a session that asks for nothing, recover what the client missed, and say hello."""
        topics = await self._live.hub.topics_for(self.visitor.user)
        heads = await self._live.hub.join(self, topics)
        self._note_access(heads)
        self._session.open(heads)
        self._act()
        await self._recovered.wait()
        self._session.greet(datetime.now(UTC))
        for key, frame in self._live.hub.news():
            self._session.answer(frame, key)
        self._act()

    # ── From the hub ──────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, run: Run) -> None:
        """Take a run that the hub heard."""
        self._session.deliver(run)
        self._act()

    def repaired(self, repair: Repair, entries: Sequence[Entry]) -> None:
        """Take the answer to a repair."""
        self._session.repaired(repair, entries)
        self._act()

    def repair_failed(self, repair: Repair) -> None:
        """Note that nobody could answer a repair now."""
        self._session.repair_failed(repair)

    def lost(self, topic: str, cause: ResyncCause, head: Head) -> None:
        """Have the client start over in a topic."""
        self._session.lost(topic, cause, head)
        self._act()

    def look(self, heads: Mapping[str, Head], *, trusted: bool) -> None:
        """Compare with the database's heads; look at the sign-in again when access has changed."""
        self._session.look(heads, trusted=trusted)
        self._act()
        if self._note_access(heads):
            self._recheck()

    def tick(self) -> None:
        """See to what the time brings, whether or not the database answers: once a second."""
        limits, now = self._live.limits, time.monotonic()
        self._session.tick(now)
        self._act()
        self._transport.keep_alive(limits.heartbeat_seconds)
        if not self._closed and self._session.blocked and now - self._blocked_at > limits.stuck_seconds:
            logger.info("session %s reads nothing: closed", self._session.id)
            metrics.CLOSED.labels(str(int(Close.SLOW))).inc()
            self._closed = True
            self._transport.abort()
        if now - self._checked_at > limits.recheck_seconds:
            self._recheck()
        metrics.DELIVERED.inc(self._session.sent - self._counted)
        self._counted = self._session.sent

    def tell(self, frame: envelope.Frame, key: object) -> None:
        """Send a frame that concerns everybody; a newer one of the same key replaces one that still waits."""
        self._session.answer(frame, key)
        self._act()

    # ── From the transport ────────────────────────────────────────────────────────────────────────────────

    def receive(self, text: bytes | str) -> None:
        """Take a message of the client."""
        self._session.receive(text, time.monotonic())
        self._act()

    def drained(self) -> None:
        """Note that the transport takes more again."""
        self._session.blocked = False
        self._act()

    def close(self, close: Close) -> None:
        """End the session with this code."""
        if not self._closed:
            self._closed = True
            metrics.CLOSED.labels(str(int(close))).inc()
            self._transport.close(close)

    # ── What the session asks ─────────────────────────────────────────────────────────────────────────────

    def _act(self) -> None:
        """Send what is due as far as the transport takes it, then see to the session's asks."""
        session, transport = self._session, self._transport
        while not self._closed and (items := session.take(ROOM)):
            transport.send(items, session)
            if transport.blocked and not session.blocked:
                session.blocked = True
                self._blocked_at = time.monotonic()
        while session.asks:
            self._see_to(session.asks.pop(0))
        if not session.recovering:
            self._recovered.set()

    def _see_to(self, ask: object) -> None:
        match ask:
            case Repair():
                self._live.hub.repair(self, ask)
            case WantTime(id=ident):
                self._answer(envelope.Pong(id=ident, t=now_us()))
            case WantState(id=ident):
                self._tasks.create_task(self._send_state(ident))
            case WantTopics(id=ident, topics=topics):
                self._tasks.create_task(self._add_topics(ident, topics))
            case DropTopics(topics=topics):
                self._live.hub.leave(self, topics)
            case EndSession(close=close):
                self.close(close)

    async def _send_state(self, ident: RequestId) -> None:
        try:
            state = await self._live.hub.state(self.visitor.user, tuple(self._session.topics), ident)
        except DatabaseError:
            self._answer(envelope.UNAVAILABLE.error(ident))
        else:
            self._answer(state, "state")

    async def _add_topics(self, ident: RequestId, topics: Sequence[str]) -> None:
        try:
            if not await self._live.hub.may_have(self.visitor.user, topics):
                self._answer(envelope.NOT_ALLOWED.error(ident))
                return
            heads = await self._live.hub.join(self, topics)
        except DatabaseError:
            self._answer(envelope.UNAVAILABLE.error(ident))
            return
        self._note_access(heads)
        self._session.add_topics(ident, heads)
        self._act()

    def _answer(self, frame: envelope.Frame, key: object = None) -> None:
        self._session.answer(frame, key)
        self._act()

    # ── Whether it may go on ──────────────────────────────────────────────────────────────────────────────

    def _note_access(self, heads: Mapping[str, Head]) -> bool:
        """Note the topics' access versions; tell whether one that was known has risen."""
        risen = False
        for topic in self._session.topics or heads:
            head = heads.get(topic)
            if head is not None:
                risen |= head.access_version > self._access.get(topic, head.access_version)
                self._access[topic] = head.access_version
        return risen

    def _recheck(self) -> None:
        if not self._checking:
            self._checking, self._checked_at = True, time.monotonic()
            self._tasks.create_task(self._check())

    async def _check(self) -> None:
        """Look at the sign-in again. A database that does not answer ends nobody: the next look asks again."""
        try:
            self.visitor = await self._live.admission.confirm(self.visitor)
            if not await self._live.hub.may_have(self.visitor.user, tuple(self._session.topics)):
                self.close(Close.ACCESS_ENDED)
        except NotAdmitted as refusal:
            if refusal.fault is not envelope.UNAVAILABLE:
                self.close(close_code(refusal.fault))
        except DatabaseError:
            logger.warning("the database does not answer: the sign-in of session %s stays unchecked", self._session.id)
        finally:
            self._checking = False


def close_code(fault: envelope.Fault) -> Close:
    """Return the code with which a socket is closed for this refusal."""
    return CLOSE_BY_FAULT.get(fault.code, Close.FAILED)


CLOSE_BY_FAULT = {
    envelope.NOT_SIGNED_IN.code: Close.NOT_SIGNED_IN,
    envelope.ACCESS_ENDED.code: Close.ACCESS_ENDED,
    envelope.TOO_MANY.code: Close.TOO_MANY,
    envelope.DRAINING.code: Close.MOVING,
    envelope.UNAVAILABLE.code: Close.UNAVAILABLE,
}


async def let_in(live: Live, scope: Scope, *, shows_origin: bool) -> Visitor:
    """Return who comes in through a door that keeps a session, and takes a place for it; raises NotAdmitted.

    The door gives the place back: ``live.occupancy.leave``.
    """
    if live.hub.draining:
        raise NotAdmitted(envelope.DRAINING)
    visitor = await live.admission.admit(scope, shows_origin=shows_origin)
    if not live.occupancy.enter(visitor.user.pk):
        raise NotAdmitted(envelope.TOO_MANY)
    return visitor


@asynccontextmanager
async def attend(live: Live, visitor: Visitor, transport: Transport, cursor: str) -> AsyncIterator[Connection]:
    """Run a session over this transport while the block runs; the door feeds it what the client says."""
    session = Session(uuid4().hex[:12], visitor.user.pk, parse_cursor(cursor), live.limits)
    gauge = metrics.SESSIONS.labels(transport.name)
    tasks = asyncio.TaskGroup()
    connection = Connection(live, visitor, session, transport, tasks)
    gauge.inc()
    try:
        async with tasks:
            transport.open(connection.drained)
            opening = tasks.create_task(_open(connection))
            try:
                yield connection
            finally:
                opening.cancel()
    finally:
        # Last of all: a task that was still at work could have joined another topic.
        live.hub.forget(connection)
        gauge.dec()


async def _open(connection: Connection) -> None:
    try:
        await connection.open()
    except DatabaseError as exc:
        logger.warning("the database does not answer: a session can't begin (%s)", exc)
        connection.close(Close.UNAVAILABLE)
