"""One worker core over real sockets, beside a bare loop of websockets and msgspec.

``python -m tests.bench.reception ours|bare PORT CONNECTIONS COUNT`` reads what a fountain sends and prints JSON. The
clock runs from the first copy to the last: in the group of its topic (``ours``), or newest in memory (``bare``). Before
it, what these people see has its rows, as in memory: to see an entity for the first time costs several times as much.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from random import Random

import django
import msgspec

from tests.bench import load, recording
from tests.bench.processes import until


class Span:
    """The time from the first event to the last, by the wall and of this process's CPU."""

    def __init__(self) -> None:
        self.first: tuple[float, float] | None = None

    def begin(self) -> None:
        if self.first is None:
            self.first = time.perf_counter(), time.process_time()

    def end(self, events: int) -> dict[str, float]:
        assert self.first is not None
        wall, cpu = self.first
        return {"events": events, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


async def ours(port: int, connections: int, count: int, people: dict[str, tuple[int, int]]) -> dict[str, float]:
    from channels.layers import get_channel_layer

    from realtime import credentials, product, valkey
    from realtime.appsync.auth import ApiKey
    from realtime.appsync.endpoint import derive
    from realtime.bridge import Bridge, RawCopy
    from realtime.clock import now_us
    from realtime.database import DatabaseThread
    from realtime.keeper import Keeper
    from realtime.parts import Parts
    from realtime.relay import Relay
    from realtime.upstream.clock import SystemClock
    from realtime.upstream.credentials import StaticCredentials
    from realtime.upstream.permits import LocalRate, Permits
    from realtime.upstream.policy import preset
    from realtime.upstream.transport import WebSocketTransport

    span = Span()

    class Timed(Bridge):
        def copy(self, raw):  # type: ignore[no-untyped-def]
            span.begin()
            super().copy(raw)

    database, redis, recorder = DatabaseThread("bench"), valkey.connect(), product.load().recorder
    relay = Relay(redis, get_channel_layer(), database)
    owned = (await recording.ownership(database)).owned
    bridge = Timed(database, recorder, relay.push, owned, credentials.refuse, lambda link_id: None)
    clock = SystemClock()
    parts = Parts(
        worker="bench",
        endpoint=derive(f"http://127.0.0.1:{port}/event"),
        transport=WebSocketTransport(),
        policy=preset("full-jitter"),
        bridge=bridge,
        recorder=recorder,
        provider=None,
        clock=clock,
        rng=Random(1),
        root="vortex-app",
        settle=0.0,
        permits=Permits(LocalRate(clock), clock),
        organizations=_no_organizations,
    )
    tasks = [asyncio.create_task(bridge.run()), asyncio.create_task(relay.run())]
    keepers = [
        Keeper(people[subject][1], people[subject][0], subject, StaticCredentials(ApiKey("bench")), parts)
        for subject in load.subjects()[:connections]
    ]
    users = load.subjects()[:connections]
    for sent in load.copies(recording.WARM_UP, set(users), ago=3_600_000_000):
        user_id, link_id = people[sent.subject]
        Bridge.copy(bridge, RawCopy(link_id, user_id, sent.feed, sent.payload, now_us(), "events"))
    await until(lambda: recording.copies_recorded() == recording.WARM_UP)
    for keeper in keepers:
        keeper.manager.start()
    goal = recording.WARM_UP + count
    await until(lambda: recording.copies_recorded() == goal and recording.relayed() == recording.appended())
    spent = span.end(count)
    await asyncio.gather(*(keeper.stop("the bench is over") for keeper in keepers))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    database.close()
    await redis.aclose()
    return spent


async def _no_organizations(user_id: int) -> list[str]:
    """Events links follow their user's own channels: only the GraphQL dialect asks for organisations."""
    return []


class DataFrame(msgspec.Struct):
    type: str
    id: str = ""
    event: str = ""


async def bare(port: int, connections: int, count: int, people: object) -> dict[str, float]:
    from websockets.asyncio.client import connect

    from realtime.feeds import channels

    decode = msgspec.json.Decoder(DataFrame).decode
    newest, span = recording.Newest(), Span()
    taken = 0
    done = asyncio.Event()

    async def link(subject: str) -> None:
        nonlocal taken
        names = list(channels("vortex-app", subject).items())
        url = f"ws://127.0.0.1:{port}/event/realtime"
        async with connect(url, subprotocols=["aws-appsync-event-ws"], compression=None, proxy=None) as socket:  # type: ignore[list-item]
            await socket.send('{"type":"connection_init"}')
            await socket.recv()
            for number, (_, channel) in enumerate(names):
                await socket.send(json.dumps({"type": "subscribe", "id": str(number), "channel": channel}))
            async for text in socket:
                frame = decode(text)
                if frame.type == "data":
                    span.begin()
                    newest.take(names[int(frame.id)][0], frame.event)
                    taken += 1
                    if taken == count:
                        done.set()

    links = [asyncio.create_task(link(subject)) for subject in load.subjects()[:connections]]
    await done.wait()
    spent = span.end(count)
    for task in links:
        task.cancel()
    await asyncio.wait(links)
    return spent


READERS = {"ours": ours, "bare": bare}


def main() -> None:
    name, port, connections, count = sys.argv[1], *map(int, sys.argv[2:])
    django.setup()
    people = recording.people()
    print(json.dumps(asyncio.run(READERS[name](port, connections, count, people))))


if __name__ == "__main__":
    main()
