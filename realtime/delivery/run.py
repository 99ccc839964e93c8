"""Entries of one topic that came together, and each wire form of them, made once and shared by all sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from realtime.events import Entry

Encode = Callable[[bytes], bytes]


class Run:
    """Consecutive entries of one life of one topic, in the order of their offsets, without a hole."""

    __slots__ = ("_forms", "entries", "epoch", "first", "last", "size", "topic")

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Take at least one entry; whoever builds a run has seen that the offsets follow one another."""
        first = entries[0]
        self.topic = first.topic
        self.epoch = first.epoch
        self.first = first.offset
        self.last = entries[-1].offset
        self.entries = entries
        self.size = sum(len(entry.body) for entry in entries)
        self._forms: dict[Encode, bytes] = {}

    def encoded(self, encode: Encode) -> bytes:
        """Return the frames of all entries under ``encode``, joined: whoever asks second gets the same bytes."""
        form = self._forms.get(encode)
        if form is None:
            form = self._forms[encode] = b"".join([encode(entry.body) for entry in self.entries])
        return form


def runs(entries: Iterable[Entry]) -> Iterator[Run]:
    """Cut entries of one topic, given in any order, into runs; of entries with the same offset the first counts."""
    batch: list[Entry] = []
    for entry in sorted(entries, key=_place):
        if batch and entry.offset == batch[-1].offset and entry.epoch == batch[-1].epoch:
            continue
        if batch and (entry.offset != batch[-1].offset + 1 or entry.epoch != batch[-1].epoch):
            yield Run(batch)
            batch = []
        batch.append(entry)
    if batch:
        yield Run(batch)


def _place(entry: Entry) -> tuple[str, int]:
    return entry.epoch, entry.offset
