"""Publishing by one HTTP request each: what its answers mean.

https://docs.aws.amazon.com/appsync/latest/eventapi/publish-http.html
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from realtime.appsync import messages
from realtime.appsync.auth import Authorization, Request
from realtime.appsync.endpoint import Endpoint
from realtime.appsync.exceptions import NotSent, OutcomeUnknown, RemoteError, WireError, from_wire
from realtime.appsync.publishing import Outcome, outcomes_of
from realtime.upstream import http
from realtime.upstream.clock import Clock, timeout
from realtime.upstream.pace import Pace

REQUEST_TIMEOUT = 20.0
"""Seconds for one request, from the connect to the last byte of its answer."""

FORBIDDEN = 403
"""A handler's own refusal too, which has nothing to do with the credentials."""


class HttpWay:
    """As publisher.Way, over HTTP."""

    def __init__(self, endpoint: Endpoint, client: http.Client, pace: Pace, clock: Clock) -> None:
        self._endpoint = endpoint
        self._client = client
        self._pace = pace
        self._clock = clock
        self._requests: set[asyncio.Task[http.Answer]] = set()
        self._closed = False

    async def publish(self, channel: str, events: list[str], authorization: Authorization) -> tuple[Outcome, ...]:
        """As Way.publish."""
        await self._pace.turn()
        if self._closed:
            raise NotSent("the publisher is closed")
        body = messages.publish_body(channel, events)
        headers = authorization.headers(Request(self._endpoint.host, messages.PATH, body))
        request = asyncio.create_task(self._request(headers, body), name="publish")
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)
        return outcomes(await request, len(events))

    async def close(self) -> None:
        """As Way.close."""
        self._closed = True
        if self._requests:
            await asyncio.wait(set(self._requests))
        await self._client.close()

    async def _request(self, headers: dict[str, str], body: str) -> http.Answer:
        try:
            async with timeout(self._clock, REQUEST_TIMEOUT):
                return await self._client.post(self._endpoint.http_url, headers, body)
        except TimeoutError:
            raise OutcomeUnknown(f"no answer within {REQUEST_TIMEOUT:.0f} s") from None


class _Taken(msgspec.Struct):
    successful: tuple[dict[str, Any], ...] = ()
    failed: tuple[dict[str, Any], ...] = ()


class _Refusal(msgspec.Struct):
    """An error answer: AppSync's own, or one of the AWS front ends before it."""

    errors: tuple[WireError, ...] = ()
    kind: str | None = msgspec.field(default=None, name="__type")
    message: str | None = None


def outcomes(answer: http.Answer, count: int) -> tuple[Outcome, ...]:
    """Return what an answer says of each of ``count`` events.

    Raises RemoteError if the service took none of them, OutcomeUnknown if the answer does not tell.
    """
    if answer.status >= 500:
        raise OutcomeUnknown(f"HTTP {answer.status}: {answer.text}")
    if answer.status != 200:
        raise _refused(answer)
    try:
        taken = msgspec.json.decode(answer.body, type=_Taken)
    except messages.UNREADABLE as error:
        raise OutcomeUnknown(f"HTTP 200 with an answer that can't be read: {error}") from None
    return outcomes_of(taken.successful, taken.failed, count)


def _refused(answer: http.Answer) -> RemoteError:
    try:
        refusal = msgspec.json.decode(answer.body, type=_Refusal)
    except messages.UNREADABLE:
        refusal = _Refusal(message=answer.text)
    first = refusal.errors[0] if refusal.errors else WireError(refusal.kind, refusal.message)
    kind = first.error_type or answer.error_type
    code = None if answer.status == FORBIDDEN and kind else answer.status
    error = from_wire((WireError(kind or f"HTTP {answer.status}", first.message, code),), "request")
    error.retry_after = answer.retry_after
    return error
