"""When a publisher may go on: its turn at the rate that the service takes, and its pauses before another try."""

from __future__ import annotations

import asyncio

from realtime.appsync.publishing import MAX_PER_SECOND
from realtime.token_bucket import TokenBucket
from realtime.upstream.clock import Clock

LEAST_PAUSE = 0.001
"""Seconds. Rounding can leave a wait that is too short to move a clock."""


class Pace:
    """Waits by an injected clock. After ``stop`` nobody waits any more."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # One at a time: a burst on top of the rate would be more than the rate in some second.
        self._bucket = TokenBucket(MAX_PER_SECOND, burst=1)
        self._queue = asyncio.Lock()
        self._waiting: set[asyncio.Event] = set()
        self._stopped = False

    async def turn(self) -> None:
        """Wait until one more request may be made; who came first goes first."""
        async with self._queue:
            while not self._stopped and (wait := self._bucket.take(self._clock.monotonic())):
                await self.pause(max(wait, LEAST_PAUSE))

    async def pause(self, seconds: float) -> None:
        """Wait that long."""
        if self._stopped:
            return
        over = asyncio.Event()
        timer = self._clock.call_at(self._clock.monotonic() + seconds, over.set)
        self._waiting.add(over)
        try:
            await over.wait()
        finally:
            self._waiting.discard(over)
            timer.cancel()

    def stop(self) -> None:
        """Let everyone who waits go on; who does has to look whether there is still something to do."""
        self._stopped = True
        for over in self._waiting:
            over.set()
