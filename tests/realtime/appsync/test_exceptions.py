"""What the service's errors come to: whose fault each is, and whether another try may help."""

import pytest

from realtime.appsync.exceptions import (
    AuthRejected,
    BadRequest,
    MaxSubscriptionsReached,
    ServiceFault,
    Throttled,
    WireError,
    from_wire,
)

KNOWN = {
    "UnauthorizedException": (AuthRejected, False),
    "Unauthorized": (AuthRejected, False),
    "BadRequestException": (BadRequest, False),
    "InvalidInputError": (BadRequest, False),
    "ResourceNotFound": (BadRequest, False),
    "UnsupportedOperation": (BadRequest, False),
    "UnknownOperationError": (BadRequest, False),
    "MaxSubscriptionsReachedError": (MaxSubscriptionsReached, True),
    "LimitExceededError": (Throttled, True),
    "DuplicatedOperationError": (ServiceFault, True),
    "SubscriptionProcessingError": (ServiceFault, True),
    "MessageProcessingError": (ServiceFault, True),
    "SomethingNew": (ServiceFault, True),
}


@pytest.mark.parametrize("message", [None, "in words"])
@pytest.mark.parametrize("kind", KNOWN)
@pytest.mark.feature("S4.7")
def test_each_error_type_is_classified_by_itself(kind, message):
    error = from_wire((WireError(kind, message),), "subscription")
    assert (type(error), error.retryable) == KNOWN[kind]
    assert (error.kind, error.message, str(error)) == (kind, message or "", f"{kind}: {message}" if message else kind)


def test_of_several_errors_the_first_one_speaks_for_all():
    errors = (WireError("SubscriptionProcessingError"), WireError("UnauthorizedException", "no", 401))
    assert type(from_wire(errors, "subscription")) is ServiceFault
    assert type(from_wire(errors[::-1], "subscription")) is AuthRejected


def test_without_an_error_it_is_one_all_the_same():
    error = from_wire((), "connection")
    assert (type(error), error.kind) == (ServiceFault, "UnknownError")
