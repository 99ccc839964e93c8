"""``GET /snapshot``: what is so, now, for the person whose token asks, or whom a service's token asks about.

All pages of one answer show the same moment, ``asOf``: every change with a timestamp up to it is in them, none after.
They are therefore made at once, and kept for a minute.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

import msgspec

from realtime.emulator.auth import bearer
from realtime.emulator.clock import SourceClock, iso
from realtime.emulator.errors import ApiError, bad_request, unauthorized
from realtime.emulator.faults import Faults
from realtime.emulator.http import Request, Response, error_response
from realtime.emulator.issuer import Issuer, TokenError
from realtime.emulator.world import Archive, Device, Person, World

PAGE_SIZE = 500
KEPT_SECONDS = 60.0


def snapshot_of(world: World, sub: str, as_of: int) -> dict[str, Any]:
    """Return a person's whole view in the shape of the endpoint, unpaged."""
    person = world.people.get(sub) or Person(sub, sub)
    return {
        "asOf": iso(as_of),
        "user": {"userId": sub},
        "organizations": [
            {**msgspec.to_builtins(world.organizations[f"organization/{org_id}"]), "role": role}
            for org_id, role in person.roles.items()
        ],
        "devices": [_dated(device) for device in world.devices_of(person)],
        "archives": [_dated(archive) for archive in world.archives_of(person)],
    }


class SnapshotEndpoint:
    """Answers with pages of at most ``PAGE_SIZE`` entities; ``next`` names the following one.

    Who brings ``service_token`` names the person whose view is meant in ``userId``; without one nobody can.
    """

    def __init__(
        self,
        world: World,
        clock: SourceClock,
        issuer: Issuer,
        faults: Faults,
        monotonic: Callable[[], float] = time.monotonic,
        service_token: str | None = None,
    ) -> None:
        self._world = world
        self._clock = clock
        self._issuer = issuer
        self._faults = faults
        self._monotonic = monotonic
        self._service_token = service_token
        self._kept: dict[str, tuple[float, str, bytes]] = {}

    def get(self, request: Request) -> Response:
        """Return the first page, or the one that ``next`` asks for; 401 without a good token."""
        sub = self._subject(request)
        if fault := self._faults.match("snapshot-down", sub=sub):
            error = ApiError("ServiceUnavailable", "The snapshot is not available", status=fault.status)
            return error_response(error)
        slow = self._faults.match("slow-http", sub=sub)
        page = self._next(request.query["next"], sub) if "next" in request.query else self._first(sub)
        return Response(body=page, delay=0.0 if slow is None else slow.delay / 1000)

    def _subject(self, request: Request) -> str:
        token = bearer(request.headers.get("authorization", ""))
        if self._service_token is not None and token == self._service_token:
            if "userId" not in request.query:
                raise bad_request("A service names in `userId` whose view is meant")
            return request.query["userId"]
        try:
            claims = self._issuer.check(token, "id", "access")
        except TokenError as error:
            raise unauthorized(str(error)) from error
        return str(claims["sub"])

    def _first(self, sub: str) -> bytes:
        now = self._monotonic()
        self._kept = {cursor: kept for cursor, kept in self._kept.items() if kept[0] > now}
        pages = _pages(snapshot_of(self._world, sub, self._clock.tick()))
        cursors = [secrets.token_urlsafe(12) for _ in pages[1:]]
        encoded = [
            msgspec.json.encode({**page, "next": cursor}) for page, cursor in zip(pages, [*cursors, None], strict=True)
        ]
        for cursor, page in zip(cursors, encoded[1:], strict=True):
            self._kept[cursor] = (now + KEPT_SECONDS, sub, page)
        return encoded[0]

    def _next(self, cursor: str, sub: str) -> bytes:
        until, owner, page = self._kept.get(cursor, (0.0, "", b""))
        if owner != sub or until <= self._monotonic():
            raise bad_request("This page is not kept any more; begin again without `next`")
        return page


def _dated(entity: Device | Archive) -> dict[str, Any]:
    """Return an entity as JSON has it; one that never changed has no ``changedAt``."""
    values: dict[str, Any] = msgspec.to_builtins(entity)
    changed_at = values.pop("changedAt")
    return {**values, "changedAt": iso(changed_at)} if changed_at else values


def _pages(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut a snapshot up; organisations and the moment are on every page, so that each can be understood alone."""
    entities = [("devices", d) for d in whole["devices"]] + [("archives", a) for a in whole["archives"]]
    pages = []
    for start in range(0, max(len(entities), 1), PAGE_SIZE):
        chunk = entities[start : start + PAGE_SIZE]
        parts = {kind: [entity for k, entity in chunk if k == kind] for kind in ("devices", "archives")}
        pages.append({**whole, **parts})
    return pages
