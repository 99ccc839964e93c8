"""One worker core: events decoded, recorded and relayed a second, beside two other ways to do it.

``python -m tests.bench.recording ours|orm|floor COUNT`` measures one of them in a process of its own and prints JSON.

- ``ours``: the worker's bridge and relay, fed from memory as fast as they take copies: decode, visibility, merge,
  timeline, feed entries with offsets, one transaction a batch, then streams and groups in Valkey.
- ``orm``: the same decoder, merge rule, checks, frames, rows and relay in full batches of the same size, but with
  Django's own bulk operations: select, compare, ``bulk_create(update_conflicts=True)``. It refuses nothing.
- ``floor``: decode, and keep the newest value of each field in memory: no database, no Valkey.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import django
import msgspec
from prometheus_client import Counter

from realtime import metrics
from tests.bench import load
from tests.bench.processes import until

WARM_UP = 4_000
"""Copies before the count starts: every entity and topic has its rows by then."""

CORE = 0
"""The core that the measured process has to itself, as far as the machine lets it."""

OTHER_CORES = set(range(1, os.cpu_count() or 1)) or {CORE}
"""Where its Valkey and its fountain run."""


async def _ours(copies: Sequence[load.Sent], users: dict[str, tuple[int, int]]) -> tuple[float, float]:
    from channels.layers import get_channel_layer

    from realtime import credentials, product, valkey
    from realtime.bridge import Bridge, RawCopy, now_us
    from realtime.database import DatabaseThread
    from realtime.relay import Relay

    database = DatabaseThread("bench")
    redis = valkey.connect()
    relay = Relay(redis, get_channel_layer(), database)
    owned = (await ownership(database)).owned
    bridge = Bridge(
        database, product.load().recorder, relay.push, owned, credentials.refuse, lambda link_id, doubted: None
    )
    tasks = [asyncio.create_task(bridge.run()), asyncio.create_task(relay.run())]

    async def record(part: Sequence[load.Sent]) -> None:
        goal = relayed() + len(part)
        for sent in part:
            await bridge.room()
            user_id, link_id = users[sent.subject]
            bridge.copy(RawCopy(link_id, user_id, sent.feed, sent.payload, now_us(), "events"))
        await until(lambda: relayed() >= goal)

    await record(copies[:WARM_UP])
    spent = await _spent(record(copies[WARM_UP:]))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    database.close()
    await redis.aclose()
    return spent


async def _orm(copies: Sequence[load.Sent], users: dict[str, tuple[int, int]]) -> tuple[float, float]:
    from channels.layers import get_channel_layer

    from realtime import valkey
    from realtime.bridge import BATCH
    from realtime.database import DatabaseThread
    from realtime.relay import Relay
    from tests.bench.orm import record_batch

    database = DatabaseThread("bench")
    redis = valkey.connect()
    relay = Relay(redis, get_channel_layer(), database)
    task = asyncio.create_task(relay.run())

    async def record(part: Sequence[load.Sent]) -> None:
        goal = relayed() + len(part)
        for start in range(0, len(part), BATCH):
            batch = [(users[sent.subject][0], sent.feed, sent.payload) for sent in part[start : start + BATCH]]
            relay.push(await database.run(record_batch, batch))
        await until(lambda: relayed() >= goal)

    await record(copies[:WARM_UP])
    spent = await _spent(record(copies[WARM_UP:]))
    task.cancel()
    await asyncio.wait([task])
    database.close()
    await redis.aclose()
    return spent


async def _floor(copies: Sequence[load.Sent], users: dict[str, tuple[int, int]]) -> tuple[float, float]:
    newest = Newest()

    async def record(part: Sequence[load.Sent]) -> None:
        for sent in part:
            newest.take(sent.feed, sent.payload)

    await record(copies[:WARM_UP])
    return await _spent(record(copies[WARM_UP:]))


class Newest:
    """The least that a receiver of events can do: decode each, and keep the newest by entity and feed."""

    def __init__(self) -> None:
        from realtime.feeds import FEEDS

        self._feeds = {feed.name: (msgspec.json.Decoder(feed.event).decode, feed.key) for feed in FEEDS}
        self._newest: dict[tuple[str, str], Any] = {}

    def take(self, feed: str, payload: str) -> None:
        decode, key_of = self._feeds[feed]
        event = decode(payload)
        key = (feed, key_of(event))
        current = self._newest.get(key)
        if current is None or event.timestamp > current.timestamp:
            self._newest[key] = event


async def ownership(database: Any) -> Any:
    """Return the leases of a worker that owns every link: it asks them in each of its transactions."""
    from realtime.leases import Leases

    leases = Leases("bench")
    await database.run(leases.join)
    await database.run(leases.look)
    return leases


def relayed() -> int:
    """Return how many feed entries this process has relayed."""
    return _total(metrics.RELAYED)


def appended() -> int:
    """Return how many feed entries this process has written."""
    return _total(metrics.ENTRIES)


def copies_recorded() -> int:
    """Return how many copies of events this process has recorded."""
    return _total(metrics.COPIES)


def _total(counter: Counter) -> int:
    samples = next(iter(counter.collect())).samples
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))


async def _spent(work: Any) -> tuple[float, float]:
    """Return the seconds that the work took, by the wall and of this process's CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work
    return time.perf_counter() - wall, time.process_time() - cpu


def people() -> dict[str, tuple[int, int]]:
    """Make a fresh database with a user and a link for each subject; return subject → (user id, link id)."""
    from django.core.management import call_command

    from dashboard.models import User
    from realtime.models import Link, Worker

    call_command("migrate", interactive=False, verbosity=0)
    Worker.objects.create(name="bench", fence=1)
    accounts = {}
    for subject in load.subjects():
        user = User.objects.create(username=subject, subject=subject)
        accounts[subject] = (user.pk, Link.objects.create(user=user, subject=subject).pk)
    return accounts


CONTESTANTS = {"ours": _ours, "orm": _orm, "floor": _floor}


def main() -> None:
    name, count = sys.argv[1], int(sys.argv[2])
    django.setup()
    accounts = people()
    wall, cpu = asyncio.run(CONTESTANTS[name](load.copies(count + WARM_UP), accounts))
    print(json.dumps({"events": count, "wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()
