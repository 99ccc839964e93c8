"""The merge rule over a batch: what is known of its fields, and what the tables are to learn. In memory, without I/O.

A fact that is newer wins, an equal one confirms, an older one is refused and kept with its reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from dashboard.models import Refused
from realtime.events import Copy, News
from realtime.merge import newer, tie

FieldKey = tuple[str, str]
"""An entity's key and a field's name."""

Fields = tuple[tuple[str, str, int, int], ...]
"""Fields as a draft holds them: name, JSON text, time, tie."""


@dataclass(slots=True)
class Known:
    """A field as it stands in the fold: as in the table, and changed by what the batch brings."""

    value: str
    time: int
    tie: int
    sourced: bool
    changed_at: int
    confirmed_at: int
    heard_at: int
    recorded_at: int
    touched: bool = False

    @property
    def version(self) -> tuple[int, int]:
        return self.time, self.tie


class Changed(NamedTuple):
    """A line of a timeline to be: as in its table."""

    key: str
    name: str
    value: str
    time: int
    recorded_at: int
    source: str


class Refusal(NamedTuple):
    """A fact that did not become the state: as in its table."""

    key: str
    name: str
    value: str
    time: int
    recorded_at: int
    reason: str
    source: str


@dataclass(slots=True)
class Fold:
    """A batch being folded: what is known, and what the tables are to learn."""

    now: int
    known: dict[FieldKey, Known]
    changes: list[Changed] = field(default_factory=list)
    refused: dict[tuple[str, str, int, int], Refusal] = field(default_factory=dict)
    told: dict[str, dict[tuple[int, str], News]] = field(default_factory=dict)
    """By entity, what its copies were told as, for as long as none of its fields changes."""

    def take(self, at: FieldKey, text: str, time: int, *, sourced: bool, source: str, changed_at: int) -> bool:
        """Take one fact by the merge rule; tell whether a fact of an unknown time stands in its way."""
        mark = tie(text)
        current = self.known.get(at)
        if current is None or newer((time, mark), current.version):
            self._accept(
                at, current, Known(text, time, mark, sourced, changed_at, self.now, self.now, self.now, True), source
            )
            return False
        current.heard_at, current.touched = self.now, True
        if current.version == (time, mark):
            current.confirmed_at = self.now
        else:
            tied = time == current.time
            self._refuse(at, text, time, mark, Refused.Reason.TIED if tied else Refused.Reason.OLDER, source)
        return current.value != text and not current.sourced

    def hear(self, at: FieldKey, text: str, received: int, source: str) -> bool:
        """Take one fact of an unknown time: it confirms, and is better than nothing; tell whether it contradicts."""
        current = self.known.get(at)
        if current is None:
            self.take(at, text, received, sourced=False, source=source, changed_at=received)
            return False
        current.heard_at, current.touched = self.now, True
        if current.value == text:
            current.confirmed_at = self.now
        return current.value != text

    def quarantine(self, copy: Copy) -> None:
        """Keep what a copy from the future says apart from what is known."""
        for name, text in copy.fact.fields:
            at = copy.fact.key, name
            self._refuse(at, text, copy.effective_time, tie(text), Refused.Reason.FUTURE, copy.source)

    def time_to_decide(self, at: FieldKey, as_of: int, asked: int | None = None) -> int | None:
        """Return the time with which a snapshot settles a field: a time of receipt is none to stand in its way.

        None: the field was received after the snapshot was asked for, so that it may be the younger of the two.
        """
        current = self.known.get(at)
        if current is None or current.sourced:
            return as_of
        if asked is not None and current.time >= asked:
            return None
        return max(as_of, current.time + 1)

    def fields(self, key: str, names: Iterable[str]) -> Fields:
        """Return the named fields of an entity as they stand now, in a draft's form."""
        found = ((name, self.known.get((key, name))) for name in names)
        return tuple((name, known.value, known.time, known.tie) for name, known in found if known is not None)

    def _accept(self, at: FieldKey, current: Known | None, fresh: Known, source: str) -> None:
        """A newer fact wins. With an equal value only its version and its confirmation are news."""
        if current is not None and current.value == fresh.value:
            fresh.changed_at, fresh.recorded_at = current.changed_at, current.recorded_at
        else:
            self.changes.append(Changed(*at, fresh.value, fresh.changed_at, self.now, source))
        self.known[at] = fresh
        self.told.pop(at[0], None)

    def _refuse(self, at: FieldKey, text: str, time: int, mark: int, reason: str, source: str) -> None:
        self.refused[*at, time, mark] = Refusal(*at, text, time, self.now, str(reason), source)
