"""What is wanted of the links, as the database has it: sign-ins, operators' wishes, tokens. The worker follows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.db.models import F

from realtime.models import Credential, Link


@dataclass(frozen=True, slots=True)
class Wanted:
    """One link, as far as its row says what is wanted.

    ``present``: its user has an open browser, or has just signed in. ``reconnect``, ``repair`` and ``switch`` count
    the wishes for each; ``revision`` is that of the newest wish, ``applied`` that of the last one which was followed.
    ``generation`` is the sign-in from which the user's tokens are, 0 without any; ``refused`` says why the issuer
    took them back. ``active``: the account may be signed in.
    """

    link_id: int
    user_id: int
    subject: str
    present: bool
    suspended: bool
    reconnect: int
    repair: int
    switch: int
    revision: int
    applied: int
    generation: int
    refused: str
    active: bool


def look(buckets: Collection[int], present: set[int], kept: set[int], signed_in_after: int) -> list[Wanted]:
    """Return the links in these buckets that matter now.

    These are those of the users who are ``present``, those that are ``kept`` already (ids of links), those of a
    sign-in after ``signed_in_after`` (µs), and those of whom an operator wishes something.
    """
    links = Link.objects.filter(user_id__in=present) | Link.objects.filter(pk__in=kept)
    links = links | Link.objects.filter(signed_in_at__gt=signed_in_after)
    links = links | Link.objects.filter(desired_revision__gt=F("applied_revision"))
    rows = list(links.in_buckets(buckets).select_related("user").distinct())
    tokens = _tokens(row.user_id for row in rows)
    return [
        _wanted(row, row.user_id in present or row.signed_in_at > signed_in_after, *tokens.get(row.user_id, (0, "")))
        for row in rows
    ]


def note_applied(applied: Iterable[tuple[int, int]]) -> None:
    """Note which wishes were followed, as (link id, revision)."""
    for link_id, revision in applied:
        Link.objects.filter(pk=link_id, applied_revision__lt=revision).update(applied_revision=revision)


def _tokens(user_ids: Iterable[int]) -> dict[int, tuple[int, str]]:
    kept = Credential.objects.filter(user_id__in=list(user_ids)).values_list("user", "generation", "refused")
    return {user_id: (generation, refused) for user_id, generation, refused in kept}


def _wanted(row: Link, present: bool, generation: int, refused: str) -> Wanted:
    return Wanted(
        link_id=row.pk,
        user_id=row.user_id,
        subject=row.subject,
        present=present,
        suspended=row.desire == Link.Desire.SUSPENDED,
        reconnect=row.reconnect_wanted,
        repair=row.repair_wanted,
        switch=row.switch_wanted,
        revision=row.desired_revision,
        applied=row.applied_revision,
        generation=generation,
        refused=refused,
        active=row.user.is_active,
    )
