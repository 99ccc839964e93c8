"""What happened to an entity, with the windows in which this person's link might have missed something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from django.db.models import Count, F, Q

from dashboard import access
from dashboard.models import Change, Field, Refused, User
from realtime.models import Gap

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
LINES = 100
PROGRESS = ("fwProgress", "progress")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a `change`, a `refused` update, or a `gap` (which has an end while it is not open)."""

    kind: str
    at: int
    name: str = ""
    value: Any = None
    source: str = ""
    text: str = ""
    end: int | None = None
    outcome: str = ""
    differences: int = 0
    key: str = ""


def of_entity(user: User, key: str, limit: int = LINES) -> list[Line]:
    """The newest `limit` changes and refusals of an entity that `user` may see, and the gaps among them."""
    changes = [_change(row) for row in Change.objects.filter(key=key).order_by("-time", "-pk")[:limit]]
    refused = [_refused(row) for row in Refused.objects.filter(key=key).order_by("-recorded_at", "-pk")[:limit]]
    lines = sorted(changes + refused, key=lambda line: line.at, reverse=True)[:limit]
    since = lines[-1].at if lines else 0
    return sorted(lines + gaps(user, since), key=lambda line: line.at, reverse=True)


def gaps(user: User, since: int) -> list[Line]:
    """The windows, since `since` (µs), in which the link of `user` was not provably live."""
    rows = Gap.objects.filter(Q(closed_at=None) | Q(closed_at__gte=since), link__user=user).order_by("-started_at")
    return [
        Line(
            kind="gap",
            at=gap.started_at,
            name=gap.feed,
            text=gap.cause,
            end=gap.closed_at,
            outcome=gap.outcome,
            differences=gap.differences,
        )
        for gap in rows[:LINES]
    ]


def recent(user: User, limit: int) -> list[Line]:
    """The newest news of everything that `user` may see: neither progress, nor what a snapshot brought along."""
    seen = Change.objects.filter(key__in=access.visible(user).values("key"))
    rows = seen.exclude(name__in=PROGRESS).exclude(source="snapshot").order_by("-pk")[:limit]
    return [_change(row) for row in rows]


def rate(user: User, now: int) -> list[int]:
    """How many changes of what `user` may see each of the last 60 minutes brought, the running one last."""
    last = now // MINUTE_US
    seen = Change.objects.filter(key__in=access.visible(user).values("key"), recorded_at__gte=(last - 59) * MINUTE_US)
    minutes = seen.exclude(source="snapshot").annotate(minute=F("recorded_at") / MINUTE_US)
    counts = dict(minutes.values_list("minute").annotate(Count("pk")))
    return [counts.get(minute, 0) for minute in range(last - 59, last + 1)]


def _change(row: Change) -> Line:
    return Line("change", row.time, row.name, msgspec.json.decode(row.value), row.source, key=row.key)


def _refused(row: Refused) -> Line:
    return Line("refused", row.time, row.name, msgspec.json.decode(row.value), row.source, row.get_reason_display())


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the day strip, in its units: minutes since its beginning."""

    kind: str
    x: float
    width: float


def strip(key: str, user: User, now: int) -> list[Span]:
    """The last 24 hours of an entity's presence as spans (`online`, `offline`), with `gap` spans over them."""
    start = now - DAY_US
    spans = [_span("gap", max(gap.at, start), gap.end or now, start) for gap in reversed(gaps(user, start))]
    return _presence(key, start, now) + spans


def _presence(key: str, start: int, now: int) -> list[Span]:
    known = Change.objects.filter(key=key, name="online")
    before = known.filter(time__lt=start).order_by("-time").first()
    rows = ([before] if before else []) + list(known.filter(time__gte=start).order_by("time", "pk"))
    if not rows:
        return _constant_presence(key, start, now)
    ends = [row.time for row in rows[1:]] + [now]
    return [
        _span("online" if row.value == "true" else "offline", max(row.time, start), end, start)
        for row, end in zip(rows, ends, strict=True)
    ]


def _constant_presence(key: str, start: int, now: int) -> list[Span]:
    """A presence that never changed here is known since it was first recorded."""
    field = Field.objects.filter(key=key, name="online").first()
    if field is None or field.value not in ("true", "false"):
        return []
    return [_span("online" if field.value == "true" else "offline", max(field.changed_at, start), now, start)]


def _span(kind: str, begin: int, end: int, start: int) -> Span:
    return Span(kind, round((begin - start) / MINUTE_US, 2), round(max((end - begin) / MINUTE_US, 1.5), 2))
