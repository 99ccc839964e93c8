"""The only answer to "may see?": pages, feed, snapshot and export all ask here.

What a person may see is a table, filled by that person's own snapshot and own channels (`Visibility`).
What is somebody else's is not forbidden but absent: its address answers 404.
"""

from __future__ import annotations

from django.db.models import QuerySet

from dashboard.models import Field, Membership, User, Visibility

BROADCAST = "broadcast"


def visible(user: User, prefix: str = "") -> QuerySet[Visibility]:
    """The living grants of `user` for entities whose key begins with `prefix` (``device/``, ``member/<org>/``)."""
    return Visibility.objects.filter(user=user, ended_at=None, key__startswith=prefix)


def fields(user: User, prefix: str = "") -> QuerySet[Field]:
    """The fields of everything that `user` may see below `prefix`."""
    return Field.objects.filter(key__in=visible(user, prefix).values("key"))


def fields_of(user: User, key: str) -> QuerySet[Field]:
    """The fields of one entity; none when `user` may not see it."""
    granted = Visibility.objects.filter(user=user, ended_at=None, key=key)
    return Field.objects.filter(key__in=granted.values("key"))


def may_see(user: User, key: str) -> bool:
    return Visibility.objects.filter(user=user, ended_at=None, key=key).exists()


def memberships(user: User) -> QuerySet[Membership]:
    """The organisations that `user` belongs to now, in the order of their ids."""
    return Membership.objects.filter(user=user, ended_at=None).order_by("org_id")


def colleagues(user: User) -> QuerySet[Membership]:
    """The living memberships, with their people, of every organisation that `user` belongs to now."""
    mine = memberships(user).order_by().values("org_id")
    return Membership.objects.filter(org_id__in=mine, ended_at=None).select_related("user").order_by("user__username")


class TopicAccess:
    """Which feeds a person hears: the engine's `Access` protocol."""

    def topics_for(self, user: User) -> list[str]:
        """The topics of a session that asks for nothing."""
        return [f"user.{user.pk}", BROADCAST]

    def may_subscribe(self, user: User, topic: str) -> bool:
        return topic in self.topics_for(user)
