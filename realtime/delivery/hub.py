"""One a process: it hears each entry once, whatever the number of sessions, and never trusts what it hears.

The hub listens to the group of every topic that a session here has, and hands what it hears to those sessions. The
layer may lose anything, so once a second one look at the database says where the topics really stand: the loss of a
quiet topic's last entry, a revocation and a restored database are found within about a second. While Valkey is away
those looks are the feed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from django.db import DatabaseError
from django.db.models import Max, Q
from redis.asyncio import Redis

from realtime import demand, feed, groups, history, metrics
from realtime.clock import now_us
from realtime.database import DatabaseThread
from realtime.delivery import envelope, state
from realtime.delivery.batch import Batch
from realtime.delivery.connection import Connection
from realtime.delivery.continuity import Repair
from realtime.delivery.envelope import Close, Frame, RequestId
from realtime.delivery.listening import AWAY, Hear, Listener, Report
from realtime.delivery.run import runs
from realtime.events import Entry, Head
from realtime.models import WORKER_SILENT_AFTER, Worker
from realtime.product import Product

logger = logging.getLogger("realtime.delivery.hub")

LOOK_EVERY = 1.0
"""Seconds between two looks at the database."""

LOOKS_AT_ONCE = 500
"""Sessions that are looked at without a pause: together about two milliseconds, in which nothing is sent."""

JOIN_DEADLINE = 2.0
"""Seconds that a session's beginning waits for Valkey; without it the looks bring what is missing."""

FIRST_MOVE_AFTER, MOVES_PER_SECOND = 0.25, 200
"""Seconds until the first session of a process that leaves comes back, and how many come back in a second."""

HOPS = ("upstream", "record", "relay", "layer")
"""From the source to us, to the database, to the stream, to this process."""

Listen = Callable[[Hear, Report], Listener]


class _Times(msgspec.Struct):
    at: envelope.Hops


_at_decoder = msgspec.json.Decoder(_Times)


class _Beats(NamedTuple):
    """When a worker last showed a sign of life: one that has not said goodbye, and any (microseconds)."""

    living: int
    last: int


class Hub:
    """The meeting place of this process's sessions with the feed. ``start`` it in the loop that serves them."""

    def __init__(self, listen: Listen, redis: Redis, database: DatabaseThread, product: Product) -> None:
        """``listen`` makes the listener, given what to call with a message and with a change of the path."""
        self._listener = listen(self.hear, self.report_path)
        self._redis = redis
        self._database = database
        self._states = DatabaseThread("delivery-state")
        self._product = product
        self.draining = False
        self._by_topic: dict[str, set[Connection]] = {}
        self._topics: dict[Connection, set[str]] = {}
        self._repairs: dict[Repair, set[Connection]] = {}
        self._announced: set[int] = set()
        self._arrival = asyncio.Event()
        self._heads: Batch[str, Head] = Batch(self._read_heads)
        self._path = envelope.Path(layer="ok", since=now_us())
        self._believe_head = False
        self._measured = False
        self._database_ok = True
        self._upstream: envelope.Upstream | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to listen, to look and to announce, once. Neither Valkey nor the database need be there yet."""
        if self._tasks:
            return
        for part in (self._listener.run, self._keep_ticking, self._keep_looking, self._keep_announcing):
            self._spawn(_keep(part))

    async def stop(self) -> None:
        """End all tasks and the connections that belong to the hub."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._states.close()

    @property
    def _path_ok(self) -> bool:
        return self._path.layer == "ok"

    # ── For connections ───────────────────────────────────────────────────────────────────────────────────

    async def topics_for(self, user: Any) -> list[str]:
        """Return the topics of a session that asks for nothing."""
        return await self._database.run(self._product.access.topics_for, user)

    async def may_have(self, user: Any, topics: Sequence[str]) -> bool:
        """Tell whether the user may have all of these topics."""
        return await self._database.run(self._may_have, user, topics)

    async def state(self, user: Any, topics: Sequence[str], ident: RequestId | None = None) -> envelope.State:
        """Return the whole state for the user; without topics, with the cursor of those it has by default."""
        return await self._states.run(self._read_state, user, topics, ident)

    async def join(self, connection: Connection, topics: Iterable[str]) -> dict[str, Head]:
        """Bring these topics to the connection; return where they stand, which is read after joining.

        So whatever is not in the answer is heard. If the layer does not answer, the looks bring it, a little later.
        """
        names = list(topics)
        self._topics.setdefault(connection, set()).update(names)
        if connection.user_id not in self._announced:
            self._arrival.set()
        for name in names:
            self._by_topic.setdefault(name, set()).add(connection)
            self._listener.enter(groups.topic(name))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(JOIN_DEADLINE if self._path_ok else 0):
                for name in names:
                    await self._listener.entered(groups.topic(name))
        found = await asyncio.gather(*(self._heads.ask(name) for name in names))
        return {name: head for name, head in zip(names, found, strict=True) if head is not None}

    def leave(self, connection: Connection, topics: Iterable[str]) -> None:
        """Bring these topics to the connection no more."""
        for topic in topics:
            self._topics[connection].discard(topic)
            connections = self._by_topic.get(topic, set())
            connections.discard(connection)
            if not connections and self._by_topic.pop(topic, None) is not None:
                self._listener.leave(groups.topic(topic))

    def forget(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self.leave(connection, tuple(self._topics.setdefault(connection, set())))
        del self._topics[connection]

    def repair(self, connection: Connection, repair: Repair) -> None:
        """Read what a connection lacks and give it to it; connections that lack the same share one reading."""
        waiting = self._repairs.get(repair)
        if waiting is not None:
            waiting.add(connection)
            return
        self._repairs[repair] = {connection}
        self._spawn(self._repair(repair))

    def news(self) -> list[tuple[object, Frame]]:
        """Return what a session that begins must know of the way here."""
        news: list[tuple[object, Frame]] = []
        if self._upstream is not None:
            news.append(("upstream", self._upstream))
        if not self._path_ok:
            news.append(("path", self._path))
        return news

    def drain(self) -> None:
        """Send every session away, each with the time after which to come back, so that they come one by one."""
        self.draining = True
        for number, connection in enumerate(tuple(self._topics)):
            after = FIRST_MOVE_AFTER + number / MOVES_PER_SECOND
            connection.tell(envelope.Moving(after_ms=round(after * 1000)), "moving")
            connection.close(Close.MOVING)

    # ── What is heard ─────────────────────────────────────────────────────────────────────────────────────

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take a message of the layer."""
        if message["type"] == groups.FEED_ENTRIES:
            self._hand_out(message["topic"], message["epoch"], message["entries"])

    def report_path(self, ok: bool, why: str) -> None:
        """Note that the layer's messages come again, or come no more."""
        self._path = envelope.Path(layer="ok" if ok else "down", since=now_us())
        self._believe_head = True
        if ok:
            logger.info("Valkey answers: changes come at once again")
        else:
            logger.warning("Valkey does not answer (%s): changes come with each second's look", why)
        self._tell_all(self._path, "path")

    def _hand_out(self, topic: str, epoch: str, rows: Sequence[tuple[int, int, str, bytes]]) -> None:
        connections = self._by_topic.get(topic)
        if connections is None:
            return
        entries = [Entry(topic, epoch, offset, key, priority, body) for offset, priority, key, body in rows]
        self._measure(entries[-1])
        for run in runs(entries):
            for connection in tuple(connections):
                self._guarded(connection, connection.deliver, run)

    def _measure(self, entry: Entry) -> None:
        """Observe how long one entry a second took from hop to hop: enough to see, too little to cost."""
        if self._measured:
            return
        self._measured = True
        at = _at_decoder.decode(entry.body).at
        times = (at.source, at.received, at.recorded, None if at.relayed is msgspec.UNSET else at.relayed, now_us())
        for hop, (begin, end) in zip(HOPS, itertools.pairwise(times), strict=True):
            if begin is not None and end is not None:
                metrics.HOP_SECONDS.labels(hop).observe(max(0, end - begin) / 1_000_000)

    def _guarded(self, connection: Connection, call: Callable[..., None], *args: Any, **options: Any) -> None:
        """Call one session so that a fault in it ends it alone."""
        try:
            call(*args, **options)
        except Exception:
            logger.exception("a session failed and is closed")
            connection.close(Close.FAILED)

    async def _keep_ticking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            async for connection in self._each_connection():
                self._guarded(connection, connection.tick)

    async def _each_connection(self) -> AsyncIterator[Connection]:
        for number, connection in enumerate(tuple(self._topics)):
            if number % LOOKS_AT_ONCE == 0:
                await asyncio.sleep(0)
            yield connection

    # ── The database ──────────────────────────────────────────────────────────────────────────────────────

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not self._topics:
                continue
            try:
                heads, beats = await self._database.run(self._look, list(self._by_topic))
            except DatabaseError as exc:
                if self._database_ok:
                    logger.warning("the database does not answer: revocations and losses are not seen (%s)", exc)
                self._database_ok = False
                continue
            self._database_ok = True
            trusted = self._path_ok and not self._believe_head
            self._believe_head = self._measured = False
            self._note_workers(beats)
            async for connection in self._each_connection():
                self._guarded(connection, connection.look, heads, trusted=trusted)

    @staticmethod
    def _look(topics: Sequence[str]) -> tuple[dict[str, Head], _Beats]:
        beats = Worker.objects.aggregate(living=Max("beat", filter=Q(stopped=False)), last=Max("beat"))
        return feed.heads(topics), _Beats(beats["living"] or 0, beats["last"] or 0)

    def _note_workers(self, beats: _Beats) -> None:
        now = now_us()
        alive = now - beats.living < WORKER_SILENT_AFTER
        if self._upstream is None or alive != (self._upstream.worker == "alive"):
            since = now if alive else beats.last or now
            self._upstream = envelope.Upstream(worker="alive" if alive else "silent", since=since)
            self._tell_all(self._upstream, "upstream")

    async def _read_heads(self, topics: Sequence[str]) -> Mapping[str, Head]:
        return await self._database.run(feed.ensured_heads, topics)

    def _may_have(self, user: Any, topics: Sequence[str]) -> bool:
        return all(self._product.access.may_subscribe(user, topic) for topic in topics)

    def _read_state(self, user: Any, topics: Sequence[str], ident: RequestId | None) -> envelope.State:
        return state.current(self._product, user, topics or self._product.access.topics_for(user), ident)

    async def _repair(self, repair: Repair) -> None:
        try:
            answer = await self._read(repair)
        except feed.CursorLost as lost:
            await self._report_lost(repair, lost)
        except (DatabaseError, *AWAY):
            for connection in self._repairs.pop(repair):
                connection.repair_failed(repair)
        else:
            for connection in self._repairs.pop(repair):
                self._guarded(connection, connection.repaired, repair, answer)

    async def _read(self, repair: Repair) -> list[Entry]:
        """Read from the stream while Valkey is known to answer, else at once from the table."""
        wanted = (repair.topic, repair.epoch, repair.after)
        if self._path_ok:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(JOIN_DEADLINE):
                    return await history.read_since(self._redis, self._database, *wanted, repair.upto)
        limit = min(repair.upto - repair.after, history.READ_LIMIT)
        return await self._database.run(feed.read, *wanted, limit)

    async def _report_lost(self, repair: Repair, lost: feed.CursorLost) -> None:
        try:
            head = await self._heads.ask(repair.topic)
        except DatabaseError:
            head = None
        for connection in self._repairs.pop(repair):
            if head is None:
                connection.repair_failed(repair)
            else:
                self._guarded(connection, connection.lost, repair.topic, lost.cause, head)

    # ── Demand ────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep_announcing(self) -> None:
        """Tell the workers who has an open browser: at once when somebody comes, and before it is forgotten."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(demand.ANNOUNCE_EVERY):
                    await self._arrival.wait()
            self._arrival.clear()
            users = {connection.user_id for connection in self._topics}
            try:
                async with asyncio.timeout(JOIN_DEADLINE):
                    await demand.announce(self._redis, users)
                self._announced = users
            except AWAY as exc:
                logger.warning("Valkey does not answer (%s): the workers go by the last demand they know", exc)
                await asyncio.sleep(LOOK_EVERY)
                self._arrival.set()

    # ── Tasks ─────────────────────────────────────────────────────────────────────────────────────────────

    def _tell_all(self, frame: Frame, key: object) -> None:
        for connection in tuple(self._topics):
            self._guarded(connection, connection.tell, frame, key)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _keep(part: Callable[[], Awaitable[None]]) -> None:
    """Run a part of the hub; a fault in it must not end the feed of everybody, so it is reported and begun again."""
    while True:
        try:
            await part()
        except Exception:
            logger.exception("a part of the hub failed and begins again")
            await asyncio.sleep(LOOK_EVERY)
