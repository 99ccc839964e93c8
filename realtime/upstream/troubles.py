"""What keeps a link from being open, as people are told it: one of six kinds, the class, and what to do."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from realtime.upstream.failures import BROKEN_FRAME, FATAL_STATUS, REFUSED, TOKEN
from realtime.upstream.model import Cause, Failure, Snapshot
from realtime.upstream.states import HAS_SESSION, State
from realtime.upstream.verbs import AUTH_GATE, why


class Kind(Enum):
    AUTHENTICATION_REQUIRED = "authentication-required"
    CONNECTION_FAILED = "connection-failed"
    DECODING_FAILED = "decoding-failed"
    INVALID_FORMAT = "invalid-format"
    SERVER_ERROR = "server-error"
    RECONNECT_EXHAUSTED = "reconnect-exhausted"


class Trouble(NamedTuple):
    kind: Kind
    failure: Failure


BY_ITSELF: dict[Failure, str] = {
    Failure.TRANSIENT: "It is tried again by itself.",
    Failure.THROTTLED: "It is tried again by itself, no sooner than the service asked.",
    Failure.AUTH_EXPIRED: "It is tried by itself with a new token.",
    Failure.AUTH_REJECTED: "Nothing is tried before the credentials change.",
    Failure.FATAL: "Nothing is tried by itself.",
    Failure.EXHAUSTED: "Nothing more is tried by itself.",
}

TO_DO: dict[Kind, str] = {
    Kind.AUTHENTICATION_REQUIRED: (
        "Have the user sign in again; if it is everybody, `manage.py doctor` checks issuer and credentials."
    ),
    Kind.CONNECTION_FAILED: "If it lasts, `manage.py doctor` checks names, TLS and the way to the service.",
    Kind.DECODING_FAILED: "If it lasts, look for what changes frames on the way, such as a proxy.",
    Kind.INVALID_FORMAT: "Check the address and UPSTREAM_PROTOCOL, then `manage.py links reconnect`.",
    Kind.SERVER_ERROR: "If it lasts, look at the service's own state and its quotas.",
    Kind.RECONNECT_EXHAUSTED: "See to the cause, then `manage.py links reconnect`.",
}


AT_REST: dict[State, str] = {
    State.STOPPED: "It is started with its user's sign-in, if a worker runs: `manage.py upstream`.",
    State.SUSPENDED: "It comes back with its user; `manage.py links resume` or `reconnect` brings it up.",
    State.WAITING: "`manage.py links gates` and `links service` say what is shut, and for how long.",
}


def next_step(trouble: Trouble) -> str:
    """Say what happens by itself, and what somebody has to do."""
    return f"{BY_ITSELF[trouble.failure]} {TO_DO[trouble.kind]}"


def described(cause: Cause) -> str:
    """Say what happened, with the code that the service gave, whatever words it had for it."""
    text = why(cause)
    return text if cause.code is None or str(cause.code) in text else f"{text} (code {cause.code})"


def of(snapshot: Snapshot) -> Trouble | None:
    """Return what is wrong with a link, or none if it is open, or rests because somebody wants it to."""
    if snapshot.state is State.WAITING:
        refused = AUTH_GATE in snapshot.waiting_for
        return Trouble(Kind.AUTHENTICATION_REQUIRED, Failure.AUTH_REJECTED) if refused else None
    tries = snapshot.state in HAS_SESSION - {State.OPEN} and (snapshot.attempt > 0 or snapshot.reason)
    failed = snapshot.state in (State.BACKOFF, State.COOLING, State.FAILED)
    if snapshot.failure is None or snapshot.last_error is None or not (tries or failed):
        return None
    return Trouble(_kind(snapshot.last_error, snapshot.failure), snapshot.failure)


def _kind(cause: Cause, failure: Failure) -> Kind:
    if failure is Failure.EXHAUSTED:
        return Kind.RECONNECT_EXHAUSTED
    if failure in (Failure.AUTH_EXPIRED, Failure.AUTH_REJECTED) or cause.kind == TOKEN:
        return Kind.AUTHENTICATION_REQUIRED
    if cause.kind == BROKEN_FRAME:
        return Kind.DECODING_FAILED
    if failure is Failure.FATAL or {cause.status, cause.code} & FATAL_STATUS:
        return Kind.INVALID_FORMAT
    if failure is Failure.THROTTLED or cause.status is not None or cause.kind == REFUSED:
        return Kind.SERVER_ERROR
    return Kind.CONNECTION_FAILED
