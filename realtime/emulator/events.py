"""The Events dialect: channels, subscriptions and publishes on a socket, and publishes over HTTP.

https://docs.aws.amazon.com/appsync/latest/eventapi/event-api-websocket-protocol.html
"""

from __future__ import annotations

from typing import Any

import msgspec

from realtime.appsync.channels import namespace, parse_pattern
from realtime.appsync.exceptions import ChannelError
from realtime.emulator.api import Api
from realtime.emulator.auth import Call, Identity, normalized
from realtime.emulator.broker import Published, Subscription
from realtime.emulator.delivery import DataFrame
from realtime.emulator.errors import ApiError, bad_request, throttled, unauthorized, unsupported
from realtime.emulator.faults import Fault, Kind, concerns
from realtime.emulator.http import Request, Response, json_response
from realtime.emulator.publishing import (
    BAD_CHANNEL,
    publish,
    signed_body,
    too_many_over_http,
    too_many_over_websocket,
)
from realtime.emulator.rate import Rate
from realtime.emulator.session import Dialect, Session, operation_id
from realtime.emulator.websocket import WebSocket

PATH = "/event"


class EventsSession(Session):
    """One socket of the Events API."""

    dialect = Dialect("aws-appsync-event-ws", frozenset({"/event/realtime"}), Call("connect", PATH, b"{}"))

    def __init__(self, api: Api, socket: WebSocket, identity: Identity | None, refusal: ApiError | None = None) -> None:
        super().__init__(api, socket, identity, refusal)
        self._subscriptions: dict[str, Subscription] = {}
        self._publishes = Rate(api.options.limits.publishes_per_second)

    def operate(self, kind: str, message: dict[str, Any]) -> None:
        operation = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "publish": self._publish,
        }.get(kind)
        if operation is None:
            raise unsupported()
        ident = operation_id(message)
        if self.ignores(kind, self._subscriptions.get(ident) if kind == "unsubscribe" else None):
            return
        try:
            reply = operation(ident, message)
        except ApiError as error:
            reply = self.error_frame(f"{kind}_error", ident, error)
        self.reply(kind, reply)

    def ended(self) -> None:
        for subscription in self._subscriptions.values():
            self.api.broker.remove(subscription)

    def subscriptions(self) -> list[str]:
        return [subscription.pattern for subscription in self._subscriptions.values()]

    def suffer(self, fault: Fault) -> bool:
        if fault.kind != "broadcast-error":
            return super().suffer(fault)
        told = [s.id for s in self._subscriptions.values() if concerns(fault, self.sub, self.id, s.pattern)]
        for ident in told:
            self.send_error(ident, fault.as_error(), "broadcast_error")
        return bool(told)

    def needs_init(self) -> bool:
        return self.api.options.limits.requires_init

    def acknowledgement(self, timeout: int) -> dict[str, Any]:
        return {"type": "connection_ack", "connectionTimeoutMs": timeout}

    def error_frame(self, kind: str, operation_id: str | None, error: ApiError) -> dict[str, Any]:
        ident = {} if operation_id is None else {"id": operation_id}
        return {**ident, "type": kind, "errors": [error.as_dict(with_code=kind == "connection_error")]}

    # Operations: each returns the reply

    def _subscribe(self, ident: str, message: dict[str, Any]) -> dict[str, Any]:
        pattern = _pattern(message.get("channel"))
        self._authorize_subscribe(message, pattern)
        self.check_room(ident, self._subscriptions)
        if replaced := self._subscriptions.get(ident):
            self.api.broker.remove(replaced)
        subscription = Subscription(ident, pattern, self, self.now())
        self._subscriptions[ident] = subscription
        self.api.broker.add(subscription)
        return {"id": ident, "type": "subscribe_success"}

    def _authorize_subscribe(self, message: dict[str, Any], pattern: str) -> None:
        body = msgspec.json.encode({"channel": message["channel"]})
        identity = self._identify(message, Call("subscribe", PATH, body, namespace(pattern)))
        self.api.authorizer.check_channel(identity, pattern)
        about: dict[str, Any] = {"sub": self.sub, "connection": self.id, "channel": pattern, "operation": "subscribe"}
        if self.api.faults.match("throttle", **about):
            raise throttled()
        if fault := self.api.faults.match("subscribe-error", **about):
            raise fault.as_error()
        if namespace(pattern) not in self.api.options.known_namespaces:
            raise unauthorized(None)

    def _unsubscribe(self, ident: str, message: dict[str, Any]) -> dict[str, Any]:
        subscription = self._subscriptions.pop(ident, None)
        if subscription is None:
            raise ApiError("UnknownOperationError", f"Unknown operation id {ident}")
        self.api.broker.remove(subscription)
        return {"id": ident, "type": "unsubscribe_success"}

    def _publish(self, ident: str, message: dict[str, Any]) -> dict[str, Any]:
        channel, events = message.get("channel"), message.get("events")
        body = signed_body(channel, events)
        identity = self._identify(message, Call("publish", PATH, body, _namespace(channel), rebuilt=True))
        if not self._publishes.takes():
            raise throttled()
        outcome = publish(self.api, identity, channel, events, too_many_over_websocket)
        return {"id": ident, "type": "publish_success", **outcome}

    def _identify(self, message: dict[str, Any], call: Call) -> Identity:
        return self.api.authorizer.identify(normalized(message.get("authorization")), call)

    # Data

    def deliver(self, subscription: Subscription, event: Published) -> None:
        """Send an event as a data frame."""
        encoded = event.encoded
        if self.api.faults.standing:
            if fault := self._fault("broadcast-error", event):
                self.send_error(subscription.id, fault.as_error(), "broadcast_error")
                return
            if self._fault("array-event", event):
                encoded = b"[" + encoded + b"]"
        self.delivery.send(
            DataFrame(
                subscription.id,
                subscription.since,
                event.channel,
                event.number,
                event.size,
                subscription.head + encoded + b"}",
            )
        )

    def _fault(self, kind: Kind, event: Published) -> Fault | None:
        return self.api.faults.match(kind, sub=self.sub, connection=self.id, channel=event.channel)


class EventsEndpoint:
    """``POST /event``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def post(self, request: Request) -> Response:
        """Publish; refusals carry the error type in ``x-amzn-errortype`` too."""
        body = _body(request.body)
        channel = body.get("channel")
        call = Call("publish", PATH, request.body, _namespace(channel))
        identity = self._api.authorizer.identify(request.headers, call)
        outcome = publish(self._api, identity, channel, body.get("events"), too_many_over_http)
        return json_response(outcome)


def _namespace(channel: object) -> str:
    """Return the namespace of a channel that may turn out to be none."""
    return str(channel).removeprefix("/").partition("/")[0]


def _pattern(text: object) -> str:
    if not isinstance(text, str):
        raise bad_request(BAD_CHANNEL)
    try:
        return parse_pattern(text)
    except ChannelError as error:
        raise bad_request(BAD_CHANNEL) from error


def _body(text: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise bad_request("Request body is not JSON") from error
    if not isinstance(body, dict):
        raise bad_request("Request body is not a JSON object")
    return body
