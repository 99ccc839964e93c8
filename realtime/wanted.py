"""What is wanted of the links, as the database has it: sign-ins, operators' wishes, tokens. The worker follows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model

from realtime import sql
from realtime.models import Link, bucket_of


class Wanted(NamedTuple):
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


SUSPENDED = Link.Desire.SUSPENDED.value

LOOK = """
SELECT link.id, link.user_id, link.subject, wanted_at, desire, reconnect_wanted, rotate_wanted, repair_wanted,
    switch_wanted, desired_revision, applied_revision, coalesce(generation, 0), coalesce(refused, ''), is_active
FROM (
    SELECT id FROM {kept} AS kept
    UNION SELECT realtime_link.id FROM {came} AS came CROSS JOIN realtime_link WHERE user_id = came.id
    UNION SELECT id FROM realtime_link WHERE wanted_at > %s
    UNION SELECT id FROM realtime_link WHERE desired_revision > applied_revision
) AS asked
CROSS JOIN realtime_link AS link
JOIN {users} AS person ON person.id = link.user_id
LEFT JOIN realtime_credential AS credential ON credential.user_id = link.user_id
WHERE link.id = asked.id
"""
"""The columns are in the order of Wanted's fields; ``present`` and ``suspended`` are made of two of them. Each part of
the union has an index, and the order of the tables is given, so that a look does not go through all links."""


def look(
    buckets: Collection[int], present: set[int], came: set[int], kept: set[int], wanted_after: int
) -> list[Wanted]:
    """Return the links in these buckets that are asked about, or of which there is news.

    These are those of the users who ``came``, those with the ids in ``kept``, those that were wanted at once after
    ``wanted_after`` (µs), and those of whom an operator wishes something. ``present`` are all users who are.
    """
    ids = sql.rows({"id": "bigint"})
    statement = LOOK.format(kept=ids, came=ids, users=get_user_model()._meta.db_table)
    parameters = [sql.parameter([(pk,) for pk in asked]) for asked in (kept, came)]
    rows = sql.select(statement, *parameters, wanted_after)
    return [_wanted(present, wanted_after, row) for row in rows if bucket_of(row[0]) in buckets]


def _wanted(present: set[int], wanted_after: int, row: tuple[Any, ...]) -> Wanted:
    link_id, user_id, subject, wanted_at, desire, *others, is_active = row
    is_present = user_id in present or wanted_at > wanted_after
    return Wanted._make((link_id, user_id, subject, is_present, desire == SUSPENDED, *others, bool(is_active)))


def note_applied(applied: Iterable[tuple[int, int]]) -> None:
    """Note which wishes were followed, as (link id, revision)."""
    for link_id, revision in applied:
        Link.objects.filter(pk=link_id, applied_revision__lt=revision).update(applied_revision=revision)
