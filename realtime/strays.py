"""What payloads hold beyond what is known here: fields that nothing reads, and words that no list has.

They hurt nothing, so they are counted and shown, not refused: a backend that drifts is seen before it breaks something.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from django.db.models import F

from realtime.events import Fact
from realtime.feeds import FEEDS
from realtime.models import Drift

MOST_KINDS = 200
"""Kinds that one worker keeps: names of fields may be made of data."""

MOST_LETTERS = 100
SAMPLE = 2_000

EVERY = 10_000_000
"""Microseconds between two writings of counts that only grow."""

READ = {feed.name: {field.encode_name for field in msgspec.structs.fields(feed.event)} for feed in FEEDS}
WORDS = {
    feed.name: {field: {f'"{word}"' for word in words} | {"null"} for field, words in feed.words.items()}
    for feed in FEEDS
}


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Stray(NamedTuple):
    """One thing that was not known: a field by its path, or with ``word`` (JSON) a new word in a field that is read."""

    feed: str
    path: str
    word: str = ""


@dataclass(slots=True)
class Seen:
    """How often since it was last written; the newest payload that held it, and when that came (µs)."""

    count: int = 0
    sample: str = ""
    at: int = 0


def strays(dialect: str, name: str, payload: str, facts: Sequence[Fact]) -> Iterator[Stray]:
    """Give what is not known in a payload that could be read, and told these facts.

    In the GraphQL dialect we choose the fields, so only words can be new.
    """
    if dialect != "graphql":
        for field in _members(payload).keys() - READ[name]:
            yield Stray(name, _storable(f"$.{field}")[:MOST_LETTERS])
    for fact in facts:
        known = WORDS[fact.feed]
        for field, text in fact.fields if known else ():
            if field in known and text not in known[field]:
                yield Stray(fact.feed, f"$.{field}", text[:MOST_LETTERS])


class Strays:
    """Counts what one worker meets and writes it now and then. A batch that is written again is counted again."""

    def __init__(self) -> None:
        self._met: dict[Stray, Seen] = {}
        self._written: set[Stray] = set()
        self._written_at = 0

    def meet(self, dialect: str, name: str, payload: str, facts: Sequence[Fact], at: int) -> None:
        """Count what is not known in a payload that came at ``at`` (µs)."""
        for stray in strays(dialect, name, payload, facts):
            if stray in self._written or len(self._written | self._met.keys()) < MOST_KINDS:
                seen = self._met.setdefault(stray, Seen())
                seen.count, seen.sample, seen.at = seen.count + 1, payload[:SAMPLE], at

    def write(self, now: int) -> None:
        """Write what was met: at once if it is new, else every ten seconds. ``now`` is in µs; raises DatabaseError."""
        is_new = not self._met.keys() <= self._written
        if not self._met or not (is_new or now - self._written_at >= EVERY):
            return
        for stray, seen in sorted(self._met.items()):
            _write(stray, seen)
        self._written |= self._met.keys()
        self._met, self._written_at = {}, now


def _storable(text: str) -> str:
    """PostgreSQL keeps no NUL."""
    return text.replace("\x00", "\\u0000")


def _write(stray: Stray, seen: Seen) -> None:
    sample = _storable(seen.sample)
    row, made = Drift.objects.get_or_create(
        feed=stray.feed,
        path=stray.path,
        word=stray.word,
        defaults={"count": seen.count, "first_at": seen.at, "last_at": seen.at, "sample": sample},
    )
    if not made:
        Drift.objects.filter(pk=row.pk).update(count=F("count") + seen.count, last_at=seen.at, sample=sample)
