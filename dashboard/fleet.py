"""Questions about many devices at once: how many are how, and which match what a person asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dashboard import formats
from dashboard.entities import Entity, by_name, natural


@dataclass(frozen=True, slots=True)
class Counts:
    """The overview's counters."""

    devices: int
    online: int
    offline: int
    recording: int
    updating: int
    failed: int


def count(devices: Iterable[Entity]) -> Counts:
    devices = list(devices)
    return Counts(
        devices=len(devices),
        online=sum(device.get("online") is True for device in devices),
        offline=sum(device.get("online") is False for device in devices),
        recording=sum(map(is_recording, devices)),
        updating=sum(map(is_updating, devices)),
        failed=sum(map(has_failed, devices)),
    )


def is_recording(device: Entity) -> bool:
    return formats.is_recording(device.get("recording"))


def is_updating(device: Entity) -> bool:
    return device.get("fwUpdateState") in formats.UPDATING


def has_failed(device: Entity) -> bool:
    return bool(device.get("fwUpdateState") == "Failed")


class Status(NamedTuple):
    """What one may filter by: how it is called, and which devices it lets through."""

    label: str
    holds: Callable[[Entity], bool]


class Order(NamedTuple):
    """What one may sort by."""

    label: str
    key: Callable[[Entity], Any]


# What the filter form offers, by the words that stand in the address.
STATUSES = {
    "online": Status("Online", lambda device: device.get("online") is True),
    "offline": Status("Offline", lambda device: device.get("online") is False),
    "recording": Status("Recording", is_recording),
    "updating": Status("Updating firmware", is_updating),
    "failed": Status("Firmware failed", has_failed),
}

ORDERS = {
    "name": Order("Name", lambda device: natural(device.name)),
    "site": Order("Site", lambda device: (natural(device.get("siteId") or ""), natural(device.name))),
    "online": Order("Offline first", lambda device: (device.get("online") is not False, natural(device.name))),
    "changed": Order("Last changed", lambda device: -device.changed),
    "heard": Order("Last heard", lambda device: -device.heard),
}


def select(devices: Iterable[Entity], wanted: Mapping[str, str]) -> list[Entity]:
    """The devices that match `wanted` (`q`, `status`, `site`, `sort`: cleaned form data), in its order."""
    needle = wanted.get("q", "").casefold()
    status = STATUSES.get(wanted.get("status", ""))
    site = wanted.get("site", "")
    found = [
        device
        for device in devices
        if (not needle or needle in _searched(device))
        and (status is None or status.holds(device))
        and (not site or device.get("siteId") == site)
    ]
    return sorted(found, key=ORDERS.get(wanted.get("sort", ""), ORDERS["name"]).key)


def sites(devices: Iterable[Entity]) -> dict[str, list[Entity]]:
    """Devices by site, sites and devices in the order of their names."""
    grouped: dict[str, list[Entity]] = {}
    for device in by_name(devices):
        grouped.setdefault(device.get("siteId") or "", []).append(device)
    return dict(sorted(grouped.items(), key=lambda item: natural(item[0])))


def _searched(device: Entity) -> str:
    return " ".join(
        str(part) for part in (device.name, device.id, device.get("model"), device.get("siteId"))
    ).casefold()
