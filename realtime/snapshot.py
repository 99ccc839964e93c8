"""What the backend says is so, now: the provider's protocol, its answer, and the provider over HTTP.

AppSync replays nothing, so this is how every gap is closed, how devices appear and go, and how it is learned what a
user may see. Another backend is another class with one method.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from realtime.appsync.auth import Authorization, Request, without_host
from realtime.clock import now_us
from realtime.events import Id, demand_shallow
from realtime.upstream import http


class Organization(msgspec.Struct, frozen=True, rename="camel"):
    org_id: Id
    role: str | None = None
    name: str | None = None
    license_phase: str | None = None
    is_free_plan: bool | None = None
    ai_control_setting: dict[str, Any] | None = msgspec.field(default=None, name="AIControlSetting")

    def __post_init__(self) -> None:
        demand_shallow(self.ai_control_setting)


class Device(msgspec.Struct, frozen=True, rename="camel"):
    org_id: Id
    device_id: Id
    name: str | None = None
    model: str | None = None
    site_id: str | None = None
    online: bool | None = None
    recording: bool | str | None = None
    fw_update_state: str | None = None
    fw_progress: float | None = msgspec.field(default=None, name="progress")
    fw_version: str | None = msgspec.field(default=None, name="version")
    changed_at: datetime | None = None


class Archive(msgspec.Struct, frozen=True, rename="camel"):
    org_id: Id
    archive_id: Id
    state: str | None = None
    device_id: str | None = None
    progress: float | None = None
    name: str | None = None
    changed_at: datetime | None = None


class Identity(msgspec.Struct, frozen=True, rename="camel"):
    user_id: Id


class Snapshot(msgspec.Struct, frozen=True, rename="camel"):
    """One user's whole view. Every change up to ``as_of`` is in it, none after.

    ``asked`` (µs, by our own clock) is when the provider was asked: what was received since may be younger than the
    snapshot, whatever the source's clock says. A provider that leaves it out vouches for an answer younger than all.
    """

    as_of: datetime
    user: Identity
    organizations: tuple[Organization, ...] = ()
    devices: tuple[Device, ...] = ()
    archives: tuple[Archive, ...] = ()
    asked: int | None = None


class SnapshotUnavailable(Exception):
    """The provider could not answer; ``retryable`` tells whether asking again later may help."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class SnapshotProvider(Protocol):
    async def fetch(self, headers: Mapping[str, str]) -> Snapshot:
        """Return the view of the user to whom these request headers belong; raises SnapshotUnavailable."""


def caller(authorization: Authorization) -> dict[str, str]:
    """Return the request headers that tell a provider whose view is asked for: those of the user's own token."""
    return without_host(authorization.headers(Request("", "", "")))


class HttpSnapshots:
    """Snapshots by GET, page after page, with the user's own token. Every page must be of the same ``asOf``."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def fetch(self, headers: Mapping[str, str]) -> Snapshot:
        """As SnapshotProvider.fetch."""
        parts: list[Snapshot] = []
        asked = now_us()
        try:
            async for body in http.pages(self._url, headers):
                parts.append(_decoder.decode(body))
        except http.HttpError as error:
            raise SnapshotUnavailable(f"snapshot: {error}") from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise SnapshotUnavailable(f"snapshot: not in the expected form: {error}", retryable=False) from None
        if len({part.as_of for part in parts}) != 1:
            raise SnapshotUnavailable("snapshot: its pages are of different times")
        return Snapshot(
            parts[0].as_of,
            parts[0].user,
            tuple(organization for part in parts for organization in part.organizations),
            tuple(device for part in parts for device in part.devices),
            tuple(archive for part in parts for archive in part.archives),
            asked,
        )


_decoder = msgspec.json.Decoder(Snapshot)
