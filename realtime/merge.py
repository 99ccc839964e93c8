"""The one rule by which facts meet: only a newer one overwrites.

Recording (here and in SQL), feed and browser (``static/js/live/store.js``) apply it field by field. A version is
``(time, tie)``: the source's time in microseconds, then a number made from the value, so that two different values
of the same microsecond are decided everywhere alike.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

Version = tuple[int, int]

_encoder = msgspec.json.Encoder(order="deterministic")


def canonical(value: Any) -> str:
    """Return ``value`` as JSON text that is the same for equal values, whatever the order of their keys."""
    return _encoder.encode(value).decode()


@lru_cache(maxsize=4096)
def tie(text: str) -> int:
    """Return the tie-break of a canonical JSON text: 48 bits, so that a browser's number holds it exactly."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest(), "big")


def newer(incoming: Version, current: Version | None) -> bool:
    """Tell whether ``incoming`` overwrites ``current``; an equal version is the same fact and does not."""
    return current is None or incoming > current
