"""Differences in time, kept in bounded memory: a histogram whose buckets grow with the difference."""

from __future__ import annotations

import math

import msgspec

GROWTH = 1.1
"""Each bucket ends this many times further out than the one before it: a quantile is off by 5 % at most."""

FINEST = 0.001
"""Seconds below which two times count as the same."""


class Digest(msgspec.Struct):
    """Signed differences in seconds. ``buckets`` counts them; ``least`` and ``most`` are exact once there are any."""

    buckets: dict[int, int] = {}
    least: float = 0.0
    most: float = 0.0

    def add(self, seconds: float) -> None:
        self.least = min(self.least, seconds) if self.buckets else seconds
        self.most = max(self.most, seconds) if self.buckets else seconds
        bucket = _bucket(seconds)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def quantile(self, share: float) -> float | None:
        """Return the difference that this share of all is not above; none while there is none."""
        left = share * sum(self.buckets.values())
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return min(max(_middle(bucket), self.least), self.most)
        return self.most if self.buckets else None

    def negated(self) -> Digest:
        """Return the same differences counted from the other end."""
        return Digest({-bucket: count for bucket, count in self.buckets.items()}, -self.most, -self.least)


def _bucket(seconds: float) -> int:
    if abs(seconds) < FINEST:
        return 0
    distance = 1 + math.floor(math.log(abs(seconds) / FINEST, GROWTH))
    return distance if seconds > 0 else -distance


def _middle(bucket: int) -> float:
    if not bucket:
        return 0.0
    return math.copysign(FINEST * GROWTH ** (abs(bucket) - 0.5), bucket)
