"""Which worker owns which links: buckets of links, each with a lease, and workers that show by a beat that they live.

Leases and beats are rows. The fence has to be checked in the transaction of every write anyway, so keeping them
anywhere but in the database would only add a thing that can fail.

* Who writes for a link holds the own worker's row shared until the commit, and finds its leases behind it.
* Who takes leases from a worker locks that worker's row first. So a worker that was paused and wakes up either
  committed before its leases went, or finds them gone: never do two write for one link.
* A lease goes from a living owner only by being released, after the last word of its links was recorded.

Whether a worker lives is judged by whether its beat moves, on the clock of who looks: the machines' clocks need not
agree. A wrong judgement costs a take-over, never a second writer. All of this is synchronous: call it in the worker's
database thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import Q

from realtime import gaps, rendezvous, sql
from realtime.clock import now_us
from realtime.events import Recording
from realtime.linkbook import LinkBook
from realtime.models import BUCKETS, Lease, Worker, bucket_of

DEAD_AFTER = 6.0
"""Seconds for which a beat may stand still: two of three were missed. Then its buckets go to the others."""

LOOKED_AWAY = 3.0
"""Seconds without a look of our own after which nobody is blamed for a beat that was not seen to move."""

FORGOTTEN_AFTER = 24 * 3_600_000_000
"""Microseconds after which a worker that was never heard of again is no longer listed."""


class Fenced(RuntimeError):
    """Another process has taken this worker's name: this one may write no more."""


class AnotherWorker(RuntimeError):
    """A worker lives already, and this database is for one alone."""


class _Beat(NamedTuple):
    """A worker's last beat: since when it stands, and whether it was seen to come or only found."""

    value: int
    since: float
    seen: bool


class Watch:
    """Which workers live, by whether their beats move while somebody looks."""

    def __init__(self) -> None:
        self._beats: dict[str, _Beat] = {}
        self._looked = float("-inf")

    def living(self, beats: Mapping[str, int], now: float) -> set[str]:
        """Return the names of those that live; ``beats`` is the last beat of each, ``now`` monotonic seconds.

        A beat that was found, at the first look or after nobody looked for a while, has its time to move like any
        other. Who was dead before nobody looked, and did not move since, is dead still.
        """
        looked_away = now - self._looked > LOOKED_AWAY
        known = {name: beat for name, beat in self._beats.items() if not (looked_away and self._lives(beat))}
        self._looked = now
        self._beats = {
            name: known[name] if name in known and known[name].value == value else _Beat(value, now, not looked_away)
            for name, value in beats.items()
        }
        return {name for name, beat in self._beats.items() if self._lives(beat)}

    @property
    def beating(self) -> set[str]:
        """Those of the living whose beat was seen to move, or to begin."""
        return {name for name, beat in self._beats.items() if beat.seen and self._lives(beat)}

    def _lives(self, beat: _Beat) -> bool:
        return self._looked - beat.since < DEAD_AFTER


@dataclass(frozen=True, slots=True)
class Change:
    """What a look at the leases came to.

    ``lost`` are buckets that others took while this worker seemed dead; ``surplus`` those that are to be handed over,
    each to one whose beat was seen: of one that may be dead they would have to be taken back. ``left_live`` counts
    the links of taken buckets whose last owner did not close their windows.
    """

    taken: Collection[int]
    lost: Collection[int]
    surplus: Collection[int]
    left_live: int


class Leases:
    """One worker's leases. ``held`` may be read in any thread; it is replaced, never changed."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.held: Mapping[int, int] = {}
        self._clock = clock
        self._fence = 0
        self._watch = Watch()

    def join(self) -> int:
        """Take the name, and the leases of its last life; return how many links that one left live.

        Raises AnotherWorker if a worker of another name lives beside a database of one writer.
        """
        with transaction.atomic():
            now = now_us()
            self._refuse_company(now)
            Worker.objects.filter(beat__lt=now - FORGOTTEN_AFTER).exclude(name=self.name).delete()
            Lease.objects.bulk_create([Lease(bucket=bucket) for bucket in range(BUCKETS)], ignore_conflicts=True)
            row, _ = Worker.objects.select_for_update().get_or_create(name=self.name)
            row.fence, row.started_at, row.beat, row.stopped = row.fence + 1, now, now, False
            row.draining, row.service_link = False, {}
            row.save()
            held = self._take(Lease.objects.filter(owner=self.name).values_list("bucket", "fence"))
            left_live = gaps.adopt(held, self.name, now)
        self._fence, self.held = row.fence, held
        return left_live

    def beat(self) -> None:
        """Show that this worker lives. Raises Fenced if another process has taken its name."""
        if not Worker.objects.filter(name=self.name, fence=self._fence).update(beat=now_us()):
            raise self._fenced()

    def look(self) -> Change:
        """Take what is this worker's share and nobody living owns; tell what is lost, and what is to be released.

        Raises Fenced if another process has taken the name.
        """
        running = _running()
        workers = {name: (fence, beat) for name, fence, beat, _ in running}
        draining = {name for name, *_, is_draining in running if is_draining}
        if workers.pop(self.name, (None, 0))[0] != self._fence:
            raise self._fenced()
        rows = sql.select("SELECT bucket, owner, fence FROM realtime_lease")
        mine = {bucket: fence for bucket, owner, fence in rows if owner == self.name}
        lost = {bucket for bucket, fence in self.held.items() if mine.get(bucket) != fence}
        living = self._watch.living({name: beat for name, (_, beat) in workers.items()}, self._clock())
        there = frozenset(living | {self.name})
        due = rendezvous.owners(BUCKETS, there - draining or there)
        free = [row for row in rows if due[row[0]] == self.name and row[1] != self.name and row[1] not in living]
        taken, left_live = self._claim(free) if free else ({}, 0)
        self.held = {bucket: fence for bucket, fence in self.held.items() if bucket not in lost} | taken
        beating = self._watch.beating
        surplus = [bucket for bucket in self.held if due[bucket] in beating]
        return Change(taken.keys(), lost, surplus, left_live)

    def owned(self, link_ids: Iterable[int]) -> set[int]:
        """Return those of the links that this worker owns, and nobody else can before the transaction has ended.

        Call it before anything else is written in the transaction. Raises Fenced if another process has taken the name.
        """
        self._hold_name()
        rows = dict(sql.select("SELECT bucket, fence FROM realtime_lease WHERE owner = %s", self.name))
        mine = {bucket for bucket, fence in self.held.items() if rows.get(bucket) == fence}
        return {link_id for link_id in link_ids if bucket_of(link_id) in mine}

    def owns(self, link_id: int) -> bool:
        """As ``owned`` for one link; nothing is owned any more when another process has taken the name."""
        try:
            return bool(self.owned([link_id]))
        except Fenced:
            return False

    def leave(self) -> None:
        """Release everything and say goodbye: the others take over at their next look."""
        with transaction.atomic():
            self._hold_name()
            Lease.objects.filter(owner=self.name).update(owner="")
            Worker.objects.filter(name=self.name).update(stopped=True, beat=now_us())
        self.held = {}

    def forget(self, buckets: Collection[int]) -> None:
        """Count these buckets as released: a ``Release`` of them was written."""
        self.held = {bucket: fence for bucket, fence in self.held.items() if bucket not in buckets}

    def _refuse_company(self, now: int) -> None:
        if connection.vendor != "sqlite":
            return
        other = Worker.objects.filter(stopped=False, beat__gt=now - DEAD_AFTER * 1_000_000).exclude(name=self.name)
        if (row := other.first()) is not None:
            raise AnotherWorker(
                f"worker {row.name!r} is alive, and SQLite has one writer at a time: stop it first, start with its "
                "--name, or set DATABASE_URL to PostgreSQL, where workers share the links"
            )

    def _claim(self, free: Collection[tuple[int, str, int]]) -> tuple[dict[int, int], int]:
        """Take leases, given as (bucket, owner, fence), from owners that are dead or have released them."""
        with transaction.atomic():
            names = {owner for _, owner, _ in free if owner} | {self.name}
            locked = Worker.objects.select_for_update().filter(name__in=names).order_by("name")
            if (self.name, self._fence) not in [(row.name, row.fence) for row in locked]:
                raise self._fenced()
            taken = self._take((bucket, fence) for bucket, _, fence in free)
            return taken, gaps.adopt(taken, self.name, now_us())

    def _take(self, seen: Iterable[tuple[int, int]]) -> dict[int, int]:
        """Make these leases, (bucket, fence) as they were seen, this worker's; what changed since is left alone."""
        rows = sql.rows({"bucket": "bigint", "fence": "bigint", "owner": "text"})
        taken = sql.fetch(
            f"UPDATE realtime_lease SET owner = seen.owner, fence = seen.fence + 1 FROM {rows} AS seen "
            "WHERE realtime_lease.bucket = seen.bucket AND realtime_lease.fence = seen.fence "
            "RETURNING realtime_lease.bucket, realtime_lease.fence",
            [(bucket, fence, self.name) for bucket, fence in seen],
        )
        return dict(taken)

    def _hold_name(self) -> None:
        held = f"SELECT 1 FROM realtime_worker WHERE name = %s AND fence = %s{sql.hold_rows('realtime_worker')}"
        if not sql.select(held, self.name, self._fence):
            raise self._fenced()

    def _fenced(self) -> Fenced:
        return Fenced(f"another process has taken over worker {self.name!r}: this one ends")


@dataclass(frozen=True, slots=True)
class Release:
    """A note that gives buckets up: applied after everything that their links have told before it.

    ``leases`` are (bucket, fence): one that is lost already stays with whoever has it.
    """

    worker: str
    leases: Collection[tuple[int, int]]
    link_id: int | None = None

    def apply(self, now: int, book: LinkBook) -> Recording:
        rows = sql.rows({"bucket": "bigint", "fence": "bigint", "owner": "text"})
        sql.execute(
            f"UPDATE realtime_lease SET owner = '' FROM {rows} AS given WHERE realtime_lease.bucket = given.bucket "
            "AND realtime_lease.fence = given.fence AND realtime_lease.owner = given.owner",
            [(bucket, fence, self.worker) for bucket, fence in self.leases],
        )
        return Recording()


class CanNotDrain(Exception):
    """A worker that can't hand its links over; the text says why."""


def drain(name: str) -> None:
    """Have a worker hand over its links and take none, until it is started anew. Raises CanNotDrain."""
    lives = Q(stopped=False, beat__gt=now_us() - DEAD_AFTER * 1_000_000)
    if not Worker.objects.filter(lives, name=name).exists():
        raise CanNotDrain(f"no worker of the name {name!r} is running; see `manage.py doctor`")
    if not Worker.objects.filter(lives, draining=False).exclude(name=name).exists():
        raise CanNotDrain(f"no other worker runs that could take the links of {name!r}; start one first")
    Worker.objects.filter(name=name).update(draining=True)


def left(name: str) -> int:
    """Return how many buckets a worker still has."""
    return Lease.objects.filter(owner=name).count()


def _running() -> list[tuple[str, int, int, bool]]:
    return sql.select("SELECT name, fence, beat, draining FROM realtime_worker WHERE NOT stopped")
