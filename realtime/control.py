"""Wishes of operators and users: durable desired state of a link, read by the worker that owns it.

A wish is a row, so it survives every process; workers look several times a second, so nothing needs to be told.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db.models import F

from realtime.models import Link

OPERATIONS = ("reconnect", "rotate", "suspend", "resume", "repair")

COUNTED = {"reconnect": "reconnect_wanted", "rotate": "rotate_wanted", "repair": "repair_wanted"}
"""Operations that are done once for each wish, by the column that counts the wishes."""

POLL_SECONDS = 0.2


class NotApplied(TimeoutError):
    """No worker took the wish in time. It stands: the worker that comes next will follow it."""


def wish(link_id: int, operation: str) -> int:
    """Ask for one of the operations and return the revision to wait for.

    ``reconnect`` begins a new connection, ``rotate`` replaces the one there is without being deaf in between, and
    ``repair`` compares what is recorded with a new snapshot.

    Raises ValueError for another operation, Link.DoesNotExist for an unknown link.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"{operation!r} is none of {', '.join(OPERATIONS)}")
    changes: dict[str, object] = {"desired_revision": F("desired_revision") + 1}
    if operation in COUNTED:
        changes[COUNTED[operation]] = F(COUNTED[operation]) + 1
    else:
        changes["desire"] = Link.Desire.SUSPENDED if operation == "suspend" else Link.Desire.AUTO
    Link.objects.filter(pk=link_id).update(**changes)
    return Link.objects.values_list("desired_revision", flat=True).get(pk=link_id)


def switch(user_id: int) -> None:
    """Have the user's link, if there is one, subscribe anew: its user looks at another organisation from now on."""
    Link.objects.filter(user_id=user_id).update(
        switch_wanted=F("switch_wanted") + 1, desired_revision=F("desired_revision") + 1
    )


def wait_applied(
    link_id: int, revision: int, seconds: float = 5.0, sleep: Callable[[float], None] = time.sleep
) -> Link:
    """Return the link once its worker has followed that revision; raises NotApplied after ``seconds``."""
    for _ in range(max(1, round(seconds / POLL_SECONDS))):
        link = Link.objects.get(pk=link_id)
        if link.applied_revision >= revision:
            return link
        sleep(POLL_SECONDS)
    raise NotApplied(f"no worker followed the wish within {seconds:g} s; is `manage.py upstream` running?")
