"""10 000 links that lose their service together, in virtual time: the same figures each time for one seed.

``python -m tests.bench.herd LINKS OUTAGE SEED`` prints JSON. Core, manager, back-off, breaker and turns are the real
ones; simulated are the clock, the connections and the service, which refuses everything for ``OUTAGE`` seconds and
then admits so many upgrades a second. Its links are those of several workers; ``apart`` is as if Valkey were away, so
that each worker keeps to the dial rate by itself and all of them together dial faster than the service admits.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from random import Random

from realtime.token_bucket import TokenBucket
from realtime.upstream.manager import Manager, Sink
from realtime.upstream.model import Cause, Dial
from realtime.upstream.permits import LocalRate, Permits
from realtime.upstream.policy import preset
from realtime.upstream.states import Trigger
from tests.bench.recovery import ADMITTED, BURST, Recovery
from tests.fakes import ManualClock

LINKS_OF_A_WORKER = 2_000
LATENCY = 0.05
"""Seconds from a dial to its answer."""

WARM_UP = 40.0
"""Seconds after the last link opened: all of them count as stable by then."""

KEEP_ALIVE = 3600.0
"""Seconds that the service may be silent: it says nothing here, and this is not about that."""


class Service:
    """Refuses while it is away; afterwards it admits so many a second, and counts who comes and who is in."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.away = asyncio.Event()
        self.recovery: Recovery | None = None
        self.links: set[int] = set()
        self._bucket = TokenBucket(ADMITTED, BURST)

    def fail(self) -> None:
        self.links.clear()
        self.away.set()

    def come_back(self) -> None:
        self.away = asyncio.Event()
        self.recovery = Recovery(self.clock.monotonic())

    def admits(self) -> bool:
        if self.recovery is None:
            return not self.away.is_set()
        self.recovery.dialled()
        return self._bucket.take(self.clock.monotonic()) == 0

    def subscribed(self, link: int) -> None:
        self.links.add(link)
        if self.recovery is not None:
            self.recovery.recovered(link, self.clock.monotonic())


class Dialler:
    """A link's connector: what a session is, as far as the manager sees it."""

    def __init__(self, link: int, service: Service, permits: Permits) -> None:
        self._link = link
        self._service = service
        self._permits = permits

    def use(self, session: int) -> None:
        pass

    async def run(self, dial: Dial, sink: Sink) -> None:
        async with self._permits.turn():
            sink.post(Trigger.PERMITTED)
            await self._answer()
            if not self._service.admits():
                sink.post(Trigger.DROPPED, cause=Cause("HTTP 503", status=503))
                return
        sink.post(Trigger.TRANSPORT_UP)
        sink.post(Trigger.ACCEPTED, seconds=KEEP_ALIVE)
        sink.post(Trigger.SYNCED, final=True)
        self._service.subscribed(self._link)
        await self._service.away.wait()
        sink.post(Trigger.DROPPED, cause=Cause("connection lost"))

    async def _answer(self) -> None:
        answered, clock = asyncio.Event(), self._service.clock
        clock.call_at(clock.monotonic() + LATENCY, answered.set)
        await answered.wait()


async def outage(count: int, seconds: float, seed: int, *, apart: bool = False) -> dict[str, float]:
    """Return what an outage of so many seconds does to so many links."""
    clock, rng, policy = ManualClock(), Random(seed), preset("full-jitter")
    service, shared = Service(clock), LocalRate(clock)
    workers = -(-count // LINKS_OF_A_WORKER)
    permits = [Permits(LocalRate(clock) if apart else shared, clock) for _ in range(workers)]
    links = [
        Manager(Dialler(link, service, permits[link % workers]), policy, clock, rng, f"link {link}")
        for link in range(count)
    ]
    for link in links:
        link.start()
    await _all_open(service, count)
    await clock.advance(WARM_UP)
    service.fail()
    await clock.advance(seconds)
    service.come_back()
    await _all_open(service, count)
    await asyncio.gather(*(link.stop() for link in links))
    assert service.recovery is not None
    return service.recovery.figures()


async def _all_open(service: Service, count: int) -> None:
    while len(service.links) < count:
        await service.clock.advance(1.0)


def main() -> None:
    count, seconds, seed = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    found = {
        "together": asyncio.run(outage(count, seconds, seed)),
        "apart": asyncio.run(outage(count, seconds, seed, apart=True)),
    }
    print(json.dumps({**found, "cpu": round(time.process_time(), 1)}))


if __name__ == "__main__":
    main()
