"""What waits for a client that does not read fast enough: bounded, and always ending in the newest state.

Entries wait in lanes by priority. A newer entry of the same key is merged into the one that waits, field by field, and
keeps its place; so a slow client gets fewer frames, never old ones. What does not fit at all ends in one resync.

Only a ``gone`` never overtakes: it waits at the end of the last lane. A client that saw it early and reconnected would
get once more what came before it, and then drop the ``gone`` itself as seen; fields have versions against that.

Nothing here does I/O or knows the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from realtime.delivery import envelope
from realtime.delivery.envelope import Event
from realtime.events import PRIORITY_LOW, Entry
from realtime.merge import newer

_event_decoder = msgspec.json.Decoder(Event)


class Due(NamedTuple):
    """An entry whose turn has come; ``waiting`` is the lowest offset of its topic that is still unsent after it."""

    entry: Entry
    waiting: int | None


class _Slot:
    """What waits for one key: an entry, and perhaps a ``gone`` that must be sent before it.

    ``oldest`` is the lowest offset of those it stands for.
    """

    __slots__ = ("entry", "gone", "oldest", "priority")

    def __init__(self, entry: Entry) -> None:
        self.gone: Entry | None = None
        self.entry = entry
        self.oldest = entry.offset
        self.priority = PRIORITY_LOW if _is_gone(entry) else entry.priority

    @property
    def entries(self) -> tuple[Entry, ...]:
        return (self.entry,) if self.gone is None else (self.gone, self.entry)

    @property
    def is_gone(self) -> bool:
        return _is_gone(self.entry)

    @property
    def size(self) -> int:
        return sum(len(entry.body) for entry in self.entries)

    def add(self, entry: Entry) -> None:
        """Take in a newer entry of the key. What comes after a ``gone`` makes the entity anew: they stay two."""
        if _is_gone(entry):
            self.gone, self.entry, self.priority = None, entry, PRIORITY_LOW
        elif self.is_gone:
            self.gone, self.entry = self.entry, entry
        else:
            self.entry = _merged(self.entry, entry)
            self.priority = self.priority if self.gone else min(self.priority, entry.priority)


class Outbox:
    """Holds at most ``max_entries`` entries of together at most ``max_bytes``, and frames that stand for none."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._frames: dict[object, bytes] = {}
        self._slots: dict[tuple[str, str], _Slot] = {}
        self._lanes: tuple[dict[_Slot, None], ...] = ({}, {}, {}, {})

    def __bool__(self) -> bool:
        return bool(self._slots or self._frames)

    def __len__(self) -> int:
        return len(self._slots) + len(self._frames)

    def put_frame(self, frame: bytes, key: object = None) -> None:
        """Add a frame that goes before all entries; one with the same ``key`` that waits is replaced by it."""
        key = object() if key is None else key
        self._bytes += len(frame) - len(self._frames.get(key, b""))
        self._frames[key] = frame

    def put(self, entry: Entry) -> bool:
        """Add an entry; False: it does not fit, and the caller must ``forget`` and tell the client to resync."""
        slot = self._slots.get((entry.topic, entry.key))
        if slot is None:
            slot = self._slots[entry.topic, entry.key] = _Slot(entry)
            self._lanes[slot.priority][slot] = None
        else:
            self._bytes -= slot.size
            lane = self._lanes[slot.priority]
            slot.add(entry)
            if slot.is_gone or lane is not self._lanes[slot.priority]:
                del lane[slot]
                self._lanes[slot.priority][slot] = None
        self._bytes += slot.size
        return len(self._slots) <= self._max_entries and self._bytes <= self._max_bytes

    def take_frames(self) -> list[bytes]:
        """Remove and return the frames that stand for no entry."""
        frames = list(self._frames.values())
        self._frames.clear()
        self._bytes -= sum(map(len, frames))
        return frames

    def take(self, room: int, *, lowest: int = PRIORITY_LOW) -> list[Due]:
        """Remove and return entries whose bodies have together about ``room`` bytes, the most urgent first.

        Entries of a priority class beyond ``lowest`` stay. Sent in the order of the list, each ``Due.waiting``
        tells what is unsent at that moment, which is what a frame's position is made of.
        """
        taken: list[tuple[Entry, int]] = []
        for slot in list(self._in_turn(lowest)):
            if room <= 0:
                break
            room -= slot.size
            self._remove(slot)
            taken += [(entry, slot.oldest) for entry in slot.entries]
        return self._with_waiting(taken)

    def oldest(self, topic: str) -> int | None:
        """Return the lowest offset of the topic that waits."""
        return self._oldest_by_topic().get(topic)

    def topics(self) -> set[str]:
        """Return the topics of which something waits."""
        return set(self._oldest_by_topic())

    def forget(self, topic: str) -> None:
        """Drop the entries of a topic; the caller tells the client."""
        for slot in [slot for slot in self._slots.values() if slot.entry.topic == topic]:
            self._remove(slot)

    def _remove(self, slot: _Slot) -> None:
        del self._lanes[slot.priority][slot]
        del self._slots[slot.entry.topic, slot.entry.key]
        self._bytes -= slot.size

    def _in_turn(self, lowest: int) -> Iterator[_Slot]:
        for lane in self._lanes[: lowest + 1]:
            yield from lane

    def _oldest_by_topic(self) -> dict[str, int]:
        oldest: dict[str, int] = {}
        for slot in self._slots.values():
            topic = slot.entry.topic
            oldest[topic] = min(slot.oldest, oldest.get(topic, slot.oldest))
        return oldest

    def _with_waiting(self, taken: list[tuple[Entry, int]]) -> list[Due]:
        """Walk backwards from what stays: after the n-th is sent, what stays and all that follow it are unsent."""
        waiting = self._oldest_by_topic()
        due = []
        for entry, oldest in reversed(taken):
            due.append(Due(entry, waiting.get(entry.topic)))
            waiting[entry.topic] = min(oldest, waiting.get(entry.topic, oldest))
        due.reverse()
        return due


def _is_gone(entry: Entry) -> bool:
    """Tell whether the entity left; the search spares nearly all bodies the decoding."""
    return b'"gone":true' in entry.body and _event_decoder.decode(entry.body).gone is True


def _merged(older: Entry, entry: Entry) -> Entry:
    """Return ``entry`` so that it says what both say, field by field the newer."""
    before, after = _event_decoder.decode(older.body), _event_decoder.decode(entry.body)
    fields = dict(before.fields)
    for name, field in after.fields.items():
        if name not in fields or newer(field[1:], fields[name][1:]):
            fields[name] = field
    event = msgspec.structs.replace(after, fields=fields, urgent=before.urgent or after.urgent)
    return msgspec.structs.replace(entry, body=envelope.encode(event))
