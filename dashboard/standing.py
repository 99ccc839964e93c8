"""Where a person stands: member of which organisation, seeing which entities, as only that person's own upstream says.

A copy on a user's own channel shows that the backend lets this user hear of an entity; the user's own snapshot says
what there is in all. Neither brings back what has ended, unless it is younger than the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dashboard.models import Membership, User, Visibility
from realtime import sql
from realtime.events import Copy
from realtime.snapshot import Snapshot

PERSONAL = ("user", "member")
"""Kinds of entity that a person sees because they are about that person."""


def organization_of(key: str) -> str:
    """Return the organisation in an entity's key; a user's own entity has none."""
    kind, _, rest = key.partition("/")
    return "" if kind == "user" else rest.partition("/")[0]


def grant(copies: Sequence[Copy], now: int) -> tuple[list[bool], set[int]]:
    """Tell for each copy whether its user may see its entity, granting what the copy shows to be visible.

    Returns the answers, and the users who heard of an entity for the first time.
    """
    memberships = _memberships({copy.user_id for copy in copies})
    visible = _visible((copy.user_id, copy.key) for copy in copies)
    fresh: dict[tuple[int, str], tuple[str, int]] = {}
    joined: dict[tuple[int, str], int] = {}
    answers = []
    for copy in copies:
        time = copy.received if copy.time is None else copy.time
        org = organization_of(copy.key)
        seen = _may_see(copy, time, org, memberships, visible, joined)
        if seen and visible.get((copy.user_id, copy.key), 0) is not None:
            fresh[copy.user_id, copy.key] = (org, time)
            visible[copy.user_id, copy.key] = None
        answers.append(seen)
    _join(joined)
    _reveal([(user, key, org, time) for (user, key), (org, time) in sorted(fresh.items())])
    return answers, {user for user, key in fresh if key.partition("/")[0] not in PERSONAL}


def change_role(copy: Copy, now: int) -> bool:
    """Follow a roleChanged that concerns the copy's own user; tell whether it made the user's view narrower."""
    user = User.objects.filter(pk=copy.user_id).first()
    _, org, subject = copy.key.split("/", 2)
    if user is None or user.subject != subject:
        return False
    role = next((text for name, text in copy.fields if name == "role"), "null")
    time = copy.received if copy.time is None else copy.time
    membership, _ = Membership.objects.get_or_create(user=user, org_id=org)
    if time < membership.changed_at:
        return False
    ended = role == "null"
    membership.role, membership.changed_at = "" if ended else role.strip('"'), time
    membership.ended_at = time if ended else None
    membership.save()
    if ended:
        living = Visibility.objects.filter(user=user, org_id=org, ended_at=None)
        living.exclude(key__startswith="member/").update(ended_at=time)
    return ended


def follow(user_id: int, snapshot: Snapshot, keys: Iterable[str], as_of: int, now: int) -> tuple[set[str], set[str]]:
    """Bring memberships and visibility to the user's snapshot; return the keys that came, and those that went."""
    _follow_memberships(user_id, {org.org_id: org.role or "" for org in snapshot.organizations}, as_of)
    wanted = set(keys)
    rows = dict(Visibility.objects.filter(user_id=user_id).values_list("key", "ended_at"))
    came = {key for key in wanted if key not in rows or _ended_by(rows[key], as_of)}
    living = Visibility.objects.filter(user_id=user_id, ended_at=None, granted_at__lte=as_of)
    went = {key for key in living.values_list("key", flat=True) if key not in wanted and not key.startswith("user/")}
    _reveal([(user_id, key, organization_of(key), as_of) for key in sorted(came)])
    Visibility.objects.filter(user_id=user_id, key__in=went).update(ended_at=as_of)
    return came, went


def _ended_by(ended: int | None, as_of: int) -> bool:
    return ended is not None and ended <= as_of


def _may_see(
    copy: Copy,
    time: int,
    org: str,
    memberships: Mapping[tuple[int, str], int | None],
    visible: Mapping[tuple[int, str], int | None],
    joined: dict[tuple[int, str], int],
) -> bool:
    if copy.key.partition("/")[0] in PERSONAL:
        return True
    if (copy.user_id, org) not in memberships:
        # Without a snapshot provider this is how memberships are learned: the backend sends this user the news.
        joined.setdefault((copy.user_id, org), time)
    elif memberships[copy.user_id, org] is not None:
        return False
    ended = visible.get((copy.user_id, copy.key))
    return ended is None or time > ended


def _memberships(user_ids: set[int]) -> dict[tuple[int, str], int | None]:
    rows = Membership.objects.filter(user_id__in=user_ids).values_list("user_id", "org_id", "ended_at")
    return {(user_id, org_id): ended for user_id, org_id, ended in rows}


def _visible(wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int | None]:
    """Return (user, key) → when its visibility ended, none while it lives; pairs without a row are left out."""
    asked = sql.rows({"user_id": "bigint", "key": "text"})
    rows = sql.fetch(
        f"SELECT seen.user_id, seen.key, seen.ended_at FROM dashboard_visibility AS seen JOIN {asked} AS asked "
        "ON seen.user_id = asked.user_id AND seen.key = asked.key",
        sorted(set(wanted)),
    )
    return {(user_id, key): ended for user_id, key, ended in rows}


def _join(joined: Mapping[tuple[int, str], int]) -> None:
    rows = [Membership(user_id=user, org_id=org, changed_at=time) for (user, org), time in sorted(joined.items())]
    Membership.objects.bulk_create(rows, ignore_conflicts=True)


def _reveal(rows: Sequence[tuple[int, str, str, int]]) -> None:
    new = sql.rows({"user_id": "bigint", "key": "text", "org_id": "text", "granted_at": "bigint"})
    sql.execute(
        "INSERT INTO dashboard_visibility (user_id, key, org_id, granted_at) "
        f"SELECT user_id, key, org_id, granted_at FROM {new} AS new WHERE true "
        "ON CONFLICT (user_id, key) DO UPDATE SET granted_at = excluded.granted_at, ended_at = NULL",
        rows,
    )


def _follow_memberships(user_id: int, roles: Mapping[str, str], as_of: int) -> None:
    known = {membership.org_id: membership for membership in Membership.objects.filter(user_id=user_id)}
    for org_id, role in roles.items():
        membership = known.get(org_id) or Membership(user_id=user_id, org_id=org_id)
        if membership.changed_at <= as_of:
            membership.role, membership.changed_at, membership.ended_at = role, as_of, None
            membership.save()
    for org_id, membership in known.items():
        if org_id not in roles and membership.ended_at is None and membership.changed_at <= as_of:
            membership.changed_at = membership.ended_at = as_of
            membership.save()
