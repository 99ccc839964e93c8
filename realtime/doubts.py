"""What a service link heard and could not hand on: since when, whom it may have concerned, and when it is asked about.

Pure. Whoever it may have concerned repairs, so that nothing of it is lost in silence.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

UNREADABLE, UNKNOWN = "undecodable payload", "an entity not known before"

EVERYBODY = ""
"""Stands for the organisation of what does not say whose it is."""

SAMPLES = 5
"""Payloads that are kept of those that could not be read between two repairs."""

ASK_AFTER = (0.0, 60.0, 3 * 3600.0)
"""Seconds after which it is asked about an entity that nobody sees, the last again and again: the snapshot may know of
it a little later than the event, and what is not to be seen is compared as often all the same."""

MOST_ASKED = 200_000


class Sample(NamedTuple):
    """A payload that could not be read, and why; ``at`` is in microseconds."""

    at: int
    error: str
    payload: str


class Doubts:
    """What came since the last repair. ``heard`` (in boot time) and ``since`` (µs) are when the first of it did.

    ``organizations`` are those whose members it may have concerned; ``people``, by their ids, are others.
    """

    def __init__(self, heard: float, since: int) -> None:
        self.heard = heard
        self.since = since
        self.organizations: set[str] = set()
        self.people: set[int] = set()
        self.samples: list[Sample] = []

    @property
    def cause(self) -> str:
        """What the ledger says of it."""
        return UNREADABLE if self.organizations else UNKNOWN

    def unreadable(self, organization: str | None, sample: Sample) -> None:
        """Add a payload that could not be read, and that concerned somebody of this organisation, or anybody."""
        self.organizations.add(organization or EVERYBODY)
        if len(self.samples) < SAMPLES:
            self.samples.append(sample)

    def unknown(self, members: Collection[int]) -> None:
        """Add an event of an entity that nobody sees, of an organisation with these members."""
        self.people.update(members)


class _Asked(NamedTuple):
    times: int
    at: float


class Unseen:
    """How often it was asked about entities that nobody sees."""

    def __init__(self) -> None:
        self._asked: dict[str, _Asked] = {}

    def is_due(self, key: str, now: float) -> bool:
        """Tell whether it is to be asked about an entity of which something came; that counts as done then."""
        times, at = self._asked.get(key, _Asked(0, now))
        if now - at < ASK_AFTER[min(times, len(ASK_AFTER) - 1)]:
            return False
        self._asked.pop(key, None)
        self._asked[key] = _Asked(times + 1, now)
        if len(self._asked) > MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        return True
