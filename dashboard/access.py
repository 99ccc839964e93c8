"""The only answer to "may see?": pages, feed, snapshot and export all ask here.

What a person may see is a table, filled by that person's own snapshot and own channels (`Visibility`).
What is somebody else's is not forbidden but absent: its address answers 404.

Who belongs to several organisations looks at one of them, in all tabs: the *active* one. What is the others' is put
aside: it is recorded, and told in this person's feed, but pages and snapshot leave it out and browsers pass it over.
Memberships are never put aside, so that the end of one is seen at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Case, F, Q, QuerySet, When

from dashboard.models import Field, Membership, User, Visibility

BROADCAST = "broadcast"

PERSONAL = "member/"
"""The kind of entity that is one's own in every organisation."""


@dataclass(frozen=True, slots=True)
class Organizations:
    """The organisations that a person belongs to now: the `active` one, "" for none, and those put `aside`.

    `since` (µs) is when that was last chosen, or changed with the memberships.
    """

    active: str = ""
    aside: tuple[str, ...] = ()
    since: int = 0


def organizations(user_id: int) -> Organizations:
    """Say which organisation is active for this person."""
    rows = list(_active_first(user_id).values_list("org_id", "user__organization_at"))
    if not rows:
        return Organizations(since=User.objects.values_list("organization_at", flat=True).get(pk=user_id))
    (active, since), *others = rows
    return Organizations(active, tuple(org_id for org_id, _ in others), since)


def visible(user: User, prefix: str = "") -> QuerySet[Visibility]:
    """The living grants of `user`, without those put aside, for keys that begin with `prefix` (``device/``)."""
    return _granted(user, prefix).exclude(~Q(key__startswith=PERSONAL), org_id__in=_aside(user))


def fields(user: User, prefix: str = "") -> QuerySet[Field]:
    """The fields of everything that `user` may see below `prefix`."""
    return Field.objects.filter(key__in=visible(user, prefix).values("key"))


def fields_of(user: User, key: str) -> QuerySet[Field]:
    """The fields of one entity; none when `user` may not see it."""
    return Field.objects.filter(key__in=visible(user).filter(key=key).values("key"))


def may_see(user: User, key: str) -> bool:
    return visible(user).filter(key=key).exists()


def memberships(user: User) -> QuerySet[Membership]:
    """The organisations that `user` belongs to now, in the order of their ids."""
    return Membership.objects.filter(user=user, ended_at=None).order_by("org_id")


def put_aside(user: User, prefix: str) -> QuerySet[Visibility]:
    """The living grants of what `user` would see by switching to its organisation."""
    return _granted(user, prefix).filter(~Q(key__startswith=PERSONAL), org_id__in=_aside(user))


def may_choose(user: User, org_id: str) -> bool:
    """Whether `user` may make this organisation the active one."""
    return memberships(user).filter(org_id=org_id).exists()


def names_of_organizations(user: User) -> QuerySet[Field]:
    """What the organisations are called that `user` may choose from, those put aside included."""
    return Field.objects.filter(key__in=_granted(user, "organization/").values("key"), name="name")


def colleagues(user: User) -> QuerySet[Membership]:
    """The living memberships, with their people, of the organisation that is active for `user`."""
    active = _active_first(user.pk).values("org_id")[:1]
    return Membership.objects.filter(org_id__in=active, ended_at=None).select_related("user").order_by("user__username")


def _active_first(user_id: int) -> QuerySet[Membership]:
    """Active is the organisation last chosen, while one is a member of it, else the first by its id."""
    others = Case(When(org_id=F("user__organization"), then=0), default=1)
    return Membership.objects.filter(user_id=user_id, ended_at=None).order_by(others, "org_id")


def _aside(user: User) -> QuerySet[Membership, str]:
    return _active_first(user.pk).values_list("org_id", flat=True)[1:]


def _granted(user: User, prefix: str) -> QuerySet[Visibility]:
    return Visibility.objects.filter(user=user, ended_at=None, key__startswith=prefix)


class TopicAccess:
    """Which feeds a person hears: the engine's `Access` protocol."""

    def topics_for(self, user: User) -> list[str]:
        """The topics of a session that asks for nothing."""
        return [f"user.{user.pk}", BROADCAST]

    def may_subscribe(self, user: User, topic: str) -> bool:
        return topic in self.topics_for(user)
