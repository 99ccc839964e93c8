"""Writes from upstream: copies and snapshots become fields, timelines, visibility, and drafts for the feed.

Every fact goes through one fold, in memory, over fields whose entities are locked; then a handful of set-based
statements write what came of it. Recording is de-duplicated, delivery is not: each copy makes a draft, because the
backend decides, user by user, who hears what. A draft of a fact that lost carries the value that won, so that whoever
applies it ends where the database is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

from dashboard import access, drafts, standing, switching, tables
from dashboard.fold import FieldKey, Fold
from dashboard.snapshots import Told, entities
from realtime import sql
from realtime.clock import to_us
from realtime.events import Copy, News, Recording
from realtime.product import Audience
from realtime.snapshot import Snapshot

FUTURE = 5 * 60 * 1_000_000
"""Microseconds that a source's clock may be ahead; a fact beyond it is kept apart, or it would lock its field."""

TOKEN_REVOKED = "user/tokenRevoked"
ROLE_CHANGED = "user/roleChanged"


class FieldRecorder:
    """The engine's Recorder.

    ``asks``: there are snapshots to ask, so that a copy without source time that contradicts what is known decides
    nothing. Without them it counts from when it was received, for want of anything better.
    """

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks

    def lock(self, copies: Sequence[Copy], snapshots: Sequence[Snapshot]) -> None:
        """As realtime.product.Recorder.lock."""
        sql.lock_names(
            chain((copy.fact.key for copy in copies), (key for snapshot in snapshots for key in entities(snapshot)))
        )

    def record(self, copies: Sequence[Copy], now: int) -> Recording:
        """As realtime.product.Recorder.record."""
        recording = Recording()
        for part in _parts(copies):
            _record_part(part, recording, now, asks=self._asks)
        return recording

    def organizations(self, user_id: int) -> list[str]:
        """As realtime.product.Recorder.organizations."""
        active = access.organizations(user_id).active
        return [active] if active else []

    def audience(self, keys: Collection[str]) -> Audience:
        """As realtime.product.Recorder.audience."""
        return standing.audience(keys)

    def visible(self, user_id: int, keys: Collection[str]) -> set[str]:
        """As realtime.product.Recorder.visible."""
        return standing.visible(user_id, keys)

    def reconcile(self, user_id: int, snapshot: Snapshot, since: int, now: int) -> Recording:
        """As realtime.product.Recorder.reconcile."""
        recording = Recording()
        as_of = _credible(to_us(snapshot.as_of), now)
        told = entities(snapshot)
        before = {user_id: access.organizations(user_id)}
        came, went = standing.follow(user_id, snapshot, told, as_of)
        fold = _settle(told, as_of, snapshot.asked, now)
        _write(fold, recording)
        for key, fields in sorted(tables.missing(user_id, came, since).items()):
            recording.drafts.append(drafts.backfill(user_id, key, fields, as_of, now))
        for key in sorted(went):
            recording.drafts.append(drafts.backfill(user_id, key, (), as_of, now, gone=True))
        _tell_others(fold, user_id, recording, as_of)
        if came:
            recording.widened.add(user_id)
        if went:
            _narrow(user_id, recording)
        switching.follow_memberships(before, now, recording)
        return recording


def _write(fold: Fold, recording: Recording) -> None:
    changed, refused = tables.write(fold)
    recording.changed += changed
    recording.refused += refused


def _narrow(user_id: int, recording: Recording) -> None:
    """Note that this user sees less; who belongs nowhere any more is signed out."""
    recording.narrowed.add(user_id)
    if standing.belongs_nowhere(user_id):
        standing.end_sessions(user_id)


# ── Copies ───────────────────────────────────────────────────────────────────────────────────────────────────


def _parts(copies: Sequence[Copy]) -> Iterator[Sequence[Copy]]:
    """Cut a batch behind each change of a role: what follows is judged by where its people stand then."""
    start = 0
    for end, copy in enumerate(copies, 1):
        if copy.fact.event_type == ROLE_CHANGED:
            yield copies[start:end]
            start = end
    if start < len(copies):
        yield copies[start:]


def _record_part(copies: Sequence[Copy], recording: Recording, now: int, *, asks: bool) -> None:
    timely = [copy for copy in copies if not _from_future(copy, now)]
    granted = standing.grant(timely)
    switching.follow_memberships(granted.joined, now, recording)
    facts = {id(copy.fact): copy.fact for copy in timely}.values()
    fields = {(fact.key, name) for fact in facts for name, _ in fact.fields}
    fields |= tables.fields_of(key for _, key in granted.fresh)
    fold = Fold(now, tables.known(fields))
    whole = _names_by_key(fields) if granted.fresh else {}
    seen = iter(granted.seen)
    for copy in copies:
        if _from_future(copy, now):
            fold.quarantine(copy)
            recording.doubtful.add(copy.user_id)
            recording.drafts.append(drafts.withheld(copy))
        elif next(seen):
            key = copy.fact.key
            names = whole[key] if (copy.user_id, key) in granted.fresh else None
            recording.drafts.append(drafts.of_copy(copy, _tell(fold, copy, names, recording, asks=asks)))
        elif copy.source not in standing.WIDE:
            recording.drafts.append(drafts.withheld(copy))
    recording.doubtful.update(user for user, key in granted.fresh if not key.startswith(standing.PERSONAL))
    _write(fold, recording)
    for copy in copies:
        if copy.fact.event_type == TOKEN_REVOKED:
            _follow_revocation(copy, recording)
        elif copy.fact.event_type == ROLE_CHANGED:
            recording.doubtful.add(copy.user_id)
            if _decides(copy, asks) and not _from_future(copy, now):
                _follow_role(copy, recording, now)


def _tell(fold: Fold, copy: Copy, names: list[str] | None, recording: Recording, *, asks: bool) -> News:
    """Fold a copy in and return what it tells: the fields of these names, with none those that its event sets.

    A copy of what was folded in before, with the same time, adds nothing while the entity stands as it did then.
    """
    fact = copy.fact
    copied = id(fact), copy.source
    if names is None and (told := fold.told.get(fact.key)) is not None and copied in told:
        return told[copied]
    doubtful = _fold_in(fold, copy, decides=_decides(copy, asks))
    news = drafts.heard(copy, fold.fields(fact.key, names or [name for name, _ in fact.fields]))
    if doubtful:
        recording.doubtful.add(copy.user_id)
    elif names is None and fact.time is not None:
        fold.told.setdefault(fact.key, {})[copied] = news
    return news


def _decides(copy: Copy, asks: bool) -> bool:
    """GraphQL results never carry a time, so asking about each would ask about everything: receipt decides there."""
    return copy.fact.time is not None or not asks or copy.source == "graphql"


def _from_future(copy: Copy, now: int) -> bool:
    return copy.effective_time > now + FUTURE


def _names_by_key(fields: Iterable[FieldKey]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for key, name in sorted(fields):
        names.setdefault(key, []).append(name)
    return names


def _fold_in(fold: Fold, copy: Copy, *, decides: bool) -> bool:
    """Fold a copy in; tell whether it is in doubt what is so now, because a time is not known."""
    time, sourced, key = copy.effective_time, copy.fact.time is not None, copy.fact.key
    doubts = [
        fold.take((key, name), text, time, sourced=sourced, source=copy.source, changed_at=time)
        if decides
        else fold.hear((key, name), text, time, copy.source)
        for name, text in copy.fact.fields
    ]
    return any(doubts)


def _follow_revocation(copy: Copy, recording: Recording) -> None:
    """End the sessions of the user whose token was revoked, whatever the source's clock says.

    A user's own channel tells of that user alone; a subscription to an organisation tells of colleagues too.
    """
    if copy.source in standing.WIDE and not standing.is_about_its_user(copy):
        return
    standing.end_sessions(copy.user_id)
    recording.revoked.add(copy.user_id)
    recording.narrowed.add(copy.user_id)


def _follow_role(copy: Copy, recording: Recording, now: int) -> None:
    before = {copy.user_id: access.organizations(copy.user_id)}
    left = standing.change_role(copy)
    if left is None:
        return
    switching.follow_memberships(before, now, recording)
    recording.drafts += [drafts.left(copy, key) for key in sorted(left)]
    if left or standing.belongs_nowhere(copy.user_id):
        _narrow(copy.user_id, recording)


# ── Snapshots ────────────────────────────────────────────────────────────────────────────────────────────────


def _credible(as_of: int, now: int) -> int:
    """Return the moment of a snapshot: it was asked for just now, whatever a backend's clock far ahead says."""
    return as_of if as_of <= now + FUTURE else now


def _settle(told: dict[str, Told], as_of: int, asked: int | None, now: int) -> Fold:
    """Fold a snapshot in. What it knows no better, because an event has overtaken it, is no refusal."""
    fold = Fold(now, tables.known((key, name) for key, entity in told.items() for name in entity.fields))
    for key, entity in told.items():
        for name, text in entity.fields.items():
            time = fold.time_to_decide((key, name), as_of, asked)
            changed_at = entity.changed_at or as_of
            if time is None:
                fold.hear((key, name), text, as_of, "snapshot")
            else:
                fold.take((key, name), text, time, sourced=True, source="snapshot", changed_at=changed_at)
    fold.refused.clear()
    return fold


def _tell_others(fold: Fold, user_id: int, recording: Recording, as_of: int) -> None:
    """Tell everybody else who sees them of the values that this snapshot changed: nobody's copy need ever come."""
    changed: dict[str, list[str]] = {}
    for change in fold.changes:
        changed.setdefault(change.key, []).append(change.name)
    for other, key in standing.others_who_see(changed, user_id):
        recording.drafts.append(drafts.backfill(other, key, fold.fields(key, changed[key]), as_of, fold.now))
