"""What a snapshot says, as entities and their fields."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from realtime.clock import to_us
from realtime.merge import canonical
from realtime.snapshot import Archive, Device, Organization, Snapshot


class Told(NamedTuple):
    """An entity as a snapshot has it: field → canonical JSON, and when it last changed (µs), if the backend says."""

    fields: dict[str, str]
    changed_at: int | None


def entities(snapshot: Snapshot) -> dict[str, Told]:
    """Return everything in a snapshot by its key."""
    return dict(_entities(snapshot))


def _entities(snapshot: Snapshot) -> Iterator[tuple[str, Told]]:
    for org in snapshot.organizations:
        yield f"organization/{org.org_id}", _organization(org)
        yield f"member/{org.org_id}/{snapshot.user.user_id}", _told(role=org.role)
    for device in snapshot.devices:
        yield f"device/{device.org_id}/{device.device_id}", _device(device)
    for archive in snapshot.archives:
        yield f"archive/{archive.org_id}/{archive.archive_id}", _archive(archive)


def _organization(org: Organization) -> Told:
    return _told(
        name=org.name,
        licensePhase=org.license_phase,
        isFreePlan=org.is_free_plan,
        AIControlSetting=org.ai_control_setting,
    )


def _device(device: Device) -> Told:
    return _told(
        device.changed_at,
        name=device.name,
        model=device.model,
        siteId=device.site_id,
        online=device.online,
        recording=device.recording,
        fwUpdateState=device.fw_update_state,
        fwProgress=device.fw_progress,
        fwVersion=device.fw_version,
    )


def _archive(archive: Archive) -> Told:
    return _told(
        archive.changed_at,
        name=archive.name,
        deviceId=archive.device_id,
        state=archive.state,
        progress=archive.progress,
    )


def _told(changed_at: datetime | None = None, **values: Any) -> Told:
    """Leave out what the backend says nothing of."""
    fields = {name: canonical(value) for name, value in values.items() if value is not None}
    return Told(fields, None if changed_at is None else to_us(changed_at))
