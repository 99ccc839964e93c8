"""The GraphQL dialect's five subscriptions, and how their results become the same nine events.

They are the way back, kept for rollback. A result carries no source time, so its events are dated by their receipt;
and one type tells of several things at once, so each field that is present becomes an event of its own. A
subscription is to an organisation, which is wider than one user's view: what the user may not see is filtered before
it is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from realtime.decoding import UNREADABLE, Undecodable, fact_of
from realtime.decoding import decode as decode_events
from realtime.events import (
    AISettingsChanged,
    ArchiveStateChanged,
    DeviceFirmwareUpdated,
    DevicePresenceChanged,
    DeviceRecordingChanged,
    Event,
    Fact,
    Id,
    LicensePhaseChanged,
    PlanChanged,
    RoleChanged,
    TokenRevoked,
)

Told = Iterable[tuple[str, Event]]
"""Events with the names of the feeds whose they are."""


class _DeviceState(msgspec.Struct, frozen=True, rename="camel"):
    org_id: Id
    device_id: Id
    online: bool | None = None
    recording: bool | str | None = None
    fw_update_state: str | None = None


class _ArchiveState(msgspec.Struct, frozen=True, rename="camel"):
    org_id: Id
    archive_id: Id
    state: str | None = None
    device_id: Id | None = None
    progress: float | None = None


class _OrganizationState(msgspec.Struct, frozen=True, rename="camel"):
    org_id: Id
    license_phase: str | None = None
    is_free_plan: bool | None = None
    ai_control_setting: dict[str, Any] | str | None = msgspec.field(default=None, name="AIControlSetting")


class _RoleChange(msgspec.Struct, frozen=True, rename="camel"):
    org_id: Id
    user_id: Id
    role: str | None = None


class _TokenRevoke(msgspec.Struct, frozen=True, rename="camel"):
    user_id: Id
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One subscription: its name, which is its field in the result, the fields it selects, and what a result tells.

    ``feeds`` are those whose events ``tells`` may give.
    """

    name: str
    selection: str
    result: type[Any]
    tells: Callable[[Any], Told]
    feeds: tuple[str, ...]

    def data(self, org_id: str) -> str:
        """Return the JSON text of query and variables for one organisation: what is sent, and signed."""
        query = f"subscription {self.name}($orgId: ID!) {{ {self.name}(orgId: $orgId) {{ {self.selection} }} }}"
        return msgspec.json.encode({"query": query, "variables": {"orgId": org_id}}).decode()


def _device(state: _DeviceState) -> Told:
    org, device = state.org_id, state.device_id
    if state.online is not None:
        yield "device/presenceChanged", DevicePresenceChanged(org_id=org, device_id=device, online=state.online)
    if state.recording is not None:
        event = DeviceRecordingChanged(org_id=org, device_id=device, recording=state.recording)
        yield "device/recordingStateChanged", event
    if state.fw_update_state is not None:
        firmware = DeviceFirmwareUpdated(org_id=org, device_id=device, fw_update_state=state.fw_update_state)
        yield "device/firmwareUpdated", firmware


def _archive(state: _ArchiveState) -> Told:
    if state.state is not None:
        yield (
            "archive/stateChanged",
            ArchiveStateChanged(
                org_id=state.org_id,
                archive_id=state.archive_id,
                state=state.state,
                device_id=state.device_id,
                progress=state.progress,
            ),
        )


def _organization(state: _OrganizationState) -> Told:
    org = state.org_id
    if state.license_phase is not None:
        phase = LicensePhaseChanged(org_id=org, license_phase=state.license_phase)
        yield "organization/licensePhaseChanged", phase
    if state.is_free_plan is not None:
        yield "organization/planChanged", PlanChanged(org_id=org, is_free_plan=state.is_free_plan)
    if state.ai_control_setting is not None:
        tree = state.ai_control_setting
        settings = msgspec.json.decode(tree, type=dict[str, Any]) if isinstance(tree, str) else tree
        yield "organization/aiSettingsChanged", AISettingsChanged(org_id=org, ai_control_setting=settings)


def _role(change: _RoleChange) -> Told:
    yield "roleChanged", RoleChanged(org_id=change.org_id, user_id=change.user_id, role=change.role)


def _revoke(revoke: _TokenRevoke) -> Told:
    yield "tokenRevoked", TokenRevoked(user_id=revoke.user_id, reason=revoke.reason)


DOCUMENTS = {
    document.name: document
    for document in (
        Document(
            "onDeviceState",
            "orgId deviceId online recording fwUpdateState",
            _DeviceState,
            _device,
            ("device/presenceChanged", "device/recordingStateChanged", "device/firmwareUpdated"),
        ),
        Document(
            "onArchiveState",
            "orgId archiveId deviceId state progress",
            _ArchiveState,
            _archive,
            ("archive/stateChanged",),
        ),
        Document(
            "onOrganizationState",
            "orgId licensePhase isFreePlan AIControlSetting",
            _OrganizationState,
            _organization,
            ("organization/licensePhaseChanged", "organization/planChanged", "organization/aiSettingsChanged"),
        ),
        Document("onRoleChange", "orgId userId role", _RoleChange, _role, ("roleChanged",)),
        Document("onTokenRevoke", "userId reason", _TokenRevoke, _revoke, ("tokenRevoked",)),
    )
}


def subscriptions(org_ids: Iterable[str]) -> dict[str, str]:
    """Return name → query and variables for each document and organisation; a name is ``<document> <orgId>``."""
    return {
        f"{document.name} {org_id}": document.data(org_id)
        for org_id in sorted(org_ids)
        for document in DOCUMENTS.values()
    }


def told_by(name: str) -> list[tuple[str, str]]:
    """Return what the subscription ``name`` tells of, as (feed, organisation)."""
    document, _, org_id = name.partition(" ")
    return [(feed, org_id) for feed in DOCUMENTS[document].feeds]


_decoders = {name: msgspec.json.Decoder(dict[str, document.result | None]) for name, document in DOCUMENTS.items()}  # type: ignore[name-defined]


def decode(name: str, payload: str) -> list[tuple[str, Event]]:
    """Return the events that a result of the subscription ``name`` tells, with their feeds; raises Undecodable."""
    document = DOCUMENTS[name.partition(" ")[0]]
    try:
        told = _decoders[document.name].decode(payload).get(document.name)
        return [] if told is None else list(document.tells(told))
    except UNREADABLE as error:
        raise Undecodable(str(error)) from error


def facts(dialect: str, name: str, payload: str) -> list[Fact]:
    """Return what a payload says that came through ``dialect`` under this name: a feed's, or a subscription's.

    Raises Undecodable.
    """
    if dialect == "graphql":
        return [fact_of(feed, event) for feed, event in decode(name, payload)]
    return [fact_of(name, decode_events(name, payload))]
