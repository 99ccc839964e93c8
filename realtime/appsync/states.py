"""The two tables of a session: its own life, and that of each subscription. An absent key is the error path.

A session is born ``new``, says ``connection_init`` and is ``greeting`` until the service accepts it; then it is
``open`` until it is ``closed``, for good: a session is never revived, a new connection has a new one.

A subscription ends as ``refused`` (the service said no, or ended it), ``timed_out`` (it said nothing),
``unsubscribed`` or ``lost`` (with its connection). ``live`` means accepted: AWS's own tests wait two seconds more
before they rely on it, which is why the ledger lets a connection settle.
"""

from __future__ import annotations

from enum import Enum


class SessionState(Enum):
    NEW = "new"
    GREETING = "greeting"
    OPEN = "open"
    CLOSED = "closed"


SESSION: dict[SessionState, dict[str, SessionState]] = {
    SessionState.NEW: {"opened": SessionState.GREETING, "closed": SessionState.CLOSED},
    SessionState.GREETING: {
        "connection_ack": SessionState.OPEN,
        "connection_error": SessionState.CLOSED,
        "closed": SessionState.CLOSED,
    },
    SessionState.OPEN: {"connection_error": SessionState.CLOSED, "closed": SessionState.CLOSED},
    SessionState.CLOSED: {},
}


class SubscriptionState(Enum):
    SUBSCRIBING = "subscribing"
    LIVE = "live"
    UNSUBSCRIBING = "unsubscribing"
    UNSUBSCRIBED = "unsubscribed"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    LOST = "lost"


_S = SubscriptionState

SUBSCRIPTION: dict[SubscriptionState, dict[str, SubscriptionState]] = {
    _S.SUBSCRIBING: {
        "accepted": _S.LIVE,
        "refused": _S.REFUSED,
        "ended": _S.REFUSED,
        "timeout": _S.TIMED_OUT,
        "closed": _S.LOST,
    },
    _S.LIVE: {"unsubscribe": _S.UNSUBSCRIBING, "refused": _S.REFUSED, "ended": _S.REFUSED, "closed": _S.LOST},
    _S.UNSUBSCRIBING: {
        "ended": _S.UNSUBSCRIBED,
        "refused": _S.UNSUBSCRIBED,
        "timeout": _S.UNSUBSCRIBED,
        "closed": _S.UNSUBSCRIBED,
    },
    _S.UNSUBSCRIBED: {},
    _S.REFUSED: {},
    # The service may still answer a request that was given up: its late success is unsubscribed, not trusted. The
    # caller was told of the end already and is told nothing more.
    _S.TIMED_OUT: {"accepted": _S.UNSUBSCRIBING, "refused": _S.REFUSED, "ended": _S.REFUSED, "closed": _S.LOST},
    _S.LOST: {},
}
"""Each dialect maps its frames to these: ``accepted`` is subscribe_success or start_ack, ``refused`` an error with the
subscription's id, ``ended`` unsubscribe_success or complete. ``timeout`` is the last one: an unsubscribe that is
throttled or not answered is first sent again."""
