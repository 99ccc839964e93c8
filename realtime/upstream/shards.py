"""Which of a link's subscriptions is on which of its connections: the service lets one connection hold only so many.

Pure. Each connection has its shard, the subscriptions that it holds; nearly every link has one. A subscription stays
in its shard while it is wanted, so a change of wishes moves nothing that is live; a new one goes to the first shard
with room. A shard that becomes empty is gone, but for the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from random import Random

from realtime.upstream.subscriptions import Subscription, Subscriptions

CAPACITY = 200
"""Subscriptions on one connection, by the service's quota, which AWS may set otherwise for an account; older APIs took
100. https://docs.aws.amazon.com/general/latest/gr/appsync.html"""

MAX_SHARDS = 10
"""Connections of one session. What does not fit is asked for all the same, and waits where the service refuses it."""


class Shards:
    """The wanted feeds of one session of a link, dealt out to connections of at most ``capacity`` each.

    A connection that turns out to take fewer has its room cut to that until the next session.
    """

    def __init__(self, wanted: dict[str, str], rng: Random, capacity: int = CAPACITY) -> None:
        self.rng = rng
        self._capacity = capacity
        self._room: dict[Subscriptions, int] = {}
        self._shards: list[Subscriptions] = []
        self._add()
        self.want(wanted)

    def successor(self) -> Shards:
        """Return what the next session starts with: the same feeds in the same shards, none of them asked for."""
        heir = Shards({}, self.rng, self._capacity)
        heir._shards = [shard.successor() for shard in self._shards]
        heir._room = dict.fromkeys(heir._shards, self._capacity)
        return heir

    def __iter__(self) -> Iterator[Subscription]:
        return chain.from_iterable(self._shards)

    def numbered(self) -> Iterator[tuple[int, Subscription]]:
        """Give each subscription with the number of its connection, from 1."""
        for number, shard in enumerate(self._shards, 1):
            for subscription in shard:
                yield number, subscription

    @property
    def first(self) -> Subscriptions:
        """The shard of the connection that the session is, for its manager."""
        return self._shards[0]

    @property
    def overflow(self) -> list[Subscriptions]:
        """The shards of the further connections."""
        return self._shards[1:]

    def is_live(self, feed: str) -> bool:
        """Tell whether this feed is heard now."""
        return any(shard.is_live(feed) for shard in self._shards)

    @property
    def settled(self) -> bool:
        """Whether every feed has its answer: live, or refused until the next session."""
        return all(shard.settled for shard in self._shards)

    @property
    def refused(self) -> list[Subscription]:
        return [subscription for shard in self._shards for subscription in shard.refused]

    def want(self, wanted: dict[str, str]) -> bool:
        """Want these feeds from now on, and no others; tell whether that changes anything."""
        before = {s.feed: s.target for s in self}
        for shard in self._shards:
            shard.want({s.feed: wanted[s.feed] for s in shard if s.feed in wanted})
        for feed, target in wanted.items():
            if feed not in before:
                self._with_room().place(Subscription(feed, target))
        for shard in [shard for shard in self.overflow if not len(shard)]:
            self._shards.remove(shard)
            del self._room[shard]
        return before != wanted

    def spill(self, subscription: Subscription, shard: Subscriptions) -> bool:
        """The service takes no more on this shard's connection: move the one it refused; tell whether that was done.

        A connection that refuses its only one is not full, and where no other may be opened there is only to wait.
        """
        if len(shard) == 1:
            return False
        self._room[shard] = max(shard.held, 1)
        other = self._with_room()
        if len(other) >= self._room[other]:
            return False
        other.place(shard.take(subscription.feed))
        return True

    def _with_room(self) -> Subscriptions:
        """Return the first shard with room, a new one if there is none, and the last if no more may be."""
        free = (shard for shard in self._shards if len(shard) < self._room[shard])
        found = next(free, None)
        if found is None:
            found = self._add() if len(self._shards) < MAX_SHARDS else self._shards[-1]
        return found

    def _add(self) -> Subscriptions:
        shard = Subscriptions({}, self.rng)
        self._shards.append(shard)
        self._room[shard] = self._capacity
        return shard
