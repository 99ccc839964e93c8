"""What the measured parts are fed with: copies of the changes of the emulator's own moving fleet."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

import msgspec

from realtime.emulator.clock import SourceClock, iso, wall_us
from realtime.emulator.mover import Mover
from realtime.emulator.options import Fleet
from realtime.emulator.seed import plant

ORGANIZATIONS, PEOPLE, DEVICES = 20, 5, 400


class Sent(NamedTuple):
    """One event on one person's channel, as the upstream sends it."""

    subject: str
    feed: str
    payload: str


def subjects() -> list[str]:
    """Return who there is: five people in each of twenty organisations, who all see their organisation's devices."""
    return list(plant(Fleet(DEVICES, ORGANIZATIONS, PEOPLE)).people)


def copies(count: int, hearers: Collection[str] | None = None, ago: int = 0) -> list[Sent]:
    """Return the first ``count`` copies of a fleet's changes, the same in every run but for their times.

    ``hearers`` are the subjects whose copies count, all by default; ``ago`` is how old the changes are (µs).
    """
    return list(islice((sent for sent in _changes(ago) if hearers is None or sent.subject in hearers), count))


def _changes(ago: int) -> Iterator[Sent]:
    world = plant(Fleet(DEVICES, ORGANIZATIONS, PEOPLE))
    mover, clock = Mover(world, Random(1)), SourceClock(lambda: wall_us() - ago)
    while operation := mover.choose():
        for notice in world.apply(operation, clock.tick):
            payload = {**notice.payload, "timestamp": iso(notice.payload["timestamp"])}
            text = msgspec.json.encode(payload).decode()
            for subject in notice.subs:
                yield Sent(subject, notice.feed, text)
