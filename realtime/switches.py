"""Run-time switches: desired state in the database that overrides the environment and survives every process."""

from __future__ import annotations

from typing import Any

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


def clear(name: str) -> None:
    """Give the switch back to the environment."""
    Switch.objects.filter(name=name).delete()
