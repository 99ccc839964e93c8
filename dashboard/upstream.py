"""A person's own upstream link, as pages and snapshot show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Max

from dashboard import freshness
from dashboard.entities import Entity, Value
from dashboard.models import User
from realtime.merge import canonical, tie
from realtime.models import LINK_KEY, WORKER_SILENT_AFTER, Link, Worker


@dataclass(frozen=True, slots=True)
class OwnLink:
    """What is known of one person's link.

    ``public`` is what its last note said, at ``noted`` (µs); ``worker`` names its worker, and ``worker_beat`` (µs) is
    the last beat of any.
    """

    public: dict[str, Any]
    noted: int
    worker: str
    worker_beat: int

    def freshness(self, now: int) -> freshness.Reason:
        """Why what came over this link may be old at `now` (µs)."""
        worker_alive = now - self.worker_beat < WORKER_SILENT_AFTER
        link = self.public
        return freshness.judge(freshness.Path(link["state"], link["gap"] is not None, worker_alive, link["reason"]))

    @property
    def entity(self) -> Entity:
        """Its fields, with the version of the note that had them, as the feed has it too."""
        values = self.public.items()
        return Entity(LINK_KEY, {name: Value(value, self.noted, tie(canonical(value))) for name, value in values})


def own_link(user: User) -> OwnLink:
    """The link of `user`; a person who never signed in upstream has none, and is told so."""
    link = Link.objects.filter(user=user).first() or Link(reason="never signed in upstream")
    beat = Worker.objects.filter(stopped=False).aggregate(last=Max("beat"))["last"]
    return OwnLink(link.public(), link.noted_at, link.worker, beat or 0)
