"""Who subscribes to what, and the fan-out of an event to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import msgspec

from realtime.emulator.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Published:
    """An accepted event: its number in the transcript, its text as a JSON string, and the bytes of that text."""

    number: int
    channel: str
    encoded: bytes
    size: int


class Subscriber(Protocol):
    def deliver(self, subscription: Subscription, event: Published) -> None:
        """Take an event that a subscription of this session matches."""


@dataclass(slots=True, eq=False)
class Subscription:
    """One live subscription. ``head`` is what comes before the event in its data frames; ``since`` is loop time."""

    id: str
    pattern: str
    session: Subscriber
    since: float
    head: bytes = b""

    def __post_init__(self) -> None:
        self.head = b'{"id":' + msgspec.json.encode(self.id) + b',"type":"data","event":'


class Broker:
    """The subscriptions by pattern. There is no replay: who is not subscribed when it happens never hears of it."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._by_pattern: dict[str, list[Subscription]] = {}
        self.published = 0

    def add(self, subscription: Subscription) -> None:
        self._by_pattern.setdefault(subscription.pattern, []).append(subscription)

    def remove(self, subscription: Subscription) -> None:
        rest = self._by_pattern[subscription.pattern]
        rest.remove(subscription)
        if not rest:
            del self._by_pattern[subscription.pattern]

    def publish(self, channel: str, text: str, *, sub: str | None = None) -> None:
        """Hand an event to everyone whose pattern takes ``channel`` in; ``sub`` is whose channel it is, if anyone's."""
        self.published += 1
        number = self._transcript.add("published", channel=channel, event=text, sub=sub)
        event = Published(number, channel, msgspec.json.encode(text), len(text.encode()))
        for subscription in tuple(self._matching(channel)):
            subscription.session.deliver(subscription, event)

    def _matching(self, channel: str) -> Iterator[Subscription]:
        """Yield the subscriptions to the channel itself and to each wildcard above it, at any depth."""
        yield from self._by_pattern.get(channel, ())
        end = channel.find("/", 1)
        while end != -1:
            yield from self._by_pattern.get(channel[: end + 1] + "*", ())
            end = channel.find("/", end + 1)
