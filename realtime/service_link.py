"""The service link: one wildcard connection hears what all of a worker's links would hear, instead of one for each.

A frame of it names no channel, so an event goes to whom it concerns by its own fields and by what is recorded of who
may see what; hearing of something grants no view of it. Below a keeper there is a ``VirtualConnection`` then, so that
each person's link has its own windows, repairs and state as ever; while the service link is not live, a gate of each
is shut, with the reason.

An event waits here for one look into the database, and what could not be read waits for the next repair. What waits
counts as not heard: whoever dies meanwhile leaves windows that begin before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Collection, Iterable
from itertools import chain
from math import nextafter
from random import Random
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError

from realtime import decoding, feeds, metrics
from realtime.appsync.endpoint import Endpoint
from realtime.bridge import Bridge
from realtime.clock import now_us
from realtime.copies import Copies, marked
from realtime.database import DatabaseThread
from realtime.decoding import OfNoFeed, Undecodable
from realtime.doubts import EVERYBODY, Doubts, Sample, Unseen
from realtime.notes import ServiceState, Unreadable
from realtime.product import Audience, Recorder
from realtime.upstream import troubles
from realtime.upstream.clock import Clock, Handle, sleep
from realtime.upstream.connection import Connection
from realtime.upstream.credentials import Credentials
from realtime.upstream.manager import Manager
from realtime.upstream.model import Health, Snapshot
from realtime.upstream.permits import Permits
from realtime.upstream.policy import Policy
from realtime.upstream.shards import Shards
from realtime.upstream.states import HAS_SESSION, State
from realtime.upstream.subscriptions import Subscription
from realtime.upstream.transport import Transport
from realtime.upstream.virtual import Hearer, VirtualConnection

logger = logging.getLogger("realtime.service_link")

SOURCE = "service"
"""What copies say that came this way: as with any wide source, hearing of an entity there grants no view of it."""

NOT_TAKEN = "an event could not be taken"
"""The cause of the window of a link that failed by a fault of ours when it was handed an event."""

GATE = "service link"

BATCH = 1_000
"""Events that are looked up together at most."""

ROOM = 20_000
"""Events that may wait to be handed on; beyond it the socket is not read."""

RETRY = 0.5
"""Seconds between two tries to ask the database who may see what."""

FAULT_REST = 5.0
"""Seconds to rest after a fault of ours: whatever caused it may come again at once."""

TELL_EVERY = 10.0
"""Seconds between two proofs of life of the links: each is a row, and all of them hear whatever comes."""

DOUBT_EVERY = 10.0
"""Seconds between two repairs because of what was not handed on: a backend that drifted would ask for them all day."""

REFUSED_REST = 300.0
"""Seconds after which a wildcard that was refused is tried again: no sign-in of anybody would change that."""

MOST_KINDS = 20
"""Kinds of events of no feed of ours that are counted by their names, of which ``MOST_LETTERS`` are kept."""

MOST_LETTERS = 60

RESTING = frozenset({State.SUSPENDED, State.STOPPED, State.FAILED})


class News(NamedTuple):
    """An event that waits to be handed on. ``heard`` is in boot time, ``received`` in microseconds."""

    feed: str
    key: str
    payload: str
    heard: float
    received: int


class ServiceLink:
    """A worker's one wildcard connection, and the links that share it. It is the Inlet of its own connection."""

    def __init__(
        self,
        worker: str,
        endpoint: Endpoint,
        credentials: Credentials,
        transport: Transport,
        policy: Policy,
        permits: Permits,
        clock: Clock,
        rng: Random,
        root: str,
        bridge: Bridge,
        database: DatabaseThread,
        recorder: Recorder,
    ) -> None:
        self.pattern = feeds.pattern(root)
        self._worker = worker
        self._clock = clock
        self._rng = rng
        self._bridge = bridge
        self._database = database
        self._recorder = recorder
        wanted = Shards({GATE: self.pattern}, rng)
        self._connection = Connection(endpoint, credentials, transport, wanted, self, clock, permits)
        self.manager = Manager(self._connection, policy, clock, rng, GATE)
        self.manager.listen(self._changed)
        self._connections: dict[int, VirtualConnection] = {}
        self._managers: dict[int, Manager] = {}
        self._copies = Copies()
        self._waiting: deque[News] = deque()
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._task: asyncio.Task[None] | None = None
        self._shut_because = "the service link is not open yet"
        self._session = 0
        self._was_suspect = False
        self._fault = ""
        self._wanted = False
        self._told_at = clock.monotonic()
        self._doubts: Doubts | None = None
        self._settling: Doubts | None = None
        self._doubts_due = clock.monotonic()
        self._alarm: Handle | None = None
        self._unseen = Unseen()
        self._counts = dict.fromkeys(("received", "copies", "handed_on", "unread"), 0)
        self._of_no_feed: Counter[str] = Counter()
        self._told: dict[str, Any] = {}

    # ── The links that share it ──────────────────────────────────────────────────────────────────────────────

    def connection(self, user_id: int, hearer: Hearer, wanted: dict[str, str]) -> VirtualConnection:
        """Return what the manager of this user's link is to run; ``admit`` the manager then."""
        subscriptions = Shards(dict.fromkeys(wanted, self.pattern), self._rng)
        connection = VirtualConnection(hearer, subscriptions, self.pattern, self._clock, self.heard_through)
        self._connections[user_id] = connection
        return connection

    def admit(self, user_id: int, manager: Manager) -> None:
        """Let this user's link share what is heard, as soon as anything is."""
        self._managers[user_id] = manager
        if self._shut_because:
            manager.shut_gate(GATE, self._shut_because)

    def dismiss(self, user_id: int) -> None:
        """Forget this user's link."""
        del self._connections[user_id], self._managers[user_id]

    def follow(self, wanted: bool) -> None:
        """Be open while anybody's link is wanted, and no longer: what a wildcard hears is paid for."""
        if self._task is None:
            self._task = asyncio.create_task(self._hand_on(), name="service link")
        snapshot, came = self.manager.snapshot, wanted and not self._wanted
        self._wanted = wanted
        refused = snapshot.state is State.OPEN and any(s.status == "refused" for s in self._connection.subscriptions)
        if not wanted and snapshot.state not in RESTING:
            self.manager.suspend("nobody is watching")
        elif wanted and snapshot.state in RESTING and (came or snapshot.state is not State.FAILED):
            self.manager.resume()
            self.manager.start()
        elif refused and self._clock.monotonic() - snapshot.since >= REFUSED_REST:
            self.manager.connect_now()

    def reconnect(self) -> None:
        """Somebody wants it this instant: try now, with credentials that may be right by now, unless it is live."""
        if self._shut_because:
            self.manager.auth_changed(GATE)
            self.manager.connect_now()

    def heard_through(self) -> float:
        """Return up to when (in boot time) everything that arrived was handed on."""
        through = self._clock.boottime() if self.manager.heard_at is None else self.manager.heard_at
        waiting = (self._waiting[0] if self._waiting else None, self._doubts, self._settling)
        return min([through, *(nextafter(first.heard, 0.0) for first in waiting if first is not None)])

    def prove(self) -> None:
        """Tell all links up to when everything was handed on, now and then, and operators how it is."""
        now = self._clock.monotonic()
        if now - self._told_at >= TELL_EVERY:
            self._told_at = now
            self._tell_heard()
        self._note()

    async def stop(self, reason: str) -> None:
        """End it; the links that shared it were stopped before. What could not be read is kept."""
        await self.manager.stop(reason)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._alarm is not None:
            self._alarm.cancel()
        self._keep_samples(self._settling, self._doubts)
        self._note()

    # ── What the connection tells (connection.Inlet) ─────────────────────────────────────────────────────────

    def data(self, feed: str, payload: str) -> None:
        self._counts["received"] += 1
        now, mark = self._clock.monotonic(), marked(payload)
        if self._copies.has(mark, now):
            self._counts["copies"] += 1
            metrics.SERVICE_EVENTS.labels("copy").inc()
            return
        try:
            fact = decoding.fact_by_type(payload)
        except OfNoFeed as of:
            self._count_of_no_feed(str(of))
            return
        except Undecodable as error:
            self._doubt_payload(payload, str(error))
            return
        self._copies.hear(mark, (fact.feed, fact.key), now, timed=fact.time is not None)
        self._waiting.append(News(fact.feed, fact.key, payload, self._clock.boottime(), now_us()))
        self._wake.set()
        if len(self._waiting) >= ROOM:
            self._has_room.clear()

    def not_taken(self, feed: str, payload: str, fault: Exception) -> None:
        self._doubt_payload(payload, repr(fault))

    def subscription(self, subscription: Subscription) -> None:
        self._judge()

    def trouble(self, text: str, lossy: bool) -> None:
        """As Inlet.trouble; what may have been an event concerned anybody."""
        logger.warning("service link: %s", text)
        if lossy:
            self._doubt_payload("", text)

    async def room(self) -> None:
        if not self._has_room.is_set():
            metrics.HELD_UP.inc()
            await self._has_room.wait()
        await self._bridge.room()

    def _count_of_no_feed(self, event_type: str) -> None:
        """A wildcard hears what others send too; but it may be one of ours that was renamed, so it is shown."""
        metrics.SERVICE_EVENTS.labels("not-ours").inc()
        known = event_type in self._of_no_feed or len(self._of_no_feed) < MOST_KINDS
        self._of_no_feed[event_type[:MOST_LETTERS] if known else "others"] += 1

    # ── Its state, which is a gate of each link ──────────────────────────────────────────────────────────────

    def _changed(self, snapshot: Snapshot) -> None:
        if snapshot.session not in (self._session, 0) and not self._shut_because:
            self._replaced(snapshot)
        self._session = snapshot.session
        self._was_suspect = snapshot.health is Health.SUSPECT
        self._judge()

    def _replaced(self, snapshot: Snapshot) -> None:
        """Compare every link, as after any replacement; what was silent before it is a window of each."""
        if self._was_suspect:
            self._shut(f"the service link was silent until it was replaced: {snapshot.rotated_for}")
            return
        for connection in self._open_to(self._connections):
            connection.hearer.compare()

    def _judge(self) -> None:
        snapshot = self.manager.snapshot
        heard = next(iter(self._connection.subscriptions))
        if self._fault:
            self._shut(self._fault)
        elif snapshot.state is State.OPEN and heard.status == "live":
            self._open()
        elif snapshot.state is State.OPEN:
            self._shut(f"the service link hears nothing: {heard.error or heard.status}")
        elif not self._shut_because or snapshot.state not in HAS_SESSION or not snapshot.attempt:
            # Else it is on its way again: what it failed of says more than how far it is.
            self._shut(f"the service link is {snapshot.state.value}" + (f": {snapshot.reason}" * bool(snapshot.reason)))
        self._note()

    def _shut(self, reason: str) -> None:
        if reason == self._shut_because:
            return
        self._shut_because = reason
        self._copies.forget()
        self._tell_heard()
        for manager in self._managers.values():
            manager.shut_gate(GATE, reason)

    def _open(self) -> None:
        if not self._shut_because:
            return
        self._shut_because = ""
        for manager in self._managers.values():
            manager.open_gate(GATE)

    def _tell_heard(self) -> None:
        for connection in self._connections.values():
            connection.tell_heard()

    def _note(self) -> None:
        """Let operators know, if there is news."""
        snapshot = self.manager.snapshot
        trouble = troubles.of(snapshot)
        told = {
            "state": snapshot.state.value,
            "reason": self._shut_because or snapshot.reason,
            "kind": trouble.kind.value if trouble else "",
            "code": trouble.failure.value if trouble else "",
            "next": troubles.next_step(trouble) if trouble else "",
            "health": snapshot.health.value,
            "connects": snapshot.connects,
            "drops": snapshot.drops,
            "rotations": snapshot.rotations,
            "silences": snapshot.silences,
            "channel": self.pattern,
            "links": sum(connection.is_open for connection in self._connections.values()),
            **self._counts,
            "of_no_feed": dict(self._of_no_feed),
        }
        if told != self._told:
            self._told = told
            since = now_us() + round((snapshot.since - self._clock.monotonic()) * 1_000_000)
            self._bridge.note(ServiceState(self._worker, {**told, "since": since}))

    # ── Handing on ───────────────────────────────────────────────────────────────────────────────────────────

    async def _hand_on(self) -> None:
        """Hand on what comes; a fault of ours costs every link a window and a repair, never the service link."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._hand_on_what_waits()
            except Exception as fault:
                logger.exception("the service link can't hand on what it hears: every link repairs")
                await self._rest(f"the service link failed: {fault!r}")

    async def _hand_on_what_waits(self) -> None:
        while self._waiting:
            await self._bridge.room()
            await self._hand_on_some([self._waiting[n] for n in range(min(BATCH, len(self._waiting)))])
            await self._repair_doubts()
        await self._repair_doubts()

    async def _hand_on_some(self, news: list[News]) -> None:
        """Hand these on, which stay in the queue meanwhile, so that nobody takes them for handed on."""
        audience = await self._audience({item.key for item in news})
        self._doubt_unknown(audience, news[0])
        for item in news:
            for connection in self._open_to(audience.seen.get(item.key, ())):
                self._hand(connection.hearer, item)
                self._counts["handed_on"] += 1
            self._waiting.popleft()
        metrics.SERVICE_EVENTS.labels("handed-on").inc(len(news))
        self._make_room()

    def _hand(self, hearer: Hearer, item: News) -> None:
        """Let a link take an event; if it fails, that is a window of this link, and none of the others'."""
        try:
            hearer.hear(item.feed, item.payload, item.received)
        except Exception:
            logger.exception("a link can't take an event of the feed %s: it repairs", item.feed)
            hearer.doubt(NOT_TAKEN, item.received)

    def _make_room(self) -> None:
        if len(self._waiting) < ROOM:
            self._has_room.set()

    async def _rest(self, fault: str) -> None:
        """Shut every link's gate for a while, and drop what waited, which the windows that opened cover."""
        self._fault = fault
        self._judge()
        await sleep(self._clock, FAULT_REST)
        self._waiting.clear()
        self._keep_samples(self._settling, self._doubts)
        self._settling = self._doubts = None
        self._make_room()
        self._fault = ""
        self._judge()

    async def _audience(self, keys: Collection[str]) -> Audience:
        """As Recorder.audience, however long the database is away."""
        while True:
            try:
                return await self._database.run(self._recorder.audience, keys)
            except (OperationalError, InterfaceError) as error:
                logger.warning("can't see whom events concern (%s): keeping %d", error, len(self._waiting))
            await asyncio.sleep(RETRY)

    def _open_to(self, user_ids: Iterable[int]) -> Iterable[VirtualConnection]:
        for user_id in user_ids:
            connection = self._connections.get(user_id)
            if connection is not None and connection.is_open:
                yield connection

    # ── What was heard and not handed on ─────────────────────────────────────────────────────────────────────

    def _doubt_payload(self, payload: str, error: str) -> None:
        """It concerned everybody in the organisation that it names, or somebody, and nobody knows whom."""
        metrics.SERVICE_EVENTS.labels("unreadable").inc()
        self._counts["unread"] += 1
        at = now_us()
        self._doubting(self._clock.boottime(), at).unreadable(
            decoding.organization_in(payload), Sample(at, error, payload)
        )

    def _doubt_unknown(self, audience: Audience, first: News) -> None:
        """Of an entity that nobody sees the members of its organisation ask: it may have come just now."""
        now = self._clock.monotonic()
        for key, members in audience.strange.items():
            if self._unseen.is_due(key, now):
                self._doubting(first.heard, first.received).unknown(members)

    def _doubting(self, heard: float, since: int) -> Doubts:
        if self._doubts is None:
            self._doubts = Doubts(heard, since)
            self._alarm = self._clock.call_at(self._doubts_due, self._wake.set)
        self._doubts.heard, self._doubts.since = min(self._doubts.heard, heard), min(self._doubts.since, since)
        return self._doubts

    async def _repair_doubts(self) -> None:
        """Repair the links of whom it may have concerned, once in a while, and keep samples."""
        if self._doubts is None or self._clock.monotonic() < self._doubts_due:
            return
        doubts = self._settling = self._doubts
        # Before anything is waited for: what comes meanwhile is to be woken for when it is due.
        self._doubts, self._doubts_due = None, self._clock.monotonic() + DOUBT_EVERY
        concerned = await self._concerned(doubts)
        for connection in self._open_to(concerned):
            connection.hearer.doubt(doubts.cause, doubts.since)
        self._keep_samples(doubts)
        self._settling = None

    async def _concerned(self, doubts: Doubts) -> Collection[int]:
        if EVERYBODY in doubts.organizations:
            return self._connections
        if not doubts.organizations:
            return doubts.people
        audience = await self._audience({f"organization/{org_id}" for org_id in doubts.organizations})
        return doubts.people.union(*audience.seen.values(), *audience.strange.values())

    def _keep_samples(self, *doubted: Doubts | None) -> None:
        for sample in chain.from_iterable(doubts.samples for doubts in doubted if doubts is not None):
            logger.error("service link: can't read an event: %s", sample.error)
            self._bridge.note(Unreadable(None, None, GATE, sample.at, sample.error, sample.payload))
