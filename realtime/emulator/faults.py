"""The emulator's ways to misbehave, each a small value, all matched in one place.

A fault is posted to ``control/faults`` as JSON, e.g. ``{"kind": "drop", "user": "viewer", "for": 5}``. Everybody is
concerned unless ``sub`` (or ``user``, an account's name), ``connection`` or ``channel`` (part of a name) narrows it;
``operation`` and, of the events of a publish, ``index`` narrow those kinds that are about one.
It stands until it has hit ``count`` times, ``for`` seconds have passed, or it is cleared; those of ``AT_ONCE`` act
once, at once, on the sockets there are (with a ``channel``: on those that subscribe to it), and go on for ``for``
seconds only if asked to: on sockets that come meanwhile, and `broadcast-error` instead of each event.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Annotated, Literal, get_args

import msgspec
from websockets.exceptions import WebSocketException
from websockets.frames import Close

from realtime.emulator.errors import ApiError

Kind = Literal[
    # towards new connections
    "refuse",  # answer the upgrade with HTTP `status` (503); status 0 resets the connection without an answer
    "stall",  # accept the upgrade and never acknowledge
    "late-ack",  # acknowledge after `delay` ms
    "connection-error",  # say `error_type` and `message` instead, with `status` (503; 0: none) as its code, and close
    # towards live sockets
    "drop",  # close with `code`, or, without one, without a close frame; with `for`, refuse new ones meanwhile
    "half-open",  # stop reading and writing, keep the TCP connection open
    "silence",  # send neither keep-alives nor data; what was published meanwhile is lost
    "malformed",  # send `frame`, or a text that is no JSON
    "error-frame",  # send an error without an id, of `error_type`
    "broadcast-error",  # Events: tell each subscription that an event of its channel went wrong, with `error_type`
    # towards operations
    "drop-reply",  # carry out and never answer; `operation` is subscribe, unsubscribe or publish, or any
    "ignore",  # neither carry out nor answer; `operation` as above
    "early-unsubscribe",  # the same for an unsubscribe within `delay` ms of its subscription
    "subscribe-error",  # refuse a subscription with `error_type` and `message`
    "publish-error",  # the namespace's handler refuses the whole publish
    "unknown-event",  # the handler returns an event that it was not given, which fails the whole publish
    "duplicate-event",  # the handler returns an event twice, which fails the whole publish
    "reject-event",  # the handler refuses the publish's event number `index` with `message`, or each event
    "filter-event",  # the handler leaves out event number `index`, or each: taken, and told to nobody
    "transform-event",  # the handler makes `event` (JSON text) of event number `index`, or of each
    "throttle",  # answer with LimitExceededError
    "expire-token",  # tokens issued until now count as expired from now on
    # towards data
    "lose",  # do not deliver
    "oversize",  # do not deliver what is longer than `limit` bytes
    "duplicate",  # deliver twice
    "shuffle",  # deliver after the next one
    "late",  # deliver `delay` ms later, and what comes meanwhile before it
    "array-event",  # an array of one string where clients expect the string
    "error-object",  # GraphQL: an object where `errors` should be an array
    "settle",  # lose what is published in the first `delay` ms after a subscription was accepted
    "no-timestamp",  # leave the source time out
    # towards HTTP
    "issuer-down",  # the token endpoints answer `status` (503)
    "snapshot-down",  # the snapshot answers `status` (503)
    "slow-http",  # answer the token and snapshot endpoints after `delay` ms
]
KINDS: tuple[str, ...] = get_args(Kind)
AT_ONCE: frozenset[str] = frozenset(
    {"drop", "half-open", "malformed", "error-frame", "broadcast-error", "expire-token"},
)
# Of those, what a socket that comes later suffers once it is acknowledged.
AFTER_ACK: tuple[Kind, ...] = ("malformed", "error-frame", "half-open")
# How long, in ms, `shuffle` holds a frame back when no other comes to overtake it.
SHUFFLE_HOLD = 200


class Fault(msgspec.Struct, rename={"error_type": "errorType", "seconds": "for"}, forbid_unknown_fields=True):
    """One misbehaviour; which fields mean something depends on the kind (see ``Kind``)."""

    kind: Kind
    sub: str | None = None
    user: str | None = None
    connection: str | None = None
    channel: str | None = None
    operation: Literal["subscribe", "unsubscribe", "publish"] | None = None
    count: int | None = None
    seconds: float | None = None
    status: Annotated[int, msgspec.Meta(ge=0, le=599)] = 503
    code: int | None = None
    reason: str = ""
    delay: int = 1000
    limit: int = 240 * 1024
    index: int | None = None
    event: str = "null"
    frame: str = '{"type":'
    error_type: str | None = "InternalFailure"
    message: str | None = None
    id: int = 0
    hits: int = 0

    def as_error(self) -> ApiError:
        """Return the error that is to be told."""
        return ApiError(self.error_type, self.message, status=self.status)


class FaultError(ValueError):
    """A fault cannot be read; the message says what is wrong with it."""


class Faults:
    """The faults that stand. ``match`` is called on hot paths: with none of a kind it is one dictionary look-up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ids = itertools.count(1)
        self._standing: dict[str, list[tuple[Fault, float | None]]] = {}

    def add(self, fault: Fault) -> Fault:
        """Let a fault stand from now on, and give it its id."""
        fault.id = next(self._ids)
        until = None if fault.seconds is None else self._clock() + fault.seconds
        if fault.kind not in AT_ONCE or fault.seconds is not None:
            self._standing.setdefault(fault.kind, []).append((fault, until))
        return fault

    def match(
        self,
        kind: Kind,
        *,
        sub: str | None = None,
        connection: str | None = None,
        channel: str | None = None,
        operation: str | None = None,
        index: int | None = None,
    ) -> Fault | None:
        """Return the first standing fault that concerns this case and count the hit, or None."""
        if kind not in self._standing:
            return None
        for fault in self._alive(kind):
            if (
                concerns(fault, sub, connection, channel)
                and fault.operation in (None, operation)
                and fault.index in (None, index)
            ):
                self._hit(fault)
                return fault
        return None

    @property
    def standing(self) -> bool:
        """Whether any fault may stand."""
        return bool(self._standing)

    def list(self) -> list[Fault]:
        return [fault for kind in tuple(self._standing) for fault in self._alive(kind)]

    def clear(self, kind: str | None = None) -> None:
        """End all faults, or all of one kind."""
        if kind is None:
            self._standing.clear()
        else:
            self._standing.pop(kind, None)

    def _alive(self, kind: str) -> Iterable[Fault]:
        now = self._clock()
        alive = [(f, until) for f, until in self._standing.get(kind, ()) if until is None or now < until]
        if alive:
            self._standing[kind] = alive
        else:
            self._standing.pop(kind, None)
        return [fault for fault, _ in alive]

    def _hit(self, fault: Fault) -> None:
        fault.hits += 1
        if fault.count is not None and fault.hits >= fault.count:
            rest = [(f, until) for f, until in self._standing[fault.kind] if f is not fault]
            self._standing[fault.kind] = rest
            if not rest:
                del self._standing[fault.kind]


def concerns(fault: Fault, sub: str | None, connection: str | None, channel: str | None = None) -> bool:
    """Tell whether the fault's filters let this case through; a filter that is not set lets everything through."""
    return (
        fault.sub in (None, sub)
        and fault.connection in (None, connection)
        and (fault.channel is None or (channel is not None and fault.channel in channel))
    )


def decode_faults(data: bytes) -> list[Fault]:
    """Read one fault, or a list of them, from JSON; raises FaultError."""
    try:
        faults = msgspec.json.decode(data, type=Fault | list[Fault])
    except msgspec.DecodeError as error:
        raise FaultError(f"{error}; kinds are: {', '.join(KINDS)}") from error
    faults = faults if isinstance(faults, list) else [faults]
    for fault in faults:
        if fault.code is not None:
            check_close(fault.code, fault.reason)
    return faults


def check_close(code: int, reason: str = "") -> None:
    """Check that a close frame may have this code and reason; raises FaultError."""
    try:
        Close(code, reason).check()
    except WebSocketException as error:
        raise FaultError(f"code {code} cannot stand in a close frame") from error
