"""A person's own upstream link, as pages and snapshot show it: the entity ``link/self``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Max

from dashboard import freshness
from dashboard.entities import Entity, Value
from dashboard.models import User
from realtime.merge import canonical, tie
from realtime.models import WORKER_SILENT_AFTER, Gap, Link, Worker

KEY = "link/self"


@dataclass(frozen=True, slots=True)
class OwnLink:
    """What is known of one person's link; a person who never signed in upstream has none."""

    state: str = "stopped"
    reason: str = "never signed in upstream"
    since: int = 0
    next_try: int | None = None
    gap: dict[str, Any] | None = None
    noted: int = 0
    worker: str = ""
    worker_beat: int = 0

    def freshness(self, now: int) -> freshness.Reason:
        """Why what came over this link may be old at `now` (µs)."""
        worker_alive = now - self.worker_beat < WORKER_SILENT_AFTER
        return freshness.judge(freshness.Path(self.state, self.gap is not None, worker_alive))

    @property
    def entity(self) -> Entity:
        """Its fields as the last note of them had them, with that note's version, as the feed has it too."""
        values = {
            "state": self.state,
            "reason": self.reason,
            "since": self.since,
            "next_try": self.next_try,
            "gap": self.gap,
        }
        return Entity(KEY, {name: Value(value, self.noted, tie(canonical(value))) for name, value in values.items()})


def own_link(user: User) -> OwnLink:
    """The link of `user` with its open gap, and the last beat of any worker."""
    link = Link.objects.filter(user=user).first()
    if link is None:
        return OwnLink()
    gap = Gap.objects.filter(link=link, outcome=Gap.Outcome.OPEN).order_by("started_at").first()
    return OwnLink(
        state=link.state,
        reason=link.reason,
        since=link.since,
        next_try=link.next_try_at,
        gap=None if gap is None else {"since": gap.started_at, "cause": gap.cause},
        noted=link.noted_at,
        worker=link.worker,
        worker_beat=Worker.objects.filter(stopped=False).aggregate(last=Max("beat"))["last"] or 0,
    )
