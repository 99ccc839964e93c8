"""What a link's life writes, in the same queue and transactions as its copies, so that their order is one order.

A note is applied inside a transaction in the database thread and returns what recording returns. A link's public
state is an entity too, ``link/self``, in its own user's feed: the browser's pill is as recoverable as any device.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from realtime import gaps
from realtime.decoding import path_in
from realtime.events import PRIORITY_SYSTEM, Draft, Recording
from realtime.merge import canonical, tie
from realtime.models import LINK_KEY, Gap, Link, Transition, UndecodablePayload, Worker, first_gaps
from realtime.product import Recorder
from realtime.snapshot import Snapshot

LINK_CHANGED = "link/changed"

PAYLOAD_KEPT = 8_000
"""Characters kept of a payload that can't be read."""


class Note(Protocol):
    """Something to be written. Notes of a ``link_id`` are dropped once another worker owns the link."""

    @property
    def link_id(self) -> int | None: ...

    def apply(self, now: int) -> Recording:
        """Write it, inside a transaction; ``now`` is in microseconds."""


@dataclass(frozen=True, slots=True)
class LinkState:
    """A link's public state changed, at ``at``, and if that is news ``because`` is kept with the transition.

    ``not_live`` is (cause, started_at) of the window it opens, if any.
    """

    link_id: int
    user_id: int
    worker: str
    values: dict[str, Any]
    session: int
    because: str
    at: int
    not_live: tuple[str, int] | None
    news: bool

    def apply(self, now: int) -> Recording:
        Link.objects.filter(pk=self.link_id).update(worker=self.worker, **self.values)
        opened: set[int] = set()
        if self.not_live is not None:
            cause, started = self.not_live
            opened = gaps.open_window([(self.link_id, gaps.WHOLE_LINK, cause[:60], started)])
        if self.news:
            self._keep_transition()
        return Recording(links={self.link_id} if self.news else opened)

    def _keep_transition(self) -> None:
        Transition.objects.create(
            link_id=self.link_id,
            at=self.at,
            state=self.values["state"],
            reason=self.because[:200],
            attempt=self.values["attempt"],
            session=self.session,
            detail=self.values["last_error"],
        )


@dataclass(frozen=True, slots=True)
class FeedsState:
    """Subscriptions changed: their list for the pages, and the feeds whose window opens although the link is up."""

    link_id: int
    user_id: int
    subscriptions: list[dict[str, Any]]
    opened: Sequence[tuple[str, str, int]] = ()

    def apply(self, now: int) -> Recording:
        Link.objects.filter(pk=self.link_id).update(subscriptions=self.subscriptions)
        opened = gaps.open_window([(self.link_id, feed, cause[:60], at) for feed, cause, at in self.opened])
        return Recording(links=opened)


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

    def apply(self, now: int) -> Recording:
        UndecodablePayload.objects.create(
            link_id=self.link_id,
            feed=self.feed,
            at=self.at,
            path=path_in(self.error)[:100],
            error=self.error[:300],
            payload=self.payload[:PAYLOAD_KEPT].replace("\x00", "\\u0000"),
        )
        if self.link_id is None:
            return Recording()
        opened = gaps.open_window([(self.link_id, self.feed, "undecodable payload", self.at - gaps.MARGIN)])
        return Recording(links=opened)


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How a worker's service link is, for operators."""

    worker: str
    values: dict[str, Any]
    link_id: int | None = None

    def apply(self, now: int) -> Recording:
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
    applied_at: int = field(default=0, init=False)

    def apply(self, now: int) -> Recording:
        self.applied_at = now
        recording = self.recorder.reconcile(self.user_id, self.snapshot, self._since(now), now)
        self.differences = self.before + len(recording.drafts)
        if self.closes is not None:
            closed = gaps.close(
                self.link_id,
                self.closes,
                differences=self.differences,
                known=True,
                note="",
                live_at=self.live_at,
                now=now,
            )
            _mark_live(self.link_id, self.closes, now)
            if closed:
                recording.links.add(self.link_id)
        return recording

    def _since(self, now: int) -> int:
        if self.since is not None:
            return self.since
        last = now if self.compared_at is None else self.compared_at
        return min((gap.started_at for gap in gaps.open_of(self.link_id)), default=last)


@dataclass(frozen=True, slots=True)
class CloseUnknown:
    """There is nothing to compare with: the window ends, and what happened in it stays unknown."""

    link_id: int
    user_id: int
    closes: Sequence[str]
    note: str
    live_at: int

    def apply(self, now: int) -> Recording:
        gaps.close(self.link_id, self.closes, differences=0, known=False, note=self.note, live_at=self.live_at, now=now)
        _mark_live(self.link_id, self.closes, now)
        return Recording(links={self.link_id})


def link_drafts(link_ids: Collection[int], now: int) -> list[Draft]:
    """Return the feed entries that tell users of the state of their own links, as the tables have it now.

    Once a transaction is enough: what a link was in between is in its transitions.
    """
    links = Link.objects.filter(pk__in=link_ids)
    links.update(noted_at=now)
    open_gaps = first_gaps(link_ids)
    return [_link_draft(link, open_gaps.get(link.pk), now) for link in links.order_by("pk")]


def _link_draft(link: Link, gap: Gap | None, now: int) -> Draft:
    texts = {name: canonical(value) for name, value in link.public(gap).items()}
    return Draft(
        topic=f"user.{link.user_id}",
        key=LINK_KEY,
        event_type=LINK_CHANGED,
        priority=PRIORITY_SYSTEM,
        source="link",
        fields=tuple((name, text, now, tie(text)) for name, text in texts.items()),
        source_time=now,
        received=now,
    )


def _mark_live(link_id: int, closes: Sequence[str], now: int) -> None:
    if gaps.WHOLE_LINK in closes:
        Link.objects.filter(pk=link_id, state="open").update(live=True, proven_at=now)
