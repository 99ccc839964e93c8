"""Whose turn it is to dial: so many at once and so many a second, for all links of a worker to one service.

After an outage every link wants to be first. A service that admits some hundred connections a second would refuse
the rest, they would come again, and the outage would last. A ``SharedRate`` holds all workers to one rate; how many
dials are under way at once is each worker's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.upstream.clock import Clock, sleep

logger = logging.getLogger("realtime.upstream")

AT_ONCE = 16
PER_SECOND = 100.0

# One number: when the next dial may begin. What was not used is not saved up beyond ``AT_ONCE`` dials.
RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gap, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local next = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now - burst)
redis.call('SET', KEYS[1], string.format('%.0f', next + gap), 'EX', 60)
return math.max(0, next - now)
"""


class Rate(Protocol):
    async def reserve(self) -> float:
        """Take the next turn and return how many seconds it is away."""


class LocalRate:
    """So many dials a second, of this process; a pause saves up as many as may be under way at once."""

    def __init__(self, clock: Clock, per_second: float = PER_SECOND) -> None:
        self._clock = clock
        self._gap = 1.0 / per_second
        self._next = clock.monotonic() - self._gap * AT_ONCE

    async def reserve(self) -> float:
        now = self._clock.monotonic()
        turn = max(self._next, now - self._gap * AT_ONCE)
        self._next = turn + self._gap
        return max(0.0, turn - now)


class SharedRate:
    """As LocalRate, for every worker that dials ``origin``; while Valkey is away each keeps to the rate by itself."""

    def __init__(self, redis: Redis, origin: str, clock: Clock, per_second: float = PER_SECOND) -> None:
        self._script = redis.register_script(RESERVE)
        self._key = f"dial:{origin}"
        self._gap = 1_000_000 / per_second
        self._local = LocalRate(clock, per_second)
        self._away = False

    async def reserve(self) -> float:
        try:
            wait = await self._script(keys=[self._key], args=[self._gap, self._gap * AT_ONCE])
        except (RedisError, OSError) as error:
            if not self._away:
                logger.warning("Valkey is away (%s): this worker keeps to the dial rate by itself", error)
            self._away = True
            return await self._local.reserve()
        self._away = False
        return float(wait) / 1_000_000


class Permits:
    """The turns of one worker.

    A turn that was reserved is the worker's, not that of whoever waits for it: who gives up leaves it to the next. If
    it were lost, a queue in which all have waited for as long as they may would use up the rate with no dial at all,
    for ever.
    """

    def __init__(self, rate: Rate, clock: Clock, at_once: int = AT_ONCE) -> None:
        self._rate = rate
        self._clock = clock
        self._under_way = asyncio.Semaphore(at_once)
        self._first_in_line = asyncio.Lock()
        self._reserved: float | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for the turn to dial; it is held until the connection is open, or could not be had."""
        async with self._under_way:
            async with self._first_in_line:
                if self._reserved is None:
                    wait = await self._rate.reserve()
                    self._reserved = self._clock.monotonic() + wait
                if (left := self._reserved - self._clock.monotonic()) > 0:
                    await sleep(self._clock, left)
                self._reserved = None
            yield
