"""Who has an open browser or has just signed in: written by web processes, read by workers.

A user's demand is a deadline in one sorted set. Web processes push it forward every ten seconds, which is less than
the grace after which a worker suspends a link, so an emptied Valkey suspends nobody. The deadlines are by Valkey's
clock: those of two machines need not agree, and one that is set suspends nobody either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from redis.asyncio import Redis

KEY = "fl:demand"

ANNOUNCE_EVERY = 10.0
"""Seconds between two announcements of the same user by a web process."""

LASTS = 25.0
"""Seconds that one announcement holds: two may be lost before a user counts as gone."""


async def announce(redis: Redis, user_ids: Iterable[int]) -> None:
    """Say that these users want their links for the next ``LASTS`` seconds."""
    users = [str(user_id) for user_id in user_ids]
    if users:
        await redis.zadd(KEY, dict.fromkeys(users, await _now(redis) + LASTS))


async def present(redis: Redis) -> set[int]:
    """Return the users whose links are wanted now."""
    now = await _now(redis)
    await redis.zremrangebyscore(KEY, "-inf", now - LASTS)
    members: Any = await redis.zrangebyscore(KEY, now, "+inf")
    return {int(member) for member in members}


async def _now(redis: Redis) -> float:
    """Return Valkey's own time, in seconds."""
    told: Any = await redis.time()
    seconds, microseconds = told
    return float(seconds + microseconds / 1_000_000)
