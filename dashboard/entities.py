"""Entities as pages and snapshot read them: fields gathered by key, each with its version."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db.models import QuerySet

from dashboard.models import Field

_COLUMNS = ("key", "name", "value", "time", "tie", "changed_at", "confirmed_at", "heard_at")
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Value:
    """A field's value and the version (`time`, `tie`) that decides what is newer."""

    value: Any
    time: int
    tie: int


@dataclass(slots=True)
class Entity:
    """One thing that is shown. Its three times differ: *changed*, *confirmed* and *heard* (microseconds).

    `confirmed` is that of the field confirmed longest ago: all that is shown was known to hold then or later.
    """

    key: str
    fields: dict[str, Value] = field(default_factory=dict)
    changed: int = 0
    confirmed: int = 0
    heard: int = 0

    @property
    def kind(self) -> str:
        return self.key.partition("/")[0]

    @property
    def org_id(self) -> str:
        return self.key.split("/")[1]

    @property
    def id(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    def name(self) -> str:
        """What people call it; its id while no name is known."""
        return self.get("name") or self.id

    def get(self, name: str) -> Any:
        """The value of the field `name`, None while it is not known."""
        known = self.fields.get(name)
        return None if known is None else known.value


def read(fields: QuerySet[Field]) -> dict[str, Entity]:
    """Gather `fields` into entities by key, in one query."""
    entities: dict[str, Entity] = {}
    for key, name, value, time, tie, changed, confirmed, heard in fields.values_list(*_COLUMNS).iterator(5000):
        entity = entities.get(key)
        if entity is None:
            entity = entities[key] = Entity(key, confirmed=confirmed)
        entity.fields[name] = Value(_decode(value), time, tie)
        entity.changed = max(entity.changed, changed)
        entity.confirmed = min(entity.confirmed, confirmed)
        entity.heard = max(entity.heard, heard)
    return entities


def by_name(entities: Iterable[Entity]) -> list[Entity]:
    """In the order people expect: "Camera 9" before "Camera 10"."""
    return sorted(entities, key=lambda entity: (natural(entity.name), entity.key))


def natural(text: str) -> list[tuple[bool, int, str]]:
    """A sort key that compares runs of digits as numbers."""
    parts = re.split(r"(\d+)", text.casefold())
    return [(False, int(part), "") if part.isdigit() else (True, 0, part) for part in parts if part]
