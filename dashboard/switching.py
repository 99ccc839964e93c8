"""The active organisation is the person's: whoever switches, switches in all tabs, and upstream.

What a person looks at is an entity too, ``view/self``, in feed and snapshot: browsers learn from it what to pass over.
It changes by a person's choice, and with the memberships: who joins another organisation goes on looking at the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.db import transaction

from dashboard import access, drafts, entities
from dashboard.access import Organizations
from dashboard.entities import Entity, Value
from dashboard.models import User
from realtime import control, feed
from realtime.clock import now_us
from realtime.events import Draft, Recording
from realtime.merge import canonical, tie

VIEW_KEY = "view/self"


class Choice(NamedTuple):
    """One organisation that a person may look at."""

    org_id: str
    name: str
    is_active: bool


def choices(user: User, known: Organizations) -> list[Choice]:
    """The organisations that `user` may choose from, in the order of their names; none for who has no choice."""
    if not known.aside:
        return []
    named = entities.read(access.names_of_organizations(user))
    keys = [f"organization/{org_id}" for org_id in (known.active, *known.aside)]
    found = entities.by_name(named.get(key) or Entity(key) for key in keys)
    return [Choice(entity.id, entity.name, entity.id == known.active) for entity in found]


def view(known: Organizations) -> Entity:
    """What a person looks at: the active organisation, none for who has no choice, and those put aside."""
    values = {"organization": known.active if known.aside else None, "aside": list(known.aside)}.items()
    return Entity(VIEW_KEY, {name: Value(value, known.since, tie(canonical(value))) for name, value in values})


@transaction.atomic
def switch(user: User, org_id: str) -> None:
    """Make `org_id` the active organisation of `user`; the caller has asked `access.may_choose`.

    One transaction writes the choice and an entry that says so, and raises the feed's floor: all tabs fetch their
    state anew, within about a second, whatever they had. The link subscribes anew and closes that window by a snapshot.
    """
    known = _hold(user.pk)
    if known.active == org_id:
        return
    entry = _look_at(user.pk, org_id, known.since, now_us())
    control.switch(user.pk)
    feed.append([entry], entry.received)
    feed.revoke([entry.topic])


def follow_memberships(before: Mapping[int, Organizations], now: int, recording: Recording) -> None:
    """Follow changed memberships of people, given with what they looked at `before`.

    Who has another choice than before is told of it, and fetches the state anew. What a person has chosen meanwhile
    stays chosen.
    """
    for user_id, was in sorted(before.items()):
        if _has_another_choice(was, access.organizations(user_id)):
            known = _hold(user_id)
            stays = was.active in known.aside and known.since == was.since
            recording.drafts.append(_look_at(user_id, was.active if stays else known.active, known.since, now))
            recording.narrowed.add(user_id)


def _has_another_choice(was: Organizations, known: Organizations) -> bool:
    return bool(was.aside or known.aside) and {was.active, *was.aside} != {known.active, *known.aside}


def _hold(user_id: int) -> Organizations:
    """Return what this person looks at, which nobody else changes until the transaction has ended."""
    User.objects.select_for_update(no_key=True).get(pk=user_id)
    return access.organizations(user_id)


def _look_at(user_id: int, org_id: str, before: int, now: int) -> Draft:
    """Write down what this person looks at, with a version above the one `before`; return the entry that tells it."""
    at = max(now, before + 1)
    User.objects.filter(pk=user_id).update(organization=org_id, organization_at=at)
    told = view(access.organizations(user_id)).fields.items()
    fields = tuple((name, canonical(field.value), field.time, field.tie) for name, field in told)
    return drafts.looks_at(user_id, VIEW_KEY, fields, at)
