"""The rules of a publish, the same over HTTP and WebSocket but for one wording.

https://docs.aws.amazon.com/appsync/latest/eventapi/publish-http.html
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from realtime.appsync.channels import namespace, parse_channel
from realtime.appsync.exceptions import ChannelError
from realtime.emulator.api import Api
from realtime.emulator.auth import Identity
from realtime.emulator.errors import ApiError, bad_request, throttled, unauthorized
from realtime.emulator.faults import Kind

BAD_CHANNEL = "Invalid Channel Format"
# What a namespace's handler may do to the whole publish, and what the service would say of it.
HANDLER_ERRORS: dict[Kind, str | None] = {
    "publish-error": None,
    "unknown-event": "The handler returned an event with an unknown id",
    "duplicate-event": "The handler returned an event twice",
}


def too_many_over_http(limit: int) -> ApiError:
    return bad_request(f"Input exceeded {limit} event limit")


def too_many_over_websocket(limit: int) -> ApiError:
    """Return the same refusal in its other type and letter case, as seen on the service."""
    return ApiError("InvalidInputError", f"input exceeded {limit} event limit")


def signed_body(channel: object, events: object) -> bytes:
    """Return what a WebSocket publish is signed over: these two members in this order, compact."""
    return msgspec.json.encode({"channel": channel, "events": events})


def publish(
    api: Api, identity: Identity, channel_text: object, events: Any, too_many: Callable[[int], ApiError]
) -> dict[str, Any]:
    """Publish a batch and return the answer's ``successful`` and ``failed``; raises ApiError if none was taken."""
    channel = _channel(channel_text)
    api.authorizer.check_channel(identity, channel)
    _check_faults(api, identity, channel)
    if namespace(channel) not in api.options.known_namespaces:
        raise unauthorized(None)
    texts = _texts(api, events, too_many)
    if not api.events.takes(len(texts)):
        raise throttled()
    outcome: dict[str, list[dict[str, Any]]] = {"successful": [], "failed": []}
    for index, text in enumerate(texts):
        item: dict[str, Any] = {"identifier": str(uuid.uuid4()), "index": index}
        about: dict[str, Any] = {"sub": identity.sub, "channel": channel, "index": index}
        if rejected := api.faults.match("reject-event", **about):
            outcome["failed"].append({**item, "code": 400, "message": rejected.message or "Event rejected"})
            continue
        outcome["successful"].append(item)
        if not api.faults.match("filter-event", **about):
            transformed = api.faults.match("transform-event", **about)
            api.broker.publish(channel, transformed.event if transformed else text)
    return outcome


def _channel(text: object) -> str:
    try:
        return parse_channel(text) if isinstance(text, str) else _no_channel()
    except ChannelError as error:
        raise bad_request(BAD_CHANNEL) from error


def _no_channel() -> str:
    raise ChannelError("a publish names one channel")


def _texts(api: Api, events: Any, too_many: Callable[[int], ApiError]) -> list[str]:
    limits = api.options.limits
    if not isinstance(events, list) or not events or not all(isinstance(event, str) for event in events):
        raise bad_request("events has to be an array of strings, with at least one")
    if len(events) > limits.events_per_publish:
        raise too_many(limits.events_per_publish)
    sizes = [len(event.encode()) for event in events]
    if max(sizes) > limits.event_bytes or sum(sizes) > limits.publish_bytes:
        raise bad_request(f"An event may have {limits.event_bytes} bytes, a publish {limits.publish_bytes}")
    for event in events:
        _check_json(event)
    return events


def _check_json(text: str) -> None:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise bad_request("Each event has to be stringified JSON") from error


def _check_faults(api: Api, identity: Identity, channel: str) -> None:
    about: dict[str, Any] = {"sub": identity.sub, "channel": channel, "operation": "publish"}
    if api.faults.match("throttle", **about):
        raise throttled()
    for kind, message in HANDLER_ERRORS.items():
        if fault := api.faults.match(kind, **about):
            raise ApiError(fault.error_type, fault.message or message, status=403)
