"""The entries that recording makes for the feeds of the people whom it concerns."""

from __future__ import annotations

from dashboard.fold import Fields
from realtime.events import PRIORITY_NORMAL, PRIORITY_SYSTEM, PRIORITY_URGENT, Copy, Draft

WITHHELD = "withheld"
BACKFILL = "backfill"
VIEW_CHANGED = "view/changed"


def of_copy(copy: Copy, fields: Fields) -> Draft:
    """The entry of a copy, with the facts that hold now that it is folded in: its own, or those that beat them."""
    return _heard(copy, copy.key, copy.event_type, PRIORITY_URGENT if copy.urgent else PRIORITY_NORMAL, fields)


def withheld(copy: Copy) -> Draft:
    """The entry of a copy that its user may not see: it says that something came, and nothing else."""
    return _heard(copy, WITHHELD, WITHHELD, PRIORITY_NORMAL)


def left(copy: Copy, key: str) -> Draft:
    """The entry of an entity that left its user's view with the role that this copy ended."""
    return _heard(copy, key, copy.event_type, PRIORITY_URGENT, gone=True)


def backfill(user_id: int, key: str, fields: Fields, as_of: int, now: int, *, gone: bool = False) -> Draft:
    """The entry of what a snapshot told of an entity: its fields, or that it is gone."""
    return Draft(
        topic=f"user.{user_id}",
        key=key,
        event_type=BACKFILL,
        priority=PRIORITY_NORMAL,
        source="snapshot",
        fields=fields,
        gone=gone,
        source_time=as_of,
        received=now,
    )


def looks_at(user_id: int, key: str, fields: Fields, now: int) -> Draft:
    """The entry of what a person looks at, after a switch or a change of the memberships."""
    return Draft(
        topic=f"user.{user_id}",
        key=key,
        event_type=VIEW_CHANGED,
        priority=PRIORITY_SYSTEM,
        source="view",
        fields=fields,
        source_time=now,
        received=now,
    )


def _heard(copy: Copy, key: str, event_type: str, priority: int, fields: Fields = (), *, gone: bool = False) -> Draft:
    return Draft(
        topic=f"user.{copy.user_id}",
        key=key,
        event_type=event_type,
        priority=priority,
        source=copy.source,
        fields=fields,
        gone=gone,
        source_time=copy.time,
        received=copy.received,
    )
