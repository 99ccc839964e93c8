"""One Events connection, without the connection: text and ``now`` in; events, text to send and a deadline out.

After every call the shell sends ``data_to_send()``, handles ``events_received()`` and arms one timer for
``next_deadline()``, at which it calls ``handle_timer``. Nothing here raises for what the service does.

Rules kept here: nothing is sent before ``connection_ack``; each request has a fresh id and a bounded wait; an
unsubscribe that meets a pending subscribe waits for its success (sent together, the service ignores it); data that
arrives after an unsubscribe is dropped; an error with an id ends that request alone, never the connection.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from realtime.appsync import messages
from realtime.appsync.auth import Authorization, subprotocol
from realtime.appsync.channels import parse_channel, parse_pattern
from realtime.appsync.endpoint import Endpoint
from realtime.appsync.exceptions import (
    AppSyncError,
    BadRequest,
    ConnectionLost,
    RemoteError,
    RequestTimeout,
    from_wire,
)
from realtime.appsync.states import SESSION, SUBSCRIPTION, SessionState, SubscriptionState

DEFAULT_CONNECTION_TIMEOUT = 300.0
"""Seconds without a frame after which the service counts as gone, if its ack does not say."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How to open the socket: the address, the subprotocols in order, and the one the server must select."""

    url: str
    subprotocols: tuple[str, ...] = field(repr=False)
    selected: str


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
    channel: str
    state: SubscriptionState
    error: AppSyncError | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """One published event: ``payload`` is the publisher's text, as it is."""

    ident: str
    channel: str
    payload: str


@dataclass(frozen=True, slots=True)
class Published:
    """How a publish ended: ``outcome`` is ``sent``, ``partial``, ``failed`` or ``unknown``; indexes of what failed."""

    ident: str
    outcome: str
    failed: tuple[tuple[int, str], ...] = ()
    error: AppSyncError | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error that ends nothing: without an id, of a broadcast, or a frame that could not be read."""

    text: str
    error: RemoteError | None = None
    ident: str | None = None


SessionEvent = Accepted | Rejected | SubscriptionChanged | Data | Published | Trouble


@dataclass(slots=True)
class _Subscription:
    channel: str
    state: SubscriptionState
    deadline: float | None
    unsubscribe_wanted: bool = False


def _fresh_id() -> str:
    return str(uuid.uuid4())


class EventsSession:
    """The protocol state of one connection to an Events API."""

    def __init__(
        self, endpoint: Endpoint, *, request_timeout: float = 10.0, fresh_id: Callable[[], str] = _fresh_id
    ) -> None:
        self._endpoint = endpoint
        self._timeout = request_timeout
        self._fresh_id = fresh_id
        self._state = SessionState.NEW
        self._subscriptions: dict[str, _Subscription] = {}
        self._publishes: dict[str, float] = {}
        self._outgoing: list[str] = []
        self._events: list[SessionEvent] = []

    @property
    def state(self) -> SessionState:
        return self._state

    # ── What the shell asks ──────────────────────────────────────────────────────────────────────────────────

    def opening(self, authorization: Authorization) -> Opening:
        """Return how to open the socket as this caller; made fresh for each try."""
        header = subprotocol(authorization.headers(self._endpoint.host, messages.CONNECT_SIGNED))
        return Opening(self._endpoint.realtime_url, (messages.SUBPROTOCOL, header), messages.SUBPROTOCOL)

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
        return min([*waiting, *self._publishes.values()], default=None)

    # ── What the caller wants ────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, channel: str, authorization: Authorization, now: float) -> str:
        """Ask for a channel (or ``…/*``) and return the subscription's id.

        Raises ChannelError for a name the service would refuse, RuntimeError before the connection is accepted.
        """
        self._require_open()
        pattern = parse_pattern(channel)
        ident = self._fresh_id()
        headers = authorization.headers(self._endpoint.host, messages.subscribe_signed(pattern))
        self._subscriptions[ident] = _Subscription(pattern, SubscriptionState.SUBSCRIBING, now + self._timeout)
        self._outgoing.append(messages.subscribe(ident, pattern, headers))
        return ident

    def unsubscribe(self, ident: str, now: float) -> None:
        """Give a subscription up; a no-op for one that is over or unknown."""
        subscription = self._subscriptions.get(ident)
        if subscription is None:
            return
        if subscription.state is SubscriptionState.SUBSCRIBING:
            subscription.unsubscribe_wanted = True
        elif subscription.state is SubscriptionState.LIVE:
            self._move(ident, subscription, "unsubscribe", now)

    def publish(self, channel: str, events: list[str], authorization: Authorization, now: float) -> str:
        """Publish at most five JSON texts and return the request's id; its Published follows, exactly once.

        Raises ChannelError for a wildcard or a bad name, BadRequest for a count the service refuses.
        """
        self._require_open()
        path = parse_channel(channel)
        if not 1 <= len(events) <= MAX_EVENTS:
            raise BadRequest("InvalidInputError", f"{len(events)} events in one publish; 1 to {MAX_EVENTS} are allowed")
        ident = self._fresh_id()
        headers = authorization.headers(self._endpoint.host, messages.publish_signed(path, events))
        self._publishes[ident] = now + self._timeout
        self._outgoing.append(messages.publish(ident, path, events, headers))
        return ident

    # ── What happens ─────────────────────────────────────────────────────────────────────────────────────────

    def opened(self) -> None:
        """The socket is up with the right subprotocol: greet."""
        self._enter("opened")
        self._outgoing.append(messages.connection_init())

    def receive(self, text: str | bytes, now: float) -> None:
        """Take one text frame of the service."""
        if self._state is SessionState.CLOSED:
            return
        try:
            frame = messages.read(text)
        except messages.Malformed as error:
            self._events.append(Trouble(f"unreadable frame: {error}"))
            return
        handle = getattr(self, f"_on_{frame.type}", None) if frame.type in FRAMES else None
        if handle is None:
            self._events.append(Trouble(f"unknown frame type {frame.type[:40]!r}"))
        else:
            handle(frame, now)

    def handle_timer(self, now: float) -> None:
        """End the requests whose time is up."""
        for ident, subscription in list(self._subscriptions.items()):
            if subscription.deadline is not None and subscription.deadline <= now:
                self._move(ident, subscription, "timeout", now, RequestTimeout("no answer to subscribe in time"))
        for ident, deadline in list(self._publishes.items()):
            if deadline <= now:
                del self._publishes[ident]
                self._events.append(Published(ident, "unknown", error=RequestTimeout("no answer to publish in time")))

    def closed(self, now: float, reason: str = "connection closed") -> None:
        """The socket is gone: everything that waits ends. Idempotent."""
        if self._state is SessionState.CLOSED and not self._subscriptions and not self._publishes:
            return
        self._state = SessionState.CLOSED
        lost = ConnectionLost(reason)
        for ident, subscription in list(self._subscriptions.items()):
            self._move(ident, subscription, "closed", now, lost)
        self._subscriptions.clear()
        for ident in self._publishes:
            self._events.append(Published(ident, "unknown", error=lost))
        self._publishes.clear()

    # ── Frames, one method each ──────────────────────────────────────────────────────────────────────────────

    def _on_connection_ack(self, frame: messages.Frame, now: float) -> None:
        if "connection_ack" not in SESSION[self._state]:
            self._events.append(Trouble("connection_ack out of place"))
            return
        self._enter("connection_ack")
        milliseconds = frame.connection_timeout_ms or 0
        self._events.append(Accepted(milliseconds / 1000 if milliseconds > 0 else DEFAULT_CONNECTION_TIMEOUT))

    def _on_connection_error(self, frame: messages.Frame, now: float) -> None:
        self._enter("connection_error")
        self._events.append(Rejected(from_wire(frame.errors, "connection")))

    def _on_ka(self, frame: messages.Frame, now: float) -> None:
        """Every frame proves life, so this one has nothing to add."""

    def _on_data(self, frame: messages.Frame, now: float) -> None:
        subscription = self._subscriptions.get(frame.id or "")
        if subscription is None or subscription.state not in HEARING:
            return
        if frame.event is None:
            self._events.append(Trouble("data frame without an event", ident=frame.id))
            return
        payloads = [frame.event] if isinstance(frame.event, str) else frame.event
        self._events.extend(Data(frame.id or "", subscription.channel, payload) for payload in payloads)

    def _on_subscribe_success(self, frame: messages.Frame, now: float) -> None:
        self._answer(frame, now)

    def _on_subscribe_error(self, frame: messages.Frame, now: float) -> None:
        self._answer(frame, now, from_wire(frame.errors, "subscription"))

    def _on_unsubscribe_success(self, frame: messages.Frame, now: float) -> None:
        self._answer(frame, now)

    def _on_unsubscribe_error(self, frame: messages.Frame, now: float) -> None:
        self._answer(frame, now, from_wire(frame.errors, "subscription"))

    def _on_broadcast_error(self, frame: messages.Frame, now: float) -> None:
        error = from_wire(frame.errors, "subscription")
        self._events.append(Trouble(f"broadcast error: {error}", error, frame.id))

    def _on_publish_success(self, frame: messages.Frame, now: float) -> None:
        if self._publishes.pop(frame.id or "", None) is not None:
            failed = tuple((int(item.get("index", -1)), _why(item)) for item in frame.failed)
            outcome = "sent" if not failed else ("partial" if frame.successful else "failed")
            self._events.append(Published(frame.id or "", outcome, failed))

    def _on_publish_error(self, frame: messages.Frame, now: float) -> None:
        if self._publishes.pop(frame.id or "", None) is not None:
            self._events.append(Published(frame.id or "", "failed", error=from_wire(frame.errors, "request")))

    def _on_error(self, frame: messages.Frame, now: float) -> None:
        if frame.id in self._subscriptions:
            self._answer(frame, now, from_wire(frame.errors, "subscription"))
        elif frame.id in self._publishes:
            self._on_publish_error(frame, now)
        else:
            error = from_wire(frame.errors, "connection")
            self._events.append(Trouble(f"error of the service: {error}", error, frame.id))

    # ── State ────────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, frame: messages.Frame, now: float, error: RemoteError | None = None) -> None:
        subscription = self._subscriptions.get(frame.id or "")
        if subscription is not None:
            self._move(frame.id or "", subscription, frame.type, now, error)

    def _move(
        self,
        ident: str,
        subscription: _Subscription,
        trigger: str,
        now: float,
        error: AppSyncError | None = None,
    ) -> None:
        """Take one subscription through its table; the only place where its state changes."""
        after = SUBSCRIPTION[subscription.state].get(trigger)
        if after is None:
            return
        given_up = subscription.state is SubscriptionState.TIMED_OUT
        subscription.state, subscription.deadline = after, None
        if after is SubscriptionState.UNSUBSCRIBING:
            subscription.deadline = now + self._timeout
            self._outgoing.append(messages.unsubscribe(ident))
        elif after is SubscriptionState.LIVE and subscription.unsubscribe_wanted:
            self._move(ident, subscription, "unsubscribe", now)
            return
        if after in (SubscriptionState.UNSUBSCRIBED, SubscriptionState.REFUSED, SubscriptionState.LOST):
            self._subscriptions.pop(ident, None)
        if not given_up:
            self._events.append(SubscriptionChanged(ident, subscription.channel, after, error))

    def _enter(self, trigger: str) -> None:
        after = SESSION[self._state].get(trigger)
        if after is None:
            raise RuntimeError(f"{trigger} in session state {self._state.value}")
        self._state = after

    def _require_open(self) -> None:
        if self._state is not SessionState.OPEN:
            raise RuntimeError(f"the session is {self._state.value}: wait for Accepted")


MAX_EVENTS = 5
"""Events in one publish, by the service's quota."""

HEARING = (SubscriptionState.SUBSCRIBING, SubscriptionState.LIVE)
"""States in which data counts: it may overtake the success, and is unwanted after an unsubscribe."""

FRAMES = frozenset(name.removeprefix("_on_") for name in vars(EventsSession) if name.startswith("_on_"))


def _why(item: dict[str, object]) -> str:
    """Return why one event of a publish failed; two AWS SDKs disagree on what the fields are called."""
    code = item.get("code", item.get("errorCode", ""))
    return f"{code} {item.get('message', item.get('errorMessage', ''))}".strip() or "no reason given"


__all__ = [
    "Accepted",
    "Data",
    "EventsSession",
    "Opening",
    "Published",
    "Rejected",
    "SessionEvent",
    "SubscriptionChanged",
    "Trouble",
]
