"""One link that is rotated again and again while events come: none may be lost, none may go on twice.

``python -m tests.bench.rotation PORT SECONDS`` reads what a ``ticker`` sends and prints JSON: what reached the inlet,
by the events' numbers, and the public states that the link went through meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from random import Random

import django

from realtime.upstream.states import State
from tests.bench.processes import until

EVERY = 1.0
"""Seconds between rotations."""


class Numbers:
    """The inlet: counts how often each number came."""

    def __init__(self) -> None:
        self.came: Counter[int] = Counter()

    def data(self, feed: str, payload: str) -> None:
        self.came[int(payload)] += 1

    def not_taken(self, feed: str, payload: str, fault: Exception) -> None:
        raise fault

    def subscription(self, subscription: object) -> None:
        pass

    def trouble(self, text: str, lossy: bool) -> None:
        raise RuntimeError(text)

    async def room(self) -> None:
        pass

    def figures(self) -> dict[str, int]:
        span = max(self.came) - min(self.came) + 1
        return {"events": span, "lost": span - len(self.came), "repeated": self.came.total() - len(self.came)}


async def measure(port: int, seconds: float) -> dict[str, object]:
    """Rotate the link for so many seconds and return what came of it."""
    numbers = Numbers()
    manager = _link(port, numbers)
    manager.start()
    await until(lambda: manager.snapshot.state is State.OPEN)
    states = {manager.snapshot.state.value}
    manager.listen(lambda snapshot: states.add(snapshot.state.value))
    await asyncio.sleep(EVERY)
    for _ in range(int(seconds / EVERY)):
        done = manager.snapshot.rotations
        manager.rotate("bench")
        await asyncio.sleep(EVERY)
        await until(lambda: manager.snapshot.rotations > done)  # noqa: B023 - awaited before the next turn
    found = {**numbers.figures(), "rotations": manager.snapshot.rotations, "states": sorted(states)}
    await manager.stop()
    return found


def _link(port: int, numbers: Numbers):  # type: ignore[no-untyped-def]
    from realtime import feeds
    from realtime.appsync.auth import ApiKey
    from realtime.appsync.endpoint import derive
    from realtime.upstream.clock import SystemClock
    from realtime.upstream.connection import Connection
    from realtime.upstream.credentials import StaticCredentials
    from realtime.upstream.manager import Manager
    from realtime.upstream.permits import LocalRate, Permits
    from realtime.upstream.policy import preset
    from realtime.upstream.subscriptions import Subscriptions
    from realtime.upstream.transport import WebSocketTransport

    clock, rng = SystemClock(), Random(1)
    connection = Connection(
        derive(f"http://127.0.0.1:{port}/event"),
        StaticCredentials(ApiKey("bench")),
        WebSocketTransport(),
        Subscriptions(feeds.channels("vortex-app", "sub-1"), rng),
        numbers,
        clock,
        Permits(LocalRate(clock), clock),
    )
    return Manager(connection, preset("full-jitter"), clock, rng, "sub-1")


if __name__ == "__main__":
    django.setup()
    print(json.dumps(asyncio.run(measure(int(sys.argv[1]), float(sys.argv[2])))))
