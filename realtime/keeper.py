"""One link's keeper: joins its connection manager, the bridge, the gap ledger and the snapshots.

Whatever its manager publishes becomes a note; while the link is not provably live a window is open in the ledger. Its
`repairs` close it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from realtime import feeds, gaps, metrics
from realtime.bridge import RawCopy
from realtime.clock import now_us
from realtime.linkbook import LinkValues
from realtime.notes import FeedsState, LinkState
from realtime.parts import Parts
from realtime.repairs import DOUBT_EVERY, Repairs
from realtime.service_link import NOT_TAKEN, SOURCE
from realtime.upstream import troubles
from realtime.upstream.connection import Connection
from realtime.upstream.credentials import Credentials
from realtime.upstream.manager import Manager
from realtime.upstream.model import Health
from realtime.upstream.model import Snapshot as LinkSnapshot
from realtime.upstream.shards import Shards
from realtime.upstream.states import State
from realtime.upstream.subscriptions import Subscription
from realtime.upstream.virtual import VirtualConnection, virtual

logger = logging.getLogger("realtime.keeper")

SWITCHED = "organisation switched"
"""The cause of the window in which a link subscribes anew because its user looks at another organisation."""


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
        self.repairs = Repairs(self, parts)
        self._told: tuple[object, ...] = ()
        self._was_open = False
        self._was_suspect = False
        self._session = 0
        self._began: int | None = None
        self._doubtful: tuple[str, int] | None = None
        self._doubts_due = 0.0
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
            self._let_hear_along(self.tap, feed, payload)

    def not_taken(self, feed: str, payload: str, fault: Exception) -> None:
        self._doubt_soon(NOT_TAKEN)

    def subscription(self, subscription: Subscription) -> None:
        """Note the feeds' states, once for all that change together."""
        self.repairs.subscription(subscription)
        if not self._feeds_noted:
            self._feeds_noted = True
            asyncio.get_running_loop().call_soon(self.note_feeds)
        if self.tap is not None:
            self.tap.changed()

    def trouble(self, text: str, lossy: bool) -> None:
        """As Inlet.trouble; what may have been an event is repaired."""
        logger.warning("link %s: %s", self.subject, text)
        if lossy:
            self._doubt_soon(text)

    async def room(self) -> None:
        await self._parts.bridge.room()

    def _let_hear_along(self, tap: Tap, feed: str, payload: str) -> None:
        """A fault of whoever hears along costs the link nothing, and ends that."""
        try:
            tap.data(feed, payload)
        except Exception:
            self.tap = None
            logger.exception("link %s: who heard along failed, and hears no more", self.subject)

    def _doubt_soon(self, cause: str) -> None:
        """Open a window from now on, a while after the last one: until then nothing more is proven.

        While the link is not open a window is open already.
        """
        if not self.can_repair or self._doubtful is not None:
            return
        self._doubtful = cause, now_us()
        if self._parts.clock.monotonic() >= self._doubts_due:
            self._open_doubt()
        else:
            self._parts.clock.call_at(self._doubts_due, self._open_doubt)

    def _open_doubt(self) -> None:
        if self._doubtful is not None:
            (cause, since), self._doubtful = self._doubtful, None
            self._doubts_due = self._parts.clock.monotonic() + DOUBT_EVERY
            self.doubt(cause, since)

    # ── What the worker asks ─────────────────────────────────────────────────────────────────────────────────

    def compare(self) -> None:
        """As Repairs.compare."""
        self.repairs.compare()

    def doubt(self, cause: str, since: int) -> None:
        """Something came at ``since`` (µs) that may have been this link's, and was not handed on: repair it."""
        opened = [(gaps.WHOLE_LINK, cause, since - gaps.MARGIN)]
        self._opening = self._parts.bridge.note(FeedsState(self.link_id, self.user_id, self.rows(), opened))
        self.repairs.doubt()

    def switch(self) -> None:
        """Follow the user to another organisation: give every subscription up, ask for all anew, compare.

        The window begins with it. Subscriptions to an organisation tell nothing of the others: there it begins when
        the new one was last compared. While the link is not open a window is open already, and the next repair follows.
        """
        if not self.can_repair:
            return
        compared_at = self.repairs.compared_at
        heard_all = compared_at if self._is_wide and compared_at is not None else now_us()
        self._began = heard_all - gaps.MARGIN
        opened = [(gaps.WHOLE_LINK, SWITCHED, self._began)]
        self._opening = self._parts.bridge.note(FeedsState(self.link_id, self.user_id, self.rows(), opened))
        self.repairs.switch()

    def proof(self, through: int) -> tuple[int, int, int] | None:
        """Return (link id, up to when it is proven to be recorded in full, copies received since the last proof).

        Everything that arrived up to ``through`` (µs) is recorded, whoever's it is.
        None while nothing was heard since the last one: then that one still says all that is known. None also while
        windows are being opened that begin long before now: a worker that died between would leave none.
        """
        if self._feeds_noted or self._doubtful or (self._opening is not None and not self._opening.done()):
            return None
        self._opening = None
        heard = self.manager.heard_at
        if heard == self._proven and not self._received:
            return None
        received, self._received = self._received, 0
        if heard is not None:
            heard_us = self._heard_us(heard)
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
    def can_repair(self) -> bool:
        """As Owner.can_repair."""
        return self.manager.snapshot.state is State.OPEN

    def want(self, wanted: dict[str, str]) -> bool:
        """As Owner.want."""
        return self._connection.want(wanted)

    @property
    def provable(self) -> bool:
        """Whether the link is open, so that ``proof`` means something."""
        return self._was_open

    async def stop(self, reason: str) -> None:
        """End the link and its tasks; its window opens as with any other loss."""
        await self.manager.stop(reason)
        await self.repairs.end()
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
            heard = self.manager.heard_at
            began = now_us() if heard is None else self._heard_us(heard)
            self._began = min(began, self._doubtful[1] if self._doubtful else began) - gaps.MARGIN
            self._doubtful = None
            self.repairs.settled = False
        if lost or replaced:
            self.repairs.cancel()
        self._note_state(snapshot, None if is_open and not doubtful else (self._cause(snapshot), self.began()))
        if is_open and snapshot.session != self._session:
            self.note_feeds()
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
        error, trouble = snapshot.last_error, troubles.of(snapshot)
        told = (snapshot.state, snapshot.reason, snapshot.next_try_at, snapshot.health, snapshot.session)
        news, self._told = told != self._told, told
        values = LinkValues(
            state=snapshot.state.value,
            reason=snapshot.reason,
            since=self._wall_us(snapshot.since) if news else None,
            attempt=snapshot.attempt,
            next_try_at=None if snapshot.next_try_at is None else self._wall_us(snapshot.next_try_at),
            last_error=troubles.described(error) if error else "",
            connects=snapshot.connects,
            drops=snapshot.drops,
            rotations=snapshot.rotations,
            rotates_at=None if snapshot.rotates_at is None else self._wall_us(snapshot.rotates_at),
            health=snapshot.health.value,
            breaker=snapshot.breaker.value,
            protocol=self._parts.endpoint.dialect,
            silences=snapshot.silences,
            error_kind=trouble.kind.value if trouble else "",
            error_class=trouble.failure.value if trouble else "",
        )
        because = self._because(snapshot)
        note = LinkState(
            self.link_id, self.user_id, self._parts.worker, values, snapshot.session, because, now_us(), not_live, news
        )
        noted = self._parts.bridge.note(note)
        if not_live is not None:
            self._opening = noted

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

    def began(self) -> int:
        """As Owner.began: at the last frame that was heard, less a margin."""
        return now_us() if self._began is None else self._began

    def _heard_us(self, boottime: float) -> int:
        return now_us() + round((boottime - self._parts.clock.boottime()) * 1_000_000)

    def _wall_us(self, monotonic: float) -> int:
        return now_us() + round((monotonic - self._parts.clock.monotonic()) * 1_000_000)

    # ── Feeds ────────────────────────────────────────────────────────────────────────────────────────────────

    def note_feeds(self) -> None:
        """As Owner.note_feeds. Until the first repair is done the link's own window covers them all."""
        self._feeds_noted = False
        deaf = [s for s in self.subscriptions if s.status != "live"] if self.repairs.settled else []
        opened = [(s.feed, s.error or s.status, self._fell_silent(s) - gaps.MARGIN) for s in deaf]
        noted = self._parts.bridge.note(FeedsState(self.link_id, self.user_id, self.rows(), opened))
        if opened:
            self._opening = noted

    def _fell_silent(self, subscription: Subscription) -> int:
        """Return since when a feed is not provably live: a lost connection is noticed long after its last frame."""
        return now_us() if subscription.deaf_since is None else self._heard_us(subscription.deaf_since)

    def rows(self) -> list[dict[str, Any]]:
        """As Owner.rows."""
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
