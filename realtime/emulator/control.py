"""``/control/…``: how tests and people steer the emulator. Answered to this machine only.

- ``faults``: GET lists, POST adds (see ``faults``), DELETE ends all, or those of ``?kind=``
- ``world``: GET tells the truth per person; POST changes it: ``set``, ``grant``, ``revoke``, ``role``, ``add-device``,
  ``remove-device`` (see ``world``), and ``{"op": "pause"}``, ``{"op": "resume"}``, ``{"op": "rate", "rate": 50}``
- ``publish``: POST ``{"channel": …, "events": [any JSON, …]}`` publishes without credentials or rules
- ``revoke``: POST ``{"sub": …, "reason": …}`` ends a person's sign-ins and publishes ``tokenRevoked``
- ``stats``: GET counts; ``transcript``: GET ``?since=N&kind=…&limit=…``
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import msgspec

from realtime.emulator.faults import AT_ONCE, Fault, FaultError, concerns, decode_faults
from realtime.emulator.http import Handler, Request, Response, Router, json_response
from realtime.emulator.session import Session
from realtime.emulator.snapshot import snapshot_of
from realtime.emulator.transcript import PAGE
from realtime.emulator.world import WorldError, decode_operation

if TYPE_CHECKING:
    from realtime.emulator.api import Api
    from realtime.emulator.fleet import Fleet

PATH = "/control"


class Pace(msgspec.Struct, forbid_unknown_fields=True):
    """The operations on the fleet that change nothing in its world."""

    op: str
    rate: float | None = None


class Revocation(msgspec.Struct, forbid_unknown_fields=True):
    sub: str
    reason: str = "signed out by an administrator"


class Publication(msgspec.Struct, forbid_unknown_fields=True):
    channel: str
    events: list[Any]


class Control:
    """The control addresses of one emulator."""

    def __init__(self, api: Api, fleet: Fleet) -> None:
        self._api = api
        self._fleet = fleet

    def mount(self, router: Router) -> None:
        for method, path, handler in (
            ("GET", "faults", self.list_faults),
            ("POST", "faults", self.add_faults),
            ("DELETE", "faults", self.clear_faults),
            ("GET", "world", self.truth),
            ("POST", "world", self.change_world),
            ("POST", "publish", self.publish),
            ("POST", "revoke", self.revoke),
            ("GET", "stats", self.stats),
            ("GET", "transcript", self.transcript),
        ):
            router.add(method, f"{PATH}/{path}", _local(handler))

    # Faults

    def list_faults(self, request: Request) -> Response:
        return json_response({"faults": self._api.faults.list()})

    def add_faults(self, request: Request) -> Response:
        """Let faults stand, do at once what acts at once, and tell which sockets that hit."""
        added, hit = [], []
        for fault in decode_faults(request.body):
            self._resolve_user(fault)
            added.append(self._api.faults.add(fault))
            if fault.kind in AT_ONCE:
                hit += self._act(fault)
        return json_response({"faults": added, "hit": hit})

    def clear_faults(self, request: Request) -> Response:
        """End faults; half-open sockets are cut, as they would be once the way is free again."""
        kind = request.query.get("kind")
        self._api.faults.clear(kind)
        for session in tuple(self._api.sessions.values()):
            if session.socket.frozen and kind in (None, "half-open"):
                session.socket.abort()
        return json_response({"faults": self._api.faults.list()})

    def _resolve_user(self, fault: Fault) -> None:
        if fault.user is None:
            return
        person = self._fleet.world.account(fault.user)
        if person is None:
            raise FaultError(f"there is no account {fault.user!r}")
        fault.sub = person.sub

    def _act(self, fault: Fault) -> list[str]:
        if fault.kind == "expire-token":
            for sub in [fault.sub] if fault.sub else list(self._fleet.world.people):
                self._api.issuer.expire(sub)
            return []
        hit: list[str] = []
        for session in tuple(self._api.sessions.values()):
            if len(hit) != fault.count and _concerns(fault, session) and session.suffer(fault):
                hit.append(session.id)
        return hit

    # World

    def truth(self, request: Request) -> Response:
        as_of = self._fleet.clock.tick()
        world = self._fleet.world
        return json_response({"users": {sub: snapshot_of(world, sub, as_of) for sub in world.people}})

    def change_world(self, request: Request) -> Response:
        if pace := _pace(request.body):
            self._fleet.set_pace(rate=pace.rate, paused={"pause": True, "resume": False}.get(pace.op))
        else:
            self._fleet.carry_out(decode_operation(request.body))
        return json_response({"rate": self._fleet.rate, "paused": self._fleet.paused})

    def publish(self, request: Request) -> Response:
        publication = msgspec.json.decode(request.body, type=Publication)
        channel = "/" + publication.channel.strip("/")
        for event in publication.events:
            self._api.broker.publish(channel, msgspec.json.encode(event).decode())
        return json_response({"published": len(publication.events)})

    def revoke(self, request: Request) -> Response:
        revocation = msgspec.json.decode(request.body, type=Revocation)
        self._api.issuer.revoke_subject(revocation.sub)
        self._fleet.tell_revoked(revocation.sub, revocation.reason)
        return json_response({"revoked": revocation.sub})

    # Observation

    def stats(self, request: Request) -> Response:
        sessions = list(self._api.sessions.values())
        return json_response(
            {
                "sockets": len(sessions),
                "subscriptions": sum(len(session.subscriptions()) for session in sessions),
                "published": self._api.broker.published,
                "delivered": sum(self._api.delivered.values()),
                "refused": self._api.refused,
                "rate": self._fleet.rate,
                "paused": self._fleet.paused,
                "by_sub": self._by_sub(sessions),
                "connections": [_connection(session) for session in sessions],
            }
        )

    def _by_sub(self, sessions: list[Session]) -> dict[str, dict[str, int]]:
        subs = {session.sub for session in sessions} | self._api.delivered.keys()
        return {
            sub or "": {
                "sockets": sum(s.sub == sub for s in sessions),
                "subscriptions": sum(len(s.subscriptions()) for s in sessions if s.sub == sub),
                "delivered": self._api.delivered.get(sub, 0),
            }
            for sub in subs
        }

    def transcript(self, request: Request) -> Response:
        """Return records after ``since``; ``first`` is the oldest in memory, ``next`` what to ask from next."""
        query = request.query
        since, limit = int(query.get("since", "0")), int(query.get("limit", PAGE))
        records, following = self._api.transcript.since(since, query.get("kind"), limit)
        return json_response(
            {"first": self._api.transcript.first, "next": following, "records": records},
        )


def _local(handler: Handler) -> Handler:
    """Answer this machine's programs only, and turn what cannot be read into a 400 that says why."""

    def answer(request: Request) -> Response:
        # A page that a browser on this machine shows comes from anywhere, and its requests say so.
        if not _is_this_machine(request.peer) or "origin" in request.headers:
            return json_response({"message": "control is for programs on this machine only"}, 403)
        try:
            return handler(request)
        except (FaultError, WorldError, msgspec.DecodeError, ValueError) as error:
            return json_response({"message": str(error)}, 400)

    return answer


def _is_this_machine(peer: str) -> bool:
    try:
        return ip_address(peer).is_loopback
    except ValueError:
        return False


def _concerns(fault: Fault, session: Session) -> bool:
    """Tell whether a fault is about a socket; one about a channel is about those that subscribe to it."""
    channels = session.subscriptions() or (None,)
    return any(concerns(fault, session.sub, session.id, channel) for channel in channels)


def _pace(body: bytes) -> Pace | None:
    """Return a change of pace, or None for an operation on the world."""
    try:
        pace = msgspec.json.decode(body, type=Pace)
    except msgspec.ValidationError:
        return None
    if pace.op not in ("pause", "resume", "rate"):
        return None
    if pace.op == "rate" and (pace.rate is None or pace.rate < 0):
        raise WorldError("rate needs a number of changes a second")
    return pace


def _connection(session: Session) -> dict[str, object]:
    return {
        "id": session.id,
        "sub": session.sub,
        "dialect": session.dialect.subprotocol,
        "acknowledged": session.acknowledged,
        "frozen": session.socket.frozen,
        "subscriptions": session.subscriptions(),
    }
