"""Writes from upstream: copies and snapshots become fields, timelines, visibility, and drafts for the feed.

Every fact goes through one fold, in memory, over rows that are locked in the order of their keys; then a handful of
set-based statements write what came of it. Recording is de-duplicated, delivery is not: each copy makes a draft,
because the backend decides, user by user, who hears what. A draft of a fact that lost carries the value that won, so
that whoever applies it ends where the database is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import F

from dashboard import standing
from dashboard.models import Change, Refused, User
from realtime import sql
from realtime.events import PRIORITY_NORMAL, PRIORITY_URGENT, Copy, Draft, Recording
from realtime.merge import canonical, newer, tie
from realtime.snapshot import Snapshot

FUTURE = 5 * 60 * 1_000_000
"""Microseconds that a source's clock may be ahead; a fact beyond it is kept apart, or it would lock its field."""

TOKEN_REVOKED = "user/tokenRevoked"
ROLE_CHANGED = "user/roleChanged"

FieldKey = tuple[str, str]


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


@dataclass(slots=True)
class Fold:
    """A batch being folded: what is known, and what the tables are to learn."""

    now: int
    known: dict[FieldKey, Known]
    changes: list[Change] = field(default_factory=list)
    refused: dict[tuple[str, str, int, int], Refused] = field(default_factory=dict)

    def take(self, at: FieldKey, text: str, time: int, *, sourced: bool, source: str, changed_at: int) -> None:
        """Take one fact by the merge rule."""
        mark = tie(text)
        current = self.known.get(at)
        if time > self.now + FUTURE:
            self._refuse(at, text, time, mark, Refused.Reason.FUTURE, source)
        elif current is None or newer((time, mark), current.version):
            self._accept(
                at, current, Known(text, time, mark, sourced, changed_at, self.now, self.now, self.now, True), source
            )
        else:
            current.heard_at, current.touched = self.now, True
            if current.version == (time, mark):
                current.confirmed_at = self.now
            else:
                tied = time == current.time
                self._refuse(at, text, time, mark, Refused.Reason.TIED if tied else Refused.Reason.OLDER, source)

    def _accept(self, at: FieldKey, current: Known | None, fresh: Known, source: str) -> None:
        """A newer fact wins. With an equal value only its version and its confirmation are news."""
        if current is not None and current.value == fresh.value:
            fresh.changed_at, fresh.recorded_at = current.changed_at, current.recorded_at
        else:
            self.changes.append(
                Change(
                    key=at[0], name=at[1], value=fresh.value, time=fresh.changed_at, recorded_at=self.now, source=source
                )
            )
        self.known[at] = fresh

    def _refuse(self, at: FieldKey, text: str, time: int, mark: int, reason: str, source: str) -> None:
        self.refused[*at, time, mark] = Refused(
            key=at[0], name=at[1], value=text, time=time, recorded_at=self.now, reason=reason, source=source
        )

    def fields(self, key: str, names: Iterable[str]) -> tuple[tuple[str, str, int, int], ...]:
        """Return the named fields of an entity as they stand now, in a draft's form."""
        found = ((name, self.known.get((key, name))) for name in names)
        return tuple((name, known.value, known.time, known.tie) for name, known in found if known is not None)


class FieldRecorder:
    """The engine's Recorder."""

    def record(self, copies: Sequence[Copy], now: int) -> Recording:
        """As realtime.product.Recorder.record."""
        granted, strangers = standing.grant(copies, now)
        recording = Recording(drafts=[], narrowed=set(), strangers=strangers)
        fold = Fold(now, _lock((copy.key, name) for copy in copies for name, _ in copy.fields))
        for copy, seen in zip(copies, granted, strict=True):
            recording.drafts.append(_record_one(fold, copy, now) if seen else _withheld(copy))
        _write(fold, recording)
        for copy, seen in zip(copies, granted, strict=True):
            if seen:
                _act(copy, recording, now)
        return recording

    def reconcile(self, user_id: int, snapshot: Snapshot, since: int, now: int) -> Recording:
        """As realtime.product.Recorder.reconcile."""
        recording = Recording(drafts=[], narrowed=set())
        as_of = microseconds(snapshot.as_of)
        entities = dict(_entities(snapshot))
        fold = Fold(now, _lock((key, name) for key, (fields, _) in entities.items() for name in fields))
        for key, (fields, changed_at) in entities.items():
            for name, text in fields.items():
                fold.take((key, name), text, as_of, sourced=True, source="snapshot", changed_at=changed_at or as_of)
        # A snapshot that says what is known already, or that an event has overtaken, refuses nothing.
        fold.refused.clear()
        _write(fold, recording)
        came, went = standing.follow(user_id, snapshot, entities, as_of, now)
        for key, (fields, _) in entities.items():
            names = fields if key in came else [n for n in fields if fold.known[key, n].recorded_at >= since]
            if names:
                recording.drafts.append(_backfill(user_id, key, fold.fields(key, names), as_of, now))
        for key in went:
            recording.drafts.append(_backfill(user_id, key, (), as_of, now, gone=True))
        if went:
            recording.narrowed.add(user_id)
        return recording


def microseconds(moment: datetime) -> int:
    """Return an aware datetime as microseconds since the epoch."""
    return round(moment.timestamp() * 1_000_000)


# ── Copies ───────────────────────────────────────────────────────────────────────────────────────────────────


def _record_one(fold: Fold, copy: Copy, now: int) -> Draft:
    time = copy.received if copy.time is None else copy.time
    for name, text in copy.fields:
        fold.take((copy.key, name), text, time, sourced=copy.time is not None, source=copy.source, changed_at=time)
    own = {name: (name, text, time, tie(text)) for name, text in copy.fields if time <= now + FUTURE}
    for name, text, won_time, won_tie in fold.fields(copy.key, list(own)):
        if newer((won_time, won_tie), (time, own[name][3])):
            own[name] = (name, text, won_time, won_tie)
    return Draft(
        topic=f"user.{copy.user_id}",
        key=copy.key,
        event_type=copy.event_type,
        priority=PRIORITY_URGENT if copy.urgent else PRIORITY_NORMAL,
        source=copy.source,
        fields=tuple(own.values()),
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
        received=copy.received,
    )


def _act(copy: Copy, recording: Recording, now: int) -> None:
    """Do what two of the nine events ask for besides being recorded."""
    if copy.event_type == ROLE_CHANGED and standing.change_role(copy, now):
        recording.narrowed.add(copy.user_id)
    elif copy.event_type == TOKEN_REVOKED:
        User.objects.filter(pk=copy.user_id).update(session_epoch=F("session_epoch") + 1)
        recording.narrowed.add(copy.user_id)


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
                microseconds(device.changed_at) if device.changed_at else None,
            ),
        )
    for archive in snapshot.archives:
        yield (
            f"archive/{archive.org_id}/{archive.archive_id}",
            (
                _texts(name=archive.name, deviceId=archive.device_id, state=archive.state, progress=archive.progress),
                microseconds(archive.changed_at) if archive.changed_at else None,
            ),
        )


def _texts(**values: Any) -> dict[str, str]:
    return {name: canonical(value) for name, value in values.items() if value is not None}


def _backfill(
    user_id: int, key: str, fields: tuple[tuple[str, str, int, int], ...], as_of: int, now: int, *, gone: bool = False
) -> Draft:
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
    _insert_changes(fold.changes)
    Refused.objects.bulk_create(refused, batch_size=500)
    recording.changed += len(fold.changes)
    recording.refused += len(refused)


def _insert_changes(changes: Sequence[Change]) -> None:
    new = sql.rows(
        {"key": "text", "name": "text", "value": "text", "time": "bigint", "recorded_at": "bigint", "source": "text"}
    )
    sql.execute(
        "INSERT INTO dashboard_change (key, name, value, time, recorded_at, source) "
        f"SELECT key, name, value, time, recorded_at, source FROM {new} AS new",
        [(c.key, c.name, c.value, c.time, c.recorded_at, c.source) for c in changes],
    )


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
