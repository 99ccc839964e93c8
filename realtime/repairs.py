"""A link's repairs: how the windows that its keeper opened in the gap ledger are closed again.

Each time the link is open again, the first time included, a snapshot is asked for and compared with what is recorded,
the subscriptions are let settle, another snapshot is compared, and the windows of every feed that is live close.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Protocol

from realtime import documents, feeds, gaps
from realtime.bridge import NotRecorded
from realtime.clock import now_us
from realtime.notes import Backfill, CloseUnknown, FeedsState
from realtime.parts import Parts
from realtime.snapshot import Snapshot, SnapshotUnavailable
from realtime.upstream.clock import sleep
from realtime.upstream.credentials import Credentials, TokenRefused, TokenUnavailable
from realtime.upstream.policy import FullJitter
from realtime.upstream.shards import Shards
from realtime.upstream.subscriptions import Subscription

logger = logging.getLogger("realtime.repairs")

RECONCILE_EVERY = 3 * 3600.0
"""Seconds between comparisons of a link that stays up: they find what was lost although nothing said so."""

REPAIR_RETRY = 30.0
"""Seconds before a repair is tried again that failed for a reason of ours."""

DOUBT_EVERY = 10.0
"""Seconds between two comparisons of a link because of doubts: a backend that drifted would ask for them all day."""

LATE = {"live": "live only during the comparison"}
"""What is said of the state of a subscription that missed things."""

SNAPSHOT_RETRY = FullJitter(base=0.5, cap=30.0)


class Owner(Protocol):
    """The keeper of the link that is repaired."""

    link_id: int
    user_id: int
    subject: str

    @property
    def credentials(self) -> Credentials:
        """Whom the link speaks for."""

    @property
    def subscriptions(self) -> Shards:
        """What the link is to hear, and how far it is."""

    @property
    def can_repair(self) -> bool:
        """Whether the link is open: else the repair after the next connect does it."""

    def want(self, wanted: dict[str, str]) -> bool:
        """Hear these feeds from now on; tell whether that changes anything."""

    def began(self) -> int:
        """Return when the window of the whole link began (µs) that this repair is to close."""

    def rows(self) -> list[dict[str, Any]]:
        """Return the subscriptions as the pages show them."""

    def note_feeds(self) -> None:
        """Note the feeds' states, and open a window for each that is deaf."""


class Repairs:
    """One link's repairs, of which one runs at a time.

    ``settled`` says that one was done since the link was open: from then on each feed that falls silent has a window
    of its own, before that all are in the link's. ``compared_at`` is when a snapshot was last compared (µs, by the
    database's clock).
    """

    def __init__(self, owner: Owner, parts: Parts) -> None:
        self.settled = False
        self.compared_at: int | None = None
        self._owner = owner
        self._parts = parts
        self._is_wide = parts.endpoint.dialect == "graphql"
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._again = False
        self._switching = False
        self._doubted: set[str] = set()
        self._doubts_due = 0.0
        self._found = 0
        self._closing: Backfill | None = None
        self._sound_at: int | None = None
        self._answered: asyncio.Event | None = None
        self._covered: dict[str, float | None] = {}
        self._reconcile_at: float | None = None

    # ── What the keeper asks ─────────────────────────────────────────────────────────────────────────────────

    def compare(self) -> None:
        """Compare what is recorded with a snapshot; asked for while one is under way, once more after it."""
        if not self._owner.can_repair:
            return
        if self._task is None or self._task.done() or self._task.cancelling():
            self._begin()
        else:
            self._again = True

    def doubt(self, feed: str = gaps.WHOLE_LINK) -> None:
        """A feed's window opened just now: compare, and do not close it with a snapshot that was asked for before."""
        self._doubted.add(feed)
        if self._closing is not None and self._closing.closes is not None:
            self._closing.closes = [other for other in self._closing.closes if other != feed]
        self.compare()

    def reconcile(self) -> None:
        """Compare again if the last comparison was long ago; each link has its own time, or all would ask at once."""
        if self._reconcile_at is not None and self._parts.clock.monotonic() >= self._reconcile_at:
            self._reconcile_at = None
            self.compare()

    def switch(self) -> None:
        """Give every subscription up, ask for all anew as they are wanted now, and repair as after a connect."""
        self.settled = False
        self.cancel()
        self._switching = True
        self._begin()

    def subscription(self, subscription: Subscription) -> None:
        """A subscription changed its state: one that came back late has missed things."""
        if self.settled and subscription.status == "live":
            self.compare()
        if self._answered is not None and self._owner.subscriptions.settled:
            self._answered.set()

    def cancel(self) -> None:
        """What is under way says nothing any more."""
        self._switching = False
        self._doubted.clear()
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Cancel what is under way, and wait until it is over."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"repair {self._owner.subject}")
        self._tasks.add(self._task)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._task is task:
            self._task = None

    # ── A repair ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        """Repair until nothing is left to be repaired; a fault of ours costs a while, never the repair."""
        self._again = True
        while self._again:
            self._again = False
            try:
                if self._doubted:
                    await self._rest_between_doubts()
                await self._repair_or_give_up()
            except Exception:
                logger.exception("link %s: the repair failed, and is tried again", self._owner.subject)
                self._again = True
                await asyncio.sleep(REPAIR_RETRY)

    async def _rest_between_doubts(self) -> None:
        """Wait until one is due; there is none to wait for if the last was long ago."""
        clock = self._parts.clock
        await sleep(clock, max(0.0, self._doubts_due - clock.monotonic()))
        self._doubts_due = clock.monotonic() + DOUBT_EVERY

    async def _repair_or_give_up(self) -> None:
        if self._switching:
            await self._subscribe_anew()
            self._switching = False
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
        self._found += first.differences
        if self._owner.want(await self._wanted()):
            await self._answers()
        self._covered = self._live()
        await asyncio.sleep(self._parts.settle)
        self._doubted.clear()
        second = self._backfill(await self._fetch(), since=first.applied_at + 1)
        second.before, second.live_at = self._found, live_at
        closes = await self._closable()
        # A window that opened meanwhile is for the next snapshot to close.
        second.closes = [feed for feed in closes if feed not in self._doubted]
        await self._close_with(second)
        self._found = 0 if second.closes else second.differences
        if second.widened:
            self._again = True  # what came of it just now was maybe not for this user yet
        self.compared_at = second.applied_at
        self._end_settling(second.applied_at + 1)

    async def _close_with(self, second: Backfill) -> None:
        """Have a comparison recorded that closes windows; until it is, a doubt can still keep them open."""
        self._closing = second
        try:
            await self._parts.bridge.note(second)
        finally:
            self._closing = None

    async def _subscribe_anew(self) -> None:
        """Give every subscription up and ask for all; wait until each has its answer, or has had its time for it."""
        wanted = await self._wanted()
        self._owner.want({})
        self._owner.want(wanted)
        await self._answers()

    async def _answers(self) -> None:
        """Wait until every subscription has its answer, or has had its time for it."""
        if self._owner.subscriptions.settled:
            return
        self._answered = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._parts.policy.sync_timeout):
                await self._answered.wait()
        self._answered = None

    async def _wanted(self) -> dict[str, str]:
        """Return what to hear: GraphQL subscriptions are to organisations, and it is recorded which one is active."""
        if not self._is_wide:
            return feeds.channels(self._parts.root, self._owner.subject)
        return documents.subscriptions(await self._parts.organizations(self._owner.user_id))

    async def _give_up(self, note: str) -> None:
        owner = self._owner
        logger.warning("link %s: gap stays unknown: %s", owner.subject, note)
        self._covered, given_up_at = self._live(), now_us()
        closes = await self._closable()
        await self._parts.bridge.note(CloseUnknown(owner.link_id, owner.user_id, closes, note, now_us()))
        self._found = 0
        self._end_settling(given_up_at)

    def _end_settling(self, sound_at: int) -> None:
        """From now on each feed that falls silent has a window of its own, and so has one that just did.

        One that is live by now, but was not all the while, has missed things since ``sound_at`` (µs): compare once
        more.
        """
        self.settled, self._sound_at = True, sound_at
        if self._parts.provider is not None:
            spread = self._parts.rng.uniform(0.8, 1.2)
            self._reconcile_at = self._parts.clock.monotonic() + RECONCILE_EVERY * spread
        if any(s.status == "live" for s in self._uncovered()):
            self._again = True
        if any(s.status != "live" for s in self._owner.subscriptions):
            self._owner.note_feeds()

    async def _closable(self) -> list[str]:
        """Return the windows that may close now, after opening one for each feed that was not live all the while.

        That begins with the link's, or after what was compared last. One that falls silent while it is being opened has
        its own, which is not to be closed either.
        """
        owner = self._owner
        since = self._sound_at if self.settled and self._sound_at is not None else owner.began()
        left = {s.feed: (s.feed, s.error or LATE.get(s.status, s.status), since) for s in self._uncovered()}
        await self._parts.bridge.note(FeedsState(owner.link_id, owner.user_id, owner.rows(), list(left.values())))
        silent = left.keys() | {s.feed for s in self._uncovered()}
        return [gaps.WHOLE_LINK, *(s.feed for s in owner.subscriptions if s.feed not in silent)]

    def _live(self) -> dict[str, float | None]:
        """Return the feeds that are live, with since when."""
        return {s.feed: s.live_since for s in self._owner.subscriptions if s.status == "live"}

    def _uncovered(self) -> list[Subscription]:
        """Return the subscriptions that are not live, or not since before the last comparison."""
        live = self._live()
        return [
            s for s in self._owner.subscriptions if s.feed not in live or self._covered.get(s.feed, 0.0) != live[s.feed]
        ]

    # ── Snapshots ────────────────────────────────────────────────────────────────────────────────────────────

    def _backfill(self, snapshot: Snapshot, since: int | None) -> Backfill:
        owner = self._owner
        return Backfill(owner.link_id, owner.user_id, self._parts.recorder, snapshot, since, None, self.compared_at)

    async def _fetch(self) -> Snapshot:
        """Return a snapshot, however long that takes; only an answer that can never be read is an error.

        Refused credentials cost one token that is forced to be new.
        """
        assert self._parts.provider is not None
        subject = self._owner.subject
        attempt, refreshed, refresh = 0, False, False
        while True:
            attempt += 1
            try:
                authorization = await self._owner.credentials.get(refresh=refresh)
                refreshed, refresh = refreshed or refresh, False
                return self._own(await self._parts.provider.fetch(subject, authorization))
            except (TokenRefused, TokenUnavailable) as error:
                logger.warning("link %s: no token for the snapshot: %s", subject, error)
            except SnapshotUnavailable as error:
                if not error.retryable:
                    raise
                refresh = error.unauthorized and not refreshed
                logger.warning("link %s: %s", subject, error)
            await asyncio.sleep(SNAPSHOT_RETRY.delay(attempt, self._parts.rng))

    def _own(self, snapshot: Snapshot) -> Snapshot:
        """Refuse somebody else's view: recorded as this user's, it would show what this user may not see."""
        if snapshot.user.user_id != self._owner.subject:
            raise SnapshotUnavailable("snapshot: it is of another user", retryable=False)
        return snapshot
