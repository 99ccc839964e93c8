"""Time as every hop writes it down, an integer: microseconds since the epoch; and as people read it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

EARLIEST = -62_135_596_800_000_000
LATEST = 253_402_300_799_000_000
"""The first and the last second of a `datetime` in UTC."""


def now_us() -> int:
    """Return the wall clock in microseconds."""
    return time.time_ns() // 1000


def to_us(moment: datetime) -> int:
    """Return a moment in microseconds; one without a zone is UTC, as AWS writes its times."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)


def from_us(us: int) -> datetime:
    """Return microseconds as a moment in UTC; what is off the calendar, as its edge: a source may say anything."""
    return datetime.fromtimestamp(min(max(us, EARLIEST), LATEST) / 1_000_000, UTC)


def brief(us: int) -> str:
    """Return a moment as tables show it: in UTC, without the date while that is today's."""
    at = from_us(us)
    today = from_us(now_us()).date()
    return f"{at:%H:%M:%S} UTC" if at.date() == today else f"{at:%d %b %Y %H:%M} UTC"
