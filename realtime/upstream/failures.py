"""What the end of a connection means: try again, later, with another token, with other credentials, or give up.

A class is about the connection as a whole, and says how far it reaches (``SCOPES``). What concerns one subscription
never gets here: it is that subscription's own (``subscriptions``), and closes nothing. Nobody says goodbye in a way
that leaves time to replace a connection first, so there is no class for that: AppSync's end after a day is known
before (``policy.Lifetime``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from realtime.upstream.model import Cause, Failure

Classify = Callable[[Cause], Failure]

Scope = Literal["session", "link", "service"]

SCOPES: dict[Failure, Scope] = {
    Failure.TRANSIENT: "session",
    Failure.THROTTLED: "service",
    Failure.AUTH_EXPIRED: "session",
    Failure.AUTH_REJECTED: "link",
    Failure.FATAL: "link",
    Failure.EXHAUSTED: "link",
}
"""What a failure of the class ends: this session, what the link may try by itself, or what all links may ask for."""

# Kinds of causes by which they are judged, too.
TOKEN = "token"
THROTTLED = "throttled"
REFUSED = "refused by the service"
BROKEN_FRAME = "broken frame"

UNAUTHORIZED = frozenset({401, 403})

# RFC 6585, 4; RFC 9110, 15.6.4.
THROTTLED_STATUS = frozenset({429, 503})

# RFC 6455, 7.4: the peer broke the protocol, or we did. The range is what Centrifugo and Pusher mean by "don't return".
FATAL_STATUS = frozenset({400, 404, 410, 426})
FATAL_CODES = frozenset({1002, 1003, 1007, 1009, 1010, *range(3500, 4000)})
POLICY_VIOLATION = 1008

# The registry of close codes (IANA): service restart, try again later.
THROTTLED_CODES = frozenset({1012, 1013})


def appsync(cause: Cause) -> Failure:
    """Judge as AppSync needs it: no close code tells anything, and only the upgrade's 401 and 403 are about tokens.

    The code with which AppSync ends a connection after a day is not documented, and clients that took a normal one
    for a farewell stayed away for good. An authorizer may answer 403 to a token that has expired, so both are tried
    once with a new one.
    """
    if cause.status in UNAUTHORIZED:
        return Failure.AUTH_EXPIRED
    return Failure.THROTTLED if _asks_to_wait(cause) else Failure.TRANSIENT


def general(cause: Cause) -> Failure:
    """Judge by the HTTP status and the close code, for services that mean them.

    Whatever is refused is tried once with a new token: a refusal may be about one that has expired, or pass.
    """
    if cause.status in UNAUTHORIZED or cause.code == POLICY_VIOLATION:
        return Failure.AUTH_EXPIRED
    if cause.status in FATAL_STATUS or cause.code in FATAL_CODES:
        return Failure.FATAL
    return Failure.THROTTLED if _asks_to_wait(cause) or cause.code in THROTTLED_CODES else Failure.TRANSIENT


def _asks_to_wait(cause: Cause) -> bool:
    return cause.kind == THROTTLED or cause.status in THROTTLED_STATUS or cause.retry_after > 0
