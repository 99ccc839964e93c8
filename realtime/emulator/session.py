"""One realtime session, as far as both dialects agree: init, acknowledgement, keep-alive, errors, end.

The life of a session: the upgrade has been answered; ``connection_init`` is answered with ``connection_ack`` and at
once a first ``ka``; from then on there is one each interval. Bad credentials are told in a ``connection_error`` frame,
after the client's first frame, because some clients only listen from then on; the socket closes after it.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import msgspec

from realtime.emulator.api import Api
from realtime.emulator.auth import CREDENTIALS, Call, Identity
from realtime.emulator.delivery import Delivery
from realtime.emulator.errors import ApiError, bad_request, unsupported
from realtime.emulator.faults import AFTER_ACK, Fault, Kind
from realtime.emulator.websocket import WebSocket

OPERATION_ID = re.compile(r"[a-zA-Z0-9\-_+]{1,128}")
# A refused client that never speaks is told all the same.
REFUSAL_DELAY = 1.0
# Seen on the service when it ends a connection, also after an error: a normal closure.
CLOSE_CODE = 1000


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs in the upgrade: the realtime paths, the sub-protocol, and what a connect's signature covers."""

    subprotocol: str
    paths: frozenset[str]
    connect: Call


class Begun(Protocol):
    """A subscription; ``since`` is the loop's time at which it was accepted."""

    @property
    def since(self) -> float: ...


class Session(ABC):
    """The server's end of one socket. ``refusal`` is what the client has to be told instead of an acknowledgement."""

    dialect: ClassVar[Dialect]

    def __init__(self, api: Api, socket: WebSocket, identity: Identity | None, refusal: ApiError | None = None) -> None:
        self.api = api
        self.socket = socket
        self.sub = None if identity is None else identity.sub
        self.id = api.next_connection_id()
        self.acknowledged = False
        self._refusal = refusal
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stalled = api.faults.match("stall", sub=self.sub) is not None
        self.delivery = Delivery(api, socket, self.id, self.sub)
        api.sessions[self.id] = self
        api.transcript.add("opened", connection=self.id, sub=self.sub, frame=self.dialect.subprotocol)
        if self._stalled:
            return
        if refusal is not None:
            self._later("refusal", REFUSAL_DELAY, self._refuse)
        elif api.options.limits.early_keep_alive:
            self._keep_alive()

    # Reader

    def received(self, text: bytes) -> None:
        """Take one message of the client."""
        message = _decode(text)
        self.api.transcript.add("received", connection=self.id, sub=self.sub, frame=redacted(message))
        if self._stalled:
            return
        if self._refusal is not None:
            self._refuse()
        elif message is None:
            self.send_error(None, bad_request("Message is not a JSON object"))
        elif message.get("type") == "connection_init":
            self._init()
        elif self.acknowledged or not self.needs_init():
            self._operate(message)

    def closed(self, code: int | None) -> None:
        """The socket is gone; subscriptions go with it."""
        for timer in self._timers.values():
            timer.cancel()
        del self.api.sessions[self.id]
        self.api.transcript.add("closed", connection=self.id, sub=self.sub, code=code)
        self.ended()

    # What a dialect says in its own words

    @abstractmethod
    def operate(self, kind: str, message: dict[str, Any]) -> None:
        """Carry out one message of the client; an ApiError becomes an error frame without an id."""

    @abstractmethod
    def ended(self) -> None:
        """Forget all subscriptions."""

    @abstractmethod
    def subscriptions(self) -> list[str]:
        """Return what is subscribed to, for people."""

    @abstractmethod
    def needs_init(self) -> bool:
        """Tell whether what comes before ``connection_init`` is ignored."""

    @abstractmethod
    def acknowledgement(self, timeout: int) -> dict[str, Any]:
        """Return the ``connection_ack``; ``timeout`` in milliseconds."""

    @abstractmethod
    def error_frame(self, kind: str, operation_id: str | None, error: ApiError) -> dict[str, Any]:
        """Return an error of this type in this dialect's nesting."""

    # For dialects

    def send(self, message: dict[str, Any]) -> None:
        """Send a frame other than data, and keep it in the transcript; a socket that is not open gets nothing."""
        if self.socket.open:
            self.api.transcript.add("sent", connection=self.id, sub=self.sub, frame=message)
            self.socket.send(message)

    def send_error(self, operation_id: str | None, error: ApiError, kind: str = "error") -> None:
        self.send(self.error_frame(kind, operation_id, error))

    def ignores(self, operation: str, ended: Begun | None = None) -> bool:
        """Tell whether a fault keeps an operation from being carried out; ``ended`` is what it would unsubscribe."""
        return self._hit("ignore", operation) or (ended is not None and self._is_early(ended))

    def check_room(self, ident: str, taken: Collection[str]) -> None:
        """Check that a subscription may begin under an id, beside those that have ``taken`` theirs; raises ApiError."""
        limits = self.api.options.limits
        if ident in taken:
            if not limits.replaces_duplicates:
                raise ApiError("DuplicatedOperationError", f"Operation id {ident} is already in use")
        elif len(taken) >= limits.subscriptions:
            raise ApiError(
                "MaxSubscriptionsReachedError", f"Max number of {limits.subscriptions} subscriptions reached"
            )

    def reply(self, operation: str, message: dict[str, Any]) -> None:
        """Answer an operation, unless a fault keeps the answer back."""
        if not self._hit("drop-reply", operation):
            self.send(message)

    def suffer(self, fault: Fault) -> bool:
        """Carry out a fault that acts at once; tell whether there was something here for it to act on."""
        action: Callable[[], None] | None = {
            "drop": self.socket.abort if fault.code is None else lambda: self.socket.close(fault.code, fault.reason),
            "half-open": self.socket.freeze,
            "malformed": lambda: self._send_text(fault.frame),
            "error-frame": lambda: self.send_error(None, fault.as_error()),
        }.get(fault.kind)
        if action is not None:
            action()
        return action is not None

    def now(self) -> float:
        """Return the loop's time, in seconds."""
        return self._loop.time()

    def _send_text(self, text: str) -> None:
        """Send what may be no message."""
        if self.socket.open:
            self.api.transcript.add("sent", connection=self.id, sub=self.sub, frame=text)
            self.socket.send_text(text.encode())

    def _is_early(self, ended: Begun) -> bool:
        fault = self.api.faults.match("early-unsubscribe", sub=self.sub, connection=self.id)
        return fault is not None and self.now() < ended.since + fault.delay / 1000

    def _hit(self, kind: Kind, operation: str) -> bool:
        return self.api.faults.match(kind, sub=self.sub, connection=self.id, operation=operation) is not None

    # Connection

    def _operate(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        try:
            if not isinstance(kind, str):
                raise unsupported()
            self.operate(kind, message)
        except ApiError as error:
            self.send_error(None, error)

    def _init(self) -> None:
        if self.acknowledged:
            return
        late = self.api.faults.match("late-ack", sub=self.sub)
        if late is None:
            self._acknowledge()
        else:
            self._later("ack", late.delay / 1000, self._acknowledge)

    def _acknowledge(self) -> None:
        self.acknowledged = True
        limits = self.api.options.limits
        self.send(self.acknowledgement(limits.connection_timeout))
        self._keep_alive()
        if limits.lifetime_seconds is not None:
            self._later("lifetime", limits.lifetime_seconds, self.socket.close, limits.lifetime_close_code)
        for kind in AFTER_ACK:
            if fault := self.api.faults.match(kind, sub=self.sub, connection=self.id):
                self.suffer(fault)

    def _keep_alive(self) -> None:
        if self.api.faults.match("silence", sub=self.sub, connection=self.id) is None:
            self.send({"type": "ka"})
        self._later("ka", self.api.options.limits.keep_alive / 1000, self._keep_alive)

    def _refuse(self) -> None:
        if self._refusal is not None:
            self.send_error(None, self._refusal, "connection_error")
            self.socket.close(CLOSE_CODE)

    def _later(self, name: str, delay: float, action: Callable[..., None], *args: object) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = self._loop.call_later(delay, self._fire, name, action, args)

    def _fire(self, name: str, action: Callable[..., None], args: tuple[object, ...]) -> None:
        self._timers.pop(name, None)
        action(*args)


def operation_id(message: Mapping[str, Any]) -> str:
    """Return a message's id; raises ApiError if it is not one the service takes."""
    value = message.get("id")
    if not isinstance(value, str) or not OPERATION_ID.fullmatch(value):
        raise bad_request("Invalid operation id")
    return value


def redacted(value: Any) -> Any:
    """Return a message without the values of its credentials, wherever they are: of an object the names stay."""
    if isinstance(value, dict):
        return {name: _masked(v) if name.lower() in CREDENTIALS else redacted(v) for name, v in value.items()}
    return [redacted(item) for item in value] if isinstance(value, list) else value


def _masked(value: Any) -> Any:
    return sorted(value) if isinstance(value, dict) else "…"


def _decode(text: bytes) -> dict[str, Any] | None:
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
