"""A person's own upstream link, as pages and snapshot show it: the entity ``link/self``."""

from __future__ import annotations

import time
from dataclasses import dataclass

from django.db.models import Max

from dashboard import freshness
from dashboard.models import User
from realtime.merge import canonical, tie
from realtime.models import Gap, Link, Worker

KEY = "link/self"

# A worker writes its beat every second or two; three times the web processes' announcement is silence.
WORKER_SILENT_AFTER_US = 10_000_000


@dataclass(frozen=True, slots=True)
class OwnLink:
    """What is known of one person's link; a person who never signed in upstream has none."""

    state: str = "stopped"
    reason: str = "never connected"
    since: int = 0
    next_try: int | None = None
    gap: dict[str, object] | None = None
    gap_changed: int = 0
    worker: str = ""
    worker_beat: int = 0

    def worker_alive(self, now: int) -> bool:
        return now - self.worker_beat < WORKER_SILENT_AFTER_US

    def freshness(self, now: int) -> freshness.Reason:
        """Why what came over this link may be old at `now` (µs)."""
        return freshness.judge(freshness.Path(self.state, self.gap is not None, self.worker_alive(now)))

    def fields(self) -> dict[str, list[object]]:
        """The wire form. Versions are those of the fact itself, so that a later feed entry always wins."""
        values = {"state": self.state, "reason": self.reason, "since": self.since, "next_try": self.next_try}
        fields = {name: [value, self.since, tie(canonical(value))] for name, value in values.items()}
        fields["gap"] = [self.gap, self.gap_changed, tie(canonical(self.gap))]
        return fields


def now_us() -> int:
    return time.time_ns() // 1000


def own_link(user: User) -> OwnLink:
    """The link of `user` with its open gap and its worker's last beat."""
    link = Link.objects.filter(user=user).first()
    if link is None:
        return OwnLink()
    gap = Gap.objects.filter(link=link, outcome=Gap.Outcome.OPEN).order_by("started_at").first()
    closed_at = Gap.objects.filter(link=link).aggregate(last=Max("closed_at"))["last"]
    return OwnLink(
        state=link.state,
        reason=link.reason,
        since=link.since,
        next_try=link.next_try_at,
        gap=None if gap is None else {"since": gap.started_at, "cause": gap.cause},
        gap_changed=(closed_at or 0) if gap is None else gap.started_at,
        worker=link.worker,
        worker_beat=_beat(link.worker),
    )


def _beat(worker: str) -> int:
    """When the worker that owns the link, or while none does any worker, last showed that it is alive."""
    workers = Worker.objects.filter(stopped=False)
    if worker:
        workers = workers.filter(name=worker)
    return workers.aggregate(last=Max("beat"))["last"] or 0
