"""Every error of the wire, each with what it ends and whether another try may help.

AppSyncError
├── BadEndpoint           an address that can't be an AppSync API (scope: configuration)
├── ChannelError          a channel name that the service would refuse (scope: subscription)
├── RemoteError           the service said no
│   ├── AuthRejected      the credentials, not the request, are at fault
│   ├── Throttled         too much, too fast: later may work
│   ├── BadRequest        this request can never work
│   └── ServiceFault      anything else the service calls an error
├── RequestTimeout        no answer with this id in time
├── ConnectionLost        the connection ended under a request
├── OutcomeUnknown        a publish was answered by nothing that tells what became of it
└── NotSent               a publish was never written

Whoever handles one asks ``scope``, ``retryable`` and, for a publish, ``outcome``; nobody needs an isinstance ladder.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

Scope = Literal["configuration", "connection", "subscription", "request"]
PublishStatus = Literal["sent", "failed", "not sent", "outcome unknown"]


class AppSyncError(Exception):
    """Base of all. ``scope`` is what the error ends; ``retryable`` tells whether a later try may succeed.

    ``outcome`` is what became of a publish that ended with it, ``retry_after`` the seconds that the service asked to
    wait before another try, 0 if it named none.
    """

    scope: Scope = "request"
    retryable: ClassVar[bool] = False
    outcome: PublishStatus = "not sent"
    retry_after: float = 0.0


class BadEndpoint(AppSyncError):
    scope: Scope = "configuration"


class ChannelError(AppSyncError, ValueError):
    scope: Scope = "subscription"


class RemoteError(AppSyncError):
    """An error object of the service: ``errorType``, ``message`` and ``errorCode``, each of which may be missing."""

    def __init__(self, kind: str, message: str = "", code: int | None = None, scope: Scope = "request") -> None:
        super().__init__(f"{kind}: {message}" if message not in ("", kind) else kind)
        self.kind = kind
        self.message = message
        self.code = code
        self.scope = scope
        # A connection that was refused carried nothing.
        self.outcome: PublishStatus = "not sent" if scope == "connection" else "failed"


class AuthRejected(RemoteError):
    pass


class Throttled(RemoteError):
    retryable = True


class MaxSubscriptionsReached(Throttled):
    """The connection holds as many subscriptions as the service lets it."""


class BadRequest(RemoteError):
    pass


class ServiceFault(RemoteError):
    retryable = True


class RequestTimeout(AppSyncError):
    retryable = True
    outcome: PublishStatus = "outcome unknown"


class ConnectionLost(AppSyncError):
    scope: Scope = "connection"
    retryable = True
    outcome: PublishStatus = "outcome unknown"


class OutcomeUnknown(AppSyncError):
    outcome: PublishStatus = "outcome unknown"


class NotSent(AppSyncError):
    retryable = True

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class WireError(msgspec.Struct, frozen=True, rename="camel"):
    """One element of a frame's ``errors``. Nothing in it is promised to be there."""

    error_type: str | None = None
    message: str | None = None
    error_code: int | None = None


AUTH_KINDS = (
    "Unauthorized",
    "UnauthorizedException",
    "NotAuthorizedException",
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
)
CLOCK_MESSAGES = ("Signature expired", "Signature not yet current")
"""How messages begin that refuse a signature for its time. https://docs.aws.amazon.com/IAM/latest/UserGuide/
reference_sigv-troubleshooting.html"""

CLOCK_HINT = "set this machine's clock: AWS takes a signature for five minutes"
MAX_SUBSCRIPTIONS_KINDS = ("MaxSubscriptionsReachedError", "MaxSubscriptionsReachedException")
THROTTLE_KINDS = ("LimitExceededError", "TooManyRequestsException")
REQUEST_KINDS = (
    "BadRequestException",
    "InvalidInputError",
    "UnsupportedOperation",
    "UnknownOperationError",
    "ResourceNotFound",
)


def from_wire(errors: tuple[WireError, ...], scope: Scope) -> RemoteError:
    """Return the error that a frame's ``errors`` tell of; the first one speaks for all.

    ``errorType`` decides, by its last part (an older service sent ``package#Name``); then ``errorCode``, which only
    ``connection_error`` was seen to carry; then a message that is all there is.
    """
    first = errors[0] if errors else WireError()
    message = first.message or ""
    kind = (first.error_type or "").rpartition("#")[2] or message or "UnknownError"
    if message.startswith(CLOCK_MESSAGES):
        # Not the credentials' fault: once the clock is right, the same ones do.
        return ServiceFault(kind, f"{message} ({CLOCK_HINT})", first.error_code, scope)
    return _class_of(kind, first.error_code, message)(kind, message, first.error_code, scope)


def _class_of(kind: str, code: int | None, message: str) -> type[RemoteError]:
    if kind in AUTH_KINDS or code in (401, 403) or "Token expired" in message or "Token has expired" in message:
        return AuthRejected
    if kind in MAX_SUBSCRIPTIONS_KINDS:
        return MaxSubscriptionsReached
    if kind in THROTTLE_KINDS or code == 429:
        return Throttled
    if kind in REQUEST_KINDS or code in (400, 404, 413):
        return BadRequest
    return ServiceFault
