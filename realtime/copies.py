"""Tells the copies of an event from events: a wildcard hears each event once for every user whom it was sent to.

Nothing in a frame says which copy it is, so they are told by their text. One that carries the source's time is the
same fact however often and however late it comes. One without a time may be news again (on, off, on): it is a copy
only for the seconds within which copies come, and only while it is what was heard last of its entity.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple, TypeVar

K = TypeVar("K")

MOST = 50_000
"""Texts, and entities, that are remembered. A copy that comes after it was forgotten is recorded, as a confirmation."""

WITHIN = 5.0
"""Seconds within which the copies of an event without a time come."""

Entity = tuple[str, str]
"""A feed and the key of what it tells of."""


class Heard(NamedTuple):
    """An event that was heard at ``at`` (monotonic seconds); ``entity`` none for one that carries its time."""

    entity: Entity | None
    at: float


class Copies:
    """What was heard since the connection was last known to be whole. Pure."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._heard: dict[bytes, Heard] = {}
        self._last: dict[Entity, bytes] = {}

    def has(self, mark: bytes, now: float) -> bool:
        """Tell whether what is ``marked`` so is a copy of something that was heard."""
        heard = self._heard.get(mark)
        if heard is None:
            return False
        return heard.entity is None or (now - heard.at < WITHIN and self._last.get(heard.entity) == mark)

    def hear(self, mark: bytes, entity: Entity, now: float, *, timed: bool) -> None:
        """Remember an event. ``timed`` says that it carries the source's time."""
        self._heard.pop(mark, None)
        self._heard[mark] = Heard(None if timed else entity, now)
        self._last.pop(entity, None)
        self._last[entity] = mark
        if len(self._heard) > self._most:
            del self._heard[_oldest(self._heard)]
        if len(self._last) > self._most:
            del self._last[_oldest(self._last)]

    def forget(self) -> None:
        """Something may have been missed: what is said again from now on may be news."""
        self._heard.clear()
        self._last.clear()


def marked(text: str) -> bytes:
    """Return what stands for a text: short, and the same for no other one that anybody could make."""
    return blake2b(text.encode(), digest_size=16).digest()


def _oldest(known: Iterable[K]) -> K:
    return next(iter(known))
