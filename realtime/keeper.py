"""One link's keeper: joins its connection manager, the bridge, the gap ledger and the snapshots.

Whatever its manager publishes becomes a note; while the link is not provably live a window is open in the ledger; and
each time the link is open again, the first time included, the keeper asks for a snapshot, lets the subscriptions
settle, asks once more, and closes the window.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from realtime import documents, feeds, gaps, metrics
from realtime.appsync.endpoint import Endpoint
from realtime.bridge import Bridge, NotRecorded, RawCopy
from realtime.clock import now_us
from realtime.linkbook import LinkValues
from realtime.notes import Backfill, CloseUnknown, FeedsState, LinkState
from realtime.product import Recorder
from realtime.service_link import SOURCE, ServiceLink
from realtime.snapshot import Snapshot, SnapshotProvider, SnapshotUnavailable
from realtime.upstream.clock import Clock
from realtime.upstream.connection import Connection
from realtime.upstream.credentials import Credentials, TokenRefused, TokenUnavailable
from realtime.upstream.manager import Manager
from realtime.upstream.model import Health
from realtime.upstream.model import Snapshot as LinkSnapshot
from realtime.upstream.permits import Permits
from realtime.upstream.policy import FullJitter, Policy
from realtime.upstream.shards import Shards
from realtime.upstream.states import State
from realtime.upstream.subscriptions import Subscription
from realtime.upstream.transport import Transport
from realtime.upstream.virtual import VirtualConnection, virtual

logger = logging.getLogger("realtime.keeper")

SWITCHED = "organisation switched"
"""The cause of the window in which a link subscribes anew because its user looks at another organisation."""

RECONCILE_EVERY = 3 * 3600.0
"""Seconds between comparisons of a link that stays up: they find what was lost although nothing said so."""

REPAIR_RETRY = 30.0
"""Seconds before a repair is tried again that failed for a reason of ours."""

LATE = {"live": "live only during the comparison"}
"""What is said of the state of a subscription that missed things."""

SNAPSHOT_RETRY = FullJitter(base=0.5, cap=30.0)


@dataclass(frozen=True, slots=True)
class Parts:
    """What all keepers of a worker share. ``provider`` none means that gaps can only close as unknown.

    With a ``service`` link no link has a connection of its own.
    """

    worker: str
    endpoint: Endpoint
    transport: Transport
    policy: Policy
    bridge: Bridge
    recorder: Recorder
    provider: SnapshotProvider | None
    clock: Clock
    rng: Random
    root: str
    settle: float
    permits: Permits
    organizations: Callable[[int], Awaitable[list[str]]]
    service: ServiceLink | None = None


class Tap(Protocol):
    """Hears what a keeper's link hears, beside it. Both return at once."""

    def data(self, feed: str, payload: str) -> None:
        """An event arrived and is being recorded."""

    def changed(self) -> None:
        """The link, or one of its subscriptions, changed its state."""


class Keeper:
    """Keeps one user's link. Its ``manager`` is what wishes are told to; ``tap`` hears along, if there is one."""

    tap: Tap | None = None

    def __init__(self, link_id: int, user_id: int, subject: str, credentials: Credentials, parts: Parts) -> None:
        self.link_id = link_id
        self.user_id = user_id
        self.subject = subject
        self._credentials = credentials
        self._parts = parts
        self._is_wide = parts.endpoint.dialect == "graphql"
        wanted = {} if self._is_wide else feeds.channels(parts.root, subject)
        self._connection: Connection | VirtualConnection
        if parts.service is None:
            shards = Shards(wanted, parts.rng)
            self._connection = Connection(
                parts.endpoint, credentials, parts.transport, shards, self, parts.clock, parts.permits
            )
        else:
            self._connection = parts.service.connection(user_id, self, wanted)
        self._source = parts.endpoint.dialect if parts.service is None else SOURCE
        policy = parts.policy if parts.service is None else virtual(parts.policy)
        self.manager = Manager(self._connection, policy, parts.clock, parts.rng, subject)
        self.manager.listen(self._changed)
        self._told: tuple[object, ...] = ()
        self._was_open = False
        self._was_suspect = False
        self._session = 0
        self._settled = False
        self._lost_at: float | None = None
        self._repair: asyncio.Task[None] | None = None
        self._repair_again = False
        self._doubted = False
        self._answered: asyncio.Event | None = None
        self._covered: dict[str, float | None] = {}
        self._compared_at: int | None = None
        self._reconcile_at: float | None = None
        self._feeds_noted = False
        self._opening: asyncio.Future[None] | None = None
        self._received = 0
        self._proven: float | None = None
        self.state = State.STOPPED

    # ── What the connection tells (connection.Inlet) ─────────────────────────────────────────────────────────

    def data(self, feed: str, payload: str) -> None:
        self.hear(feed, payload, now_us())

    def hear(self, feed: str, payload: str, received: int) -> None:
        """Take one event, which arrived at ``received`` (µs)."""
        self._received += 1
        self._parts.bridge.copy(RawCopy(self.link_id, self.user_id, feed, payload, received, self._source))
        if self.tap is not None:
            self.tap.data(feed, payload)

    def subscription(self, subscription: Subscription) -> None:
        """Note the feeds' states, once for all that change together; a feed that came back late has missed things."""
        if self._settled and subscription.status == "live":
            self.compare()
        if self._answered is not None and self.subscriptions.settled:
            self._answered.set()
        if not self._feeds_noted:
            self._feeds_noted = True
            asyncio.get_running_loop().call_soon(self._note_feeds)
        if self.tap is not None:
            self.tap.changed()

    def trouble(self, text: str) -> None:
        logger.warning("link %s: %s", self.subject, text)

    async def room(self) -> None:
        await self._parts.bridge.room()

    # ── What the worker asks ─────────────────────────────────────────────────────────────────────────────────

    def compare(self) -> None:
        """Compare what is recorded with a snapshot; asked for while one is under way, once more after it."""
        if self.manager.snapshot.state is not State.OPEN:
            return  # the repair after the next connect does it
        if self._repair is None or self._repair.done() or self._repair.cancelling():
            self._repair = asyncio.create_task(self._run_repair(), name=f"repair {self.subject}")
        else:
            self._repair_again = True

    def doubt(self, cause: str, since: int) -> None:
        """Something came at ``since`` (µs) that may have been this link's, and was not handed on: repair it."""
        self._doubted = True
        opened = [(gaps.WHOLE_LINK, cause, since - gaps.MARGIN)]
        self._opening = self._parts.bridge.note(FeedsState(self.link_id, self.user_id, self._rows(), opened))
        self.compare()

    def reconcile(self) -> None:
        """Compare again if the last comparison was long ago; each link has its own time, or all would ask at once."""
        if self._reconcile_at is not None and self._parts.clock.monotonic() >= self._reconcile_at:
            self._reconcile_at = None
            self.compare()

    def switch(self) -> None:
        """Follow the user to another organisation: give every subscription up, ask for all anew, compare.

        The window begins with it. Subscriptions to an organisation tell nothing of the others: there it begins when
        the new one was last compared. While the link is not open a window is open already, and the next repair follows.
        """
        if self.manager.snapshot.state is not State.OPEN:
            return
        self._settled = False
        heard_all = self._compared_at if self._is_wide and self._compared_at is not None else now_us()
        opened = [(gaps.WHOLE_LINK, SWITCHED, heard_all - gaps.MARGIN)]
        self._parts.bridge.note(FeedsState(self.link_id, self.user_id, self._rows(), opened))
        self._cancel_repair()
        self._repair = asyncio.create_task(self._switch_over(), name=f"switch {self.subject}")

    def proof(self, through: int) -> tuple[int, int, int] | None:
        """Return (link id, up to when it is proven to be recorded in full, copies received since the last proof).

        Everything that arrived up to ``through`` (µs) is recorded, whoever's it is.
        None while nothing was heard since the last one: then that one still says all that is known. None also while
        feeds' windows are being opened, which begin long before now: a worker that died between would leave none.
        """
        if self._feeds_noted or (self._opening is not None and not self._opening.done()):
            return None
        heard = self.manager.heard_at
        if heard == self._proven and not self._received:
            return None
        received, self._received = self._received, 0
        if heard is not None:
            heard_us = self._wall_us(heard)
            self._proven = heard if heard_us <= through else None
            through = min(through, heard_us)
        return self.link_id, through, received

    @property
    def credentials(self) -> Credentials:
        """Whom the link speaks for; closed by ``stop``."""
        return self._credentials

    @property
    def subscriptions(self) -> Shards:
        """What the link is to hear, and how far it is."""
        return self._connection.subscriptions

    @property
    def provable(self) -> bool:
        """Whether the link is open, so that ``proof`` means something."""
        return self._was_open

    async def stop(self, reason: str) -> None:
        """End the link and its tasks; its window opens as with any other loss."""
        await self.manager.stop(reason)
        await self._end_repair()
        await self._credentials.close()

    # ── The manager's snapshots ──────────────────────────────────────────────────────────────────────────────

    def _changed(self, snapshot: LinkSnapshot) -> None:
        self.state = snapshot.state
        is_open = snapshot.state is State.OPEN
        replaced = is_open and self._was_open and snapshot.session != self._session
        lost = self._was_open and not is_open
        doubtful = replaced and self._was_suspect
        if lost or doubtful:
            # By now the session is fenced off, but what it heard last is still known.
            self._lost_at = self.manager.heard_at
            self._settled = False
        if lost or replaced:
            self._cancel_repair()
        self._note_state(snapshot, None if is_open and not doubtful else (self._cause(snapshot), self._began()))
        if is_open and snapshot.session != self._session:
            self._note_feeds()
        self._session = snapshot.session
        self._was_suspect = snapshot.health is Health.SUSPECT
        if is_open and not self._was_open:
            metrics.CONNECTS.labels("open").inc()
        if replaced or (is_open and not self._was_open):
            self.compare()
        elif snapshot.state is State.BACKOFF and snapshot.last_error is not None:
            metrics.CONNECTS.labels(snapshot.last_error.kind).inc()
        self._was_open = is_open
        if self.tap is not None:
            self.tap.changed()

    def _note_state(self, snapshot: LinkSnapshot, not_live: tuple[str, int] | None) -> None:
        error = snapshot.last_error
        told = (snapshot.state, snapshot.reason, snapshot.next_try_at, snapshot.health, snapshot.session)
        news, self._told = told != self._told, told
        values = LinkValues(
            state=snapshot.state.value,
            reason=snapshot.reason[:200],
            since=self._wall_us(snapshot.since) if news else None,
            attempt=snapshot.attempt,
            next_try_at=None if snapshot.next_try_at is None else self._wall_us(snapshot.next_try_at),
            last_error=f"{error.kind}: {error.text}"[:300] if error else "",
            connects=snapshot.connects,
            drops=snapshot.drops,
            rotations=snapshot.rotations,
            rotates_at=None if snapshot.rotates_at is None else self._wall_us(snapshot.rotates_at),
            health=snapshot.health.value,
            breaker=snapshot.breaker.value,
            protocol=self._parts.endpoint.dialect,
        )
        because = self._because(snapshot)
        note = LinkState(
            self.link_id, self.user_id, self._parts.worker, values, snapshot.session, because, now_us(), not_live, news
        )
        self._parts.bridge.note(note)

    def _because(self, snapshot: LinkSnapshot) -> str:
        """Return what the flight recorder says of a change: of an open link not only its reason, but what happened."""
        if self._was_open and snapshot.state is State.OPEN and not snapshot.reason:
            if snapshot.session != self._session:
                return f"the connection was replaced: {snapshot.rotated_for}"
            return "suspect: silent for too long" if snapshot.health is Health.SUSPECT else ""
        return snapshot.reason

    def _cause(self, snapshot: LinkSnapshot) -> str:
        if snapshot.reason:
            return snapshot.reason
        if snapshot.state is State.OPEN:
            return f"silent until it was replaced: {snapshot.rotated_for}"
        return "not connected yet" if snapshot.connects == 0 else snapshot.state.value

    def _began(self) -> int:
        """Return when the window begins, if none is open: at the last frame that was heard, less a margin."""
        if self._lost_at is None:
            return now_us()
        return self._wall_us(self._lost_at) - gaps.MARGIN

    def _wall_us(self, monotonic: float) -> int:
        return now_us() + round((monotonic - self._parts.clock.monotonic()) * 1_000_000)

    # ── Feeds ────────────────────────────────────────────────────────────────────────────────────────────────

    def _note_feeds(self) -> None:
        self._feeds_noted = False
        deaf = self._deaf() if self._settled else []
        opened = [(s.feed, s.error or s.status, self._fell_silent(s) - gaps.MARGIN) for s in deaf]
        noted = self._parts.bridge.note(FeedsState(self.link_id, self.user_id, self._rows(), opened))
        if opened:
            self._opening = noted

    def _fell_silent(self, subscription: Subscription) -> int:
        """Return since when a feed is not provably live: a lost connection is noticed long after its last frame."""
        return now_us() if subscription.deaf_since is None else self._wall_us(subscription.deaf_since)

    def _rows(self) -> list[dict[str, Any]]:
        """Return the subscriptions as the pages show them."""
        return [
            {
                "feed": s.feed,
                "channel": s.target,
                "connection": number,
                "state": s.status,
                "attempts": s.attempts,
                "error": s.error,
                "since": None if s.live_since is None else self._wall_us(s.live_since),
            }
            for number, s in self.subscriptions.numbered()
        ]

    def _deaf(self) -> list[Subscription]:
        return [s for s in self.subscriptions if s.status != "live"]

    # ── Repair ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _run_repair(self) -> None:
        """Repair until nothing is left to be repaired; a fault of ours costs a while, never the repair."""
        self._repair_again = True
        while self._repair_again:
            self._repair_again = False
            try:
                await self._repair_or_give_up()
            except Exception:
                logger.exception("link %s: the repair failed, and is tried again", self.subject)
                self._repair_again = True
                await asyncio.sleep(REPAIR_RETRY)

    async def _repair_or_give_up(self) -> None:
        try:
            await self._repair_once()
        except (SnapshotUnavailable, NotRecorded) as error:
            await self._give_up(str(error))

    async def _repair_once(self) -> None:
        """Compare, let the subscriptions settle, compare again, close the windows of every feed that is live."""
        live_at = now_us()
        if self._parts.provider is None:
            await self._give_up("no snapshot provider is configured (SNAPSHOT_URL)")
            return
        first = self._backfill(await self._fetch(), since=None)
        await self._parts.bridge.note(first)
        if self._connection.want(await self._wanted()):
            await self._answers()
        self._covered = self._live()
        await asyncio.sleep(self._parts.settle)
        self._doubted = False
        second = self._backfill(await self._fetch(), since=first.applied_at + 1)
        second.before, second.live_at = first.differences, live_at
        closes = await self._closable()
        if not self._doubted:  # a window that opened meanwhile is for the next snapshot to close
            second.closes = closes
        await self._parts.bridge.note(second)
        if second.widened:
            self._repair_again = True  # what came of it just now was maybe not for this user yet
        self._compared_at = second.applied_at
        spread = self._parts.rng.uniform(0.8, 1.2)
        self._reconcile_at = self._parts.clock.monotonic() + RECONCILE_EVERY * spread
        metrics.GAPS.labels("repaired" if second.differences else "nothing-missed").inc()
        self._end_settling()

    async def _switch_over(self) -> None:
        """Subscribe anew; once all have their answer, or have had their time for it, repair as after a connect."""
        wanted = await self._wanted()
        self._connection.want({})
        self._connection.want(wanted)
        await self._answers()
        await self._run_repair()

    async def _answers(self) -> None:
        """Wait until every subscription has its answer, or has had its time for it."""
        if self.subscriptions.settled:
            return
        self._answered = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._parts.policy.sync_timeout):
                await self._answered.wait()
        self._answered = None

    async def _wanted(self) -> dict[str, str]:
        """Return what to hear: GraphQL subscriptions are to organisations, and it is recorded which one is active."""
        if not self._is_wide:
            return feeds.channels(self._parts.root, self.subject)
        return documents.subscriptions(await self._parts.organizations(self.user_id))

    async def _give_up(self, note: str) -> None:
        logger.warning("link %s: gap stays unknown: %s", self.subject, note)
        self._covered = self._live()
        closes = await self._closable()
        await self._parts.bridge.note(CloseUnknown(self.link_id, self.user_id, closes, note, now_us()))
        metrics.GAPS.labels("unknown").inc()
        self._end_settling()

    def _end_settling(self) -> None:
        """From now on each feed that falls silent has a window of its own, and so has one that just did.

        One that is live by now, but was not all the while, has missed things: compare once more.
        """
        self._settled = True
        if any(s.status == "live" for s in self._uncovered()):
            self._repair_again = True
        if self._deaf():
            self._note_feeds()

    async def _closable(self) -> list[str]:
        """Return the windows that may close now, after opening one for each feed that was not live all the while."""
        left = {s.feed: (s.feed, s.error or LATE.get(s.status, s.status), self._began()) for s in self._uncovered()}
        await self._parts.bridge.note(FeedsState(self.link_id, self.user_id, self._rows(), list(left.values())))
        return [gaps.WHOLE_LINK, *(s.feed for s in self.subscriptions if s.feed not in left)]

    def _live(self) -> dict[str, float | None]:
        """Return the feeds that are live, with since when."""
        return {s.feed: s.live_since for s in self.subscriptions if s.status == "live"}

    def _uncovered(self) -> list[Subscription]:
        """Return the subscriptions that are not live, or not since before the last comparison."""
        live = self._live()
        return [s for s in self.subscriptions if s.feed not in live or self._covered.get(s.feed, 0.0) != live[s.feed]]

    def _backfill(self, snapshot: Snapshot, since: int | None) -> Backfill:
        recorder = self._parts.recorder
        return Backfill(self.link_id, self.user_id, recorder, snapshot, since, None, self._compared_at)

    async def _fetch(self) -> Snapshot:
        """Return a snapshot, however long that takes; only an answer that can never be read is an error.

        Refused credentials cost one token that is forced to be new.
        """
        assert self._parts.provider is not None
        attempt, refreshed, refresh = 0, False, False
        while True:
            attempt += 1
            try:
                authorization = await self._credentials.get(refresh=refresh)
                refreshed, refresh = refreshed or refresh, False
                return self._own(await self._parts.provider.fetch(self.subject, authorization))
            except (TokenRefused, TokenUnavailable) as error:
                logger.warning("link %s: no token for the snapshot: %s", self.subject, error)
            except SnapshotUnavailable as error:
                if not error.retryable:
                    raise
                refresh = error.unauthorized and not refreshed
                logger.warning("link %s: %s", self.subject, error)
            await asyncio.sleep(SNAPSHOT_RETRY.delay(attempt, self._parts.rng))

    def _own(self, snapshot: Snapshot) -> Snapshot:
        """Refuse somebody else's view: recorded as this user's, it would show what this user may not see."""
        if snapshot.user.user_id != self.subject:
            raise SnapshotUnavailable("snapshot: it is of another user", retryable=False)
        return snapshot

    def _cancel_repair(self) -> None:
        if self._repair is not None:
            self._repair.cancel()

    async def _end_repair(self) -> None:
        self._cancel_repair()
        if self._repair is not None:
            await asyncio.wait([self._repair])
