"""The registry of feeds: channel ↔ event type ↔ decoder ↔ the fields an event sets. A tenth feed is one entry here.

Channels are below ``{root}/user/{userId}/``. The GraphQL dialect decodes into the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from realtime.events import (
    AISettingsChanged,
    ArchiveStateChanged,
    DeviceFirmwareUpdated,
    DevicePresenceChanged,
    DeviceRecordingChanged,
    Event,
    LicensePhaseChanged,
    PlanChanged,
    RoleChanged,
    TokenRevoked,
)

QUIET_PHASES = frozenset({"SetupStatus", "Valid"})
"""Licence phases that alarm nobody; from NoticePeriod on, and for words not known yet, the event is urgent."""

ABSENT = object()
"""A field that this event says nothing of."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One kind of upstream event.

    ``name`` is the channel below the user's, ``event_type`` what payloads call themselves, ``key`` names the entity,
    ``fields`` what it sets (ABSENT values are left as they are), ``urgent`` whether it overtakes the others,
    ``words`` which words are known in a field; others are kept and shown, and counted as drift; ``personal`` whether
    it tells of a user.
    """

    name: str
    event_type: str
    event: type[Event]
    key: Callable[[Any], str]
    fields: Callable[[Any], dict[str, Any]]
    urgent: Callable[[Any], bool] = lambda event: False
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    personal: bool = False


def _device(event: Any) -> str:
    return f"device/{event.org_id}/{event.device_id}"


def _organization(event: Any) -> str:
    return f"organization/{event.org_id}"


def _given(value: Any) -> Any:
    return ABSENT if value is None else value


FEEDS: tuple[Feed, ...] = (
    Feed(
        "device/presenceChanged",
        "device/presenceChanged",
        DevicePresenceChanged,
        _device,
        lambda event: {"online": event.online},
    ),
    Feed(
        "device/recordingStateChanged",
        "device/recordingStateChanged",
        DeviceRecordingChanged,
        _device,
        lambda event: {"recording": event.recording},
    ),
    Feed(
        "device/firmwareUpdated",
        "device/firmwareUpdated",
        DeviceFirmwareUpdated,
        _device,
        lambda event: {
            "fwUpdateState": event.fw_update_state,
            "fwProgress": _given(event.progress),
            "fwVersion": _given(event.version),
        },
        lambda event: bool(event.fw_update_state == "Failed"),
        {"fwUpdateState": ("Idle", "Downloading", "Installing", "Rebooting", "Succeeded", "Failed")},
    ),
    Feed(
        "archive/stateChanged",
        "archive/stateChanged",
        ArchiveStateChanged,
        lambda event: f"archive/{event.org_id}/{event.archive_id}",
        lambda event: {
            "state": event.state,
            "deviceId": _given(event.device_id),
            "progress": _given(event.progress),
        },
        words={"state": ("Queued", "Processing", "Ready", "Failed", "Expired")},
    ),
    Feed(
        "organization/licensePhaseChanged",
        "license/phaseChanged",
        LicensePhaseChanged,
        _organization,
        lambda event: {"licensePhase": event.license_phase},
        lambda event: event.license_phase not in QUIET_PHASES,
        {"licensePhase": ("SetupStatus", "Valid", "NoticePeriod")},
    ),
    Feed(
        "organization/planChanged",
        "plan/typeChanged",
        PlanChanged,
        _organization,
        lambda event: {"isFreePlan": event.is_free_plan},
    ),
    Feed(
        "organization/aiSettingsChanged",
        "ai/settingsChanged",
        AISettingsChanged,
        _organization,
        lambda event: {"AIControlSetting": event.ai_control_setting},
    ),
    Feed(
        "roleChanged",
        "user/roleChanged",
        RoleChanged,
        lambda event: f"member/{event.org_id}/{event.user_id}",
        lambda event: {"role": event.role},
        lambda event: True,
        {"role": ("Owner", "Admin", "Supervisor", "Viewer")},
        personal=True,
    ),
    Feed(
        "tokenRevoked",
        "user/tokenRevoked",
        TokenRevoked,
        lambda event: f"user/{event.user_id}",
        lambda event: {"tokenRevoked": event.reason or True},
        lambda event: True,
        personal=True,
    ),
)

BY_NAME = {feed.name: feed for feed in FEEDS}
BY_TYPE = {feed.event_type: feed for feed in FEEDS} | BY_NAME
"""By what payloads call themselves; the channel's name will do too."""


@lru_cache(maxsize=16_384)
def organization_of(key: str) -> str:
    """Return the organisation in an entity's key; a user's own entity has none."""
    kind, _, rest = key.partition("/")
    return "" if kind == "user" else rest.partition("/")[0]


def channels(root: str, subject: str) -> dict[str, str]:
    """Return feed name → channel of one user, for every feed."""
    return {feed.name: f"/{root}/user/{subject}/{feed.name}" for feed in FEEDS}


def pattern(root: str) -> str:
    """Return what takes in every channel of every user."""
    return f"/{root}/user/*"
