"""The Events dialect of a session: channels, data as text, publish on the same socket.

https://docs.aws.amazon.com/appsync/latest/eventapi/event-api-websocket-protocol.html
"""

from __future__ import annotations

from realtime.appsync import messages, publishing
from realtime.appsync.auth import Authorization, Request
from realtime.appsync.channels import parse_channel, parse_pattern
from realtime.appsync.exceptions import from_wire
from realtime.appsync.session import Awaited, Data, Published, Session, Trouble


class EventsSession(Session):
    """The protocol state of one connection to an Events API. A target is a channel, or a pattern ending in ``/*``."""

    subprotocol = messages.SUBPROTOCOL
    connect_path = messages.PATH

    def publish(self, channel: str, events: list[str], authorization: Authorization, now: float) -> str:
        """Publish at most five JSON texts and return the request's id; its Published follows, exactly once.

        Raises ChannelError for a wildcard or a bad name, BadRequest for a count or a size the service refuses.
        """
        self._require_open()
        path = parse_channel(channel)
        publishing.check(path, events)
        ident = self._fresh_id()
        request = Request(self._endpoint.host, messages.PATH, messages.publish_body(path, events))
        self._publishes[ident] = Awaited(len(events), now + self._timeout)
        self._outgoing.append(messages.publish(ident, path, events, authorization.headers(request)))
        return ident

    def receive(self, text: str | bytes, now: float) -> None:
        try:
            frame = messages.read(text)
        except messages.Malformed as error:
            self._events.append(Trouble(f"unreadable frame: {error}", lossy=True))
            return
        handle = HANDLERS.get(frame.type)
        if handle is None:
            self._events.append(Trouble(f"unknown frame type {frame.type[:40]!r}"))
        else:
            handle(self, frame, now)

    def _subscribe_frame(self, ident: str, target: str, authorization: Authorization) -> tuple[str, str]:
        pattern = parse_pattern(target)
        request = Request(self._endpoint.host, messages.PATH, messages.subscribe_body(pattern))
        return messages.subscribe(ident, pattern, authorization.headers(request)), pattern

    def _unsubscribe_frame(self, ident: str) -> str:
        return messages.unsubscribe(ident)

    # ── Frames, one method each ──────────────────────────────────────────────────────────────────────────────

    def _on_connection_ack(self, frame: messages.Frame, now: float) -> None:
        self._accepted(frame.connection_timeout_ms)

    def _on_connection_error(self, frame: messages.Frame, now: float) -> None:
        self._rejected(from_wire(frame.errors, "connection"))

    def _on_ka(self, frame: messages.Frame, now: float) -> None:
        """Every frame proves life, so this one has nothing to add."""

    def _on_data(self, frame: messages.Frame, now: float) -> None:
        subscription = self._hearing(frame.id)
        if subscription is None:
            return
        if frame.event is None:
            self._events.append(Trouble("data frame without an event", ident=frame.id, lossy=True))
            return
        payloads = [frame.event] if isinstance(frame.event, str) else frame.event
        self._events.extend(Data(frame.id or "", subscription.target, payload) for payload in payloads)

    def _on_subscribe_success(self, frame: messages.Frame, now: float) -> None:
        self._move(frame.id or "", "accepted", now)

    def _on_unsubscribe_success(self, frame: messages.Frame, now: float) -> None:
        self._ended(frame.id, now)

    def _on_broadcast_error(self, frame: messages.Frame, now: float) -> None:
        error = from_wire(frame.errors, "subscription")
        self._events.append(Trouble(f"broadcast error: {error}", error, frame.id, lossy=True))

    def _on_publish_success(self, frame: messages.Frame, now: float) -> None:
        awaited = self._publishes.pop(frame.id or "", None)
        if awaited is not None:
            outcomes = publishing.outcomes_of(frame.successful, frame.failed, awaited.count)
            self._events.append(Published(frame.id or "", outcomes))

    def _on_error(self, frame: messages.Frame, now: float) -> None:
        self._failed(frame.id, from_wire(frame.errors, "subscription" if frame.id else "connection"), now)


HANDLERS = {
    "connection_ack": EventsSession._on_connection_ack,
    "connection_error": EventsSession._on_connection_error,
    "ka": EventsSession._on_ka,
    "data": EventsSession._on_data,
    "subscribe_success": EventsSession._on_subscribe_success,
    "subscribe_error": EventsSession._on_error,
    "unsubscribe_success": EventsSession._on_unsubscribe_success,
    "unsubscribe_error": EventsSession._on_error,
    "broadcast_error": EventsSession._on_broadcast_error,
    "publish_success": EventsSession._on_publish_success,
    "publish_error": EventsSession._on_error,
    "error": EventsSession._on_error,
}
