"""One AppSync connection, without the connection: text and ``now`` in; events, text to send and a deadline out.

This is what both dialects share; ``events_session`` and ``graphql_session`` spell the frames. After every call the
shell sends ``data_to_send()``, handles ``events_received()`` and arms one timer for ``next_deadline()``, at which it
calls ``handle_timer``. Nothing here raises for what the service does.

Rules kept here: nothing is sent before ``connection_ack``; each request has a fresh id and a bounded wait; an
unsubscribe that meets a pending subscribe waits for its success (sent together, the service ignores it); data that
arrives after an unsubscribe is dropped; an error with an id ends that request alone, never the connection.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

import msgspec

from realtime.appsync.auth import CONNECT_BODY, Authorization, Request, query, subprotocol, without_host
from realtime.appsync.endpoint import Endpoint
from realtime.appsync.exceptions import (
    AppSyncError,
    ConnectionLost,
    RemoteError,
    RequestTimeout,
    ServiceFault,
    Throttled,
)
from realtime.appsync.publishing import Outcome, outcome_of
from realtime.appsync.states import SESSION, SUBSCRIPTION, SessionState, SubscriptionState

Carrier = Literal["subprotocol", "headers", "query"]

DEFAULT_CONNECTION_TIMEOUT = 300.0
"""Seconds without a frame after which the service counts as gone, if its ack does not say."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open the socket: the address, the subprotocols in order, the one the server must select, and headers.

    Where the authorization is depends on the carrier, so none of it is shown.
    """

    url: str = field(repr=False)
    subprotocols: tuple[str, ...] = field(repr=False)
    selected: str
    headers: dict[str, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service took the connection; without a frame for ``timeout`` seconds it counts as gone."""

    timeout: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """The service refused the connection, or ended it with a reason."""

    error: RemoteError


@dataclass(frozen=True, slots=True)
class SubscriptionChanged:
    ident: str
    target: str
    state: SubscriptionState
    error: AppSyncError | None = None


class Data(msgspec.Struct, frozen=True):
    """One event: ``payload`` is the publisher's text (Events), or the JSON of ``payload.data`` (GraphQL)."""

    ident: str
    target: str
    payload: str


@dataclass(frozen=True, slots=True)
class Published:
    """How each event of a publish ended; ``error`` is set if all of them ended with it."""

    ident: str
    outcomes: tuple[Outcome, ...]
    error: AppSyncError | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error that ends nothing: without an id, of a broadcast, or a frame that could not be read.

    ``lossy`` says that an event may have been lost with it.
    """

    text: str
    error: RemoteError | None = None
    ident: str | None = None
    lossy: bool = False


SessionEvent = Accepted | Rejected | SubscriptionChanged | Data | Published | Trouble


@dataclass(slots=True)
class _Subscription:
    target: str
    state: SubscriptionState
    deadline: float | None
    unsubscribe_wanted: bool = False
    unsubscribes: int = 0
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class Awaited:
    """A publish that waits for its answer: how many events it holds, and until when."""

    count: int
    deadline: float


def _fresh_id() -> str:
    return str(uuid.uuid4())


class Session(ABC):
    """The protocol state of one connection. ``target`` is what a subscription is to: a channel, or a document."""

    subprotocol: str
    connect_path: str

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        carrier: Carrier = "subprotocol",
        request_timeout: float = 10.0,
        fresh_id: Callable[[], str] = _fresh_id,
    ) -> None:
        self._endpoint = endpoint
        self._carrier = carrier
        self._timeout = request_timeout
        self._fresh_id = fresh_id
        self._state = SessionState.NEW
        self._subscriptions: dict[str, _Subscription] = {}
        self._publishes: dict[str, Awaited] = {}
        self._outgoing: list[str] = []
        self._events: list[SessionEvent] = []

    @property
    def state(self) -> SessionState:
        return self._state

    # ── What the shell asks ──────────────────────────────────────────────────────────────────────────────────

    def opening(self, authorization: Authorization) -> Opening:
        """Return how to open the socket as this caller; made fresh for each try."""
        headers = authorization.headers(Request(self._endpoint.host, self.connect_path, CONNECT_BODY))
        url = self._endpoint.realtime_url
        if self._carrier == "query":
            return Opening(f"{url}?{urlencode(query(headers))}", (self.subprotocol,), self.subprotocol)
        if self._carrier == "headers":
            return Opening(url, (self.subprotocol,), self.subprotocol, without_host(headers))
        return Opening(url, (self.subprotocol, subprotocol(headers)), self.subprotocol)

    def data_to_send(self) -> list[str]:
        """Return the frames to send, in order; each is given once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def events_received(self) -> list[SessionEvent]:
        """Return what happened since the last call, in order; each event is given once."""
        events, self._events = self._events, []
        return events

    def next_deadline(self) -> float | None:
        """Return the earliest time at which ``handle_timer`` has something to do."""
        waiting = [s.deadline for s in self._subscriptions.values() if s.deadline is not None]
        return min([*waiting, *(publish.deadline for publish in self._publishes.values())], default=None)

    # ── What the caller wants ────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, target: str, authorization: Authorization, now: float) -> str:
        """Ask for a target and return the subscription's id.

        Raises ChannelError for a channel the service would refuse, RuntimeError before the connection is accepted.
        """
        self._require_open()
        ident = self._fresh_id()
        text, target = self._subscribe_frame(ident, target, authorization)
        self._subscriptions[ident] = _Subscription(target, SubscriptionState.SUBSCRIBING, now + self._timeout)
        self._outgoing.append(text)
        return ident

    def unsubscribe(self, ident: str, now: float) -> None:
        """Give a subscription up; a no-op for one that is over or unknown."""
        subscription = self._subscriptions.get(ident)
        if subscription is None:
            return
        if subscription.state is SubscriptionState.SUBSCRIBING:
            subscription.unsubscribe_wanted = True
        elif subscription.state is SubscriptionState.LIVE:
            self._move(ident, "unsubscribe", now)

    # ── What happens ─────────────────────────────────────────────────────────────────────────────────────────

    def opened(self) -> None:
        """The socket is up with the right subprotocol: greet."""
        self._enter("opened")
        self._outgoing.append(CONNECTION_INIT)

    @abstractmethod
    def receive(self, text: str | bytes, now: float) -> None:
        """Take one text frame of the service."""

    def handle_timer(self, now: float) -> None:
        """End the requests whose time is up."""
        for ident, subscription in list(self._subscriptions.items()):
            if subscription.deadline is not None and subscription.deadline <= now:
                if self._may_ask_again(subscription):
                    self._ask_to_unsubscribe(ident, subscription, now)
                else:
                    self._move(ident, "timeout", now, RequestTimeout("no answer to subscribe in time"))
        for ident, publish in list(self._publishes.items()):
            if publish.deadline <= now:
                self._fail_publish(ident, RequestTimeout("no answer to publish in time"))

    def closed(self, now: float, reason: str = "connection closed") -> None:
        """The socket is gone: everything that waits ends. Idempotent."""
        self._state = SessionState.CLOSED
        lost = ConnectionLost(reason)
        for ident in list(self._subscriptions):
            self._move(ident, "closed", now, lost)
        self._subscriptions.clear()
        for ident in list(self._publishes):
            self._fail_publish(ident, lost)

    # ── What the dialects spell ──────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def _subscribe_frame(self, ident: str, target: str, authorization: Authorization) -> tuple[str, str]:
        """Return the frame that asks for ``target``, and the target's one spelling."""

    @abstractmethod
    def _unsubscribe_frame(self, ident: str) -> str:
        """Return the frame that gives a subscription up."""

    # ── State ────────────────────────────────────────────────────────────────────────────────────────────────

    def _accepted(self, timeout_ms: float | None) -> None:
        if "connection_ack" not in SESSION[self._state]:
            self._events.append(Trouble("connection_ack out of place"))
            return
        self._enter("connection_ack")
        milliseconds = timeout_ms or 0
        self._events.append(Accepted(milliseconds / 1000 if milliseconds > 0 else DEFAULT_CONNECTION_TIMEOUT))

    def _rejected(self, error: RemoteError) -> None:
        if "connection_error" not in SESSION[self._state]:
            self._events.append(Trouble("connection_error out of place", error))
            return
        self._enter("connection_error")
        self._events.append(Rejected(error))

    def _hearing(self, ident: str | None) -> _Subscription | None:
        """Return the subscription whose data counts, or none: unknown ids and given-up ones are dropped quietly."""
        subscription = self._subscriptions.get(ident or "")
        if subscription is None or subscription.unsubscribe_wanted or subscription.state not in HEARING:
            return None
        return subscription

    def _failed(self, ident: str | None, error: RemoteError, now: float) -> None:
        """Take an error frame: one with an id ends that request alone, one without ends nothing."""
        subscription = self._subscriptions.get(ident or "")
        if subscription is not None:
            if isinstance(error, Throttled) and self._may_ask_again(subscription):
                return  # when its wait is over
            self._move(ident or "", "refused", now, error)
        elif ident in self._publishes:
            self._fail_publish(ident or "", error)
        else:
            self._events.append(Trouble(f"error of the service: {error}", error, ident))

    def _ended(self, ident: str | None, now: float) -> None:
        """The service says that a subscription is over, asked to or not."""
        self._move(ident or "", "ended", now, ServiceFault("complete", "the service ended the subscription"))

    def _fail_publish(self, ident: str, error: AppSyncError) -> None:
        count = self._publishes.pop(ident).count
        self._events.append(Published(ident, (outcome_of(error),) * count, error))

    def _move(self, ident: str, trigger: str, now: float, error: AppSyncError | None = None) -> None:
        """Take one subscription through its table; the only place where its state changes."""
        subscription = self._subscriptions.get(ident)
        after = SUBSCRIPTION[subscription.state].get(trigger) if subscription is not None else None
        if subscription is None or after is None:
            return
        given_up = subscription.given_up
        subscription.state, subscription.deadline = after, None
        subscription.given_up = given_up or after is SubscriptionState.TIMED_OUT
        if after is SubscriptionState.UNSUBSCRIBING:
            self._ask_to_unsubscribe(ident, subscription, now)
        elif after is SubscriptionState.LIVE and subscription.unsubscribe_wanted:
            self._move(ident, "unsubscribe", now)
            return
        if after in OVER:
            del self._subscriptions[ident]
        if not given_up:
            shown = None if after is SubscriptionState.UNSUBSCRIBED else error
            self._events.append(SubscriptionChanged(ident, subscription.target, after, shown))

    def _ask_to_unsubscribe(self, ident: str, subscription: _Subscription, now: float) -> None:
        subscription.unsubscribes += 1
        subscription.deadline = now + self._timeout
        self._outgoing.append(self._unsubscribe_frame(ident))

    @staticmethod
    def _may_ask_again(subscription: _Subscription) -> bool:
        return (
            subscription.state is SubscriptionState.UNSUBSCRIBING and subscription.unsubscribes < UNSUBSCRIBE_ATTEMPTS
        )

    def _enter(self, trigger: str) -> None:
        after = SESSION[self._state].get(trigger)
        if after is None:
            raise RuntimeError(f"{trigger} in session state {self._state.value}")
        self._state = after

    def _require_open(self) -> None:
        if self._state is not SessionState.OPEN:
            raise RuntimeError(f"the session is {self._state.value}: wait for Accepted")


UNSUBSCRIBE_ATTEMPTS = 3
"""How often an unsubscribe is sent that is throttled or not answered. One that is forgotten stays live at the service:
it sends data for nobody, and counts towards the most that a connection may have."""

CONNECTION_INIT = '{"type":"connection_init"}'

HEARING = (SubscriptionState.SUBSCRIBING, SubscriptionState.LIVE)
"""States in which data counts: it may overtake the success, and is unwanted after an unsubscribe."""

OVER = (SubscriptionState.UNSUBSCRIBED, SubscriptionState.REFUSED, SubscriptionState.LOST)
"""States from which nothing leads on. One that timed out stays known, in case the service accepts it late."""
