"""Whether everything of one topic has come, in order: the layer may lose, repeat and delay, offsets tell.

Pure. Runs go in as they arrive; what comes out is in order, without a hole and without a repeat. A hole is asked for
from the history; what is ahead of it waits here, or is read again if too much of it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from realtime.delivery.envelope import ResyncCause
from realtime.delivery.run import Run, runs
from realtime.events import Entry, Head


@dataclass(frozen=True, slots=True)
class Repair:
    """A wish for the entries of a topic with ``after < offset <= upto``."""

    topic: str
    epoch: str
    after: int
    upto: int


class Continuity:
    """One topic of one session. ``last``: everything up to this offset came out, or is not owed."""

    __slots__ = (
        "_announced", "_held", "_max_held", "_repair", "_seen", "_wanted", "epoch", "floor", "last", "topic",
    )  # fmt: skip

    def __init__(self, topic: str, head: Head, last: int, max_held: int) -> None:
        self.topic = topic
        self._max_held = max_held
        self.restart(head, last)

    def restart(self, head: Head, last: int) -> None:
        """Begin at ``last`` in the topic's life that ``head`` tells of; what is between is asked for."""
        self.epoch = head.epoch
        self.floor = head.floor
        self.last = last
        self._held: dict[int, Entry] = {}
        self._repair: Repair | None = None
        self._seen = 0
        self._announced = self._wanted = head.head

    @property
    def complete(self) -> bool:
        """Whether everything that is known to exist came out."""
        return self._wanted <= self.last

    def accept(self, run: Run) -> Sequence[Run]:
        """Take a run that arrived; return what is in order now."""
        if run.epoch != self.epoch or run.last <= self.last:
            return ()
        if run.first > self.last + 1:
            self._hold(run)
            return ()
        if run.first <= self.last:
            run = Run(run.entries[self.last + 1 - run.first :])
        self.last = run.last
        return (run, *self._release()) if self._held else (run,)

    def is_next(self, run: Run) -> bool:
        """Tell whether the run follows at once, as nearly all do; then ``advance`` is all that is needed."""
        return run.first == self.last + 1 and run.epoch == self.epoch and not self._held

    def advance(self, run: Run) -> None:
        """Take a run that ``is_next``."""
        self.last = run.last

    def repair_due(self) -> Repair | None:
        """Return the wish for the first hole, once: until it is answered there is no second."""
        if self._repair is not None or self._wanted <= self.last:
            return None
        upto = min(self._held) - 1 if self._held else self._wanted
        self._repair = Repair(self.topic, self.epoch, self.last, upto)
        return self._repair

    def repaired(self, entries: Sequence[Entry]) -> Sequence[Run]:
        """Take the answer to the wish, perhaps only the first part of it; return what is in order now."""
        self._repair = None
        return [ready for run in runs(entries) for ready in self.accept(run)]

    def repair_failed(self) -> None:
        """Note that nobody could answer now: the next look at the head asks again."""
        self._repair = None

    def look(self, head: Head, *, trusted: bool) -> ResyncCause | None:
        """Compare with what the database says; return why the client must start over, if it must.

        ``trusted`` says that the layer works: what the head is ahead of may then still be on its way, and is asked for
        only if it has not come by the next look.
        """
        if head.epoch != self.epoch:
            return "epoch"
        if head.head < self._seen:
            return "above-head"
        if head.floor > self.last:
            return "floor"
        self._wanted = max(self._wanted, self._announced if trusted else head.head)
        self._announced = head.head
        self._seen = self.last
        return None

    def _hold(self, run: Run) -> None:
        self._wanted = max(self._wanted, run.last)
        if len(self._held) < self._max_held:
            self._held.update((entry.offset, entry) for entry in run.entries)

    def _release(self) -> list[Run]:
        """Return what was held and is next now, dropping what came by another way meanwhile."""
        self._held = {offset: entry for offset, entry in self._held.items() if offset > self.last}
        ready: list[Entry] = []
        while (entry := self._held.pop(self.last + 1, None)) is not None:
            ready.append(entry)
            self.last += 1
        return [Run(ready)] if ready else []
