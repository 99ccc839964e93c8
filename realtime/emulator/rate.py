"""How many a second: what the service's rate quotas let through."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW = 1.0


class Rate:
    """Lets at most ``limit`` through within any second; 0: everything."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._taken: deque[float] = deque()

    def takes(self, number: int = 1) -> bool:
        """Tell whether ``number`` more may go through now, all or none; if so they count."""
        if not self._limit:
            return True
        now = self._clock()
        while self._taken and self._taken[0] <= now - WINDOW:
            self._taken.popleft()
        fits = len(self._taken) + number <= self._limit
        if fits:
            self._taken.extend([now] * number)
        return fits
