"""The tables that a fold is read from and written to: fields, their timelines, and what was refused. Set by set."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard.fold import FieldKey, Fields, Fold, Known, Refusal
from dashboard.models import Field, Visibility
from realtime import sql

FIELD: dict[str, sql.Kind] = {
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
CHANGE: dict[str, sql.Kind] = {
    "key": "text",
    "name": "text",
    "value": "text",
    "time": "bigint",
    "recorded_at": "bigint",
    "source": "text",
}
REFUSED: dict[str, sql.Kind] = {
    "key": "text",
    "name": "text",
    "value": "text",
    "time": "bigint",
    "recorded_at": "bigint",
    "reason": "text",
    "source": "text",
}


def known(wanted: Iterable[FieldKey]) -> dict[FieldKey, Known]:
    """Return what is known of these fields. Their entities are locked, so it holds until the transaction ends."""
    asked = sql.rows({"key": "text", "name": "text"})
    columns = ", ".join(f"known.{column}" for column in FIELD)
    rows = sql.fetch(
        f"SELECT {columns} FROM dashboard_field AS known JOIN {asked} AS asked "
        "ON known.key = asked.key AND known.name = asked.name",
        sorted(set(wanted)),
    )
    return {
        (key, name): Known(value, time, mark, bool(sourced), *times)
        for key, name, value, time, mark, sourced, *times in rows
    }


def fields_of(keys: Iterable[str]) -> set[FieldKey]:
    """Return all fields that are known of these entities."""
    asked = sql.rows({"key": "text"})
    found = sql.fetch(
        f"SELECT known.key, known.name FROM dashboard_field AS known JOIN {asked} AS asked ON known.key = asked.key",
        sorted({(key,) for key in keys}),
    )
    return {(key, name) for key, name in found}


def missing(user_id: int, came: Iterable[str], since: int) -> dict[str, Fields]:
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
    lacking: dict[str, dict[str, tuple[str, str, int, int]]] = {}
    for key, name, value, time, mark in found:
        lacking.setdefault(key, {})[name] = (name, value, time, mark)
    return {key: tuple(fields.values()) for key, fields in lacking.items()}


def write(fold: Fold) -> tuple[int, int]:
    """Write what the fold came to; return how many changes and how many refusals that were."""
    _write_fields(fold)
    sql.insert("dashboard_change", CHANGE, fold.changes)
    refused = _without_repeats(list(fold.refused.values()))
    sql.insert("dashboard_refused", REFUSED, refused)
    return len(fold.changes), len(refused)


def _write_fields(fold: Fold) -> None:
    """Write the fields that were touched."""
    sql.upsert(
        "dashboard_field",
        FIELD,
        ("key", "name"),
        [
            (key, name, k.value, k.time, k.tie, k.sourced, k.changed_at, k.confirmed_at, k.heard_at, k.recorded_at)
            for (key, name), k in sorted(fold.known.items(), key=lambda item: item[0])
            if k.touched
        ],
    )


def _without_repeats(refused: list[Refusal]) -> list[Refusal]:
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
