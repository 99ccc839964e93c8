"""What a link costs that nothing comes over, beside a bare client with the same nine subscriptions.

``python -m tests.bench.links ours|bare PORT LINKS 0`` opens the links to a fountain that has nothing to send, and
prints JSON: CPU time to set one up and record that it is, memory that one keeps, and CPU time that all of them take
while nothing happens. ``ours`` is a whole worker: leases, demand, ledger, proofs and all. No snapshots are asked for:
what they cost depends on what is in them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from pathlib import Path

import django

from tests.bench.processes import python, until

MODULE = "tests.bench.links"
SETTLING_SECONDS = 75.0
"""Until every link counts as stable, which is noted, and a little more."""

IDLE_SECONDS = 20.0
AT_ONCE = 50
"""Bare clients that connect at the same time."""


async def measure(name: str, port: int, count: int) -> dict[str, float]:
    """Open the links, let them be, and return what they cost."""
    async with CONTESTANTS[name](port, count) as opening:
        gc.collect()
        memory, cpu = _memory(), time.process_time()
        await opening()
        spent = time.process_time() - cpu
        await asyncio.sleep(SETTLING_SECONDS)
        gc.collect()
        kept, cpu = _memory() - memory, time.process_time()
        await asyncio.sleep(IDLE_SECONDS)
        idle = (time.process_time() - cpu) / IDLE_SECONDS
        return {"cpu_ms": 1000 * spent / count, "kb": kept / count, "idle": idle, "process_mb": _memory() / 1000}


@asynccontextmanager
async def ours(port: int, count: int):  # type: ignore[no-untyped-def]
    from channels.layers import get_channel_layer

    from realtime import config, demand, product, valkey
    from realtime.clock import now_us
    from realtime.worker import Worker

    people = await asyncio.create_subprocess_exec(*python("-m", MODULE, "people", str(port), str(count)), stdout=PIPE)
    users = json.loads((await people.communicate())[0])
    known = config.load()
    upstream = dataclasses.replace(
        known.upstream, events_url=f"http://127.0.0.1:{port}/event", auth="api-key", api_key="bench", snapshot_url=""
    )
    redis = valkey.connect()
    worker = Worker("bench", dataclasses.replace(known, upstream=upstream), product.load(), redis, get_channel_layer())
    running = asyncio.create_task(worker.run())

    async def opening() -> None:
        await redis.zadd(demand.KEY, {str(user_id): time.time() + 3600 for user_id in users})
        await until(lambda: len(worker.keepers) == count)
        for keeper in worker.keepers.values():
            await until(lambda keeper=keeper: keeper.provable)
        opened = now_us()
        await until(lambda: worker.bridge.recorded_through() > opened)

    await asyncio.sleep(2)  # it owns its buckets by then
    yield opening
    worker.stop()
    await running


def _people(count: int) -> list[int]:
    """Make a fresh database with this many users and their links; in a process of its own, as it takes memory."""
    from django.core.management import call_command

    from dashboard.models import User
    from realtime.models import Link

    call_command("migrate", interactive=False, verbosity=0)
    User.objects.bulk_create(User(username=f"user-{n}", subject=f"sub-{n}") for n in range(count))
    users = list(User.objects.all())
    Link.objects.bulk_create(Link(user=user, subject=user.subject) for user in users)
    return [user.pk for user in users]


@asynccontextmanager
async def bare(port: int, count: int):  # type: ignore[no-untyped-def]
    from websockets.asyncio.client import connect

    from realtime.feeds import channels

    turns, opened, tasks = asyncio.Semaphore(AT_ONCE), 0, []

    async def link(subject: str) -> None:
        nonlocal opened
        async with turns:
            url = f"ws://127.0.0.1:{port}/event/realtime"
            socket = await connect(url, subprotocols=["aws-appsync-event-ws"], compression=None, proxy=None)  # type: ignore[list-item]
            await socket.send('{"type":"connection_init"}')
            await socket.recv()
            names = channels("vortex-app", subject).values()
            for number, channel in enumerate(names):
                await socket.send(json.dumps({"type": "subscribe", "id": str(number), "channel": channel}))
            for _ in names:
                await socket.recv()
        opened += 1
        async for _ in socket:
            pass

    async def opening() -> None:
        tasks.extend(asyncio.create_task(link(f"sub-{n}")) for n in range(count))
        await until(lambda: opened == count)

    yield opening
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


CONTESTANTS = {"ours": ours, "bare": bare}


def _memory() -> float:
    """Return the kB of memory of this process's own, without what it shares with files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def main() -> None:
    name, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    django.setup()
    print(json.dumps(_people(count) if name == "people" else asyncio.run(measure(name, port, count))))


if __name__ == "__main__":
    main()
