"""Publishes events, and tells of each how it ended.

What travels how is the way's business; this decides when a request is made and whether it is made again. Another try
is made only where nothing can have been taken: the request was never written, was throttled as a whole, or was refused
for its token. A request whose outcome is unknown is never repeated: its events might be told twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

from realtime.appsync import publishing
from realtime.appsync.auth import Authorization
from realtime.appsync.channels import parse_channel
from realtime.appsync.exceptions import AppSyncError, AuthRejected, NotSent, Throttled
from realtime.appsync.publishing import Outcome, outcome_of
from realtime.upstream.clock import Clock
from realtime.upstream.credentials import Credentials, TokenRefused, TokenUnavailable
from realtime.upstream.pace import Pace
from realtime.upstream.policy import FullJitter

RETRY = FullJitter(base=0.5, cap=10.0, first=0.5)

ATTEMPTS = 5

PATIENCE = 60.0
"""Seconds after a request's first try in which another one may begin, whatever the service asks to wait."""


class Way(Protocol):
    """How a publish reaches the service, no faster than the service takes it."""

    async def publish(self, channel: str, events: list[str], authorization: Authorization) -> tuple[Outcome, ...]:
        """Make one request and return the outcome of each event.

        Raises AppSyncError if there is one outcome for all of them, which it names.
        """

    async def close(self) -> None:
        """Make no further request, and wait as long as one may take until those that were made are answered.

        Idempotent.
        """


class Publisher:
    """Publishes over one way, with which it shares its pace."""

    def __init__(self, way: Way, pace: Pace, credentials: Credentials, clock: Clock, rng: Random) -> None:
        self._way = way
        self._pace = pace
        self._credentials = credentials
        self._clock = clock
        self._rng = rng
        self._closed = False

    async def publish(
        self, channel: str, events: Sequence[str], credentials: Credentials | None = None
    ) -> list[Outcome]:
        """Publish JSON texts in order, in as many requests as it takes, and return the outcome of each.

        Args:
            credentials: for this call alone, instead of the publisher's own.

        Raises:
            ChannelError: for a wildcard or a bad name; nothing was sent.
            BadRequest: for an event that is too large or not JSON; nothing was sent.
        """
        path = parse_channel(channel)
        outcomes: list[Outcome] = []
        for batch in publishing.batches(path, events):
            outcomes += await self._publish_batch(path, batch, credentials or self._credentials)
            if outcomes[-1].status == "not sent":  # nor would the rest be
                outcomes += [outcomes[-1]] * (len(events) - len(outcomes))
                break
        return outcomes

    async def close(self) -> None:
        """Let what was written be answered, as long as that may take; each publish ends by what is known by then."""
        self._closed = True
        self._pace.stop()
        await self._way.close()

    async def _publish_batch(self, channel: str, batch: list[str], credentials: Credentials) -> tuple[Outcome, ...]:
        latest = self._clock.monotonic() + PATIENCE
        said: AppSyncError | None = None
        attempt = 1
        while True:
            try:
                return await self._request(channel, batch, credentials)
            except AppSyncError as error:
                said = _last_word(said, error)
                delay = max(RETRY.delay(attempt, self._rng), error.retry_after)
                in_time = attempt < ATTEMPTS and self._clock.monotonic() + delay <= latest
                if self._closed or not in_time or not _is_safe_again(error):
                    return (outcome_of(said),) * len(batch)
            attempt += 1
            await self._pace.pause(delay)

    async def _request(self, channel: str, batch: list[str], credentials: Credentials) -> tuple[Outcome, ...]:
        """Make one request; and once more with a token that was forced to be new, if it was refused for the token."""
        authorization = await _authorization(credentials)
        try:
            return await self._way.publish(channel, batch, authorization)
        except AuthRejected as error:
            refusal = error
        try:
            renewed = await _authorization(credentials, refresh=True)
            if renewed != authorization:
                return await self._way.publish(channel, batch, renewed)
        except AppSyncError as error:
            raise _last_word(refusal, error) from None
        raise refusal


def _last_word(earlier: AppSyncError | None, later: AppSyncError) -> AppSyncError:
    """Return which of two tries says what became of the events: one that was never written takes nothing back."""
    return earlier if earlier and later.outcome == "not sent" and earlier.outcome != "not sent" else later


def _is_safe_again(error: AppSyncError) -> bool:
    return error.retryable and (error.outcome == "not sent" or isinstance(error, Throttled))


async def _authorization(credentials: Credentials, *, refresh: bool = False) -> Authorization:
    try:
        return await credentials.get(refresh=refresh)
    except TokenUnavailable as error:
        raise NotSent(str(error)) from None
    except TokenRefused as error:
        raise AuthRejected("TokenRefused", str(error), scope="connection") from None
