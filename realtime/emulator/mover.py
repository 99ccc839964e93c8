"""What happens next in a moving fleet: mostly presence and recording, firmware and archives in runs, rarely the rest.

Everything is chosen from the world as it stands, so a restarted emulator goes on with the runs that were under way.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from realtime.emulator.world import Archive, Device, Set, World

# The share of devices that are offline swings around this.
OFFLINE_SHARE = 0.06
# Firmware and archive runs under way at once, as a share of the devices.
RUNNING_SHARE = 0.03
FAILURE_RATE = 0.06
PROGRESS_STEP = 25

FIRMWARE_AT_REST = frozenset({"Idle", "Succeeded", "Failed"})
ARCHIVE_AT_REST = frozenset({"Ready", "Failed", "Expired"})
LICENSE_PHASES = ("Valid", "Valid", "Valid", "NoticePeriod")


class Mover:
    """Chooses operations for a world; ``rng`` decides. Its choices never fail on that world."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._updating = {k for k, d in world.devices.items() if d.fw_update_state not in FIRMWARE_AT_REST}
        self._processing = {k for k, a in world.archives.items() if a.state not in ARCHIVE_AT_REST}
        self._offline = {k for k, d in world.devices.items() if not d.online}
        self._keys: dict[int, list[str]] = {}

    def choose(self) -> Set | None:
        """Return the next change, or None in a world without devices."""
        if not self._world.devices:
            return None
        kinds: list[Callable[[], Set]] = [self._presence, self._recording, self._firmware]
        weights = [45, 25, 15]
        if self._world.archives:
            kinds.append(self._archive)
            weights.append(13)
        kinds.append(self._organization)
        weights.append(2)
        return self._rng.choices(kinds, weights)[0]()

    def _presence(self) -> Set:
        offline = self._pick_from(self._offline, self._world.devices)
        if offline and self._rng.random() < len(self._offline) / (2 * OFFLINE_SHARE * len(self._world.devices)):
            return self._set_online(offline, True)
        return self._set_online(self._random_key(self._world.devices), False)

    def _set_online(self, key: str, online: bool) -> Set:
        (self._offline.discard if online else self._offline.add)(key)
        return Set(key, {"online": online})

    def _recording(self) -> Set:
        key = self._random_key(self._world.devices)
        return Set(key, {"recording": not self._world.devices[key].recording})

    def _firmware(self) -> Set:
        key = self._pick_from(self._updating, self._world.devices)
        if key is None or self._starts_another(self._updating):
            key = self._random_key(self._world.devices)
            self._updating.add(key)
        fields = _next_firmware(self._world.devices[key], self._rng)
        if fields["fwUpdateState"] in FIRMWARE_AT_REST:
            self._updating.discard(key)
        return Set(key, fields)

    def _archive(self) -> Set:
        key = self._pick_from(self._processing, self._world.archives)
        if key is None or self._starts_another(self._processing):
            key = self._random_key(self._world.archives)
            self._processing.add(key)
        fields = _next_archive(self._world.archives[key], self._rng)
        if fields["state"] in ARCHIVE_AT_REST:
            self._processing.discard(key)
        return Set(key, fields)

    def _organization(self) -> Set:
        key = self._random_key(self._world.organizations)
        organization = self._world.organizations[key]
        fields: dict[str, Any] = self._rng.choice(
            (
                {"licensePhase": self._rng.choice(LICENSE_PHASES)},
                {"isFreePlan": not organization.is_free_plan},
                {"AIControlSetting": _next_settings(organization.ai_control_setting, self._rng)},
            )
        )
        return Set(key, fields)

    def _starts_another(self, running: set[str]) -> bool:
        return len(running) < RUNNING_SHARE * len(self._world.devices) and self._rng.random() < 0.5

    def _pick_from(self, running: set[str], entities: dict[str, Any]) -> str | None:
        """Return one under way, forgetting those that have gone from the world."""
        running &= entities.keys()
        return self._rng.choice(sorted(running)) if running else None

    def _random_key(self, entities: dict[str, Any]) -> str:
        keys = self._keys.get(id(entities))
        if keys is None or len(keys) != len(entities):
            keys = self._keys[id(entities)] = list(entities)
        key = self._rng.choice(keys)
        if key not in entities:  # one removed and another added since
            del self._keys[id(entities)]
            return self._random_key(entities)
        return key


def _next_firmware(device: Device, rng: Random) -> dict[str, Any]:
    match device.fw_update_state:
        case "Downloading" if rng.random() < FAILURE_RATE:
            return {"fwUpdateState": "Failed", "progress": device.progress}
        case "Downloading" if device.progress + PROGRESS_STEP < 100:
            return {"fwUpdateState": "Downloading", "progress": device.progress + PROGRESS_STEP}
        case "Downloading":
            return {"fwUpdateState": "Installing", "progress": 0}
        case "Installing" if device.progress < 50:
            return {"fwUpdateState": "Installing", "progress": 50}
        case "Installing":
            return {"fwUpdateState": "Rebooting", "progress": 100}
        case "Rebooting":
            return {"fwUpdateState": "Succeeded", "progress": 100, "version": _next_version(device.version)}
        case "Succeeded" | "Failed" if rng.random() < 0.5:
            return {"fwUpdateState": "Idle", "progress": 0}
        case _:
            return {"fwUpdateState": "Downloading", "progress": 0}


def _next_version(version: str) -> str:
    stem, _, patch = version.rpartition(".")
    return f"{stem}.{int(patch) + 1}" if patch.isdecimal() else version


def _next_archive(archive: Archive, rng: Random) -> dict[str, Any]:
    match archive.state:
        case "Queued":
            return {"state": "Processing", "progress": 0}
        case "Processing" if rng.random() < FAILURE_RATE:
            return {"state": "Failed", "progress": archive.progress}
        case "Processing" if archive.progress + PROGRESS_STEP < 100:
            return {"state": "Processing", "progress": archive.progress + PROGRESS_STEP}
        case "Processing":
            return {"state": "Ready", "progress": 100}
        case "Ready" if rng.random() < 0.2:
            return {"state": "Expired", "progress": 100}
        case _:
            return {"state": "Queued", "progress": 0}


def _next_settings(settings: dict[str, Any], rng: Random) -> dict[str, Any]:
    return {
        **settings,
        "personDetection": rng.random() < 0.7,
        "retentionDays": rng.choice((7, 14, 30, 90)),
    }
