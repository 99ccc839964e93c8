"""Run-time switches: desired state in the database that overrides the environment and survives every process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from realtime.clock import now_us
from realtime.models import Switch

PROTOCOL = "protocol"
"""Which dialect the links speak: ``events`` or ``graphql``."""


def get(name: str, default: Any) -> Any:
    """Return the switch's value, or ``default`` (the environment's) while nobody has set it."""
    row = Switch.objects.filter(name=name).first()
    return default if row is None else row.value


def put(name: str, value: Any) -> None:
    """Set the switch; workers follow it within a second."""
    changes = {"value": value, "changed_at": now_us()}
    Switch.objects.update_or_create(name=name, defaults=changes)


@contextmanager
def changing(name: str, default: Any) -> Iterator[Switch]:
    """Lend the switch, set to ``default`` if nobody has set it, and save what became of its value.

    Whoever else wants to change it waits meanwhile: of two changes made at once neither undoes the other.
    """
    with transaction.atomic():
        unset = Switch(name=name, value=default, changed_at=now_us())
        Switch.objects.bulk_create([unset], ignore_conflicts=True)
        row = Switch.objects.select_for_update().get(name=name)
        yield row
        row.changed_at = now_us()
        row.save()


def clear(name: str) -> None:
    """Give the switch back to the environment."""
    Switch.objects.filter(name=name).delete()
