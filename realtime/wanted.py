"""What is wanted of the links, as the database has it: sign-ins, operators' wishes, tokens. The worker follows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Value
from django.db.models.functions import Coalesce

from realtime.models import Link


@dataclass(frozen=True, slots=True)
class Wanted:
    """One link, as far as its row says what is wanted.

    ``present``: its user has an open browser or has just signed in, or an operator has just had it reconnect.
    ``reconnect``, ``rotate``, ``repair`` and ``switch`` count the wishes for each; ``revision`` is that of the newest
    wish, ``applied`` that of the last one which was followed.
    ``generation`` rises with each sign-in that brings tokens and each revocation, and is 0 before any; ``refused`` says
    why the issuer gives no new ones, or who revoked them. ``active``: the account may be signed in.
    """

    link_id: int
    user_id: int
    subject: str
    present: bool
    suspended: bool
    reconnect: int
    rotate: int
    repair: int
    switch: int
    revision: int
    applied: int
    generation: int
    refused: str
    active: bool

    @property
    def demand(self) -> tuple[bool, bool, bool]:
        """What decides whether the link is to be up."""
        return self.present, self.suspended, self.active

    @property
    def allowed(self) -> bool:
        """Whether it may be up at all."""
        return self.active and not self.suspended


COLUMNS = (
    "pk",
    "user_id",
    "subject",
    "wanted_at",
    "desire",
    "reconnect_wanted",
    "rotate_wanted",
    "repair_wanted",
    "switch_wanted",
    "desired_revision",
    "applied_revision",
    Coalesce("user__credential__generation", 0),
    Coalesce("user__credential__refused", Value("")),
    "user__is_active",
)
"""In the order of Wanted's fields; ``present`` and ``suspended`` are made of ``wanted_at`` and ``desire``."""


def look(
    buckets: Collection[int], present: set[int], came: set[int], kept: set[int], wanted_after: int
) -> list[Wanted]:
    """Return the links in these buckets that are asked about, or of which there is news.

    These are those of the users who ``came``, those with the ids in ``kept``, those that were wanted at once after
    ``wanted_after`` (µs), and those of whom an operator wishes something. ``present`` are all users who are.
    """
    links = Link.objects.filter(user_id__in=came) | Link.objects.filter(pk__in=kept)
    links = links | Link.objects.filter(wanted_at__gt=wanted_after)
    links = links | Link.objects.filter(desired_revision__gt=F("applied_revision"))
    rows = links.in_buckets(buckets).values_list(*COLUMNS)
    return [_wanted(present, wanted_after, *row) for row in rows]


def _wanted(
    present: set[int], wanted_after: int, link_id: int, user_id: int, subject: str, wanted_at: int,
    desire: str, *others: Any
) -> Wanted:  # fmt: skip
    is_present = user_id in present or wanted_at > wanted_after
    return Wanted(link_id, user_id, subject, is_present, desire == Link.Desire.SUSPENDED, *others)


def note_applied(applied: Iterable[tuple[int, int]]) -> None:
    """Note which wishes were followed, as (link id, revision)."""
    for link_id, revision in applied:
        Link.objects.filter(pk=link_id, applied_revision__lt=revision).update(applied_revision=revision)
