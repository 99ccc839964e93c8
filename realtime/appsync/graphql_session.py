"""The GraphQL dialect of a session: subscriptions are documents, data is a selection of their fields.

https://docs.aws.amazon.com/appsync/latest/devguide/real-time-websocket-client.html
"""

from __future__ import annotations

from realtime.appsync import graphql_messages as messages
from realtime.appsync.auth import Authorization, Request
from realtime.appsync.exceptions import from_wire
from realtime.appsync.messages import Malformed
from realtime.appsync.session import Data, Session, Trouble


class GraphQLSession(Session):
    """The protocol state of one connection to a GraphQL API. A target is the JSON text of query and variables."""

    subprotocol = messages.SUBPROTOCOL
    connect_path = messages.CONNECT_PATH

    def receive(self, text: str | bytes, now: float) -> None:
        try:
            frame = messages.read(text)
            handle = HANDLERS.get(frame.type)
            if handle is None:
                self._events.append(Trouble(f"unknown frame type {frame.type[:40]!r}"))
            else:
                handle(self, frame, now)
        except Malformed as error:
            self._events.append(Trouble(f"unreadable frame: {error}", lossy=True))

    def _subscribe_frame(self, ident: str, target: str, authorization: Authorization) -> tuple[str, str]:
        request = Request(self._endpoint.host, messages.PATH, target)
        return messages.start(ident, target, authorization.headers(request)), target

    def _unsubscribe_frame(self, ident: str) -> str:
        return messages.stop(ident)

    # ── Frames, one method each ──────────────────────────────────────────────────────────────────────────────

    def _on_connection_ack(self, frame: messages.Frame, now: float) -> None:
        self._accepted(messages.timeout_ms(frame))

    def _on_connection_error(self, frame: messages.Frame, now: float) -> None:
        self._rejected(from_wire(messages.errors(frame), "connection"))

    def _on_quiet(self, frame: messages.Frame, now: float) -> None:
        """A frame that says no more than that the service lives."""

    def _on_data(self, frame: messages.Frame, now: float) -> None:
        subscription = self._hearing(frame.id)
        if subscription is None:
            return
        result = messages.result(frame)
        data = bytes(result.data)
        if data != b"null":
            self._events.append(Data(frame.id or "", subscription.target, data.decode()))
        if result.errors:
            error = from_wire(result.errors, "subscription")
            self._events.append(Trouble(f"partial result: {error}", error, frame.id, lossy=True))

    def _on_start_ack(self, frame: messages.Frame, now: float) -> None:
        self._move(frame.id or "", "accepted", now)

    def _on_complete(self, frame: messages.Frame, now: float) -> None:
        self._ended(frame.id, now)

    def _on_error(self, frame: messages.Frame, now: float) -> None:
        self._failed(frame.id, from_wire(messages.errors(frame), "subscription" if frame.id else "connection"), now)


HANDLERS = {
    "connection_ack": GraphQLSession._on_connection_ack,
    "connection_error": GraphQLSession._on_connection_error,
    "ka": GraphQLSession._on_quiet,
    "starting": GraphQLSession._on_quiet,
    "start_ack": GraphQLSession._on_start_ack,
    "data": GraphQLSession._on_data,
    "complete": GraphQLSession._on_complete,
    "error": GraphQLSession._on_error,
}
