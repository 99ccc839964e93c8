"""Is this process fit for work? Asked by load balancers, service managers, the demo and operators.

Two questions, on purpose. *Alive* is answered by the event loop itself, so it fails only when the process is stuck:
a supervisor may kill on it. *Ready* fails at once when something the process needs is away or it is draining: a
load balancer should send new visitors elsewhere, but nothing should be killed, as it recovers by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from django.db import connection
from redis.asyncio import Redis

from realtime.database import DatabaseThread

CHECK_DEADLINE = 1.0

Check = Callable[[], Awaitable[None]]


class Health:
    """The readiness of one process.

    Args:
        checks: by name; each returns when all is well and raises when not. All run at once, with a deadline.
    """

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self.draining = False

    async def problems(self) -> dict[str, str]:
        """Return what is wrong, by name; nothing when this process may be given work."""
        if self.draining:
            return {"draining": "this process is about to end"}
        answers = await asyncio.gather(*(self._problem(check) for check in self._checks.values()))
        return {name: answer for name, answer in zip(self._checks, answers, strict=True) if answer}

    async def _problem(self, check: Check) -> str | None:
        try:
            await asyncio.wait_for(check(), CHECK_DEADLINE)
        except TimeoutError:
            return f"no answer within {CHECK_DEADLINE:.0f} s"
        except Exception as error:  # whatever it is, it is the answer
            return f"{type(error).__name__}: {error}"
        return None


def database_check() -> Check:
    """Return a check that the database answers and has its tables. It keeps one connection, in a thread of its own."""
    thread = DatabaseThread("health-database")
    return lambda: thread.run(_ask_for_a_topic)


def valkey_check(client: Redis) -> Check:
    """Return a check that Valkey answers `client`."""

    async def check() -> None:
        await client.ping()

    return check


def _ask_for_a_topic() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM realtime_topic LIMIT 1")
