"""What the service answers when it refuses: the error types that clients have been seen to act on."""

from __future__ import annotations


class ApiError(Exception):
    """A refusal, as AppSync words it.

    ``error_type`` goes into ``errors[0].errorType`` and, over HTTP, into ``x-amzn-errortype``; None leaves it out, as
    the service does in a few places. ``status`` is the HTTP status, and the ``errorCode`` of a ``connection_error``,
    which has none if it is 0.
    """

    def __init__(self, error_type: str | None, message: str | None = None, *, status: int = 400) -> None:
        super().__init__(error_type, message)
        self.error_type = error_type
        self.message = message
        self.status = status

    def as_dict(self, *, with_code: bool = False) -> dict[str, object]:
        """Return the item of an ``errors`` array; only ``connection_error`` carries the code."""
        error: dict[str, object] = {}
        if self.error_type is not None:
            error["errorType"] = self.error_type
        if self.message is not None:
            error["message"] = self.message
        if with_code and self.status:
            error["errorCode"] = self.status
        return error


def unauthorized(message: str | None = "You are not authorized to make this call.") -> ApiError:
    return ApiError("UnauthorizedException", message, status=401)


def bad_request(message: str) -> ApiError:
    return ApiError("BadRequestException", message, status=400)


def throttled() -> ApiError:
    return ApiError("LimitExceededError", "Rate limit exceeded", status=429)


def unsupported(message: str = "Operation not supported through the realtime channel") -> ApiError:
    return ApiError("UnsupportedOperation", message, status=400)
