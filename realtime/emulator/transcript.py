"""What really happened on this side of the wire, for tests that have to account for every event.

Records are numbered from 1. Kinds: ``refused`` (an upgrade: its path, the status and the answer), ``opened``,
``closed`` (with the code that was seen or sent), ``received`` and ``sent`` (frames other than data), ``published``
(every accepted event) and ``delivered`` (every data frame that was written, with the number of its ``published``
record). Frames are told as they were, but for credentials; what was received and can't be read may hold some, and is
not told. A frame that was sent and is no JSON is a string.
"""

from __future__ import annotations

from collections import deque
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from realtime.emulator.clock import wall_us

# Records that are kept in memory, and the bytes of events and data frames in them; a file keeps all.
RING = 50_000
RING_BYTES = 64 * 1024 * 1024
PAGE = 5_000


class Record(msgspec.Struct, omit_defaults=True):
    """``us`` is the wall clock; ``event`` the payload's text; ``number`` that of the published record."""

    n: int
    us: int
    kind: str
    connection: str | None = None
    sub: str | None = None
    channel: str | None = None
    subscription: str | None = None
    event: str | None = None
    number: int | None = None
    frame: Any = None
    code: int | None = None

    @property
    def size(self) -> int:
        """The bytes of what it holds that may be large."""
        return len(self.event or "") + (memoryview(self.frame).nbytes if isinstance(self.frame, msgspec.Raw) else 0)


class Transcript:
    """A bounded ring of records, and a file with all of them, unbuffered, if a path is given."""

    def __init__(self, path: Path | None = None) -> None:
        self._ring: deque[Record] = deque()
        self._bytes = 0
        self._file: FileIO | None = None if path is None else path.open("ab", buffering=0)
        self.last = 0

    def add(self, kind: str, **about: Any) -> int:
        """Keep a record and return its number."""
        self.last += 1
        record = Record(self.last, wall_us(), kind, **about)
        self._ring.append(record)
        self._bytes += record.size
        while len(self._ring) > RING or self._bytes > RING_BYTES:
            self._bytes -= self._ring.popleft().size
        if self._file is not None:
            self._file.write(msgspec.json.encode(record) + b"\n")
        return self.last

    def since(self, n: int, kind: str | None = None, limit: int = PAGE) -> tuple[list[Record], int]:
        """Return up to ``limit`` records after number ``n``, and the number to ask from next."""
        found: list[Record] = []
        for record in self._ring:
            if record.n > n and (kind is None or record.kind == kind):
                found.append(record)
                if len(found) == limit:
                    return found, record.n
        return found, self.last

    @property
    def first(self) -> int:
        """The number of the oldest record that is still in memory."""
        return self._ring[0].n if self._ring else self.last + 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
