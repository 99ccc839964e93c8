"""Wishes of operators and users: durable desired state of a link, read by the worker that owns it.

A wish is a row, so it survives every process; workers look several times a second, so nothing needs to be told.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db.models import F

from realtime.clock import now_us
from realtime.models import Link

OPERATIONS = ("reconnect", "rotate", "suspend", "resume", "repair")

COUNTED = {"reconnect": "reconnect_wanted", "rotate": "rotate_wanted", "repair": "repair_wanted"}
"""Operations that are done once for each wish, by the column that counts the wishes."""

RESTING = ("stopped", "suspended", "failed")
"""States of a link that only somebody's wish ends."""

POLL_SECONDS = 0.2


class NotNow(Exception):
    """A wish that means nothing for the link as it is; the text says why, and what to do instead."""


class NotApplied(TimeoutError):
    """No worker took the wish in time. It stands: the worker that comes next will follow it."""


def wish(link_id: int, operation: str) -> int:
    """Ask for one of the operations and return the revision to wait for.

    ``reconnect`` begins a new connection, also if nobody is watching: then the link is let go again after a while.
    ``rotate`` replaces the connection there is without being deaf in between, ``repair`` compares what is recorded with
    a new snapshot.

    Raises ValueError for another operation, Link.DoesNotExist for an unknown link, NotNow.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"{operation!r} is none of {', '.join(OPERATIONS)}")
    link = Link.objects.select_related("user").get(pk=link_id)
    if operation in COUNTED and (why := _unmet(link, operation)):
        raise NotNow(why)
    changes: dict[str, object] = {"desired_revision": F("desired_revision") + 1}
    if operation in COUNTED:
        changes[COUNTED[operation]] = F(COUNTED[operation]) + 1
    else:
        changes["desire"] = Link.Desire.SUSPENDED if operation == "suspend" else Link.Desire.AUTO
    if operation == "reconnect":
        changes["wanted_at"] = now_us()
    Link.objects.filter(pk=link_id).update(**changes)
    return Link.objects.values_list("desired_revision", flat=True).get(pk=link_id)


def _unmet(link: Link, operation: str) -> str:
    """Say why the link can't be asked for this as it is, and what to do instead; or nothing."""
    if link.desire == Link.Desire.SUSPENDED:
        return "the link is suspended by an operator: resume it first"
    if not link.user.is_active:
        return "the account of the link is not active, so it stays closed"
    if operation == "rotate" and link.state != "open":
        so = "it has no connection to replace"
    elif operation == "repair" and link.state in (*RESTING, "waiting"):
        so = "it is compared when it is up"
    else:
        return ""
    how = "; reconnect brings it up" if link.state in RESTING else ""
    return f"the link is {link.state}{': ' * bool(link.reason)}{link.reason}; {so}{how}"


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
