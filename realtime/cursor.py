"""A client's place in its topics, as text: ``topic:epoch:offset``, joined with ``,``.

Pages and snapshots write it, sessions read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Cursor = Mapping[str, tuple[str, int]]
"""Topic → (epoch, offset)."""

MAX_TOPICS = 32
"""Topics of one session."""

_OFFSET = re.compile(r"[0-9]{1,18}")
_NOWHERE = ("", 0)
"""A place in no life of any topic: whoever claims it is told to start over."""


def parse_cursor(text: str) -> dict[str, tuple[str, int]]:
    """Return the places that a cursor's text names; what names no topic is left out.

    A place that can't be read is one in no life of its topic: its client is told to start over there, as refusing it
    would lock it out, and beginning from now would lose in silence what it missed.
    """
    places = {}
    for part in text.split(",")[:MAX_TOPICS]:
        topic, *place = part.strip().rsplit(":", 2)
        readable = len(place) == 2 and _OFFSET.fullmatch(place[1])
        places[topic] = (place[0], int(place[1])) if readable else _NOWHERE
    places.pop("", None)
    return places


def cursor_text(places: Cursor) -> str:
    """Return the text of a cursor; ``parse_cursor`` reads it."""
    return ",".join(f"{topic}:{epoch}:{offset}" for topic, (epoch, offset) in places.items())
