"""The connection manager's table: which event may lead from which state to which.

Rules of this file: a state's row lists every event that means something in it; an absent event changes nothing, not
even a counter. ``step`` asks this table first, so the table is what runs, not a picture of it; the tests walk it, and
the operators' diagram is drawn from it.

Vocabulary. ``waiting`` means a named gate is shut (no credential, say). ``suspended`` means nobody wants the link for
now, or an operator said so. ``backoff`` means that a try failed and the next has its time. ``failed`` is for good,
until somebody starts it anew or the user's authority changes. Only ``start`` and ``connect_now`` leave ``stopped``.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    STOPPED = "stopped"
    WAITING = "waiting"
    SUSPENDED = "suspended"
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    SYNCING = "syncing"
    OPEN = "open"
    BACKOFF = "backoff"
    FAILED = "failed"


class Trigger(Enum):
    START = "start"
    CONNECT_NOW = "connect_now"
    STOP = "stop"
    GATE_LOST = "gate_lost"
    GATE_GAINED = "gate_gained"
    SUSPEND = "suspend"
    RESUME = "resume"
    GRACE_EXPIRED = "grace_expired"
    SPREAD_OVER = "spread_over"
    TRANSPORT_UP = "transport_up"
    ACCEPTED = "accepted"
    SYNCED = "synced"
    STABLE = "stable"
    DROPPED = "dropped"
    AUTH_REJECTED = "auth_rejected"
    TOKEN_FAILED = "token_failed"
    AUTH_CHANGED = "auth_changed"
    CONNECT_TIMEOUT = "connect_timeout"
    AUTH_TIMEOUT = "auth_timeout"
    SYNC_TIMEOUT = "sync_timeout"
    HEARTBEAT = "heartbeat"
    HEARD = "heard"
    WOKE = "woke"
    BACKOFF_FIRED = "backoff_fired"


_S, _T = State, Trigger

HAS_SESSION = frozenset({_S.CONNECTING, _S.AUTHENTICATING, _S.SYNCING, _S.OPEN})
"""States in which the active slot is filled."""

# What every link that tries, or has, a connection understands: being stopped or begun anew, wishes and gates changing.
_ALWAYS: dict[Trigger, frozenset[State]] = {
    _T.CONNECT_NOW: frozenset({_S.CONNECTING}),
    _T.STOP: frozenset({_S.STOPPED}),
    _T.GATE_LOST: frozenset({_S.WAITING}),
    _T.SUSPEND: frozenset({_S.SUSPENDED}),
    _T.RESUME: frozenset(),
    _T.GRACE_EXPIRED: frozenset({_S.SUSPENDED}),
    _T.AUTH_CHANGED: frozenset({_S.CONNECTING}),
}

# What can end any try, and what becomes of it.
_TRYING: dict[Trigger, frozenset[State]] = {
    _T.DROPPED: frozenset({_S.BACKOFF, _S.FAILED}),
    _T.AUTH_REJECTED: frozenset({_S.CONNECTING, _S.WAITING}),
}


def _row(*parts: dict[Trigger, frozenset[State]], **own: frozenset[State]) -> dict[Trigger, frozenset[State]]:
    row: dict[Trigger, frozenset[State]] = {}
    for part in parts:
        row |= part
    return row | {Trigger[name]: after for name, after in own.items()}


def _to(*states: State) -> frozenset[State]:
    return frozenset(states)


TABLE: dict[State, dict[Trigger, frozenset[State]]] = {
    # Gates and wishes are noted while stopped, so that a start finds them as they are; the state stays.
    _S.STOPPED: {
        _T.START: _to(_S.CONNECTING, _S.WAITING, _S.SUSPENDED),
        _T.CONNECT_NOW: _to(_S.CONNECTING, _S.WAITING),
        _T.GATE_LOST: _to(),
        _T.GATE_GAINED: _to(),
        _T.SUSPEND: _to(),
        _T.RESUME: _to(),
        _T.AUTH_CHANGED: _to(),
    },
    _S.WAITING: _row(_ALWAYS, GATE_LOST=_to(), GATE_GAINED=_to(), SPREAD_OVER=_to(_S.CONNECTING)),
    _S.SUSPENDED: {
        _T.CONNECT_NOW: _to(_S.CONNECTING, _S.WAITING),
        _T.STOP: _to(_S.STOPPED),
        _T.GATE_LOST: _to(),
        _T.GATE_GAINED: _to(),
        _T.SUSPEND: _to(),
        _T.RESUME: _to(_S.CONNECTING, _S.WAITING),
        _T.AUTH_CHANGED: _to(),
    },
    _S.CONNECTING: _row(
        _ALWAYS,
        _TRYING,
        TRANSPORT_UP=_to(_S.AUTHENTICATING),
        ACCEPTED=_to(_S.SYNCING),
        CONNECT_TIMEOUT=_to(_S.BACKOFF, _S.FAILED),
        TOKEN_FAILED=_to(_S.BACKOFF, _S.WAITING, _S.FAILED),
    ),
    _S.AUTHENTICATING: _row(_ALWAYS, _TRYING, ACCEPTED=_to(_S.SYNCING), AUTH_TIMEOUT=_to(_S.BACKOFF, _S.FAILED)),
    _S.SYNCING: _row(
        _ALWAYS,
        _TRYING,
        SYNCED=_to(_S.OPEN),
        SYNC_TIMEOUT=_to(_S.OPEN),
        HEARTBEAT=_to(_S.BACKOFF, _S.FAILED),
        HEARD=_to(),
        WOKE=_to(_S.BACKOFF, _S.FAILED),
    ),
    _S.OPEN: _row(
        _ALWAYS,
        _TRYING,
        STABLE=_to(),
        SYNCED=_to(),
        HEARTBEAT=_to(_S.BACKOFF, _S.FAILED),
        HEARD=_to(),
        WOKE=_to(_S.BACKOFF, _S.FAILED),
    ),
    _S.BACKOFF: _row(_ALWAYS, BACKOFF_FIRED=_to(_S.CONNECTING), WOKE=_to(_S.CONNECTING)),
    _S.FAILED: {
        _T.START: _to(_S.CONNECTING, _S.WAITING, _S.SUSPENDED),
        _T.CONNECT_NOW: _to(_S.CONNECTING, _S.WAITING),
        _T.STOP: _to(_S.STOPPED),
        _T.GATE_LOST: _to(),
        _T.GATE_GAINED: _to(),
        _T.SUSPEND: _to(),
        _T.RESUME: _to(),
        _T.AUTH_CHANGED: _to(_S.CONNECTING, _S.WAITING, _S.SUSPENDED),
    },
}
"""State → event → the states it may lead to, besides staying. An event that a row does not have is a no-op."""
