"""What the notes of one transaction change of links, kept back so that it is written by one statement a table.

After an outage the notes of hundreds of links come together. Of a link's row only the last state counts, so only that
is written; transitions and windows are all written, as if each note had been by itself: of one link they keep their
order, and between links there is none to be kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from realtime import gaps, sql
from realtime.gaps import Closing
from realtime.models import Gap
from realtime.sql import Kind


class LinkValues(NamedTuple):
    """A link's public state. ``since`` none means: as it was told before. Times are in microseconds."""

    state: str
    reason: str = ""
    since: int | None = None
    attempt: int = 0
    next_try_at: int | None = None
    last_error: str = ""
    connects: int = 0
    drops: int = 0
    rotations: int = 0
    rotates_at: int | None = None
    health: str = "healthy"
    breaker: str = "closed"
    protocol: str = "events"
    silences: int = 0
    error_kind: str = ""
    error_class: str = ""


class Change(NamedTuple):
    """One transition of a link, as it is kept."""

    link_id: int
    at: int
    state: str
    reason: str
    attempt: int
    session: int
    detail: str


STATE: dict[str, Kind] = {
    "id": "bigint",
    "worker": "text",
    "state": "text",
    "reason": "text",
    "since": "bigint",
    "attempt": "bigint",
    "next_try_at": "bigint",
    "last_error": "text",
    "connects": "bigint",
    "drops": "bigint",
    "rotations": "bigint",
    "rotates_at": "bigint",
    "health": "text",
    "breaker": "text",
    "protocol": "text",
    "silences": "bigint",
    "error_kind": "text",
    "error_class": "text",
}
SUBSCRIPTIONS: dict[str, Kind] = {"id": "bigint", "subscriptions": "jsonb"}
TRANSITION: dict[str, Kind] = {
    "link_id": "bigint",
    "at": "bigint",
    "state": "text",
    "reason": "text",
    "attempt": "bigint",
    "session": "bigint",
    "detail": "text",
}


class LinkBook:
    """One transaction's. Nothing of it is in the database before ``write``. ``closed`` counts windows by outcome."""

    def __init__(self) -> None:
        self._states: dict[int, tuple[str, LinkValues]] = {}
        self._subscriptions: dict[int, list[dict[str, Any]]] = {}
        self._transitions: list[Change] = []
        self._opened: dict[int, dict[str, tuple[str, int]]] = {}
        self._closings: dict[int, Closing] = {}
        self._told: set[int] = set()
        self.closed: Counter[str] = Counter()

    def state(self, link_id: int, worker: str, values: LinkValues) -> None:
        """Have the link's row hold these values; ``worker`` is who keeps it."""
        self._settle(link_id)
        if values.since is None and link_id in self._states:
            values = values._replace(since=self._states[link_id][1].since)
        reason, last_error = sql.text(values.reason, 200), sql.text(values.last_error, 300)
        self._states[link_id] = worker, values._replace(reason=reason, last_error=last_error)

    def subscriptions(self, link_id: int, rows: list[dict[str, Any]]) -> None:
        """Have the link's row hold these subscriptions."""
        self._subscriptions[link_id] = [{**row, "error": sql.text(row["error"], 300)} for row in rows]

    def transition(self, change: Change) -> None:
        reason, detail = sql.text(change.reason, 200), sql.text(change.detail, 300)
        self._transitions.append(change._replace(reason=reason, detail=detail))

    def open_window(self, link_id: int, feed: str, cause: str, started_at: int) -> None:
        """As ``gaps.open_window``."""
        self._settle(link_id)
        self._opened.setdefault(link_id, {}).setdefault(feed, (sql.text(cause, 60), started_at))

    def close(self, closing: Closing) -> None:
        """As ``gaps.close``."""
        self._settle(closing.link_id)
        self._closings[closing.link_id] = closing

    def open_windows(self, link_id: int) -> list[Gap]:
        """As ``gaps.open_of``; what this book has of the link counts."""
        if link_id in self._opened or link_id in self._closings:
            self._write()
        return gaps.open_of(link_id)

    def write(self) -> set[int]:
        """Write everything; return the links that have a window more or less than before."""
        self._write()
        return self._told

    def _settle(self, link_id: int) -> None:
        """Write a closing before what follows it: whether the link is live from then on depends on its state then."""
        if link_id in self._closings:
            self._write()

    def _write(self) -> None:
        _update(STATE, [(pk, worker, *values) for pk, (worker, values) in self._states.items()])
        _update(SUBSCRIPTIONS, list(self._subscriptions.items()))
        sql.insert("realtime_transition", TRANSITION, self._transitions)
        opened = [(pk, feed, *about) for pk, feeds in self._opened.items() for feed, about in feeds.items()]
        self._told |= gaps.open_window(opened)
        for link_id, outcome in gaps.close(list(self._closings.values())):
            self._told.add(link_id)
            self.closed[outcome] += 1
        for kept in (self._states, self._subscriptions, self._transitions, self._opened, self._closings):
            kept.clear()


def _update(columns: dict[str, Kind], values: Sequence[Sequence[Any]]) -> None:
    """Set these columns of links' rows; a time that is not told stays."""
    told = {name: f"new.{name}" for name in columns if name != "id"}
    told |= {"since": "coalesce(new.since, realtime_link.since)"} if "since" in told else {}
    changes = ", ".join(f"{name} = {value}" for name, value in told.items())
    sql.execute(
        f"UPDATE realtime_link SET {changes} FROM {sql.rows(columns)} AS new WHERE realtime_link.id = new.id", values
    )
