"""Source time: microseconds that never repeat and never run back, even across a restart."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def wall_us() -> int:
    """Return the wall clock in microseconds since the epoch."""
    return time.time_ns() // 1000


def iso(us: int) -> str:
    """Return ISO 8601 in UTC with all six digits, so that text order is time order."""
    return (EPOCH + timedelta(microseconds=us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


class SourceClock:
    """Hands out times, each later than the one before."""

    def __init__(self, wall: Callable[[], int] = wall_us, last: int = 0) -> None:
        self._wall = wall
        self.last = last

    def tick(self) -> int:
        """Return the next time: now, or just after the last one if the wall clock has not moved on."""
        self.last = max(self._wall(), self.last + 1)
        return self.last
