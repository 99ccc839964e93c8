"""The GraphQL dialect: subscriptions on a socket, queries and mutations over HTTP, and the fleet as its backend.

https://docs.aws.amazon.com/appsync/latest/devguide/real-time-websocket-client.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from realtime.emulator.api import Api
from realtime.emulator.auth import Call, Identity, normalized
from realtime.emulator.delivery import DataFrame
from realtime.emulator.errors import ApiError, bad_request, throttled, unsupported
from realtime.emulator.graphql_schema import Schema, Wanted
from realtime.emulator.http import Request, Response, json_response
from realtime.emulator.session import Dialect, Session, operation_id
from realtime.emulator.transcript import Transcript
from realtime.emulator.websocket import WebSocket
from realtime.emulator.world import Notice, World

PATH = "/graphql"
MUTATIONS = {
    "device": "publishDeviceState",
    "archive": "publishArchiveState",
    "organization": "publishOrganizationState",
}
DEVICE_FIELDS = frozenset({"online", "recording", "fwUpdateState"})


@dataclass(frozen=True, slots=True, eq=False)
class GraphQLSubscription:
    id: str
    wanted: Wanted
    session: GraphQLSession
    since: float


class GraphQLBroker:
    """Who subscribes to which field, and what mutations mean for them."""

    def __init__(self, schema: Schema, transcript: Transcript) -> None:
        self.schema = schema
        self._transcript = transcript
        self._by_field: dict[str, list[GraphQLSubscription]] = {}

    def add(self, subscription: GraphQLSubscription) -> None:
        self._by_field.setdefault(subscription.wanted.field, []).append(subscription)

    def remove(self, subscription: GraphQLSubscription) -> None:
        self._by_field[subscription.wanted.field].remove(subscription)

    def publish(self, mutation: str, result: dict[str, Any]) -> None:
        """Send a mutation's result to the subscriptions that it feeds and that it passes the arguments of."""
        subscriptions = [s for field in self.schema.fed_by(mutation) for s in self._by_field.get(field, ())]
        if not subscriptions:
            return
        text = msgspec.json.encode(result)
        number = self._transcript.add("mutated", channel=mutation, event=text.decode())
        for subscription in subscriptions:
            if subscription.wanted.takes(result):
                subscription.session.deliver(subscription, result, number, len(text))


class FleetBackend:
    """Tells what happens to the fleet as the backend's mutations would; a listener of ``Fleet``."""

    def __init__(self, broker: GraphQLBroker, world: World) -> None:
        self._broker = broker
        self._world = world

    def __call__(self, notice: Notice, payload: dict[str, Any]) -> None:
        told = {name: value for name, value in payload.items() if name not in ("eventType", "timestamp")}
        if notice.feed == "roleChanged":
            self._broker.publish("publishRoleChange", told)
        elif notice.feed == "tokenRevoked":
            for org_id in self._world.organizations_of(payload["userId"]):
                self._broker.publish("publishTokenRevoke", {**told, "orgId": org_id})
        else:
            self._entity(notice.feed.partition("/")[0], told)

    def _entity(self, kind: str, told: dict[str, Any]) -> None:
        if kind == "device":
            told = {name: told[name] for name in ("orgId", "deviceId", *DEVICE_FIELDS) if name in told}
        if "AIControlSetting" in told:
            told["AIControlSetting"] = msgspec.json.encode(told["AIControlSetting"]).decode()
        self._broker.publish(MUTATIONS[kind], told)


class GraphQLSession(Session):
    """One socket of the GraphQL API."""

    dialect = Dialect(
        "graphql-ws", frozenset({"/graphql/realtime", "/graphql"}), Call("connect", "/graphql/connect", b"{}")
    )

    def __init__(self, api: Api, socket: WebSocket, identity: Identity | None, refusal: ApiError | None = None) -> None:
        super().__init__(api, socket, identity, refusal)
        self._subscriptions: dict[str, GraphQLSubscription] = {}

    def operate(self, kind: str, message: dict[str, Any]) -> None:
        operation = {"start": "subscribe", "stop": "unsubscribe"}.get(kind)
        if operation is None:
            raise unsupported(f"{kind} not supported through the realtime channel")
        ident = operation_id(message)
        if self.ignores(operation, self._subscriptions.get(ident) if kind == "stop" else None):
            return
        try:
            reply = self._start(ident, message) if kind == "start" else self._stop(ident)
        except ApiError as error:
            reply = self.error_frame("error", ident, error)
        self.reply(operation, reply)

    def ended(self) -> None:
        for subscription in self._subscriptions.values():
            self.api.graphql.remove(subscription)

    def subscriptions(self) -> list[str]:
        return [f"{s.wanted.field}({s.wanted.arguments})" for s in self._subscriptions.values()]

    def needs_init(self) -> bool:
        return True

    def acknowledgement(self, timeout: int) -> dict[str, Any]:
        return {"type": "connection_ack", "payload": {"connectionTimeoutMs": timeout}}

    def error_frame(self, kind: str, operation_id: str | None, error: ApiError) -> dict[str, Any]:
        ident = {} if operation_id is None else {"id": operation_id}
        item = error.as_dict(with_code=kind == "connection_error")
        single = self.api.faults.match("error-object", sub=self.sub, connection=self.id)
        return {**ident, "type": kind, "payload": {"errors": item if single else [item]}}

    def deliver(self, subscription: GraphQLSubscription, result: dict[str, Any], number: int, size: int) -> None:
        """Send a mutation's result as a data frame."""
        payload = self.api.graphql.schema.answer(subscription.wanted, result)
        text = msgspec.json.encode({"id": subscription.id, "type": "data", "payload": payload})
        field = subscription.wanted.field
        self.delivery.send(DataFrame(subscription.id, subscription.since, field, number, size, text))

    def _start(self, ident: str, message: dict[str, Any]) -> dict[str, Any]:
        subscription = self._accepted(ident, message.get("payload"))
        if replaced := self._subscriptions.get(ident):
            self.api.graphql.remove(replaced)
        self._subscriptions[ident] = subscription
        self.api.graphql.add(subscription)
        return {"id": ident, "type": "start_ack"}

    def _stop(self, ident: str) -> dict[str, Any]:
        subscription = self._subscriptions.pop(ident, None)
        if subscription is None:
            raise ApiError("UnknownOperationError", f"Unknown operation id {ident}")
        self.api.graphql.remove(subscription)
        return {"id": ident, "type": "complete"}

    def _accepted(self, ident: str, payload: Any) -> GraphQLSubscription:
        """Return the subscription that a ``start`` asks for; raises ApiError."""
        data, authorization = _start_payload(payload)
        identity = self.api.authorizer.identify(authorization, Call("subscribe", PATH, data.encode()))
        asked = _json_object(data.encode())
        wanted = self.api.graphql.schema.want(asked.get("query"), asked.get("variables"), asked.get("operationName"))
        self._authorize(identity, wanted)
        self.check_room(ident, self._subscriptions)
        return GraphQLSubscription(ident, wanted, self, self.now())

    def _authorize(self, identity: Identity, wanted: Wanted) -> None:
        about: dict[str, Any] = {"sub": self.sub, "connection": self.id, "operation": "subscribe"}
        if self.api.faults.match("throttle", channel=wanted.field, **about):
            raise throttled()
        if fault := self.api.faults.match("subscribe-error", channel=wanted.field, **about):
            raise fault.as_error()
        if identity.sub is not None and not self.may_hear(identity.sub, wanted.arguments.get("orgId")):
            raise ApiError("Unauthorized", f"Not Authorized to access {wanted.field} on type Subscription")

    def may_hear(self, sub: str, org_id: object) -> bool:
        """Tell whether the fleet's own API lets a person hear an organisation; any other schema lets everyone."""
        return self.api.options.schema is not None or org_id in self.api.world.organizations_of(sub)


class GraphQLEndpoint:
    """``POST /graphql``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def post(self, request: Request) -> Response:
        """Run a query or mutation and publish what a mutation did; errors of the document answer with status 200."""
        self._api.authorizer.identify(request.headers, Call("publish", PATH, request.body))
        asked = _json_object(request.body)
        try:
            response, published = self._api.graphql.schema.run(
                asked.get("query"), asked.get("variables"), asked.get("operationName")
            )
        except ApiError as error:
            return json_response({"data": None, "errors": [error.as_dict()]})
        for mutation, result in published:
            self._api.graphql.publish(mutation, result)
        return json_response(response)


def _start_payload(payload: Any) -> tuple[str, dict[str, str]]:
    """Return the signed text and the authorization of a ``start``, which stand in no other place."""
    data = payload.get("data") if isinstance(payload, dict) else None
    extensions = payload.get("extensions") if isinstance(payload, dict) else None
    if not isinstance(data, str) or not isinstance(extensions, dict) or "authorization" not in extensions:
        raise unsupported("unknown not supported through the realtime channel")
    return data, normalized(extensions["authorization"])


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise bad_request("Request body is not JSON") from error
    if not isinstance(value, dict):
        raise bad_request("Request body is not a JSON object")
    return value
