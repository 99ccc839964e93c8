"""The connection manager's table: which event may lead from which state to which.

Rules of this file: a state's row lists every event that means something in it; an absent event changes nothing, not
even a counter. ``step`` asks this table first, so the table is what runs, not a picture of it; the tests walk it, and
the operators' diagram is drawn from it.

Vocabulary. ``waiting`` means a named gate is shut (no credential, say). ``suspended`` means nobody wants the link for
now, or an operator said so. ``backoff`` means that a try failed and the next has its time; ``cooling``, that so many
failed that the breaker opened. ``failed`` is for good, until somebody starts it anew or the user's authority changes.
Only ``start`` and ``connect_now`` leave ``stopped``.

``TABLE`` is about the session that speaks for the link. One that is to replace it has a small table of its own,
``CANDIDATE``, by its phase: whatever becomes of it, the link stays ``open`` until the present session is lost.
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
    COOLING = "cooling"
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
    OFFLINE = "offline"
    ONLINE = "online"
    PERMITTED = "permitted"
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
    COOLED = "cooled"
    ROTATE = "rotate"
    ROTATION_DUE = "rotation_due"
    LIFETIME_DUE = "lifetime_due"
    LIFETIME_OVER = "lifetime_over"
    DRAIN_OVER = "drain_over"


_S, _T = State, Trigger

HAS_SESSION = frozenset({_S.CONNECTING, _S.AUTHENTICATING, _S.SYNCING, _S.OPEN})
"""States in which the active slot is filled."""

_LOST = frozenset({_S.BACKOFF, _S.COOLING, _S.FAILED})
"""What may become of a link whose session ended."""

_PROMOTED = frozenset({_S.CONNECTING, _S.AUTHENTICATING, _S.SYNCING})
"""Where a link is that lost its session while the next one was on its way: as far as that one is."""

_EVALUATED = frozenset({_S.CONNECTING, _S.WAITING, _S.SUSPENDED, _S.COOLING})


def _to(*states: State) -> frozenset[State]:
    return frozenset(states)


# What means something in every state: the network's hint is noted, so that the next try knows it.
_NOTED: dict[Trigger, frozenset[State]] = {_T.OFFLINE: _to(), _T.ONLINE: _to()}

# What every link that tries, or has, a connection understands: being stopped or begun anew, wishes and gates changing.
_ALWAYS: dict[Trigger, frozenset[State]] = _NOTED | {
    _T.CONNECT_NOW: _to(_S.CONNECTING),
    _T.STOP: _to(_S.STOPPED),
    _T.GATE_LOST: _to(_S.WAITING),
    _T.SUSPEND: _to(_S.SUSPENDED),
    _T.RESUME: _to(),
    _T.GRACE_EXPIRED: _to(_S.SUSPENDED),
    _T.AUTH_CHANGED: _to(_S.CONNECTING),
}

# What can end any try, and what becomes of it.
_TRYING: dict[Trigger, frozenset[State]] = {
    _T.DROPPED: _LOST | {_S.CONNECTING, _S.WAITING},
    _T.AUTH_REJECTED: _LOST | {_S.CONNECTING, _S.WAITING},
}

# A connection that was accepted is judged by its frames.
_ACCEPTED: dict[Trigger, frozenset[State]] = {_T.HEARTBEAT: _LOST, _T.HEARD: _to(), _T.WOKE: _LOST}


def _row(*parts: dict[Trigger, frozenset[State]], **own: frozenset[State]) -> dict[Trigger, frozenset[State]]:
    row: dict[Trigger, frozenset[State]] = {}
    for part in parts:
        row |= part
    return row | {Trigger[name]: after for name, after in own.items()}


# Gates and wishes are noted while a link rests, so that a start finds them as they are; the state stays.
_RESTING = _row(_NOTED, GATE_LOST=_to(), GATE_GAINED=_to(), SUSPEND=_to(), RESUME=_to(), AUTH_CHANGED=_to())

TABLE: dict[State, dict[Trigger, frozenset[State]]] = {
    _S.STOPPED: _row(_RESTING, START=_EVALUATED, CONNECT_NOW=_to(_S.CONNECTING, _S.WAITING)),
    _S.WAITING: _row(
        _ALWAYS,
        GATE_GAINED=_to(),
        SPREAD_OVER=_to(_S.CONNECTING, _S.COOLING),
        AUTH_CHANGED=_to(_S.CONNECTING, _S.COOLING),
    ),
    _S.SUSPENDED: _row(
        _RESTING,
        CONNECT_NOW=_to(_S.CONNECTING, _S.WAITING),
        STOP=_to(_S.STOPPED),
        RESUME=_to(_S.CONNECTING, _S.WAITING, _S.COOLING),
    ),
    _S.CONNECTING: _row(
        _ALWAYS,
        _TRYING,
        PERMITTED=_to(),
        TRANSPORT_UP=_to(_S.AUTHENTICATING),
        ACCEPTED=_to(_S.SYNCING),
        CONNECT_TIMEOUT=_LOST,
        TOKEN_FAILED=_LOST | {_S.WAITING},
    ),
    _S.AUTHENTICATING: _row(_ALWAYS, _TRYING, ACCEPTED=_to(_S.SYNCING), AUTH_TIMEOUT=_LOST),
    _S.SYNCING: _row(_ALWAYS, _TRYING, _ACCEPTED, SYNCED=_to(_S.OPEN), SYNC_TIMEOUT=_to(_S.OPEN)),
    _S.OPEN: _row(
        _ALWAYS,
        CONNECT_NOW=_to(_S.CONNECTING, _S.WAITING),
        DROPPED=_LOST | _PROMOTED | {_S.WAITING},
        AUTH_REJECTED=_LOST | _PROMOTED | {_S.WAITING},
        HEARTBEAT=_LOST | _PROMOTED | {_S.WAITING},
        WOKE=_LOST | _PROMOTED | {_S.WAITING},
        HEARD=_to(),
        STABLE=_to(),
        SYNCED=_to(),
        ROTATE=_to(),
        ROTATION_DUE=_to(),
        LIFETIME_DUE=_to(),
        LIFETIME_OVER=_LOST | _PROMOTED | {_S.WAITING},
    ),
    _S.BACKOFF: _row(_ALWAYS, BACKOFF_FIRED=_to(_S.CONNECTING), WOKE=_to(_S.CONNECTING)),
    _S.COOLING: _row(_ALWAYS, AUTH_CHANGED=_to(), COOLED=_to(_S.CONNECTING), WOKE=_to(_S.CONNECTING)),
    _S.FAILED: _row(
        _RESTING,
        START=_EVALUATED,
        CONNECT_NOW=_to(_S.CONNECTING, _S.WAITING),
        STOP=_to(_S.STOPPED),
        AUTH_CHANGED=_EVALUATED,
    ),
}
"""State → event → the states it may lead to, besides staying. An event that a row does not have is a no-op."""

CANDIDATE: dict[State, frozenset[Trigger]] = {
    _S.CONNECTING: frozenset(
        {
            _T.PERMITTED,
            _T.TRANSPORT_UP,
            _T.ACCEPTED,
            _T.DROPPED,
            _T.AUTH_REJECTED,
            _T.CONNECT_TIMEOUT,
            _T.TOKEN_FAILED,
        }
    ),
    _S.AUTHENTICATING: frozenset({_T.ACCEPTED, _T.DROPPED, _T.AUTH_REJECTED, _T.AUTH_TIMEOUT}),
    _S.SYNCING: frozenset({_T.SYNCED, _T.DROPPED, _T.AUTH_REJECTED, _T.SYNC_TIMEOUT}),
}
"""Phase of a candidate → the events of its own that mean something. None of them changes the link's state."""

DRAINING = frozenset({_T.DROPPED, _T.DRAIN_OVER})
"""What still means something of a session that was replaced."""
