"""The active organisation is the person's: whoever switches, switches in all tabs, and upstream.

What a person looks at is an entity too, ``view/self``, in feed and snapshot: browsers learn from it what to pass over.
"""

from __future__ import annotations

from typing import NamedTuple

from django.db import transaction

from dashboard import access, drafts, entities
from dashboard.entities import Entity, Value
from dashboard.models import User
from realtime import control, feed
from realtime.clock import now_us
from realtime.merge import canonical, tie

VIEW_KEY = "view/self"


class Choice(NamedTuple):
    """One organisation that a person may look at."""

    org_id: str
    name: str
    is_active: bool


def choices(user: User) -> list[Choice]:
    """The organisations that `user` may choose from, in the order of their names; none for who has no choice."""
    known = access.organizations(user.pk)
    if not known.aside:
        return []
    named = entities.read(access.names_of_organizations(user))
    keys = [f"organization/{org_id}" for org_id in (known.active, *known.aside)]
    found = entities.by_name(named.get(key) or Entity(key) for key in keys)
    return [Choice(entity.id, entity.name, entity.id == known.active) for entity in found]


def view(user: User) -> Entity:
    """What `user` looks at: the active organisation, and those put aside."""
    known = access.organizations(user.pk)
    values = {"organization": known.active, "aside": list(known.aside)}.items()
    return Entity(VIEW_KEY, {name: Value(value, known.chosen_at, tie(canonical(value))) for name, value in values})


@transaction.atomic
def switch(user: User, org_id: str) -> None:
    """Make `org_id` the active organisation of `user`; the caller has asked `access.may_choose`.

    One transaction writes the choice and an entry that says so, and raises the feed's floor: all tabs fetch their
    state anew, within about a second, whatever they had. The link subscribes anew and closes that window by a snapshot.
    """
    before = User.objects.select_for_update().get(pk=user.pk)
    if access.organizations(user.pk).active == org_id:
        return
    now = max(now_us(), before.organization_at + 1)
    User.objects.filter(pk=user.pk).update(organization=org_id, organization_at=now)
    fields = tuple((name, canonical(field.value), field.time, field.tie) for name, field in view(user).fields.items())
    control.switch(user.pk)
    entry = drafts.switched(user.pk, VIEW_KEY, fields, now)
    feed.append([entry], now)
    feed.revoke([entry.topic])
