"""How all came back after an outage: with how many dials, and when. The service counts."""

from __future__ import annotations

from collections.abc import Hashable

ADMITTED = 200.0
"""Upgrades a second that the service admits after an outage; it refuses what comes beyond that."""

BURST = 20.0


class Recovery:
    """Counts from when the service is back (``began``); times in seconds, on any clock that goes on evenly."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._dials = 0
        self._times: dict[Hashable, float] = {}

    def dialled(self) -> None:
        self._dials += 1

    def recovered(self, link: Hashable, now: float) -> None:
        """A link has all its subscriptions again; only its first time counts."""
        self._times.setdefault(link, now - self._began)

    @property
    def links(self) -> int:
        """How many are back."""
        return len(self._times)

    def figures(self) -> dict[str, float]:
        times = sorted(self._times.values())
        return {
            "links": len(times),
            "dials": round(self._dials / len(times), 2),
            "p50": round(times[len(times) // 2], 1),
            "p99": round(times[len(times) * 99 // 100], 1),
            "last": round(times[-1], 1),
        }
