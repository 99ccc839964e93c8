"""A link without a socket of its own: it is open while a connection is that many links share.

To its manager it is a connection like any other. It is never dialled, is not limited in its life, and never silent:
all of that is the shared connection's business. While that one is not live a gate of each link is shut that shares it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Protocol

from realtime.upstream.clock import Clock
from realtime.upstream.manager import Sink
from realtime.upstream.model import Dial
from realtime.upstream.policy import Policy
from realtime.upstream.shards import Shards
from realtime.upstream.states import Trigger


class Hearer(Protocol):
    """A link that shares a connection. Everything returns at once."""

    def hear(self, feed: str, payload: str, received: int) -> None:
        """Take one event, which arrived at ``received`` (µs)."""

    def compare(self) -> None:
        """Ask a snapshot whether anything was missed."""

    def doubt(self, cause: str, since: int) -> None:
        """Something came at ``since`` (µs) that may have been this link's, and was not handed on: repair it."""


class VirtualConnection:
    """Runs the sessions of one link, as its manager asks; see ``manager.Connector``.

    Args:
        pattern: what the shared connection subscribes to; to operators it is the channel of each feed.
        heard_through: tells up to when (in boot time) everything that arrived was handed on.
    """

    def __init__(
        self,
        hearer: Hearer,
        subscriptions: Shards,
        pattern: str,
        clock: Clock,
        heard_through: Callable[[], float],
    ) -> None:
        self.hearer = hearer
        self.subscriptions = subscriptions
        self._pattern = pattern
        self._clock = clock
        self._heard_through = heard_through
        self._sinks: dict[int, Sink] = {}

    @property
    def is_open(self) -> bool:
        """Whether the link hears what is shared."""
        return bool(self._sinks)

    def want(self, wanted: dict[str, str]) -> bool:
        """Hear these feeds from now on, whatever their own channels are; tell whether that changes anything."""
        changes = self.subscriptions.want(dict.fromkeys(wanted, self._pattern))
        self._mark()
        return changes

    def use(self, session: int) -> None:
        """As Connector.use: all sessions of a link hear the same."""

    async def run(self, dial: Dial, sink: Sink) -> None:
        """As Connector.run: open at once, until the manager closes it."""
        self._sinks[dial.session] = sink
        self._mark()
        self.tell_heard()
        try:
            for trigger in (Trigger.PERMITTED, Trigger.TRANSPORT_UP, Trigger.ACCEPTED):
                sink.post(trigger, seconds=inf)
            sink.post(Trigger.SYNCED, final=True)
            await asyncio.get_running_loop().create_future()
        finally:
            del self._sinks[dial.session]
            self._mark()

    def tell_heard(self) -> None:
        """Let the manager know up to when everything was handed on."""
        heard = self._heard_through()
        for sink in self._sinks.values():
            sink.heard(heard)

    def _mark(self) -> None:
        now = self._clock.monotonic()
        for subscription in self.subscriptions:
            if not self._sinks:
                subscription.status, subscription.live_since = "wanted", None
            elif subscription.status != "live":
                subscription.status, subscription.live_since = "live", now


def virtual(policy: Policy) -> Policy:
    """Return the policy of a link without a socket: nothing of it is silent, limited in its life, or dialled."""
    return replace(policy, suspect_after=inf, lifetime=None, breaker=None)
