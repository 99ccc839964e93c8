"""Tells the copies of an event from events: a wildcard hears each event once for every user whom it was sent to.

Nothing in a frame says which copy it is, so they are told by their text. One that carries the source's time is the
same fact however often and however late it comes. One without a time may be news again (on, off, on), unless it is
what was heard last of its entity: then it changes nothing.
"""

from __future__ import annotations

from hashlib import blake2b

MOST = 50_000
"""Texts, and entities, that are remembered. A copy that comes after it was forgotten is recorded, as a confirmation."""

Entity = tuple[str, str]
"""A feed and the key of what it tells of."""


class Copies:
    """What was heard lately. Pure."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._heard: dict[bytes, Entity | None] = {}
        self._last: dict[Entity, bytes] = {}

    def has(self, text: str) -> bool:
        """Tell whether this is a copy of something that was heard."""
        mark = _mark(text)
        if mark not in self._heard:
            return False
        entity = self._heard[mark]
        return entity is None or self._last.get(entity) == mark

    def hear(self, text: str, entity: Entity, *, timed: bool) -> None:
        """Remember an event. ``timed`` says that it carries the source's time."""
        mark = _mark(text)
        self._heard.pop(mark, None)
        self._heard[mark] = None if timed else entity
        self._last.pop(entity, None)
        self._last[entity] = mark
        if len(self._heard) > self._most:
            del self._heard[next(iter(self._heard))]
        if len(self._last) > self._most:
            del self._last[next(iter(self._last))]


def _mark(text: str) -> bytes:
    """Return what stands for a text: short, and the same for no other one that anybody could make."""
    return blake2b(text.encode(), digest_size=16).digest()
