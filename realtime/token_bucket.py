"""How often something may happen. Pure: the time, in seconds, is an argument."""

from __future__ import annotations


class TokenBucket:
    """Lets ``rate`` a second through on average, and up to ``burst`` at once."""

    __slots__ = ("_burst", "_level", "_rate", "_since")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._since: float | None = None

    def take(self, now: float) -> float:
        """Take one token and return 0, or take none and return in how many seconds there will be one."""
        if self._since is not None:
            self._level = min(self._burst, self._level + max(0.0, now - self._since) * self._rate)
        self._since = now
        if self._level < 1:
            return (1 - self._level) / self._rate
        self._level -= 1
        return 0.0
