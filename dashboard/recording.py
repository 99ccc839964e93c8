"""Writes from upstream: copies and snapshots become fields, timelines, visibility, and drafts for the feed.

Every fact goes through one fold, in memory, over rows that are locked in the order of their keys; then a handful of
set-based statements write what came of it. Recording is de-duplicated, delivery is not: each copy makes a draft,
because the backend decides, user by user, who hears what. A draft of a fact that lost carries the value that won, so
that whoever applies it ends where the database is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dashboard import standing
from dashboard.models import Field, Refused, Visibility
from realtime import sql
from realtime.clock import to_us
from realtime.events import PRIORITY_NORMAL, PRIORITY_URGENT, Copy, Draft, Recording
from realtime.merge import canonical, newer, tie
from realtime.snapshot import Snapshot

FUTURE = 5 * 60 * 1_000_000
"""Microseconds that a source's clock may be ahead; a fact beyond it is kept apart, or it would lock its field."""

TOKEN_REVOKED = "user/tokenRevoked"
ROLE_CHANGED = "user/roleChanged"

PERSONAL = ("user/", "member/")
"""Kinds of entity that events tell in full: no snapshot is needed to learn the rest."""

FieldKey = tuple[str, str]
Fields = tuple[tuple[str, str, int, int], ...]


@dataclass(slots=True)
class Known:
    """A field as it stands in the fold: as in the table, and changed by what the batch brings."""

    value: str
    time: int
    tie: int
    sourced: bool
    changed_at: int
    confirmed_at: int
    heard_at: int
    recorded_at: int
    touched: bool = False

    @property
    def version(self) -> tuple[int, int]:
        return self.time, self.tie


class Changed(NamedTuple):
    """A line of a timeline to be: as in its table."""

    key: str
    name: str
    value: str
    time: int
    recorded_at: int
    source: str


@dataclass(slots=True)
class Fold:
    """A batch being folded: what is known, and what the tables are to learn."""

    now: int
    known: dict[FieldKey, Known]
    changes: list[Changed] = field(default_factory=list)
    refused: dict[tuple[str, str, int, int], Refused] = field(default_factory=dict)

    def take(self, at: FieldKey, text: str, time: int, *, sourced: bool, source: str, changed_at: int) -> bool:
        """Take one fact by the merge rule; tell whether a fact of an unknown time stands in its way."""
        mark = tie(text)
        current = self.known.get(at)
        if current is None or newer((time, mark), current.version):
            self._accept(
                at, current, Known(text, time, mark, sourced, changed_at, self.now, self.now, self.now, True), source
            )
            return False
        current.heard_at, current.touched = self.now, True
        if current.version == (time, mark):
            current.confirmed_at = self.now
        else:
            tied = time == current.time
            self._refuse(at, text, time, mark, Refused.Reason.TIED if tied else Refused.Reason.OLDER, source)
        return current.value != text and not current.sourced

    def time_to_decide(self, at: FieldKey, as_of: int) -> int:
        """Return the time with which a snapshot settles a field: a time of receipt is none to stand in its way."""
        current = self.known.get(at)
        return as_of if current is None or current.sourced else max(as_of, current.time + 1)

    def _accept(self, at: FieldKey, current: Known | None, fresh: Known, source: str) -> None:
        """A newer fact wins. With an equal value only its version and its confirmation are news."""
        if current is not None and current.value == fresh.value:
            fresh.changed_at, fresh.recorded_at = current.changed_at, current.recorded_at
        else:
            self.changes.append(Changed(*at, fresh.value, fresh.changed_at, self.now, source))
        self.known[at] = fresh

    def quarantine(self, copy: Copy) -> None:
        """Keep what a copy from the future says apart from what is known."""
        for name, text in copy.fields:
            at = copy.key, name
            self._refuse(at, text, standing.time_of(copy), tie(text), Refused.Reason.FUTURE, copy.source)

    def hear(self, at: FieldKey, text: str, received: int, source: str) -> bool:
        """Take one fact of an unknown time: it confirms, and is better than nothing; tell whether it contradicts."""
        current = self.known.get(at)
        if current is None:
            self.take(at, text, received, sourced=False, source=source, changed_at=received)
            return False
        current.heard_at, current.touched = self.now, True
        if current.value == text:
            current.confirmed_at = self.now
        return current.value != text

    def _refuse(self, at: FieldKey, text: str, time: int, mark: int, reason: str, source: str) -> None:
        self.refused[*at, time, mark] = Refused(
            key=at[0], name=at[1], value=text, time=time, recorded_at=self.now, reason=reason, source=source
        )

    def fields(self, key: str, names: Iterable[str]) -> Fields:
        """Return the named fields of an entity as they stand now, in a draft's form."""
        found = ((name, self.known.get((key, name))) for name in names)
        return tuple((name, known.value, known.time, known.tie) for name, known in found if known is not None)


class FieldRecorder:
    """The engine's Recorder.

    ``asks``: there are snapshots to ask, so that a copy without source time that contradicts what is known decides
    nothing. Without them it counts from when it was received, for want of anything better.
    """

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks

    def record(self, copies: Sequence[Copy], now: int) -> Recording:
        """As realtime.product.Recorder.record."""
        recording = Recording()
        for part in _parts(copies):
            _record_part(part, recording, now, asks=self._asks)
        return recording

    def organizations(self, user_id: int) -> list[str]:
        """As realtime.product.Recorder.organizations."""
        return standing.organizations(user_id)

    def reconcile(self, user_id: int, snapshot: Snapshot, since: int, now: int) -> Recording:
        """As realtime.product.Recorder.reconcile."""
        recording = Recording()
        as_of = _credible(to_us(snapshot.as_of), now)
        entities = dict(_entities(snapshot))
        came, went = standing.follow(user_id, snapshot, entities, as_of)
        fold = Fold(now, _lock((key, name) for key, (fields, _) in entities.items() for name in fields))
        for key, (fields, changed_at) in entities.items():
            for name, text in fields.items():
                time = fold.time_to_decide((key, name), as_of)
                fold.take((key, name), text, time, sourced=True, source="snapshot", changed_at=changed_at or as_of)
        # A snapshot that says what is known already, or that an event has overtaken, refuses nothing.
        fold.refused.clear()
        _write(fold, recording)
        for key, missing in sorted(_missing(user_id, came, since).items()):
            recording.drafts.append(_backfill(user_id, key, tuple(missing), as_of, now))
        for key in sorted(went):
            recording.drafts.append(_backfill(user_id, key, (), as_of, now, gone=True))
        _tell_others(fold, user_id, recording, as_of)
        if went:
            recording.narrowed.add(user_id)
            if standing.belongs_nowhere(user_id):
                standing.end_sessions(user_id)
        return recording


# ── Copies ───────────────────────────────────────────────────────────────────────────────────────────────────


def _parts(copies: Sequence[Copy]) -> Iterator[Sequence[Copy]]:
    """Cut a batch behind each change of a role: what follows is judged by where its people stand then."""
    start = 0
    for end, copy in enumerate(copies, 1):
        if copy.event_type == ROLE_CHANGED:
            yield copies[start:end]
            start = end
    if start < len(copies):
        yield copies[start:]


def _record_part(copies: Sequence[Copy], recording: Recording, now: int, *, asks: bool) -> None:
    timely = [copy for copy in copies if not _from_future(copy, now)]
    granted = standing.grant(timely)
    fields = {(copy.key, name) for copy in timely for name, _ in copy.fields} | _fields_of(granted)
    fold = Fold(now, _lock(fields))
    whole = _names_by_key(fields)
    seen = iter(granted.seen)
    for copy in copies:
        if _from_future(copy, now):
            fold.quarantine(copy)
            recording.doubtful.add(copy.user_id)
            recording.drafts.append(_withheld(copy))
        elif next(seen):
            if _fold_in(fold, copy, decides=_decides(copy, asks)):
                recording.doubtful.add(copy.user_id)
            fresh = (copy.user_id, copy.key) in granted.fresh
            names = whole[copy.key] if fresh else [name for name, _ in copy.fields]
            recording.drafts.append(_draft(copy, fold.fields(copy.key, names)))
        elif copy.source != standing.WIDE:
            recording.drafts.append(_withheld(copy))
    recording.doubtful.update(user for user, key in granted.fresh if not key.startswith(PERSONAL))
    _write(fold, recording)
    for copy in copies:
        if copy.event_type == TOKEN_REVOKED:
            standing.end_sessions(copy.user_id)
            recording.narrowed.add(copy.user_id)
        elif copy.event_type == ROLE_CHANGED:
            recording.doubtful.add(copy.user_id)
            if _decides(copy, asks) and not _from_future(copy, now):
                _follow_role(copy, recording)


def _decides(copy: Copy, asks: bool) -> bool:
    """GraphQL results never carry a time, so asking about each would ask about everything: receipt decides there."""
    return copy.time is not None or not asks or copy.source == standing.WIDE


def _from_future(copy: Copy, now: int) -> bool:
    return standing.time_of(copy) > now + FUTURE


def _fields_of(granted: standing.Granted) -> set[FieldKey]:
    """Return all fields that are known of the entities which somebody sees for the first time."""
    asked = sql.rows({"key": "text"})
    found = sql.fetch(
        f"SELECT known.key, known.name FROM dashboard_field AS known JOIN {asked} AS asked ON known.key = asked.key",
        sorted({(key,) for _, key in granted.fresh}),
    )
    return {(key, name) for key, name in found}


def _names_by_key(fields: Iterable[FieldKey]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for key, name in sorted(fields):
        names.setdefault(key, []).append(name)
    return names


def _fold_in(fold: Fold, copy: Copy, *, decides: bool) -> bool:
    """Fold a copy in; tell whether it is in doubt what is so now, because a time is not known."""
    time = standing.time_of(copy)
    doubts = [
        fold.take((copy.key, name), text, time, sourced=copy.time is not None, source=copy.source, changed_at=time)
        if decides
        else fold.hear((copy.key, name), text, time, copy.source)
        for name, text in copy.fields
    ]
    return any(doubts)


def _draft(copy: Copy, fields: Fields) -> Draft:
    """The entry of a copy, with the facts that hold now that it is folded in: its own, or those that beat them."""
    return Draft(
        topic=f"user.{copy.user_id}",
        key=copy.key,
        event_type=copy.event_type,
        priority=PRIORITY_URGENT if copy.urgent else PRIORITY_NORMAL,
        source=copy.source,
        fields=fields,
        source_time=copy.time,
        received=copy.received,
    )


def _withheld(copy: Copy) -> Draft:
    """The entry of a copy that this user may not see: it says that something came, and nothing else."""
    return Draft(
        topic=f"user.{copy.user_id}",
        key="withheld",
        event_type="withheld",
        priority=PRIORITY_NORMAL,
        source=copy.source,
        source_time=copy.time,
        received=copy.received,
    )


def _follow_role(copy: Copy, recording: Recording) -> None:
    left = standing.change_role(copy)
    if left is None:
        return
    recording.drafts += [_left(copy, key) for key in sorted(left)]
    if left:
        recording.narrowed.add(copy.user_id)
    if standing.belongs_nowhere(copy.user_id):
        standing.end_sessions(copy.user_id)
        recording.narrowed.add(copy.user_id)


def _left(copy: Copy, key: str) -> Draft:
    """The entry of an entity that left its user's view with the role that this copy ended."""
    return Draft(
        topic=f"user.{copy.user_id}",
        key=key,
        event_type=copy.event_type,
        priority=PRIORITY_URGENT,
        source=copy.source,
        gone=True,
        source_time=copy.time,
        received=copy.received,
    )


# ── Snapshots ────────────────────────────────────────────────────────────────────────────────────────────────


def _entities(snapshot: Snapshot) -> Iterable[tuple[str, tuple[dict[str, str], int | None]]]:
    """Give each entity's key, its fields as canonical JSON, and when it last changed, if the backend says."""
    for org in snapshot.organizations:
        yield (
            f"organization/{org.org_id}",
            (
                _texts(
                    name=org.name,
                    licensePhase=org.license_phase,
                    isFreePlan=org.is_free_plan,
                    AIControlSetting=org.ai_control_setting,
                ),
                None,
            ),
        )
        yield f"member/{org.org_id}/{snapshot.user.user_id}", (_texts(role=org.role), None)
    for device in snapshot.devices:
        yield (
            f"device/{device.org_id}/{device.device_id}",
            (
                _texts(
                    name=device.name,
                    model=device.model,
                    siteId=device.site_id,
                    online=device.online,
                    recording=device.recording,
                    fwUpdateState=device.fw_update_state,
                    fwProgress=device.fw_progress,
                    fwVersion=device.fw_version,
                ),
                to_us(device.changed_at) if device.changed_at else None,
            ),
        )
    for archive in snapshot.archives:
        yield (
            f"archive/{archive.org_id}/{archive.archive_id}",
            (
                _texts(name=archive.name, deviceId=archive.device_id, state=archive.state, progress=archive.progress),
                to_us(archive.changed_at) if archive.changed_at else None,
            ),
        )


def _texts(**values: Any) -> dict[str, str]:
    return {name: canonical(value) for name, value in values.items() if value is not None}


def _credible(as_of: int, now: int) -> int:
    """Return the moment of a snapshot: it was asked for just now, whatever a backend's clock far ahead says."""
    return as_of if as_of <= now + FUTURE else now


def _missing(user_id: int, came: Iterable[str], since: int) -> dict[str, list[tuple[str, str, int, int]]]:
    """Return key → fields that this user's feed may lack: all of what came, and what was recorded ``since``."""
    seen = Visibility.objects.filter(user_id=user_id, ended_at=None).values("key")
    late = Field.objects.filter(key__in=seen, recorded_at__gte=since).order_by("name")
    found = list(late.values_list("key", "name", "value", "time", "tie"))
    asked = sql.rows({"key": "text"})
    found += sql.fetch(
        "SELECT known.key, known.name, known.value, known.time, known.tie "
        f"FROM dashboard_field AS known JOIN {asked} AS asked ON known.key = asked.key ORDER BY known.name",
        sorted((key,) for key in came),
    )
    missing: dict[str, dict[str, tuple[str, str, int, int]]] = {}
    for key, name, value, time, mark in found:
        missing.setdefault(key, {})[name] = (name, value, time, mark)
    return {key: list(fields.values()) for key, fields in missing.items()}


def _tell_others(fold: Fold, user_id: int, recording: Recording, as_of: int) -> None:
    """Tell everybody else who sees them of the values that this snapshot changed: nobody's copy need ever come."""
    changed: dict[str, list[str]] = {}
    for change in fold.changes:
        changed.setdefault(change.key, []).append(change.name)
    asked = sql.rows({"key": "text"})
    others = sql.fetch(
        f"SELECT seen.user_id, seen.key FROM dashboard_visibility AS seen JOIN {asked} AS asked "
        "ON seen.key = asked.key WHERE seen.ended_at IS NULL AND seen.user_id <> %s ORDER BY seen.user_id, seen.key",
        sorted((key,) for key in changed),
        user_id,
    )
    for other, key in others:
        recording.drafts.append(_backfill(other, key, fold.fields(key, changed[key]), as_of, fold.now))


def _backfill(user_id: int, key: str, fields: Fields, as_of: int, now: int, *, gone: bool = False) -> Draft:
    return Draft(
        topic=f"user.{user_id}",
        key=key,
        event_type="backfill",
        priority=PRIORITY_NORMAL,
        source="snapshot",
        fields=fields,
        gone=gone,
        source_time=as_of,
        received=now,
    )


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────────

COLUMNS = "key, name, value, time, tie, sourced, changed_at, confirmed_at, heard_at, recorded_at"

TIMELINE: dict[str, sql.Kind] = {
    "key": "text",
    "name": "text",
    "value": "text",
    "time": "bigint",
    "recorded_at": "bigint",
    "source": "text",
}


def _lock(wanted: Iterable[FieldKey]) -> dict[FieldKey, Known]:
    """Return what is known of these fields, their rows locked in the order of their keys."""
    asked = sql.rows({"key": "text", "name": "text"})
    columns = ", ".join(f"known.{column}" for column in COLUMNS.split(", "))
    rows = sql.fetch(
        f"SELECT {columns} FROM dashboard_field AS known JOIN {asked} AS asked "
        f"ON known.key = asked.key AND known.name = asked.name ORDER BY known.key, known.name{sql.lock_rows('known')}",
        sorted(set(wanted)),
    )
    return {
        (key, name): Known(value, time, mark, bool(sourced), *times)
        for key, name, value, time, mark, sourced, *times in rows
    }


def _write(fold: Fold, recording: Recording) -> None:
    """Write what the fold came to. The WHERE guards against a row that another worker made meanwhile."""
    new = sql.rows(
        {
            "key": "text",
            "name": "text",
            "value": "text",
            "time": "bigint",
            "tie": "bigint",
            "sourced": "boolean",
            "changed_at": "bigint",
            "confirmed_at": "bigint",
            "heard_at": "bigint",
            "recorded_at": "bigint",
        }
    )
    sets = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS.split(", ")[2:])
    sql.execute(
        f"INSERT INTO dashboard_field ({COLUMNS}) SELECT {COLUMNS} FROM {new} AS new WHERE true "
        f"ON CONFLICT (key, name) DO UPDATE SET {sets} WHERE excluded.time > dashboard_field.time "
        "OR (excluded.time = dashboard_field.time AND excluded.tie >= dashboard_field.tie)",
        [
            (key, name, k.value, k.time, k.tie, k.sourced, k.changed_at, k.confirmed_at, k.heard_at, k.recorded_at)
            for (key, name), k in sorted(fold.known.items(), key=lambda item: item[0])
            if k.touched
        ],
    )
    refused = _without_repeats(list(fold.refused.values()))
    sql.insert("dashboard_change", TIMELINE, fold.changes)
    Refused.objects.bulk_create(refused, batch_size=500)
    recording.changed += len(fold.changes)
    recording.refused += len(refused)


def _without_repeats(refused: list[Refused]) -> list[Refused]:
    """Leave out facts that were accepted before: a colleague's copy of them is late, not wrong."""
    asked = sql.rows({"key": "text", "name": "text", "time": "bigint", "value": "text"})
    accepted = set(
        sql.fetch(
            f"SELECT old.key, old.name, old.time FROM dashboard_change AS old JOIN {asked} AS asked "
            "ON old.key = asked.key AND old.time = asked.time AND old.name = asked.name AND old.value = asked.value",
            [(r.key, r.name, r.time, r.value) for r in refused],
        )
    )
    return [r for r in refused if (r.key, r.name, r.time) not in accepted]
