"""Is what the page shows still so, and if not sure: why. The same words as in the browser's `freshness.js`.

A value is current while its path has been provably live since it was last confirmed; quiet is never stale.
The server can't know whether the browser is cut off, so `browser-offline` is the browser's own word.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    CURRENT = "current"
    BROWSER_OFFLINE = "browser-offline"
    WORKER_SILENT = "worker-silent"
    UPSTREAM_DOWN = "upstream-down"
    PARTLY_LIVE = "partly-live"
    CATCHING_UP = "catching-up"
    NOBODY_WATCHING = "nobody-watching"


LABELS = {
    Reason.CURRENT: "Current",
    Reason.BROWSER_OFFLINE: "Browser offline",
    Reason.WORKER_SILENT: "Worker silent",
    Reason.UPSTREAM_DOWN: "Upstream down",
    Reason.PARTLY_LIVE: "Partly live",
    Reason.CATCHING_UP: "Catching up",
    Reason.NOBODY_WATCHING: "Nobody was watching",
}

EXPLANATIONS = {
    Reason.CURRENT: "Everything on its way here has been provably live since this was last confirmed.",
    Reason.BROWSER_OFFLINE: "This browser is cut off; values are as old as its last contact.",
    Reason.WORKER_SILENT: "The process that listens upstream has gone quiet; changes may be waiting there.",
    Reason.UPSTREAM_DOWN: "Your upstream link is not open; changes since then are fetched once it is back.",
    Reason.PARTLY_LIVE: "Some upstream feeds are not heard; what they would tell is found by comparing now and then.",
    Reason.CATCHING_UP: "The upstream link is open again and what was missed is being fetched.",
    Reason.NOBODY_WATCHING: "Your link sleeps while no browser is open; it resumes with this page.",
}


@dataclass(frozen=True, slots=True)
class Path:
    """What is known of the way from upstream to the database, for one person.

    ``link_reason`` is why the link is not as it should be. An open one has a reason while some feeds are not heard, and
    then their windows are open too.
    """

    link_state: str
    gap_open: bool
    worker_alive: bool
    link_reason: str = ""


def judge(path: Path) -> Reason:
    """Why the values that came over `path` may be old; `CURRENT` when they can't be."""
    if path.link_state == "suspended":
        return Reason.NOBODY_WATCHING
    if not path.worker_alive:
        return Reason.WORKER_SILENT
    if path.link_state != "open":
        return Reason.UPSTREAM_DOWN
    if path.link_reason and path.gap_open:
        return Reason.PARTLY_LIVE
    return Reason.CATCHING_UP if path.gap_open else Reason.CURRENT
