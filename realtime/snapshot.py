"""What the backend says is so, now: the provider's protocol, its answer, and the provider over HTTP.

AppSync replays nothing, so this is how every gap is closed, how devices appear and go, and how it is learned what a
user may see. Another backend is another class with one method.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from realtime.appsync.auth import Authorization, Request, without_host
from realtime.clock import now_us
from realtime.config import PER_USER, UpstreamConfig
from realtime.events import Id, demand_shallow
from realtime.upstream import http
from realtime.upstream.failures import UNAUTHORIZED

USER_ID = "{userId}"
"""What stands for the user in SNAPSHOT_URL."""


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


AT_ONCE = 16
"""Snapshots that are fetched at the same time: thousands of links may open at once, and the backend serves others."""


class SnapshotUnavailable(Exception):
    """The provider could not answer; ``retryable`` tells whether asking again later may help.

    ``unauthorized`` says that it refused the credentials that were given for the user.
    """

    def __init__(self, message: str, *, retryable: bool = True, unauthorized: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.unauthorized = unauthorized


class SnapshotProvider(Protocol):
    async def fetch(self, subject: str, authorization: Authorization) -> Snapshot:
        """Return the view of the user with this upstream subject, whose link authorises so.

        Raises SnapshotUnavailable.
        """


class HttpSnapshots:
    """Snapshots by GET, page after page. Every page must be of the same ``asOf``.

    Args:
        url: ``{userId}`` in it stands for the user's subject.
        token: sent in ``Authorization``; none sends the user's own, nothing sends none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._token = token
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, subject: str, authorization: Authorization) -> Snapshot:
        """As SnapshotProvider.fetch."""
        async with self._turns:
            return await self._ask(subject, authorization)

    async def _ask(self, subject: str, authorization: Authorization) -> Snapshot:
        parts: list[Snapshot] = []
        asked = now_us()
        url, headers = self._url.replace(USER_ID, quote(subject, safe="")), self._headers(authorization)
        try:
            async for body in http.pages(url, headers):
                parts.append(_decoder.decode(body))
        except http.HttpError as error:
            unauthorized = error.status in UNAUTHORIZED and self._token is None
            raise SnapshotUnavailable(f"snapshot: {error}", unauthorized=unauthorized) from None
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

    def _headers(self, authorization: Authorization) -> dict[str, str]:
        if self._token is None:
            return without_host(authorization.headers(Request("", "", "")))
        return {"Authorization": self._token} if self._token else {}


def configured(upstream: UpstreamConfig) -> HttpSnapshots | None:
    """Return the provider that the settings name, or none.

    What all links share, an API key or a signature, is AppSync's and says nothing of whose view is meant: then the
    address names the user, and a token of its own goes with it.
    """
    if not upstream.snapshot_url:
        return None
    as_user = upstream.auth in PER_USER and not upstream.snapshot_token
    return HttpSnapshots(upstream.snapshot_url, None if as_user else upstream.snapshot_token)


_decoder = msgspec.json.Decoder(Snapshot)
