"""The meeting place: what links hear becomes state and feed entries, batch by batch.

Copies and notes of all links of a worker go through one queue, in the order of their arrival. A batch is decoded,
recorded and given its offsets in one transaction; after the commit its entries go to the relay. Nothing is dropped:
while the database is away the batch is kept and tried again, the queue fills, and full queues stop the sockets from
being read. One payload that can't be recorded costs itself alone: it is kept, and its link asks for a snapshot. Only
what came over a link that another worker owns by now is dropped: that worker has opened its window, and repairs it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, OperationalError, transaction

from realtime import documents, feed, metrics, sql
from realtime.clock import now_us
from realtime.database import DatabaseThread
from realtime.decoding import Undecodable
from realtime.events import Copy, Entry, Fact, Recording
from realtime.leases import Fenced
from realtime.linkbook import LinkBook
from realtime.notes import Backfill, Note, Unreadable, link_drafts
from realtime.product import Recorder
from realtime.strays import Strays

logger = logging.getLogger("realtime.bridge")

BATCH = 1_000
"""Items in one transaction at most."""

ROOM = 20_000
"""Items that may wait; beyond it sockets are not read, so that the upstream's own back-pressure works."""

REST = 0.008
"""Seconds to rest at most between two batches: small ones cost many times more an event than full ones."""

GATHERING = 0.03
"""Seconds that a note may wait for others: links dial by the hundred, and each has several within a moment. A copy
waits for nothing, and takes along what waits before it."""

RETRY_MOST = 2.0


class RawCopy(NamedTuple):
    """An event as it arrived: not decoded yet. ``received`` is in microseconds."""

    link_id: int
    user_id: int
    feed: str
    payload: str
    received: int
    source: str
    spoiled: str = ""
    """Why it can't be recorded, once that is known: then it is kept as unreadable."""


class Pending(NamedTuple):
    """A note that waits to be applied."""

    note: Note
    done: asyncio.Future[None]
    received: int

    @property
    def link_id(self) -> int | None:
        return self.note.link_id


class Written(NamedTuple):
    """What one transaction came to."""

    entries: list[Entry]
    spoiled: list[RawCopy]
    doubtful: set[int]
    closed: Counter[str]
    """Windows that were closed, by outcome."""


class Bridge:
    """One per worker. ``copy``, ``note`` and ``room`` are called in the loop, ``run`` is its one task."""

    def __init__(
        self,
        database: DatabaseThread,
        recorder: Recorder,
        publish: Callable[[Sequence[Entry]], None],
        owned: Callable[[Iterable[int]], set[int]],
        refuse_tokens: Callable[[int, str], None],
        ask_snapshot: Callable[[int, str | None], None],
    ) -> None:
        """
        Args:
            publish: takes the entries of a committed batch.
            owned: returns, in the transaction and until its end, which of the links with these ids this worker
                owns; raises Fenced when it has been replaced.
            refuse_tokens: ends a user's tokens, in the transaction that records their revocation.
            ask_snapshot: asks the link with this id to compare itself with a snapshot; the window of the feed that is
                given, if one is, just opened.
        """
        self._database = database
        self._recorder = recorder
        self._publish = publish
        self._owned = owned
        self._refuse_tokens = refuse_tokens
        self._ask_snapshot = ask_snapshot
        self._queue: list[RawCopy | Pending] = []
        self._writing: Sequence[RawCopy | Pending] = ()
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._gathering: asyncio.TimerHandle | None = None
        self._moment = 0
        self._strays = Strays()

    def copy(self, raw: RawCopy) -> None:
        """Take one event of a link."""
        self._queue.append(raw)
        self._wake.set()
        if len(self._queue) >= ROOM:
            self._has_room.clear()

    def note(self, note: Note) -> asyncio.Future[None]:
        """Take a note; the future is done when it is committed, or holds why it can't be.

        It is cancelled when another worker owns the link by now.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._queue.append(Pending(note, done, now_us()))
        if self._gathering is None:
            self._gathering = loop.call_later(GATHERING, self._wake.set)
        return done

    async def room(self) -> None:
        """Wait while too much waits to be recorded."""
        if not self._has_room.is_set():
            metrics.HELD_UP.inc()
            await self._has_room.wait()

    def recorded_through(self) -> int:
        """Return the time (µs) up to which everything that arrived is recorded."""
        # What came over a service link was looked up first, and may stand behind what arrived after it.
        waiting = chain(self._writing, self._queue)
        return min((item.received for item in waiting), default=now_us() + 1) - 1

    async def run(self) -> None:
        """Record until cancelled; rest after a batch as long as it took, so that writing takes half of the time."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            await self._write_next()
            if len(self._queue) < BATCH:
                await asyncio.sleep(min(time.monotonic() - began, REST))

    async def drain(self) -> None:
        """Record what waits: the last act of a worker that stops, after ``run`` was cancelled."""
        while self._writing or self._queue:
            await self._write_next()

    async def _write_next(self) -> None:
        # A batch that a cancelled run left behind is written again: what was committed meanwhile is a duplicate.
        batch = self._writing or self._queue[:BATCH]
        if not self._writing:
            self._writing = batch
            del self._queue[: len(batch)]
        if self._queue:
            self._wake.set()
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        await self._write(batch)
        self._writing = ()
        if len(self._queue) < ROOM:
            self._has_room.set()

    async def _write(self, batch: Sequence[RawCopy | Pending]) -> None:
        """Write a batch; halve it around what can't be written."""
        try:
            written = await self._persist(batch)
        except Fenced:
            raise
        except _Lost as lost:
            if rest := self._drop(batch, lost.links):
                await self._write(rest)
        except Exception as error:
            await self._divide(batch, error)
        else:
            self._committed(batch, written)

    async def _persist(self, batch: Sequence[RawCopy | Pending]) -> Written:
        """Write a batch, however long the database is away; raises what its content is to blame for."""
        delay = 0.05
        while True:
            try:
                with metrics.BATCH_SECONDS.time():
                    return await self._database.run(self.transact, batch)
            except (OperationalError, InterfaceError) as error:
                logger.warning("the database is away or busy (%s): keeping %d items", error, len(batch))
            await asyncio.sleep(delay)
            delay = min(delay * 2, RETRY_MOST)

    def _drop(self, batch: Sequence[RawCopy | Pending], lost: set[int]) -> list[RawCopy | Pending]:
        """Drop what came over links that another worker owns; return the rest."""
        rest = [item for item in batch if item.link_id not in lost]
        logger.warning("dropped %d items of %d links that another worker owns now", len(batch) - len(rest), len(lost))
        for item in batch:
            if isinstance(item, Pending) and item.link_id in lost:
                item.done.cancel()
        return rest

    async def _divide(self, batch: Sequence[RawCopy | Pending], error: Exception) -> None:
        if len(batch) > 1:
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])
            return
        item = batch[0]
        logger.error("can't record %s", type(item).__name__, exc_info=error)
        if isinstance(item, RawCopy) and item.spoiled:
            self._ask_snapshot(item.link_id, None)  # it can't even be kept; what it told is in the snapshot
        elif isinstance(item, RawCopy):
            await self._write([item._replace(spoiled=f"{type(error).__name__}: {error}")])
        elif not item.done.done():
            item.done.set_exception(NotRecorded(f"{type(error).__name__}: {error}"))

    def _committed(self, batch: Sequence[RawCopy | Pending], written: Written) -> None:
        self._publish(written.entries)
        self._count(batch, written)
        for item in batch:
            if isinstance(item, Pending) and not item.done.done():
                item.done.set_result(None)
        for link_id, doubted in {(raw.link_id, raw.feed) for raw in written.spoiled}:
            self._ask_snapshot(link_id, doubted)
        for link_id in written.doubtful:
            self._ask_snapshot(link_id, None)

    def _count(self, batch: Sequence[RawCopy | Pending], written: Written) -> None:
        metrics.ENTRIES.inc(len(written.entries))
        if received := [item.received for item in batch if isinstance(item, RawCopy)]:
            metrics.RECORD_LAG.observe((now_us() - min(received)) / 1_000_000)
        for name, count in Counter(item.feed for item in batch if isinstance(item, RawCopy)).items():
            metrics.COPIES.labels(name).inc(count)
        for name, count in Counter(raw.feed for raw in written.spoiled).items():
            metrics.UNDECODABLE.labels(name).inc(count)
        for outcome, count in written.closed.items():
            metrics.GAPS.labels(outcome).inc(count)

    def transact(self, batch: Sequence[RawCopy | Pending]) -> Written:
        """Decode, record and append, in one transaction, in the database thread.

        What it writes has moments of its own, one after the other, by the database's clock and from behind the locks:
        of two notes of a link the later one wins, and "recorded since" means the same to a backfill as to what was
        recorded before and after it, also by other workers.
        """
        raws = [item for item in batch if isinstance(item, RawCopy)]
        copies, spoiled = self._decode(raws)
        links = {raw.user_id: raw.link_id for raw in raws}
        notes: list[Note] = [item.note for item in batch if isinstance(item, Pending)]
        # Last: what closes windows in this batch was asked for before anybody knew of these.
        notes += [Unreadable(*raw[:3], raw.received, error, raw.payload) for raw, error in spoiled]
        with transaction.atomic():
            self._hold({item.link_id for item in batch if item.link_id is not None})
            self._recorder.lock(copies, [note.snapshot for note in notes if isinstance(note, Backfill)])
            now = self._first_moment()
            recording = self._recorder.record(copies, now) if copies else Recording()
            for user_id in recording.revoked:
                self._refuse_tokens(user_id, "the upstream revoked the token: sign in again")
            book = LinkBook()
            for note in notes:
                noted = note.apply(self._next_moment(), book)
                recording.drafts.extend(noted.drafts)
                recording.narrowed |= noted.narrowed
                recording.links |= noted.links
            recording.links |= book.write()
            recording.drafts += link_drafts(recording.links, self._next_moment())
            entries = feed.append(recording.drafts, now)
            feed.revoke(f"user.{user_id}" for user_id in recording.narrowed)
        self._note_strays()
        doubtful = {links[user_id] for user_id in recording.doubtful}
        return Written(entries, [raw for raw, _ in spoiled], doubtful, book.closed)

    def _decode(self, raws: Sequence[RawCopy]) -> tuple[list[Copy], list[tuple[RawCopy, str]]]:
        """Return the copies that could be read, and the others with what is wrong with them.

        The same event comes to each of its hearers, mostly in one batch: it is decoded once.
        """
        copies: list[Copy] = []
        spoiled: list[tuple[RawCopy, str]] = []
        known: dict[tuple[str, str, str], list[Fact]] = {}
        for raw in raws:
            if raw.spoiled:
                spoiled.append((raw, raw.spoiled))
                continue
            event = raw.source, raw.feed, raw.payload
            try:
                if event not in known:
                    known[event] = documents.facts(*event)
                    self._strays.meet(*event, known[event], raw.received)
            except Undecodable as error:
                spoiled.append((raw, str(error)))
            else:
                copies += [Copy(raw.user_id, fact, raw.received, raw.source) for fact in known[event]]
        return copies, spoiled

    def _note_strays(self) -> None:
        try:
            self._strays.write(now_us())
        except DatabaseError as error:
            logger.warning("what payloads hold that is not known could not be noted (%s): it will be later", error)

    def _hold(self, links: set[int]) -> None:
        if lost := links - self._owned(links):
            raise _Lost(lost)

    def _first_moment(self) -> int:
        self._moment = max(sql.now_us(), self._moment + 1)
        return self._moment

    def _next_moment(self) -> int:
        self._moment += 1
        return self._moment


class NotRecorded(RuntimeError):
    """A note can't be recorded; the text says why. What it was to bring about has not happened."""


class _Lost(Exception):
    """Links in a batch are another worker's by now."""

    def __init__(self, links: set[int]) -> None:
        super().__init__(links)
        self.links = links
