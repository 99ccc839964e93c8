"""What a link's life writes, in the same queue and transactions as its copies, so that their order is one order.

A note is applied inside a transaction in the database thread and returns what recording returns. A link's public
state is an entity too, ``link/self``, in its own user's feed: the browser's pill is as recoverable as any device.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from realtime import gaps, sql
from realtime.decoding import path_in
from realtime.events import PRIORITY_SYSTEM, Draft, News, Recording
from realtime.gaps import Closing
from realtime.linkbook import Change, LinkBook, LinkValues
from realtime.merge import canonical, tie
from realtime.models import LINK_KEY, Gap, UndecodablePayload, Worker, public_state
from realtime.product import Recorder
from realtime.snapshot import Snapshot

LINK_CHANGED = "link/changed"

PAYLOAD_KEPT = 8_000
"""Characters kept of a payload that can't be read."""


class Note(Protocol):
    """Something to be written. Notes of a ``link_id`` are dropped once another worker owns the link."""

    @property
    def link_id(self) -> int | None: ...

    def apply(self, now: int, book: LinkBook) -> Recording:
        """Write it, inside a transaction; ``now`` is in microseconds. What it changes of links goes into the book."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link's public state changed, at ``at``, and if that is news ``because`` is kept with the transition.

    ``not_live`` is (cause, started_at) of the window it opens, if any.
    """

    link_id: int
    user_id: int
    worker: str
    values: LinkValues
    session: int
    because: str
    at: int
    not_live: tuple[str, int] | None
    news: bool

    def apply(self, now: int, book: LinkBook) -> Recording:
        if self.not_live is not None:
            book.open_window(self.link_id, gaps.WHOLE_LINK, *self.not_live)
        values = self.values
        book.state(self.link_id, self.worker, values)
        if not self.news:
            return Recording()
        change = Change(
            self.link_id, self.at, values.state, self.because, values.attempt, self.session, values.last_error
        )
        book.transition(change)
        return Recording(links={self.link_id})


@dataclass(frozen=True, slots=True)
class FeedsState:
    """Subscriptions changed: their list for the pages, and the feeds whose window opens although the link is up."""

    link_id: int
    user_id: int
    subscriptions: list[dict[str, Any]]
    opened: Sequence[tuple[str, str, int]] = ()

    def apply(self, now: int, book: LinkBook) -> Recording:
        book.subscriptions(self.link_id, self.subscriptions)
        for feed, cause, started_at in self.opened:
            book.open_window(self.link_id, feed, cause, started_at)
        return Recording()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A payload could not be read: it is kept, and what it told of is missing until a snapshot is compared.

    Without a link nobody knows whose it was; then whoever heard it sees to the windows.
    """

    link_id: int | None
    user_id: int | None
    feed: str
    at: int
    error: str
    payload: str

    def apply(self, now: int, book: LinkBook) -> Recording:
        UndecodablePayload.objects.create(
            link_id=self.link_id,
            feed=self.feed,
            at=self.at,
            path=sql.text(path_in(self.error), 100),
            error=sql.text(self.error, 300),
            payload=sql.text(self.payload, PAYLOAD_KEPT),
        )
        if self.link_id is not None:
            book.open_window(self.link_id, self.feed, "undecodable payload", self.at - gaps.MARGIN)
        return Recording()


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How a worker's service link is, for operators."""

    worker: str
    values: dict[str, Any]
    link_id: int | None = None

    def apply(self, now: int, book: LinkBook) -> Recording:
        Worker.objects.filter(name=self.worker).update(service_link=self.values)
        return Recording()


@dataclass(slots=True)
class Backfill:
    """A snapshot is compared with what is recorded; the last one of a repair closes the window.

    ``since`` none means: since the window began, or without one since ``compared_at``, the last comparison.
    ``closes`` are the feeds whose windows end with it.
    """

    link_id: int
    user_id: int
    recorder: Recorder
    snapshot: Snapshot
    since: int | None
    closes: Sequence[str] | None
    compared_at: int | None = None
    before: int = 0
    live_at: int = 0
    differences: int = field(default=0, init=False)
    widened: bool = field(default=False, init=False)
    applied_at: int = field(default=0, init=False)

    def apply(self, now: int, book: LinkBook) -> Recording:
        self.applied_at = now
        recording = self.recorder.reconcile(self.user_id, self.snapshot, self._since(now, book), now)
        self.differences, self.widened = self.before + len(recording.drafts), bool(recording.widened)
        if self.closes is not None:
            book.close(Closing(self.link_id, self.closes, True, self.live_at, now, self.differences))
        return recording

    def _since(self, now: int, book: LinkBook) -> int:
        if self.since is not None:
            return self.since
        last = now if self.compared_at is None else self.compared_at
        return min((gap.started_at for gap in book.open_windows(self.link_id)), default=last)


@dataclass(frozen=True, slots=True)
class CloseUnknown:
    """There is nothing to compare with: the window ends, and what happened in it stays unknown."""

    link_id: int
    user_id: int
    closes: Sequence[str]
    note: str
    live_at: int

    def apply(self, now: int, book: LinkBook) -> Recording:
        book.close(Closing(self.link_id, self.closes, False, self.live_at, now, note=self.note))
        return Recording(links={self.link_id})


def link_drafts(link_ids: Collection[int], now: int) -> list[Draft]:
    """Return the feed entries that tell users of the state of their own links, as the tables have it now.

    Once a transaction is enough: what a link was in between is in its transitions.
    """
    noted = sql.rows({"id": "bigint", "now": "bigint"})
    window = (
        "(SELECT {} FROM realtime_gap WHERE realtime_gap.link_id = realtime_link.id "
        f"AND realtime_gap.outcome = '{Gap.Outcome.OPEN}' ORDER BY realtime_gap.started_at, realtime_gap.feed LIMIT 1)"
    )
    rows = sql.fetch(
        f"UPDATE realtime_link SET noted_at = noted.now FROM {noted} AS noted WHERE realtime_link.id = noted.id "
        "RETURNING realtime_link.id, user_id, state, reason, since, next_try_at, "
        f"{window.format('started_at')}, {window.format('cause')}",
        [(link_id, now) for link_id in link_ids],
    )
    return [_link_draft(user_id, public_state(*told), now) for _, user_id, *told in sorted(rows)]


def _link_draft(user_id: int, state: Mapping[str, Any], now: int) -> Draft:
    texts = {name: canonical(value) for name, value in state.items()}
    news = News(
        key=LINK_KEY,
        event_type=LINK_CHANGED,
        priority=PRIORITY_SYSTEM,
        source="link",
        fields=tuple((name, text, now, tie(text)) for name, text in texts.items()),
        source_time=now,
    )
    return Draft(f"user.{user_id}", news, now)
