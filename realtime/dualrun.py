"""Dual runs as they are kept: which links are to be compared, what was found, and what is said of it.

A dual run is desired state: it survives every process, and a worker follows it for the links that it owns. What is
found is kept by dialect; a report judges the shadow by the side that is recorded, so it turns around with a switch.
All functions are synchronous.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from realtime.clock import now_us
from realtime.comparing import OTHER, Results, Sample, Side, Tally
from realtime.events import Recording
from realtime.linkbook import LinkBook
from realtime.models import WORKER_SILENT_AFTER, DualRun, Worker

MISSING, EXTRA, LATE, EARLY, UNREADABLE = "missing", "extra", "late", "early", "unreadable"


@dataclass(frozen=True, slots=True)
class Wish:
    """A dual run that is wanted. ``since`` (µs) tells it from an earlier one of the link; ``window`` is in seconds."""

    link_id: int
    since: int
    window: float


def start(link_ids: Iterable[int], window: float) -> None:
    """Want these links compared from now on; what was found before is forgotten."""
    anew: dict[str, object] = {
        "since": now_us(),
        "stopped_at": None,
        "window": window,
        "recorded": "",
        "sides": {},
        "results": {},
    }
    for link_id in link_ids:
        DualRun.objects.update_or_create(link_id=link_id, defaults=anew)


def stop(link_ids: Iterable[int]) -> int:
    """Want these links no longer compared, and return how many were; what was found is kept."""
    running = DualRun.objects.filter(link_id__in=list(link_ids), stopped_at=None)
    return running.update(stopped_at=now_us())


def wanted() -> dict[int, Wish]:
    """Return the dual runs that are wanted, by link id."""
    rows = DualRun.objects.filter(stopped_at=None).values_list("link_id", "since", "window")
    return {row[0]: Wish(*row) for row in rows}


def found(wish: Wish) -> Results:
    """Return what this dual run has found so far."""
    row = DualRun.objects.filter(link_id=wish.link_id, since=wish.since).first()
    return _results({} if row is None else row.results)


@dataclass(frozen=True, slots=True)
class Findings:
    """A note of what a dual run has found so far. ``sides`` has state and reason by dialect."""

    link_id: int
    since: int
    recorded: str
    sides: Mapping[Side, dict[str, Any]]
    results: dict[str, Any]

    def apply(self, now: int, book: LinkBook) -> Recording:
        DualRun.objects.filter(link_id=self.link_id, since=self.since).update(
            recorded=self.recorded, sides=dict(self.sides), results=self.results, noted_at=now
        )
        return Recording()


def stored(results: Results) -> dict[str, Any]:
    """Return results as they are kept."""
    kept: dict[str, Any] = msgspec.to_builtins(results, str_keys=True)
    return kept


def _results(kept: dict[str, Any]) -> Results:
    return msgspec.convert(kept, Results, str_keys=True, strict=False)


# ── What is said of it ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel's counts, the shadow judged by the recorded side. Lags are the shadow's, in milliseconds.

    ``missing``: only the recorded side told it. ``extra``: only the shadow did. ``late`` and ``early``: the shadow
    came more than a second after or before. ``apart``: the other side was not listening. ``outside``: of what the
    user may not see. ``unjudged``: nobody was there to hear the rest.
    """

    channel: str
    matched: int
    missing: int
    extra: int
    late: int
    early: int
    reordered: int
    repeated: int
    apart: int
    outside: int
    unjudged: int
    lag_p50: float | None
    lag_p99: float | None
    lag_max: float | None

    @property
    def differing(self) -> tuple[int, ...]:
        """The counts that are to be looked into, in the order of the fields."""
        return self.missing, self.extra, self.late, self.early, self.reordered

    @property
    def explained(self) -> tuple[int, ...]:
        """The counts that are no difference between the dialects."""
        return self.repeated, self.apart, self.outside, self.unjudged


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: ``on`` names the dialect that missed it, was late or early with it, or could not be read.

    ``version`` is the source's time, ``received`` when it arrived, in microseconds; ``lag`` is in milliseconds.
    """

    what: str
    on: str
    channel: str
    key: str
    version: int | None
    received: int
    lag: float | None
    text: str


@dataclass(frozen=True, slots=True)
class SideState:
    """How one side is now: ``live`` says that it is open and every one of its subscriptions is heard."""

    dialect: str
    state: str
    reason: str
    live: bool


@dataclass(frozen=True, slots=True)
class Report:
    """A dual run at a glance; the newest difference comes first."""

    run: DualRun
    recorded: SideState
    shadow: SideState
    channels: list[Channel]
    differences: list[Difference]
    unreadable: int

    @property
    def sides(self) -> tuple[tuple[str, SideState], ...]:
        """Both sides by role."""
        return ("recorded", self.recorded), ("shadow", self.shadow)


def report(run: DualRun, now: int) -> Report:
    """Return what is to be said of a dual run at ``now`` (µs)."""
    results = _results(run.results)
    recorded: Side = "graphql" if run.recorded == "graphql" else "events"
    alive = run.stopped_at is None and _is_alive(run.link.worker, now)
    return Report(
        run,
        _side_state(run, recorded, alive=alive),
        _side_state(run, OTHER[recorded], alive=alive),
        [_channel(name, tally, recorded) for name, tally in sorted(results.channels.items())],
        [_difference(sample, recorded) for sample in reversed(results.samples)],
        sum(results.unreadable.values()),
    )


def _is_alive(worker: str, now: int) -> bool:
    return Worker.objects.filter(name=worker, stopped=False, beat__gt=now - WORKER_SILENT_AFTER).exists()


def _side_state(run: DualRun, side: Side, *, alive: bool) -> SideState:
    known = run.sides.get(side)
    if run.stopped_at is not None:
        return SideState(side, "stopped", "the dual run was stopped", live=False)
    if known is None or not alive:
        return SideState(side, "unknown", "no worker has this link up", live=False)
    return SideState(side, known["state"], known["reason"], live=known["live"])


def _channel(name: str, tally: Tally, recorded: Side) -> Channel:
    shadow = OTHER[recorded]
    lag = tally.lag if shadow == "graphql" else tally.lag.negated()
    return Channel(
        channel=name,
        matched=tally.matched,
        missing=tally.alone[recorded],
        extra=tally.alone[shadow],
        late=tally.late[shadow],
        early=tally.late[recorded],
        reordered=tally.reordered,
        repeated=sum(tally.repeated.values()),
        apart=sum(tally.apart.values()),
        outside=tally.outside,
        unjudged=tally.unjudged,
        lag_p50=_milliseconds(lag.quantile(0.5)),
        lag_p99=_milliseconds(lag.quantile(0.99)),
        lag_max=_milliseconds(lag.most if lag.buckets else None),
    )


def _difference(sample: Sample, recorded: Side) -> Difference:
    by_recorded = sample.side == recorded
    what, on = {
        "alone": (MISSING if by_recorded else EXTRA, OTHER[recorded]),
        "late": (EARLY if by_recorded else LATE, OTHER[recorded]),
        "unreadable": (UNREADABLE, sample.side),
    }[sample.kind]
    lag = _milliseconds(sample.lag)
    if what == EARLY and lag is not None:
        lag = -lag
    return Difference(what, on, sample.channel, sample.key, sample.version, sample.received, lag, sample.text)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
