"""How commands show links, windows and times: one spelling for every command."""

from __future__ import annotations

from typing import Any

import msgspec
from django.core.management.base import CommandError, OutputWrapper
from django.db.models import Q

from realtime import clock
from realtime.models import Gap, Link


def row(out: OutputWrapper, values: dict[str, Any], *, as_json: bool) -> None:
    """Write one row, as a JSON object or as ``name=value`` words, and flush it."""
    if as_json:
        out.write(msgspec.json.encode(values).decode())
    else:
        out.write("  ".join(f"{name}={value}" for name, value in values.items() if value not in (None, "")))
    out.flush()


def time(microseconds: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC, or none for none."""
    if not microseconds:
        return None
    return clock.from_us(microseconds).isoformat(timespec="milliseconds")


def find_link(name: str) -> Link:
    """Return the link with this id, subject or user name; raises CommandError."""
    by_id = Q(pk=int(name)) if name.isdigit() else Q(pk=None)
    link = Link.objects.filter(Q(subject=name) | Q(user__username=name) | by_id).select_related("user").first()
    if link is None:
        raise CommandError(f"no link has the id, subject or user name {name!r}; see `manage.py links list`")
    return link


def gap(window: Gap) -> dict[str, Any]:
    """Return one window of the ledger as a row."""
    return {
        "id": window.pk,
        "feed": window.feed or "all",
        "cause": window.cause,
        "started_at": time(window.started_at),
        "live_at": time(window.live_at),
        "closed_at": time(window.closed_at),
        "outcome": window.outcome,
        "differences": window.differences,
        "note": window.note,
    }
