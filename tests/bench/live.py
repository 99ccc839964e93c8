"""From the emulator to the browser, beside a naive Channels consumer under the same load in the same minutes.

All systems run at once; only one at a time is under load, in turns, so that whatever else the machine does meets them
alike. A latency is that of one delivery: from the source's time, and from the arrival at our worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from tests.bench.clients import Arrival, Chromium, Clients
from tests.bench.systems import LINKS_DEADLINE, Seen, System

WARM_UP, QUIET = 2.0, 1.0
QUIET_DEADLINE = 60.0
FEEDS = 9


@dataclass
class Outcome:
    """What one system did under one load, all turns together. Times in microseconds."""

    seconds: float = 0.0
    sent: int = 0
    got: int = 0
    from_source: list[int] = field(default_factory=list)
    from_received: list[int] = field(default_factory=list)
    in_chromium: list[int] = field(default_factory=list)
    hops: dict[str, list[int]] = field(default_factory=lambda: {"record": [], "relay": [], "deliver": []})
    cores: dict[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, object]:
        figures: dict[str, object] = {
            "deliveries_per_second": round(len(self.from_source) / self.seconds),
            "lost": self.sent - self.got,
            "source_to_client_ms": _spread(self.from_source),
            "source_to_chromium_ms": _spread(self.in_chromium),
            "cores": {name: round(seconds / self.seconds, 3) for name, seconds in self.cores.items()},
        }
        if self.from_received:
            figures["received_to_client_ms"] = _spread(self.from_received)
            figures["hops_ms"] = {name: _spread(times) for name, times in self.hops.items()}
        return figures


async def measure(
    directory: Path, loads: Sequence[tuple[type[System], float]], turns: int, seconds: float
) -> list[Outcome]:
    """Return the outcome of each load, given as (system, changes a second)."""
    outcomes = [Outcome() for _ in loads]
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(Chromium())
        running: dict[type[System], tuple[System, Clients]] = {}
        for kind in dict.fromkeys(kind for kind, _ in loads):
            system = await stack.enter_async_context(kind(directory / kind.__name__.lower()))
            clients = await stack.enter_async_context(Clients(system, browser))
            await _linked(system)
            running[kind] = system, clients
        for _ in range(turns):
            for (kind, changes), outcome in zip(loads, outcomes, strict=True):
                await _turn(*running[kind], changes, seconds, outcome)
    return outcomes


async def _linked(system: System) -> None:
    """Wait until every person's link has all its feeds, and its first comparison with a snapshot is over."""
    async with asyncio.timeout(LINKS_DEADLINE):
        while await system.links() < FEEDS * len(system.cookies):
            _cpu(system)  # raises if a process has ended
            await asyncio.sleep(0.2)
    await asyncio.sleep(5)


async def _turn(system: System, clients: Clients, changes: float, seconds: float, outcome: Outcome) -> None:
    await clients.take()
    copies = await system.copies()
    await system.set_rate(changes)
    await asyncio.sleep(WARM_UP)
    cpu, start = _cpu(system), time.time_ns() // 1000
    await asyncio.sleep(seconds)
    end = time.time_ns() // 1000
    for name, spent in _cpu(system).items():
        outcome.cores[name] = outcome.cores.get(name, 0.0) + spent - cpu[name]
    await system.set_rate(0)
    plain, chromium = await _all(clients)
    outcome.seconds += seconds
    outcome.sent += await system.copies() - copies
    outcome.got += _note(system, plain, start, end, outcome)
    outcome.got += _note(system, chromium, start, end, outcome, in_chromium=True)


async def _all(clients: Clients) -> tuple[list[Arrival], list[Arrival]]:
    """Return everything that came, once nothing more comes."""
    plain, chromium = await clients.take()
    quiet_until = deadline = time.monotonic() + QUIET
    deadline += QUIET_DEADLINE
    while time.monotonic() < min(quiet_until, deadline):
        await asyncio.sleep(0.2)
        more, more_chromium = await clients.take()
        plain += more
        chromium += more_chromium
        if more or more_chromium:
            quiet_until = time.monotonic() + QUIET
    return plain, chromium


def _note(
    system: System, arrivals: list[Arrival], start: int, end: int, outcome: Outcome, *, in_chromium: bool = False
) -> int:
    """Note the latencies of the events made from ``start`` to ``end``; return how many events there were in all."""
    count = 0
    for arrived, text in arrivals:
        for seen in system.read(text):
            count += 1
            if start <= seen.source < end:
                outcome.from_source.append(arrived - seen.source)
                if in_chromium:
                    outcome.in_chromium.append(arrived - seen.source)
                _note_hops(seen, arrived, outcome)
    return count


def _note_hops(seen: Seen, arrived: int, outcome: Outcome) -> None:
    if seen.received is None or seen.recorded is None:
        return
    outcome.from_received.append(arrived - seen.received)
    if not seen.relayed:  # read from the table, past the relay
        return
    outcome.hops["record"].append(seen.recorded - seen.received)
    outcome.hops["relay"].append(seen.relayed - seen.recorded)
    outcome.hops["deliver"].append(arrived - seen.relayed)


def _cpu(system: System) -> dict[str, float]:
    return {process.name: process.cpu_seconds for process in system.processes}


def _spread(times: list[int]) -> dict[str, float]:
    """Return median and 99th percentile in milliseconds."""
    if len(times) < 2:
        return {}
    cuts = quantiles(times, n=100)
    return {"p50": round(cuts[49] / 1000, 2), "p99": round(cuts[98] / 1000, 2)}
