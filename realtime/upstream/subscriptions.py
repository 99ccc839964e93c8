"""What a connection is to hear, and how far it is: wanted against actual. Each connection of a link has its own.

Pure like the session it drives: ``now`` comes in, one deadline goes out. A failure of one subscription never touches
its siblings or the connection. What the service throttles is retried with full jitter; what it refuses for the
credentials is retried once with a token that was forced to be new; what can never work stays refused until the next
session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from realtime.appsync.auth import Authorization
from realtime.appsync.exceptions import AppSyncError, AuthRejected, ChannelError
from realtime.appsync.session import Session, SubscriptionChanged
from realtime.appsync.states import SubscriptionState
from realtime.upstream.policy import FullJitter

RETRY = FullJitter(base=0.5, cap=30.0, first=0.5)

STABLE_AFTER = 30.0
"""Seconds for which a subscription has to be live before its earlier failures are forgotten."""


@dataclass(slots=True)
class Subscription:
    """One wanted feed, and the channel or document that it is upstream.

    ``status`` is ``wanted``, ``subscribing``, ``live``, ``retrying`` or ``refused``. ``deaf_since`` is when the last
    frame came to its connection, in seconds of boot time, if that was lost while the link stayed open.
    """

    feed: str
    target: str
    status: str = "wanted"
    ident: str = ""
    attempts: int = 0
    retry_at: float | None = None
    refreshed: bool = False
    error: str = ""
    live_since: float | None = None
    deaf_since: float | None = None


class Subscriptions:
    """The wanted feeds of one connection, by name, with the state of each."""

    def __init__(self, wanted: dict[str, str], rng: Random) -> None:
        self._by_feed = {feed: Subscription(feed, target) for feed, target in wanted.items()}
        self._by_ident: dict[str, Subscription] = {}
        self._unwanted: list[str] = []
        self._rng = rng

    def successor(self) -> Subscriptions:
        """Return what the next session starts with: the same feeds, none of them asked for.

        What was refused with a token that was forced to be new is remembered, or each connection would force another.
        """
        heir = Subscriptions({s.feed: s.target for s in self}, self._rng)
        for subscription in heir:
            subscription.refreshed = self._by_feed[subscription.feed].refreshed
            subscription.error = self._by_feed[subscription.feed].error
        return heir

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_feed.values())

    def __len__(self) -> int:
        return len(self._by_feed)

    @property
    def held(self) -> int:
        """How many the connection holds: those that are live, and those that are asked for."""
        return len(self._by_ident)

    def feed_of(self, ident: str) -> str | None:
        """Return the feed whose live or pending subscription has this id."""
        subscription = self._by_ident.get(ident)
        return subscription.feed if subscription else None

    def is_live(self, feed: str) -> bool:
        """Tell whether this feed is heard now."""
        subscription = self._by_feed.get(feed)
        return subscription is not None and subscription.status == "live"

    @property
    def settled(self) -> bool:
        """Whether every feed has its answer: live, or refused until the next session."""
        return all(s.status in ("live", "refused") for s in self._by_feed.values())

    @property
    def refused(self) -> list[Subscription]:
        return [s for s in self._by_feed.values() if s.status == "refused"]

    @property
    def wants_new_token(self) -> bool:
        """Whether a feed waits for a token that was forced to be new."""
        return bool(self._waiting_for_token())

    def want(self, wanted: dict[str, str]) -> bool:
        """Want these feeds from now on, and no others; tell whether that changes anything.

        ``follow`` then brings the session to it.
        """
        before = {s.feed: s.target for s in self._by_feed.values()}
        for feed in [feed for feed, target in before.items() if wanted.get(feed) != target]:
            ident = self._by_feed.pop(feed).ident
            if self._by_ident.pop(ident, None) is not None:
                self._unwanted.append(ident)
        for feed, target in wanted.items():
            self._by_feed.setdefault(feed, Subscription(feed, target))
        return before != wanted

    def place(self, subscription: Subscription) -> None:
        """Want this one too."""
        self._by_feed[subscription.feed] = subscription

    def take(self, feed: str) -> Subscription:
        """Want a feed no longer that the service refused; return its subscription, to be asked for elsewhere."""
        subscription = self._by_feed.pop(feed)
        subscription.status, subscription.retry_at = "wanted", None
        return subscription

    def begin(self, session: Session, authorization: Authorization, now: float) -> None:
        """Ask for everything on a session that was just accepted."""
        self.follow(session, authorization, now)

    def follow(self, session: Session, authorization: Authorization, now: float) -> None:
        """Give up what is no longer wanted, ask for what is wanted and was not asked for."""
        for ident in self._unwanted:
            session.unsubscribe(ident, now)
        self._unwanted.clear()
        for subscription in self._by_feed.values():
            if subscription.status == "wanted":
                self._ask(subscription, session, authorization, now)

    def lose(self, heard_at: float) -> None:
        """The connection is over, its last frame came then: nothing is live, everything is still wanted."""
        self._by_ident.clear()
        self._unwanted.clear()
        for subscription in self._by_feed.values():
            if subscription.status == "live":
                subscription.deaf_since = heard_at
            subscription.status, subscription.retry_at, subscription.live_since = "wanted", None, None

    def handle(self, event: SubscriptionChanged, now: float) -> Subscription | None:
        """Take one change of the session; return the feed's subscription, or none if it is not one of ours now."""
        subscription = self._by_ident.get(event.ident)
        if subscription is None:
            return None
        if event.state is SubscriptionState.LIVE:
            subscription.status, subscription.error, subscription.live_since = "live", "", now
            subscription.deaf_since = None
        elif event.state in (SubscriptionState.REFUSED, SubscriptionState.TIMED_OUT):
            del self._by_ident[event.ident]
            self._fail(subscription, event.error, now)
        return subscription

    def retry_due(self, session: Session, authorization: Authorization, now: float) -> None:
        """Ask again for the feeds whose time has come."""
        for subscription in self._by_feed.values():
            if subscription.retry_at is not None and subscription.retry_at <= now:
                self._ask(subscription, session, authorization, now)

    def retry_with_new_token(self, session: Session, authorization: Authorization, now: float) -> list[Subscription]:
        """Ask again for the feeds that waited for a new token, and return them."""
        waiting = self._waiting_for_token()
        for subscription in waiting:
            subscription.refreshed = True
            self._ask(subscription, session, authorization, now)
        return waiting

    def put_off(self, reason: str, now: float) -> list[Subscription]:
        """No token can be had now: ask again later for the feeds that wait for one, and return them."""
        waiting = self._waiting_for_token()
        for subscription in waiting:
            subscription.error = reason
            subscription.retry_at = now + RETRY.delay(subscription.attempts, self._rng)
        return waiting

    def give_up(self, reason: str) -> list[Subscription]:
        """No token will be had: the feeds that wait for one stay refused until the next session; return them."""
        waiting = self._waiting_for_token()
        for subscription in waiting:
            subscription.status, subscription.error = "refused", reason
        return waiting

    def next_deadline(self) -> float | None:
        return min((s.retry_at for s in self._by_feed.values() if s.retry_at is not None), default=None)

    def _waiting_for_token(self) -> list[Subscription]:
        return [s for s in self._by_feed.values() if s.status == "retrying" and s.retry_at is None]

    def _ask(self, s: Subscription, session: Session, authorization: Authorization, now: float) -> None:
        s.status, s.retry_at, s.live_since = "subscribing", None, None
        try:
            s.ident = session.subscribe(s.target, authorization, now)
        except ChannelError as error:  # a name made of a user's subject may be one that the service never takes
            s.status, s.error = "refused", str(error)
        else:
            self._by_ident[s.ident] = s

    def _fail(self, s: Subscription, error: AppSyncError | None, now: float) -> None:
        if s.live_since is not None and now - s.live_since >= STABLE_AFTER:
            s.attempts, s.refreshed = 0, False
        s.error, s.live_since = str(error or "refused"), None
        s.attempts += 1
        if isinstance(error, AuthRejected) and not s.refreshed:
            s.status, s.retry_at = "retrying", None
        elif error is not None and error.retryable:
            s.status, s.retry_at = "retrying", now + RETRY.delay(s.attempts, self._rng)
        else:
            s.status, s.retry_at = "refused", None
