"""Tells copies from events while two sessions of a link hear the same: each event goes on once.

An AppSync event has no id that both sessions would see, so equal ones are matched by their text and counted: one goes
on if its session has now heard it more often than any other had. An event that was published twice is heard twice by
both and goes on twice. The order of arrival does not matter. Counting begins when all sessions hear a feed: what one
heard before would else be taken for the copy of something new.
"""

from __future__ import annotations

from collections import defaultdict


class Overlap:
    """The time in which more than one session is open. Kept per link; ``first`` is called for each event in it."""

    def __init__(self, sessions: set[int]) -> None:
        self._sessions = sessions
        self._heard: dict[tuple[str, str], dict[int, int]] = defaultdict(lambda: dict.fromkeys(sessions, 0))

    def first(self, session: int, feed: str, payload: str) -> bool:
        """Tell whether this is the first copy of an event, as this session hears it."""
        key = feed, payload
        counts = self._heard[key]
        most = max(counts.values())
        counts[session] += 1
        if min(counts.values()) == max(counts.values()):
            del self._heard[key]  # heard alike by all: what comes after it is another event
        return counts[session] > most
