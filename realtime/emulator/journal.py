"""The world on disk: one line with the whole world, then one line an operation, flushed before anyone hears of it.

A process that is killed therefore goes on, when it is started again, from a world in which everything that was ever
published still holds. (Flushed to the system, not to the platter: a power cut is not what this guards against.)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import msgspec

from realtime.emulator.clock import SourceClock
from realtime.emulator.world import AnyOperation, World

# Operations after which the file is written anew as one world.
COMPACT_AFTER = 50_000


class JournalError(Exception):
    """The state file cannot be read; the message says which, where, and what to do."""


class Base(msgspec.Struct):
    """The first line. ``us`` is the last source time that was handed out."""

    us: int
    world: World


class Line(msgspec.Struct):
    us: int
    do: AnyOperation


class Journal:
    """An append-only file of operations. Close it when done."""

    def __init__(self, path: Path, world: World, clock: SourceClock) -> None:
        self._path = path
        self._world = world
        self._clock = clock
        self._lines = 0
        self._file = self._compact()

    def append(self, operation: AnyOperation) -> None:
        """Keep an operation that was just applied; call before its notices are published."""
        self._file.write(msgspec.json.encode(Line(self._clock.last, operation)) + b"\n")
        self._file.flush()
        self._lines += 1
        if self._lines >= COMPACT_AFTER:
            self._file.close()
            self._file = self._compact()

    def close(self) -> None:
        self._file.close()

    def _compact(self) -> IO[bytes]:
        """Write the world as it stands and open the file for appending; a crash leaves the old or the new file."""
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_bytes(msgspec.json.encode(Base(self._clock.last, self._world)) + b"\n")
        os.replace(fresh, self._path)
        self._lines = 0
        return self._path.open("ab")


def load(path: Path) -> tuple[World, int] | None:
    """Return the kept world and its last source time, or None if nothing was kept; raises JournalError."""
    if not path.exists():
        return None
    head, *lines = path.read_bytes().split(b"\n")
    try:
        base = msgspec.json.decode(head, type=Base)
    except msgspec.DecodeError as error:
        raise JournalError(f"{path}: the first line is no saved world ({error}); remove the file") from error
    us = base.us
    for line in _complete(lines, path):
        us = line.us
        base.world.apply(line.do, lambda at=us: at)  # type: ignore[misc]
    return base.world, us


def _complete(lines: list[bytes], path: Path) -> list[Line]:
    """Decode all lines; a last one that was cut off by a kill was not published either, and is left out."""
    *whole, _cut_off = lines or [b""]
    try:
        return [msgspec.json.decode(line, type=Line) for line in whole]
    except msgspec.DecodeError as error:
        raise JournalError(f"{path}: a line is no operation ({error}); remove the file") from error
