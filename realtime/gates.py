"""Named gates that operators shut for all links: maintenance upstream, say. Desired state in the database.

While one is shut no link is dialled and those that are open are closed, each with the gate's reason; when it opens,
they come back one after the other. A gate may open by itself at a time that was given with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from realtime import switches
from realtime.clock import now_us

GATES = "gates"

AUTH = "auth"
"""The gate of each link's own credentials, which nobody shuts by hand."""


class Gate(msgspec.Struct, frozen=True):
    """Why it is shut, and until when (µs) if it opens by itself."""

    reason: str
    until: int | None = None


class BadGate(ValueError):
    """A gate that can't be shut; the text says why."""


def shut() -> dict[str, Gate]:
    """Return the gates that are shut now, by name."""
    return _shut(switches.get(GATES, {}))


def shut_gate(name: str, reason: str, seconds: float | None = None) -> None:
    """Shut a gate, for so many seconds if given; workers follow within a second. Raises BadGate."""
    if name == AUTH or not name.isidentifier():
        raise BadGate(f"{name!r} is no name for a gate; take a word such as 'maintenance'")
    until = None if seconds is None else now_us() + round(seconds * 1_000_000)
    with switches.changing(GATES, {}) as switch:
        switch.value = msgspec.to_builtins({**_shut(switch.value), name: Gate(reason, until)})


def open_gate(name: str) -> bool:
    """Open a gate again; tell whether it was shut."""
    with switches.changing(GATES, {}) as switch:
        left = _shut(switch.value)
        was_shut = left.pop(name, None) is not None
        switch.value = msgspec.to_builtins(left)
    return was_shut


def _shut(kept: Any) -> dict[str, Gate]:
    gates = msgspec.convert(kept, dict[str, Gate])
    return {name: gate for name, gate in gates.items() if gate.until is None or gate.until > now_us()}


class Gated(Protocol):
    """A link, as far as gates concern it."""

    def shut_gate(self, name: str, reason: str = "") -> None:
        """Let it rest, and say why."""

    def open_gate(self, name: str) -> None:
        """Let it go on, if nothing else is in the way."""


class Gatekeeper:
    """Brings links to the gates as they are; one per worker."""

    def __init__(self) -> None:
        self._shut: dict[str, Gate] = {}

    def follow(self, now_shut: dict[str, Gate], links: Iterable[Gated]) -> None:
        """Shut and open what changed since the last call, for these links."""
        before, self._shut = self._shut, now_shut
        changed = {name: gate for name, gate in now_shut.items() if before.get(name) != gate}
        opened = before.keys() - now_shut.keys()
        for link in links if changed or opened else ():
            for name, gate in changed.items():
                link.shut_gate(name, gate.reason)
            for name in opened:
                link.open_gate(name)

    def admit(self, link: Gated) -> None:
        """Let a new link know what is shut."""
        for name, gate in self._shut.items():
            link.shut_gate(name, gate.reason)
