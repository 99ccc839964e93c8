"""Where a person stands: member of which organisation, seeing which entities, as only that person's own upstream says.

A copy on a user's own channel shows that the backend lets this user hear of an entity; the user's own snapshot says
what there is in all. Neither brings back what has ended, unless it is younger than the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from django.db.models import F

from dashboard.access import Organizations, organizations
from dashboard.models import Membership, User, Visibility
from realtime import sql
from realtime.events import Copy
from realtime.feeds import organization_of
from realtime.product import Audience
from realtime.snapshot import Snapshot

WIDE = frozenset({"graphql", "service"})
"""Sources that hear more than one person's channels do: hearing of an entity there grants no view of it."""

PERSONAL = ("user/", "member/")
"""Kinds of entity that events tell in full: no snapshot is needed to learn the rest."""


def visible(user_id: int, keys: Collection[str]) -> set[str]:
    """Return those of the keys that this user may be told of by a source that grants nothing."""
    subject = User.objects.values_list("subject", flat=True).get(pk=user_id)
    living = Visibility.objects.filter(user_id=user_id, ended_at=None, key__in=list(keys))
    return {key for key in keys if _is_personal(key, subject)} | set(living.values_list("key", flat=True))


def audience(keys: Collection[str]) -> Audience:
    """As realtime.product.Recorder.audience; the own role and token concern their person, member or not."""
    asked = sql.rows({"key": "text"})
    rows = sql.fetch(
        f"SELECT seen.key, seen.user_id FROM dashboard_visibility AS seen JOIN {asked} AS asked "
        "ON seen.key = asked.key WHERE seen.ended_at IS NULL",
        sorted((key,) for key in keys),
    )
    seen: dict[str, set[int]] = {key: set() for key in keys}
    for key, user_id in rows:
        seen[key].add(user_id)
    personal = {key: key.rpartition("/")[2] for key in keys if key.startswith(PERSONAL)}
    people = dict(User.objects.filter(subject__in=personal.values()).values_list("subject", "pk"))
    for key, subject in personal.items():
        seen[key] |= {people[subject]} if subject in people else set()
    return Audience(seen, _members_of(set(keys) - personal.keys() - {key for key, _ in rows}))


def _members_of(keys: Collection[str]) -> dict[str, set[int]]:
    """Return the living members of each entity's organisation."""
    places = {key: organization_of(key) for key in keys}
    living = Membership.objects.filter(org_id__in=set(places.values()), ended_at=None)
    members: dict[str, set[int]] = {org_id: set() for org_id in places.values()}
    for org_id, user_id in living.values_list("org_id", "user_id") if places else ():
        members[org_id].add(user_id)
    return {key: members[org_id] for key, org_id in places.items()}


@dataclass(slots=True)
class Granted:
    """For each copy, in order, whether its user may see its entity; and what users see for the first time.

    ``joined`` are the users who turned out to be members of another organisation, with what they looked at before.
    """

    seen: list[bool] = field(default_factory=list)
    fresh: dict[tuple[int, str], int] = field(default_factory=dict)
    joined: dict[int, Organizations] = field(default_factory=dict)


def grant(copies: Sequence[Copy]) -> Granted:
    """Judge for each copy whether its user may see its entity, and grant what the copy shows to be visible."""
    people = _people({copy.user_id for copy in copies})
    view = _View(*people, _hidden({(copy.user_id, copy.fact.key) for copy in copies}))
    granted = Granted()
    for copy in copies:
        seen = view.shows(copy)
        if seen and (copy.user_id, copy.fact.key) in view.hidden:
            granted.fresh[copy.user_id, copy.fact.key] = copy.effective_time
            del view.hidden[copy.user_id, copy.fact.key]
        granted.seen.append(seen)
    granted.joined = {user_id: organizations(user_id) for user_id, _ in view.joined}
    _join(view.joined)
    _reveal([(user, key, organization_of(key), time) for (user, key), time in sorted(granted.fresh.items())])
    return granted


def change_role(copy: Copy) -> set[str] | None:
    """Follow a roleChanged: return the keys that left its user's view, None if it is not news of this user's role."""
    user = User.objects.filter(pk=copy.user_id).first()
    _, org, subject = copy.fact.key.split("/", 2)
    if user is None or user.subject != subject:
        return None
    role = msgspec.json.decode(dict(copy.fact.fields)["role"])
    membership, _ = Membership.objects.get_or_create(user=user, org_id=org)
    if copy.effective_time <= membership.changed_at:
        return None
    ended = role is None
    membership.role, membership.changed_at = role or "", copy.effective_time
    membership.ended_at = membership.changed_at if ended else None
    membership.save()
    return _leave(user, org, copy.fact.key, membership.changed_at) if ended else set()


def follow(user_id: int, snapshot: Snapshot, keys: Iterable[str], as_of: int) -> tuple[set[str], set[str]]:
    """Bring memberships and visibility to the user's snapshot; return the keys that came, and those that went.

    What ended after the moment of the snapshot stays ended.
    """
    left = _follow_memberships(user_id, {org.org_id: org.role or "" for org in snapshot.organizations}, as_of)
    wanted = {key for key in keys if organization_of(key) not in left}
    rows = dict(Visibility.objects.filter(user_id=user_id).values_list("key", "ended_at"))
    came = {key for key in wanted if key not in rows or _ended_by(rows[key], as_of)}
    living = Visibility.objects.filter(user_id=user_id, ended_at=None, granted_at__lte=as_of)
    went = {key for key in living.values_list("key", flat=True) if key not in wanted and not key.startswith("user/")}
    _reveal([(user_id, key, organization_of(key), as_of) for key in sorted(came)])
    _end([(user_id, key, as_of) for key in sorted(went)])
    return came, went


def is_about_its_user(copy: Copy) -> bool:
    """Tell whether a copy tells of the very user on whose link it came: of the own token or role."""
    return User.objects.filter(pk=copy.user_id, subject=copy.fact.key.rpartition("/")[2]).exists()


def others_who_see(keys: Iterable[str], user_id: int) -> list[tuple[int, str]]:
    """Return (user, key) for everybody else who sees one of these entities, in order."""
    asked = sql.rows({"key": "text"})
    return sql.fetch(
        f"SELECT seen.user_id, seen.key FROM dashboard_visibility AS seen JOIN {asked} AS asked "
        "ON seen.key = asked.key WHERE seen.ended_at IS NULL AND seen.user_id <> %s ORDER BY seen.user_id, seen.key",
        sorted((key,) for key in keys),
        user_id,
    )


def end_sessions(user_id: int) -> None:
    """End all sign-in sessions of this user."""
    User.objects.filter(pk=user_id).update(session_epoch=F("session_epoch") + 1)


def belongs_nowhere(user_id: int) -> bool:
    """Tell whether this user was a member of organisations and is of none now."""
    ends = set(Membership.objects.filter(user_id=user_id).values_list("ended_at", flat=True))
    return bool(ends) and None not in ends


@dataclass(slots=True)
class _View:
    """What the users of a batch may see while it is judged: what is not ``hidden``, which nearly nothing is.

    ``joined``: organisations that they turn out to be in.
    """

    subjects: Mapping[int, str | None]
    memberships: Mapping[tuple[int, str], int | None]
    hidden: dict[tuple[int, str], int | None]
    joined: dict[tuple[int, str], int] = field(default_factory=dict)

    def shows(self, copy: Copy) -> bool:
        place = copy.user_id, copy.fact.key
        if place in self.hidden:
            ended = self.hidden[place]
            if ended is not None and copy.effective_time <= ended:
                return False
        if copy.source in WIDE and not self._is_about_its_user(copy):
            return place not in self.hidden
        return self._is_about_its_user(copy) or self._is_member(copy)

    def _is_about_its_user(self, copy: Copy) -> bool:
        """A person hears of the own role and tokens even when belonging nowhere any more."""
        return _is_personal(copy.fact.key, self.subjects.get(copy.user_id))

    def _is_member(self, copy: Copy) -> bool:
        place = copy.user_id, organization_of(copy.fact.key)
        if not place[1]:
            return False
        if place not in self.memberships:
            # Without a snapshot provider this is how memberships are learned: the backend sends this user the news.
            self.joined.setdefault(place, copy.effective_time)
            return True
        return self.memberships[place] is None


def _is_personal(key: str, subject: str | None) -> bool:
    """Tell whether an entity is the own role or token of the person with this subject."""
    return key.startswith(PERSONAL) and key.rpartition("/")[2] == subject


def _ended_by(ended: int | None, as_of: int) -> bool:
    return ended is not None and ended <= as_of


def _leave(user: User, org: str, own_key: str, at: int) -> set[str]:
    """End the user's view of an organisation, but for the own membership, whose end is to be seen."""
    living = Visibility.objects.filter(user=user, org_id=org, ended_at=None).exclude(key=own_key)
    left = set(living.values_list("key", flat=True))
    living.update(ended_at=at)
    return left


def _people(user_ids: set[int]) -> tuple[dict[int, str | None], dict[tuple[int, str], int | None]]:
    """Return user → subject, and (user, organisation) → when the membership ended, none while it lives."""
    asked = sql.rows({"user_id": "bigint"})
    rows = sql.fetch(
        f"SELECT person.id, person.subject, member.org_id, member.ended_at FROM {asked} AS asked "
        "JOIN dashboard_user AS person ON person.id = asked.user_id "
        "LEFT JOIN dashboard_membership AS member ON member.user_id = person.id",
        [(user_id,) for user_id in sorted(user_ids)],
    )
    subjects = {user_id: subject for user_id, subject, _, _ in rows}
    return subjects, {(user_id, org_id): ended for user_id, _, org_id, ended in rows if org_id is not None}


def _hidden(wanted: Collection[tuple[int, str]]) -> dict[tuple[int, str], int | None]:
    """Return those of these (user, key) that are not visible, with when that ended; none if they never were."""
    asked = sql.rows({"user_id": "bigint", "key": "text"})
    rows = sql.fetch(
        f"SELECT asked.user_id, asked.key, seen.ended_at FROM {asked} AS asked "
        "LEFT JOIN dashboard_visibility AS seen ON seen.user_id = asked.user_id AND seen.key = asked.key "
        "WHERE seen.key IS NULL OR seen.ended_at IS NOT NULL",
        list(wanted),
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


def _end(rows: Sequence[tuple[int, str, int]]) -> None:
    gone = sql.rows({"user_id": "bigint", "key": "text", "ended_at": "bigint"})
    sql.execute(
        f"UPDATE dashboard_visibility SET ended_at = gone.ended_at FROM {gone} AS gone "
        "WHERE dashboard_visibility.user_id = gone.user_id AND dashboard_visibility.key = gone.key",
        rows,
    )


def _follow_memberships(user_id: int, roles: Mapping[str, str], as_of: int) -> set[str]:
    """Bring memberships to the snapshot; return the organisations that the user is not a member of, as known now."""
    known = {membership.org_id: membership for membership in Membership.objects.filter(user_id=user_id)}
    for org_id, role in roles.items():
        membership = known.setdefault(org_id, Membership(user_id=user_id, org_id=org_id))
        if membership.changed_at <= as_of:
            membership.role, membership.changed_at, membership.ended_at = role, as_of, None
            membership.save()
    for org_id, membership in known.items():
        if org_id not in roles and membership.ended_at is None and membership.changed_at <= as_of:
            membership.changed_at = membership.ended_at = as_of
            membership.save()
    return {org_id for org_id, membership in known.items() if membership.ended_at is not None}
