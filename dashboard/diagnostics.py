"""Operators' questions: which hop is broken, since when, and what became of what it missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Q, Sum

from realtime import dualrun
from realtime.models import (
    WORKER_SILENT_AFTER,
    Drift,
    DualRun,
    Gap,
    Link,
    Topic,
    Transition,
    UndecodablePayload,
    Worker,
)

DAY_US = 86_400_000_000
TRANSITIONS = 60
GAPS = 40


@dataclass(frozen=True, slots=True)
class Summary:
    """The engine at a glance. `states` counts links by state, the most frequent first."""

    links: int
    states: list[tuple[str, int]]
    open_gaps: int
    repaired: int
    unknown: int
    workers_alive: int
    workers_silent: list[str]
    undecodable: int
    drifting: int
    unrelayed: int


def summary(now: int) -> Summary:
    """Count what operators look at first; `now` is in microseconds."""
    states = Link.objects.values_list("state").annotate(links=Count("pk")).order_by("-links", "state")
    recent = Gap.objects.filter(Q(started_at__gte=now - DAY_US) | Q(closed_at__gte=now - DAY_US))
    outcomes = dict(recent.values_list("outcome").annotate(Count("pk")))
    running = Worker.objects.filter(stopped=False)
    behind = Topic.objects.filter(relayed__lt=F("head")).aggregate(entries=Sum(F("head") - F("relayed")))
    return Summary(
        links=sum(count for _, count in states),
        states=list(states),
        open_gaps=Gap.objects.filter(outcome=Gap.Outcome.OPEN).count(),
        repaired=outcomes.get(Gap.Outcome.REPAIRED, 0),
        unknown=outcomes.get(Gap.Outcome.UNKNOWN, 0),
        workers_alive=running.filter(beat__gte=now - WORKER_SILENT_AFTER).count(),
        workers_silent=list(running.filter(beat__lt=now - WORKER_SILENT_AFTER).values_list("name", flat=True)),
        undecodable=UndecodablePayload.objects.filter(at__gte=now - DAY_US).count(),
        drifting=Drift.objects.filter(last_at__gte=now - DAY_US).count(),
        unrelayed=behind["entries"] or 0,
    )


def transitions(link: Link) -> list[Transition]:
    """The link's newest transitions, newest first."""
    return list(link.transitions.order_by("-at", "-pk")[:TRANSITIONS])


def gaps(link: Link) -> list[Gap]:
    """The link's newest gaps, the open ones first."""
    return sorted(link.gaps.order_by("-started_at")[:GAPS], key=lambda gap: gap.outcome != Gap.Outcome.OPEN)


def subscriptions(link: Link) -> list[dict[str, Any]]:
    """The link's subscriptions, as far as they are now."""
    return link.feeds()


def live_of_wanted(link: Link) -> tuple[int, int]:
    """How many of the link's subscriptions are live, of how many wanted."""
    rows = subscriptions(link)
    return sum(row["state"] == "live" for row in rows), len(rows)


def dual_run(link: Link, now: int) -> dualrun.Report | None:
    """How both dialects compare on the link, if that was ever asked; `now` is in microseconds."""
    run = DualRun.objects.filter(link=link).select_related("link").first()
    return None if run is None else dualrun.report(run, now)


def worker_is_silent(name: str, now: int) -> bool:
    """Whether the worker that owns a link stopped showing that it is alive."""
    return Worker.objects.filter(name=name, stopped=False, beat__lt=now - WORKER_SILENT_AFTER).exists()
