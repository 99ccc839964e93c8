"""The entries that recording makes for the feeds of the people whom it concerns."""

from __future__ import annotations

from dashboard.fold import Fields
from realtime.events import PRIORITY_NORMAL, PRIORITY_SYSTEM, PRIORITY_URGENT, Copy, Draft, News

WITHHELD = "withheld"
BACKFILL = "backfill"
VIEW_CHANGED = "view/changed"


def of_copy(copy: Copy, news: News) -> Draft:
    """The entry of a copy."""
    return Draft(f"user.{copy.user_id}", news, copy.received)


def heard(copy: Copy, fields: Fields) -> News:
    """What a copy tells, with the facts that hold now that it is folded in: its own, or those that beat them."""
    return News(
        key=copy.fact.key,
        event_type=copy.fact.event_type,
        priority=PRIORITY_URGENT if copy.fact.urgent else PRIORITY_NORMAL,
        source=copy.source,
        fields=fields,
        source_time=copy.fact.time,
    )


def withheld(copy: Copy) -> Draft:
    """The entry of a copy that its user may not see: it says that something came, and nothing else."""
    news = News(
        key=WITHHELD,
        event_type=WITHHELD,
        priority=PRIORITY_NORMAL,
        source=copy.source,
        source_time=copy.fact.time,
    )
    return of_copy(copy, news)


def left(copy: Copy, key: str) -> Draft:
    """The entry of an entity that left its user's view with the role that this copy ended."""
    news = News(
        key=key,
        event_type=copy.fact.event_type,
        priority=PRIORITY_URGENT,
        source=copy.source,
        gone=True,
        source_time=copy.fact.time,
    )
    return of_copy(copy, news)


def backfill(user_id: int, key: str, fields: Fields, as_of: int, now: int, *, gone: bool = False) -> Draft:
    """The entry of what a snapshot told of an entity: its fields, or that it is gone."""
    news = News(
        key=key,
        event_type=BACKFILL,
        priority=PRIORITY_NORMAL,
        source="snapshot",
        fields=fields,
        gone=gone,
        source_time=as_of,
    )
    return Draft(f"user.{user_id}", news, now)


def looks_at(user_id: int, key: str, fields: Fields, now: int) -> Draft:
    """The entry of what a person looks at, after a switch or a change of the memberships."""
    news = News(
        key=key,
        event_type=VIEW_CHANGED,
        priority=PRIORITY_SYSTEM,
        source="view",
        fields=fields,
        source_time=now,
    )
    return Draft(f"user.{user_id}", news, now)
