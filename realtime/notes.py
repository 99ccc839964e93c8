"""What a link's life writes, in the same queue and transactions as its copies, so that their order is one order.

A note is applied inside a transaction in the database thread and returns what recording returns. A link's public
state is an entity too, ``link/self``, in its own user's feed: the browser's pill is as recoverable as any device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from realtime import gaps
from realtime.decoding import path_in
from realtime.events import PRIORITY_SYSTEM, Draft, Recording
from realtime.merge import canonical, tie
from realtime.models import LINK_KEY, Link, Transition, UndecodablePayload
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
        return _told(self.link_id, self.user_id, now) if self.news or opened else Recording()

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
        return _told(self.link_id, self.user_id, now) if opened else Recording()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A payload could not be read: it is kept, and what it told of is missing until a snapshot is compared."""

    link_id: int
    user_id: int
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
        opened = gaps.open_window([(self.link_id, self.feed, "undecodable payload", self.at - gaps.MARGIN)])
        return _told(self.link_id, self.user_id, now) if opened else Recording()


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
            gaps.close(
                self.link_id,
                self.closes,
                differences=self.differences,
                known=True,
                note="",
                live_at=self.live_at,
                now=now,
            )
            _mark_live(self.link_id, self.closes, now)
            recording.drafts.append(link_draft(self.link_id, self.user_id, now))
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
        return _told(self.link_id, self.user_id, now)


def _told(link_id: int, user_id: int, now: int) -> Recording:
    return Recording(drafts=[link_draft(link_id, user_id, now)])


def link_draft(link_id: int, user_id: int, now: int) -> Draft:
    """Return the feed entry that tells a user of the state of the own link, as the tables have it now."""
    Link.objects.filter(pk=link_id).update(noted_at=now)
    values = Link.objects.get(pk=link_id).public()
    texts = {name: canonical(value) for name, value in values.items()}
    return Draft(
        topic=f"user.{user_id}",
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
