"""What happens to the machine that a link can't see by itself: it slept, lost its network, or got another way out.

All of it is a hint. A sleep is seen by the clock that goes on beside the one that stands still; the network by the
default routes that Linux tells, if it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from realtime.upstream.clock import Clock
from realtime.upstream.manager import Manager

ROUTES = Path("/proc/net/route")
ROUTES_6 = Path("/proc/net/ipv6_route")
UP = 0x1
ANYWHERE, ANYWHERE_6 = "00000000", "0" * 32

Routes = frozenset[tuple[str, str]]
"""Default routes, as (interface, gateway)."""


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened since the last look: seconds slept, the network gone or back, another way out."""

    slept: float = 0.0
    network: bool | None = None
    rerouted: bool = False

    def __str__(self) -> str:
        """Say it as a log does."""
        slept = f"the machine slept for {self.slept:.0f} s" if self.slept else ""
        network = {True: "the network is back", False: "the network is gone", None: ""}[self.network]
        return "; ".join(filter(None, (slept, network, "the way out changed" if self.rerouted else "")))

    def tell(self, manager: Manager) -> None:
        """Let a link know."""
        if self.slept:
            manager.woke(self.slept)
        if self.network is not None:
            manager.network(self.network)
        if self.rerouted:
            # What went the old way is as doubtful as after a loss of the network.
            manager.network(False)
            manager.network(True)


NOTHING = Happened()


def default_routes() -> Routes | None:
    """Return the ways out of this machine, or none where that can't be told."""
    try:
        rows = [line.split() for line in ROUTES.read_text().splitlines()[1:]]
        rows_6 = [line.split() for line in ROUTES_6.read_text().splitlines()] if ROUTES_6.exists() else []
    except OSError:
        return None
    ways = {(row[0], row[2]) for row in rows if row[1] == ANYWHERE and int(row[3], 16) & UP}
    ways |= {(row[9], row[4]) for row in rows_6 if (row[0], row[1]) == (ANYWHERE_6, "00") and row[9] != "lo"}
    return frozenset(ways)


class Machine:
    """Looked at once a second or so. A machine that never had a way out is not taken for one that lost it."""

    def __init__(self, clock: Clock, slept_for: float, routes: Callable[[], Routes | None] = default_routes) -> None:
        """``slept_for``: seconds that the clocks may part by without counting as a sleep."""
        self._clock = clock
        self._slept_for = slept_for
        self._routes = routes
        self._apart = clock.boottime() - clock.monotonic()
        self._known: Routes | None = None
        self._there = True

    def look(self) -> Happened:
        """Return what happened since the last look."""
        slept, routes = self._sleep(), self._routes()
        if not routes:
            lost = routes is not None and self._known is not None and self._there
            self._there = self._there and not lost
            return Happened(slept, network=False if lost else None)
        before, self._known = self._known, routes
        if not self._there:
            self._there = True
            return Happened(slept, network=True)
        return Happened(slept, rerouted=before is not None and before != routes)

    def _sleep(self) -> float:
        gap = self._clock.boottime() - self._clock.monotonic() - self._apart
        if gap <= self._slept_for:
            return 0.0
        self._apart += gap
        return gap
