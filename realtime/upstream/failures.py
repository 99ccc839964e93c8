"""What the end of a connection means: try again, get another token, or give up.

A verdict is about the connection as a whole. What concerns one subscription never gets here: it is that
subscription's own (``subscriptions``), and closes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from realtime.upstream.model import Cause


class Verdict(Enum):
    """What is to be done about a cause.

    ``transient``: back off, for longer than the server asked, if it did. ``auth``: one more try with a new token,
    then wait for other credentials. ``fatal``: nothing mends it by itself, so the link fails.
    """

    TRANSIENT = "transient"
    AUTH = "auth"
    FATAL = "fatal"


Classify = Callable[[Cause], Verdict]

UNAUTHORIZED = frozenset({401, 403})

# RFC 6455, 7.4: the peer broke the protocol, or we did. The range is what Centrifugo and Pusher mean by "don't return".
FATAL_STATUS = frozenset({400, 404, 410, 426})
FATAL_CODES = frozenset({1002, 1003, 1007, 1009, 1010, *range(3500, 4000)})
POLICY_VIOLATION = 1008


def appsync(cause: Cause) -> Verdict:
    """Judge as AppSync needs it: no close code tells anything, and only the upgrade's 401 and 403 are about tokens.

    The code with which AppSync ends a connection after a day is not documented, and clients that took a normal one
    for a farewell stayed away for good.
    """
    if cause.status in UNAUTHORIZED:
        return Verdict.AUTH
    return Verdict.TRANSIENT


def general(cause: Cause) -> Verdict:
    """Judge by the HTTP status and the close code, for services that mean them."""
    if cause.status in UNAUTHORIZED or cause.code == POLICY_VIOLATION:
        return Verdict.AUTH
    if cause.status in FATAL_STATUS or cause.code in FATAL_CODES:
        return Verdict.FATAL
    return Verdict.TRANSIENT
