"""The service link: one wildcard connection hears what all of a worker's links would hear, instead of one for each.

A frame of it names no channel, so an event goes to whom it concerns by its own fields and by what is recorded of who
may see what; hearing of something grants no view of it. Below a keeper there is a ``VirtualConnection`` then, so that
each person's link has its own windows, repairs and state as ever; while the service link is not live, a gate of each
is shut, with the reason.

An event waits here for one look into the database. What waits counts as not heard: whoever dies meanwhile leaves
windows that begin before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterable
from math import nextafter
from random import Random
from typing import Any, NamedTuple

from django.db import DatabaseError

from realtime import decoding, feeds, metrics
from realtime.appsync.endpoint import Endpoint
from realtime.bridge import Bridge
from realtime.clock import now_us
from realtime.copies import Copies
from realtime.database import DatabaseThread
from realtime.decoding import Undecodable
from realtime.notes import ServiceState, Unreadable
from realtime.product import Audience, Recorder
from realtime.upstream.clock import Clock
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

GATE = "service link"

BATCH = 1_000
"""Events that are looked up together at most."""

ROOM = 20_000
"""Events that may wait to be handed on; beyond it the socket is not read."""

RETRY = 0.5
"""Seconds between two tries to ask the database who may see what."""

DOUBT_EVERY = 10.0
"""Seconds between two repairs because of what could not be read: a backend that drifted would ask for them all day."""

SAMPLES = 5
"""Payloads kept for each of those."""

ASK_AGAIN = 3 * 3600.0
"""Seconds for which nobody is asked again about an entity that nobody may see; as long as between two comparisons."""

MOST_ASKED = 50_000

RESTING = frozenset({State.SUSPENDED, State.STOPPED, State.FAILED})

EVERYBODY = ""
"""Stands for the organisation of what does not say whose it is."""


class News(NamedTuple):
    """An event that waits to be handed on. ``heard`` is in monotonic seconds, ``received`` in microseconds."""

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
        self._doubted: set[str] = set()
        self._doubted_since = 0
        self._doubts_due = clock.monotonic()
        self._samples: list[Unreadable] = []
        self._asked: dict[str, float] = {}
        self._counts = dict.fromkeys(("received", "copies", "handed_on", "unread"), 0)
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
        state = self.manager.snapshot.state
        if not wanted and state not in RESTING:
            self.manager.suspend("nobody is watching")
        elif wanted and state in RESTING - {State.FAILED}:
            self.manager.resume()
            self.manager.start()

    def reconnect(self) -> None:
        """Somebody wants it this instant: try now, unless it is live."""
        if self._shut_because:
            self.manager.connect_now()

    def heard_through(self) -> float:
        """Return up to when (monotonic seconds) everything that arrived was handed on."""
        if self._waiting:
            return nextafter(self._waiting[0].heard, 0.0)
        heard = self.manager.heard_at
        return self._clock.monotonic() if heard is None else heard

    def prove(self) -> None:
        """Tell all links up to when everything was handed on, and operators how it is."""
        for connection in self._connections.values():
            connection.tell_heard()
        self._note()

    async def stop(self, reason: str) -> None:
        """End it; the links that shared it were stopped before."""
        await self.manager.stop(reason)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._note()

    # ── What the connection tells (connection.Inlet) ─────────────────────────────────────────────────────────

    def data(self, feed: str, payload: str) -> None:
        self._counts["received"] += 1
        if self._copies.has(payload):
            self._counts["copies"] += 1
            metrics.SERVICE_EVENTS.labels("copy").inc()
            return
        try:
            fact = decoding.fact_by_type(payload)
        except Undecodable as error:
            self._doubt(payload, str(error))
            return
        if fact is None:
            metrics.SERVICE_EVENTS.labels("not-ours").inc()
            return
        self._copies.hear(payload, (fact.feed, fact.key), timed=fact.time is not None)
        self._waiting.append(News(fact.feed, fact.key, payload, self._clock.monotonic(), now_us()))
        self._wake.set()
        if len(self._waiting) >= ROOM:
            self._has_room.clear()

    def subscription(self, subscription: Subscription) -> None:
        self._judge()

    def trouble(self, text: str) -> None:
        logger.warning("service link: %s", text)

    async def room(self) -> None:
        await self._has_room.wait()
        await self._bridge.room()

    # ── Its state, which is a gate of each link ──────────────────────────────────────────────────────────────

    def _changed(self, snapshot: Snapshot) -> None:
        replaced = snapshot.session != self._session and self._session
        if replaced and self._was_suspect and not self._shut_because:
            self._shut(f"the service link was silent until it was replaced: {snapshot.rotated_for}")
        self._session = snapshot.session
        self._was_suspect = snapshot.health is Health.SUSPECT
        self._judge()

    def _judge(self) -> None:
        snapshot = self.manager.snapshot
        heard = next(iter(self._connection.subscriptions))
        if snapshot.state is State.OPEN and heard.status == "live":
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
        for connection in self._connections.values():
            connection.tell_heard()
        for manager in self._managers.values():
            manager.shut_gate(GATE, reason)

    def _open(self) -> None:
        if not self._shut_because:
            return
        self._shut_because = ""
        for manager in self._managers.values():
            manager.open_gate(GATE)

    def _note(self) -> None:
        """Let operators know, if there is news."""
        snapshot = self.manager.snapshot
        told = {
            "state": snapshot.state.value,
            "reason": self._shut_because or snapshot.reason,
            "health": snapshot.health.value,
            "connects": snapshot.connects,
            "drops": snapshot.drops,
            "rotations": snapshot.rotations,
            "channel": self.pattern,
            "links": sum(connection.is_open for connection in self._connections.values()),
            **self._counts,
        }
        if told != self._told:
            self._told = told
            since = now_us() + round((snapshot.since - self._clock.monotonic()) * 1_000_000)
            self._bridge.note(ServiceState(self._worker, {**told, "since": since}))

    # ── Handing on ───────────────────────────────────────────────────────────────────────────────────────────

    async def _hand_on(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._hand_on_some([self._waiting[n] for n in range(min(BATCH, len(self._waiting)))])
            await self._repair_doubts()

    async def _hand_on_some(self, news: list[News]) -> None:
        """Hand these on, which stay in the queue meanwhile, so that nobody takes them for handed on."""
        audience = await self._audience({item.key for item in news})
        for item in news:
            for connection in self._open_to(audience.seen.get(item.key, ())):
                connection.hearer.hear(item.feed, item.payload, item.received)
                self._counts["handed_on"] += 1
            self._waiting.popleft()
        metrics.SERVICE_EVENTS.labels("handed-on").inc(len(news))
        if len(self._waiting) < ROOM:
            self._has_room.set()
        self._ask(audience, news[0].received)

    async def _audience(self, keys: Collection[str]) -> Audience:
        """As Recorder.audience, however long the database is away."""
        while True:
            try:
                return await self._database.run(self._recorder.audience, keys)
            except DatabaseError as error:
                logger.warning("can't see whom events concern (%s): keeping %d", error, len(self._waiting))
            await asyncio.sleep(RETRY)

    def _ask(self, audience: Audience, since: int) -> None:
        """Have the members of its organisation ask about an entity that nobody ever saw: it may have come just now."""
        now = self._clock.monotonic()
        for key, members in audience.strange.items():
            if now - self._asked.get(key, -ASK_AGAIN) >= ASK_AGAIN:
                self._asked.pop(key, None)
                self._asked[key] = now
                for connection in self._open_to(members):
                    connection.hearer.doubt("an entity not known before", since)
        while len(self._asked) > MOST_ASKED:
            del self._asked[next(iter(self._asked))]

    def _open_to(self, user_ids: Iterable[int]) -> Iterable[VirtualConnection]:
        for user_id in user_ids:
            connection = self._connections.get(user_id)
            if connection is not None and connection.is_open:
                yield connection

    # ── What could not be read ───────────────────────────────────────────────────────────────────────────────

    def _doubt(self, payload: str, error: str) -> None:
        """Note that something was missed, by everybody in the organisation that it names, or by everybody."""
        logger.error("service link: can't read an event: %s", error)
        metrics.SERVICE_EVENTS.labels("unreadable").inc()
        self._counts["unread"] += 1
        at = now_us()
        if not self._doubted:
            self._doubted_since = at
            self._clock.call_at(self._doubts_due, self._wake.set)
        self._doubted.add(decoding.organization_in(payload) or EVERYBODY)
        if len(self._samples) < SAMPLES:
            self._samples.append(Unreadable(None, None, GATE, at, error, payload))

    async def _repair_doubts(self) -> None:
        """Keep samples of what could not be read, and repair the links of whom it may have concerned."""
        if not self._doubted or self._clock.monotonic() < self._doubts_due:
            return
        self._doubts_due = self._clock.monotonic() + DOUBT_EVERY
        organizations, since, self._doubted = self._doubted, self._doubted_since, set()
        samples, self._samples = self._samples, []
        for sample in samples:
            self._bridge.note(sample)
        concerned = set(self._connections)
        if EVERYBODY not in organizations:
            audience = await self._audience({f"organization/{org_id}" for org_id in organizations})
            concerned = set().union(*audience.seen.values(), *audience.strange.values())
        for connection in self._open_to(concerned):
            connection.hearer.doubt("undecodable payload", since)
