"""The gap ledger: every window in which a subscription was not provably live is a row, and each row is closed.

A window begins at the last moment that was provably live (the last frame heard, less a margin), not when the loss was
noticed. There is at most one open row for a link as a whole, and one for each of its feeds that is refused or not
answered while the link itself is up. All functions are synchronous and run in the caller's transaction.

What is missing since a window began is asked for by when it was recorded, so all times are by the database's clock. A
worker tells them by its own; where that is ahead they are put back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from realtime import sql
from realtime.clock import now_us
from realtime.models import Gap, Link

MARGIN = 2_000_000
"""Microseconds before the last proof of life at which a window begins: events overtake each other on the way."""

WHOLE_LINK = ""


class Closing(NamedTuple):
    """The end of a link's windows. ``feeds`` are those whose windows end, if they are open.

    ``known`` says that a snapshot was compared: then the outcome is *repaired* or *nothing missed*, by whether it
    made a difference, else *unknown*. ``live_at`` is when they were live again, ``now`` when this was found.
    """

    link_id: int
    feeds: Collection[str]
    known: bool
    live_at: int
    now: int
    differences: int = 0
    note: str = ""

    @property
    def outcome(self) -> Gap.Outcome:
        if not self.known:
            return Gap.Outcome.UNKNOWN
        return Gap.Outcome.REPAIRED if self.differences else Gap.Outcome.NOTHING_MISSED


def open_window(rows: Sequence[tuple[int, str, str, int]]) -> set[int]:
    """Open windows, given as (link id, feed, cause, started_at); one that is open already keeps its beginning.

    Returns the links that have a window more than before.
    """
    if not rows:
        return set()
    ahead = _ahead()
    new = sql.rows({"link_id": "bigint", "feed": "text", "cause": "text", "started_at": "bigint"})
    opened = sql.fetch(
        "INSERT INTO realtime_gap (link_id, feed, cause, started_at, outcome, differences, note) "
        f"SELECT link_id, feed, cause, started_at, '{Gap.Outcome.OPEN}', 0, '' FROM {new} AS new WHERE true "
        "ON CONFLICT DO NOTHING RETURNING link_id",
        [(link_id, feed, why, started_at - ahead) for link_id, feed, why, started_at in rows],
    )
    lost = sql.rows({"id": "bigint"})
    sql.execute(
        f"UPDATE realtime_link SET live = false WHERE live AND id IN (SELECT id FROM {lost} AS lost)",
        [(link_id,) for link_id, feed, _, _ in rows if feed == WHOLE_LINK],
    )
    return {link_id for (link_id,) in opened}


def open_of(link_id: int) -> list[Gap]:
    """Return the link's open windows, the one that began first ahead."""
    return list(Gap.objects.filter(link_id=link_id, outcome=Gap.Outcome.OPEN).order_by("started_at", "feed"))


def close(closings: Sequence[Closing]) -> list[tuple[int, str]]:
    """Close windows, of each link once at most; with that of the whole link, a link that is up is live from then on.

    Returns (link id, outcome) of each window that was closed.
    """
    # The order of the tables is given: SQLite's planner would go through all open windows for each closing.
    asked = sql.rows({"id": "bigint"})
    windows = sql.fetch(
        f"SELECT realtime_gap.id, link_id, feed FROM {asked} AS asked CROSS JOIN realtime_gap "
        f"WHERE realtime_gap.link_id = asked.id AND outcome = '{Gap.Outcome.OPEN}'",
        [(closing.link_id,) for closing in closings],
    )
    by_link = {closing.link_id: closing for closing in closings}
    closed = [(pk, by_link[link_id]) for pk, link_id, feed in windows if feed in by_link[link_id].feeds]
    columns: dict[str, sql.Kind] = {
        "id": "bigint",
        "outcome": "text",
        "differences": "bigint",
        "note": "text",
        "live_at": "bigint",
        "closed_at": "bigint",
    }
    sql.execute(
        "UPDATE realtime_gap SET outcome = new.outcome, differences = new.differences, note = new.note, "
        f"live_at = new.live_at, closed_at = new.closed_at FROM {sql.rows(columns)} AS new "
        "WHERE realtime_gap.id = new.id",
        [(pk, c.outcome, c.differences, sql.text(c.note, 300), c.live_at, c.now) for pk, c in closed],
    )
    new = sql.rows({"id": "bigint", "now": "bigint"})
    sql.execute(
        "UPDATE realtime_link SET live = live OR state = 'open', "
        "proven_at = CASE WHEN state = 'open' THEN new.now ELSE proven_at END "
        f"FROM {new} AS new WHERE realtime_link.id = new.id",
        [(closing.link_id, closing.now) for closing in closings if WHOLE_LINK in closing.feeds],
    )
    return [(closing.link_id, str(closing.outcome)) for _, closing in closed]


def adopt(buckets: Collection[int], worker: str, now: int) -> int:
    """Make links whose owner died this worker's, and open windows for those that were live; return how many were.

    Each begins at what the dead one is known to have recorded. What was handed over in order is closed already.
    """
    cause = "the worker died"
    links = Link.objects.in_buckets(buckets)
    left = links.filter(live=True).values_list("pk", "proven_at")
    rows = [(pk, WHOLE_LINK, cause, proven - MARGIN) for pk, proven in left]
    open_window(rows)
    died = links.exclude(state__in=("suspended", "stopped"))
    died.update(state="stopped", reason=cause, since=now, worker=worker)
    return len(rows)


def prove(proofs: Sequence[tuple[int, int, int]]) -> None:
    """Note up to when links are recorded in full, as (link id, proven_at, copies received since the last proof)."""
    if not proofs:
        return
    ahead = _ahead()
    new = sql.rows({"id": "bigint", "proven": "bigint", "n": "bigint"})
    sql.execute(
        "UPDATE realtime_link SET proven_at = new.proven, received = realtime_link.received + new.n "
        f"FROM {new} AS new WHERE realtime_link.id = new.id",
        [(link_id, proven - ahead, n) for link_id, proven, n in proofs],
    )


def _ahead() -> int:
    """Return by how many microseconds this machine's clock is ahead of the database's, 0 if it is behind."""
    here = now_us()
    return max(0, here - sql.now_us())
