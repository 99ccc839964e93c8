"""What a publish may hold, and how each of its events ends.

An event ends exactly once: ``sent`` (the service took it), ``failed`` (the service said no), ``not sent`` (it was never
written) or ``outcome unknown`` (it was written, and no answer came that could be read).
https://docs.aws.amazon.com/appsync/latest/eventapi/publish-http.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from realtime.appsync import messages
from realtime.appsync.exceptions import AppSyncError, BadRequest, PublishStatus, RemoteError

MAX_EVENTS = 5
"""Events in one publish, by the service's quota."""

MAX_EVENT_BYTES = 240 * 1024
"""Bytes in one event, by the service's quota."""

MAX_REQUEST_BYTES = 1_200_000
"""Bytes in one publish, by the service's quota, which is said to be 1.2 MB."""

MAX_PER_SECOND = 25
"""Publishes a second on one connection, by the service's quota."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one event ended; ``code`` is the service's error type or number, ``text`` says why it isn't sent."""

    status: PublishStatus
    code: str = ""
    text: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.status, self.code, self.text) if part)


def outcome_of(error: AppSyncError) -> Outcome:
    """Return how every event of a request ended that ended with this error."""
    if isinstance(error, RemoteError):
        return Outcome(error.outcome, error.kind, "" if error.message == error.kind else error.message)
    return Outcome(error.outcome, text=str(error))


def outcomes_of(
    successful: Iterable[Mapping[str, Any]], failed: Iterable[Mapping[str, Any]], count: int
) -> tuple[Outcome, ...]:
    """Return how each of ``count`` events ended by an answer that lists them by their index.

    An event that stands in neither list has an unknown outcome; one that stands in both has failed.
    """
    by_index = {item.get("index"): Outcome("sent") for item in successful if _numbered(item)}
    by_index |= {item.get("index"): _failure(item) for item in failed if _numbered(item)}
    unnamed = Outcome("outcome unknown", text="the answer does not name it")
    return tuple(by_index.get(index, unnamed) for index in range(count))


def batches(channel: str, events: Sequence[str]) -> list[list[str]]:
    """Return the events as publishes that the service takes, in order; ``channel`` is a parsed one.

    Raises BadRequest if an event is too large, not JSON or not Unicode.
    """
    found: list[list[str]] = []
    for number, event in enumerate(events):
        _check_event(number, event)
        if found and len(found[-1]) < MAX_EVENTS and _fits(channel, [*found[-1], event]):
            found[-1].append(event)
        else:
            found.append([event])
    return found


def check(channel: str, events: Sequence[str]) -> None:
    """Raise BadRequest unless the service takes these events as one publish."""
    if not 1 <= len(events) <= MAX_EVENTS:
        raise BadRequest("InvalidInputError", f"{len(events)} events in one publish; 1 to {MAX_EVENTS} are allowed")
    for number, event in enumerate(events):
        _check_size(number, event)
    if not _fits(channel, events):
        raise BadRequest("InvalidInputError", f"the publish is larger than {MAX_REQUEST_BYTES} bytes")


def _fits(channel: str, events: Sequence[str]) -> bool:
    return len(messages.publish_body(channel, list(events)).encode()) <= MAX_REQUEST_BYTES


def _check_event(number: int, event: str) -> None:
    _check_size(number, event)
    try:
        msgspec.json.decode(event)
    except (msgspec.DecodeError, RecursionError) as error:
        text = f"event {number} is not JSON: {error}; quote a bare string as '\"text\"'"
        raise BadRequest("InvalidInputError", text) from None


def _check_size(number: int, event: str) -> None:
    try:
        size = len(event.encode())
    except UnicodeEncodeError:
        raise BadRequest("InvalidInputError", f"event {number} is not Unicode") from None
    if size > MAX_EVENT_BYTES:
        raise BadRequest("InvalidInputError", f"event {number} is larger than {MAX_EVENT_BYTES // 1024} kB")


def _numbered(item: Mapping[str, Any]) -> bool:
    return type(item.get("index")) is int


def _failure(item: Mapping[str, Any]) -> Outcome:
    """Return why one event of a publish failed; two AWS SDKs disagree on what the fields are called."""
    code, text = item.get("code", item.get("errorCode")), item.get("message", item.get("errorMessage"))
    return Outcome("failed", "" if code is None else str(code), str(text or "no reason given"))
