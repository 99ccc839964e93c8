"""The relay: from committed entries to each topic's stream and group.

Every process that writes entries runs one. Fresh entries come straight from the writer's memory; whatever a relay did
not manage (its process died, Valkey was away) is found in the table by the next sweep of any relay, because a topic's
row says how far it was relayed. A repeated append or message is harmless: streams refuse an old id, hubs drop an old
offset.

Several processes may write to one topic, so a relay may be ahead of another one. What lies between is committed by
then, as commit order is offset order: it is filled in from the table, so a stream rises without a hole whoever
appends, and nothing is marked as relayed that was not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from realtime import feed, groups, history, metrics
from realtime.clock import now_us
from realtime.database import DatabaseThread
from realtime.events import Entry

logger = logging.getLogger("realtime.relay")

SWEEP_EVERY = 1.0
"""Seconds between two looks at the table."""

SWEEP_AGE = 1_000_000
"""Microseconds that an entry may wait for its own process's relay before another one takes it up."""

MESSAGE_ENTRIES = 200
"""Entries in one layer message, so that a long catch-up does not become one huge frame."""

UNREACHABLE = (RedisError, OSError, asyncio.TimeoutError)


class Relay:
    """Copies entries to streams and wakes groups; ``run`` is its one task, ``push`` may be called from the loop."""

    def __init__(self, redis: Redis, layer: Any, database: DatabaseThread) -> None:
        self._redis = redis
        self._layer = layer
        self._database = database
        self._append = redis.register_script(history.APPEND)
        self._fresh: list[Entry] = []
        self._wake = asyncio.Event()
        self._done: dict[tuple[str, str], int] = {}
        self._unmarked: dict[tuple[str, str], int] = {}
        self._reachable = True

    def push(self, entries: Iterable[Entry]) -> None:
        """Take entries whose transaction has committed."""
        self._fresh.extend(entries)
        self._wake.set()

    async def run(self) -> None:
        """Relay until cancelled. Valkey being away is waited out; the table keeps everything meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_relaying(), name="relay fresh")
            tasks.create_task(self._keep_sweeping(), name="relay sweep")

    async def flush(self) -> None:
        """Relay what was pushed, and note it: the last act of a process that stops."""
        await self._attempt(self._relay_fresh)
        await self._attempt(self._mark)

    async def _keep_relaying(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._attempt(self._relay_fresh)

    async def _keep_sweeping(self) -> None:
        """Apart from the fresh entries, which must not wait for a sweep's turn at the database."""
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            await self._attempt(self._sweep)

    async def _attempt(self, step: Any) -> None:
        try:
            await step()
            if not self._reachable:
                logger.info("Valkey is back: relaying what waited in the database")
            self._reachable = True
        except UNREACHABLE as error:
            metrics.RELAY_ERRORS.inc()
            if self._reachable:
                logger.warning("Valkey is away (%s): entries wait in the database", error)
            self._reachable = False
        except Exception:
            # A database error, or a fault of ours: the entries stay unmarked, so the sweep tries them again.
            logger.exception("relay step failed")

    async def _relay_fresh(self) -> None:
        entries, self._fresh = self._fresh, []
        await self._publish(_runs(entries))

    async def _sweep(self) -> None:
        await self._mark()
        due = await self._database.run(feed.unrelayed, now_us() - SWEEP_AGE, 200)
        metrics.RELAY_SWEEPS.inc(len(due))
        for topic, epoch, relayed, head in due:
            after = max(relayed, self._done.get((topic, epoch), 0))
            while after < head:
                entries = await self._from_table(topic, epoch, after)
                if not entries:
                    break
                await self._publish([entries])
                after = entries[-1].offset
        await self._mark()

    async def _from_table(self, topic: str, epoch: str, after: int) -> list[Entry]:
        try:
            return await self._database.run(feed.read, topic, epoch, after, MESSAGE_ENTRIES)
        except feed.CursorLost as lost:
            head = (await self._database.run(feed.heads, [topic]))[topic]
            if lost.cause == "floor":
                # What a revocation ended is not told any more; the next sweep goes on behind it.
                self._note(topic, epoch, head.floor)
            else:
                # Retention took what was never relayed: readers meet the hole by its offset and get a resync.
                logger.warning("topic %s: entries after %d are gone (%s)", topic, after, lost.cause)
                self._note(topic, epoch, head.head)
            return []

    async def _publish(self, runs: list[list[Entry]]) -> None:
        """Append each topic's run to its stream, then wake its group: a woken hub finds at least what it was told."""
        if not runs:
            return
        stamp = b',"relayed":%d}}' % now_us()
        stamped = [[_stamp(entry, stamp) for entry in run] for run in runs]
        try:
            answers = await self._append_and_wake(stamped)
        except NoScriptError:
            await self._redis.script_load(history.APPEND)
            answers = await self._append_and_wake(stamped)
        for run, (status, top) in zip(stamped, answers, strict=True):
            if status == b"refill":
                await self._refill(run, int(top))
            elif status == b"other":
                await self._renew_epoch(run, "tells something else")
            elif status == b"above":
                await self._meet_stream_above(run, int(top))
            metrics.RELAYED.inc(self._news_in(run))
            self._note(run[-1].topic, run[-1].epoch, run[-1].offset)

    async def _append_and_wake(self, runs: list[list[Entry]]) -> list[tuple[bytes, bytes]]:
        """Return what became of each append. All of it is one round trip, however many topics there are."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for run in runs:
                pipe.evalsha(self._append.sha, 1, *history.append_arguments(run, self._messages(run), refill=False))
            answers: list[tuple[bytes, bytes]] = await pipe.execute()
        return answers

    def _messages(self, run: list[Entry]) -> Iterator[tuple[str, bytes]]:
        topic, epoch = run[0].topic, run[0].epoch
        for start in range(0, len(run), MESSAGE_ENTRIES):
            part = run[start : start + MESSAGE_ENTRIES]
            yield groups.publication(self._layer, groups.topic(topic), groups.entries_message(topic, epoch, part))

    async def _refill(self, run: list[Entry], top: int) -> None:
        """Put what the stream lacks before ``run`` from the table, then ``run``."""
        topic, epoch, first = run[0].topic, run[0].epoch, run[0].offset
        after = max(top, first - 1 - history.STREAM_LENGTH)
        try:
            missing = await self._database.run(feed.read, topic, epoch, after, first - 1 - after)
        except feed.CursorLost:
            missing = []
        key, *arguments = history.append_arguments([*missing, *run], refill=True)
        await self._append([key], arguments)

    async def _meet_stream_above(self, run: list[Entry], top: int) -> None:
        """Tell a repeat (the stream is ahead of this run, not of the head) from a restored database."""
        head = (await self._database.run(feed.heads, [run[0].topic])).get(run[0].topic)
        if head is not None and head.epoch == run[0].epoch and top > head.head:
            await self._renew_epoch(run, f"is at {top}, above the head {head.head}")

    async def _renew_epoch(self, run: list[Entry], why: str) -> None:
        """The database was restored, and gives offsets out a second time: begin another life of the topic."""
        logger.error("topic %s: its stream %s: new epoch", run[0].topic, why)
        await self._database.run(feed.renew_epoch, run[0].topic, run[0].epoch)

    def _news_in(self, run: list[Entry]) -> int:
        """Return how many of these were not relayed before: a sweep may take up what is still on its way."""
        return max(0, run[-1].offset - max(self._done.get((run[0].topic, run[0].epoch), 0), run[0].offset - 1))

    def _note(self, topic: str, epoch: str, offset: int) -> None:
        if offset > self._done.get((topic, epoch), 0):
            self._done[topic, epoch] = self._unmarked[topic, epoch] = offset

    async def _mark(self) -> None:
        marks = dict(self._unmarked)
        if marks:
            await self._database.run(feed.mark_relayed, marks)
            self._unmarked = {place: done for place, done in self._unmarked.items() if done > marks.get(place, 0)}


def _runs(entries: list[Entry]) -> list[list[Entry]]:
    """Return the entries by topic and in order; where another process wrote in between, a new run begins.

    Those of a transaction are in order already; of two transactions the later one may have been pushed first.
    """
    topics: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        topics.setdefault((entry.topic, entry.epoch), []).append(entry)
    return [run for told in topics.values() for run in _without_holes(told)]


def _without_holes(entries: list[Entry]) -> Iterator[list[Entry]]:
    entries.sort(key=_offset)
    if entries[-1].offset - entries[0].offset == len(entries) - 1:
        yield entries
    else:
        for _, run in groupby(enumerate(entries), key=lambda place: place[1].offset - place[0]):
            yield [entry for _, entry in run]


def _stamp(entry: Entry, stamp: bytes) -> Entry:
    """Return the entry with the time of its relay written into its ``at``, the body's last member."""
    return Entry(entry.topic, entry.epoch, entry.offset, entry.key, entry.priority, entry.body[:-2] + stamp)


_offset = attrgetter("offset")
