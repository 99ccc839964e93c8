"""The truth behind the emulated backend: organisations, people, devices, archives, and who may see what.

Pure: an operation goes in with a clock, the state changes, and the notices come out that the backend would publish.
Applying the same operations at the same times to the same world gives the same world: the journal rests on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

Role = Literal["Owner", "Admin", "Supervisor", "Viewer"]
FULL_VIEW: frozenset[str | None] = frozenset({"Owner", "Admin", "Supervisor"})
Tick = Callable[[], int]
Feeds = dict[str, tuple[str, ...]]
T = TypeVar("T")


class WorldError(ValueError):
    """An operation names something that is not there, or gives a field a value it cannot have."""


class Organization(msgspec.Struct, rename="camel"):
    org_id: str
    name: str
    license_phase: str = "Valid"
    is_free_plan: bool = False
    ai_control_setting: dict[str, Any] = msgspec.field(default_factory=dict, name="AIControlSetting")


class Device(msgspec.Struct, rename="camel"):
    org_id: str
    device_id: str
    name: str
    model: str = "FC-200"
    site_id: str = "site-1"
    online: bool = True
    recording: bool = True
    fw_update_state: str = "Idle"
    progress: int = 0
    version: str = "4.2.0"
    changed_at: int = 0

    @property
    def key(self) -> str:
        return f"device/{self.org_id}/{self.device_id}"


class Archive(msgspec.Struct, rename="camel"):
    org_id: str
    archive_id: str
    device_id: str
    name: str
    state: str = "Queued"
    progress: int = 0
    changed_at: int = 0

    @property
    def key(self) -> str:
        return f"archive/{self.org_id}/{self.archive_id}"

    @property
    def device_key(self) -> str:
        return f"device/{self.org_id}/{self.device_id}"


class Person(msgspec.Struct):
    """An account of the backend. ``home`` is the site that a Viewer sees; roles are by organisation."""

    sub: str
    username: str
    home: str = "site-1"
    roles: dict[str, str] = {}
    visible: set[str] = set()


class Operation(msgspec.Struct, tag_field="op", rename="camel", forbid_unknown_fields=True):
    """One thing that happens to the world."""


class Set(Operation, tag="set"):
    key: str
    fields: dict[str, Any]


class Grant(Operation, tag="grant"):
    user: str
    device: str


class Revoke(Operation, tag="revoke"):
    user: str
    device: str


class SetRole(Operation, tag="role"):
    user: str
    org: str
    role: Role | None = None


class AddDevice(Operation, tag="add-device"):
    device: Device


class RemoveDevice(Operation, tag="remove-device"):
    device: str


AnyOperation = Set | Grant | Revoke | SetRole | AddDevice | RemoveDevice


@dataclass(frozen=True, slots=True)
class Notice:
    """What the backend publishes about a change: one payload to each of these people's own channels."""

    feed: str
    subs: tuple[str, ...]
    payload: dict[str, Any]


# Which fields a feed tells, by entity; a field in no feed (a name) changes without a word, as it does upstream.
DEVICE_FEEDS: Feeds = {
    "device/presenceChanged": ("online",),
    "device/recordingStateChanged": ("recording",),
    "device/firmwareUpdated": ("fwUpdateState", "progress", "version"),
}
ARCHIVE_FEEDS: Feeds = {"archive/stateChanged": ("deviceId", "state", "progress")}
ORGANIZATION_FEEDS: Feeds = {
    "organization/licensePhaseChanged": ("licensePhase",),
    "organization/planChanged": ("isFreePlan",),
    "organization/aiSettingsChanged": ("AIControlSetting",),
}
# The word in the payload differs from the channel for these; for the rest it is the channel's own.
EVENT_TYPES = {
    "organization/licensePhaseChanged": "license/phaseChanged",
    "organization/planChanged": "plan/typeChanged",
    "organization/aiSettingsChanged": "ai/settingsChanged",
    "roleChanged": "user/roleChanged",
    "tokenRevoked": "user/tokenRevoked",
}


class World(msgspec.Struct):
    """All entities by key. Change it through ``apply`` only: it keeps who-sees-what in step."""

    organizations: dict[str, Organization] = {}
    devices: dict[str, Device] = {}
    archives: dict[str, Archive] = {}
    people: dict[str, Person] = {}

    def apply(self, operation: AnyOperation, tick: Tick) -> list[Notice]:
        """Carry out ``operation`` and return what is to be published; raises WorldError and changes nothing then."""
        match operation:
            case Set():
                return self._set(operation, tick)
            case Grant():
                self._person(operation.user).visible.add(self.device(operation.device).key)
            case Revoke():
                self._person(operation.user).visible.discard(self.device(operation.device).key)
            case SetRole():
                return [self._set_role(operation, tick)]
            case AddDevice():
                self._add_device(operation.device, tick)
            case RemoveDevice():
                self._remove_device(self.device(operation.device))
        return []

    # Questions

    def device(self, key: str) -> Device:
        return _found(self.devices, key if key.startswith("device/") else f"device/{key}")

    def account(self, username: str) -> Person | None:
        """Return the person who signs in under this name."""
        return next((person for person in self.people.values() if person.username == username), None)

    def watchers(self, device_key: str) -> tuple[str, ...]:
        """Return the subjects who may see a device."""
        return tuple(sub for sub, person in self.people.items() if device_key in person.visible)

    def organizations_of(self, sub: str) -> tuple[str, ...]:
        """Return the organisations that a subject belongs to; a stranger to none."""
        person = self.people.get(sub)
        return () if person is None else tuple(person.roles)

    def members(self, org_id: str) -> tuple[str, ...]:
        """Return the subjects who belong to an organisation."""
        return tuple(sub for sub, person in self.people.items() if org_id in person.roles)

    def devices_of(self, person: Person) -> Iterator[Device]:
        return (device for key, device in self.devices.items() if key in person.visible)

    def archives_of(self, person: Person) -> Iterator[Archive]:
        return (archive for archive in self.archives.values() if archive.device_key in person.visible)

    # Operations

    def _set(self, operation: Set, tick: Tick) -> list[Notice]:
        entity, feeds, subs = self._target(operation.key)
        if unknown := operation.fields.keys() - _settable(entity):
            raise WorldError(f"{operation.key} has no field {', '.join(sorted(unknown))} that can be set")
        changed = _with(entity, operation.fields)
        notices = [
            Notice(feed, subs, _payload(feed, changed, names, tick()))
            for feed, names in feeds.items()
            if not operation.fields.keys().isdisjoint(names)
        ]
        self._put(operation.key, changed, tick)
        return notices

    def _target(self, key: str) -> tuple[Entity, Feeds, tuple[str, ...]]:
        kind = key.partition("/")[0]
        if kind == "device":
            return _found(self.devices, key), DEVICE_FEEDS, self.watchers(key)
        if kind == "archive":
            archive = _found(self.archives, key)
            return archive, ARCHIVE_FEEDS, self.watchers(archive.device_key)
        organization = _found(self.organizations, key)
        return organization, ORGANIZATION_FEEDS, self.members(organization.org_id)

    def _put(self, key: str, entity: Entity, tick: Tick) -> None:
        if isinstance(entity, Device):
            entity.changed_at = tick()
            self.devices[key] = entity
        elif isinstance(entity, Archive):
            entity.changed_at = tick()
            self.archives[key] = entity
        else:
            self.organizations[key] = entity

    def _set_role(self, operation: SetRole, tick: Tick) -> Notice:
        person = self._person(operation.user)
        _found(self.organizations, f"organization/{operation.org}")
        if operation.role is None:
            person.roles.pop(operation.org, None)
        else:
            person.roles[operation.org] = operation.role
        self._see_what_role_shows(person, operation.org)
        payload = {
            "eventType": EVENT_TYPES["roleChanged"],
            "orgId": operation.org,
            "userId": person.sub,
            "role": operation.role,
            "timestamp": tick(),
        }
        return Notice("roleChanged", (person.sub,), payload)

    def _see_what_role_shows(self, person: Person, org_id: str) -> None:
        prefix = f"device/{org_id}/"
        person.visible = {key for key in person.visible if not key.startswith(prefix)}
        person.visible.update(
            device.key for device in self.devices.values() if device.org_id == org_id and sees(person, device)
        )

    def _add_device(self, device: Device, tick: Tick) -> None:
        _found(self.organizations, f"organization/{device.org_id}")
        if device.key in self.devices:
            raise WorldError(f"{device.key} is there already")
        device.changed_at = tick()
        self.devices[device.key] = device
        for person in self.people.values():
            if sees(person, device):
                person.visible.add(device.key)

    def _remove_device(self, device: Device) -> None:
        del self.devices[device.key]
        for person in self.people.values():
            person.visible.discard(device.key)
        self.archives = {k: a for k, a in self.archives.items() if a.device_key != device.key}

    def _person(self, sub: str) -> Person:
        return _found(self.people, sub)


Entity = Device | Archive | Organization


def sees(person: Person, device: Device) -> bool:
    """Tell what the role alone shows: a Viewer sees one site, the others their whole organisation."""
    role = person.roles.get(device.org_id)
    return role in FULL_VIEW or (role == "Viewer" and device.site_id == person.home)


def token_revoked(sub: str, reason: str, tick: Tick) -> Notice:
    """Return the notice that a person's tokens were revoked; it changes nothing in the world."""
    payload = {"eventType": EVENT_TYPES["tokenRevoked"], "userId": sub, "reason": reason, "timestamp": tick()}
    return Notice("tokenRevoked", (sub,), payload)


def decode_operation(data: bytes) -> AnyOperation:
    """Read one operation from JSON; raises WorldError that names what is wrong."""
    try:
        operation: AnyOperation = msgspec.json.decode(data, type=AnyOperation)
    except msgspec.DecodeError as error:
        raise WorldError(str(error)) from error
    return operation


def _found(entities: dict[str, T], key: str) -> T:
    try:
        return entities[key]
    except KeyError:
        raise WorldError(f"there is no {key}") from None


def _settable(entity: Entity) -> Iterable[str]:
    fixed = {"orgId", "deviceId", "archiveId", "changedAt"}
    return set(type(entity).__struct_encode_fields__) - fixed


def _with(entity: Entity, fields: dict[str, Any]) -> Entity:
    try:
        return msgspec.convert({**msgspec.to_builtins(entity), **fields}, type=type(entity))
    except msgspec.ValidationError as error:
        raise WorldError(str(error)) from error


def _payload(feed: str, entity: Entity, names: tuple[str, ...], now: int) -> dict[str, Any]:
    values = msgspec.to_builtins(entity)
    identity = {name: values[name] for name in ("orgId", "deviceId", "archiveId") if name in values}
    told = {name: values[name] for name in names}
    return {"eventType": EVENT_TYPES.get(feed, feed), **identity, **told, "timestamp": now}
