"""What people are told of a link that is not open: one of six kinds, its class, and what to do."""

import pytest

from realtime.upstream import troubles
from realtime.upstream.failures import BROKEN_FRAME, REFUSED, THROTTLED, TOKEN
from realtime.upstream.model import Cause, Failure
from realtime.upstream.policy import Policy, preset
from realtime.upstream.states import State, Trigger
from realtime.upstream.step import AUTH_GATE, snapshot
from realtime.upstream.troubles import Kind, Trouble
from tests.realtime.upstream.stepping import GIVES_UP, Stepping

T = Trigger
pytestmark = pytest.mark.feature("S3.9")


def trouble(stepping):
    return troubles.of(snapshot(stepping.model))


@pytest.mark.parametrize(
    ("cause", "policy", "kind", "failure"),
    [
        (Cause("connect failed", "refused"), Policy(), Kind.CONNECTION_FAILED, Failure.TRANSIENT),
        (Cause("closed by the service", code=1011), Policy(), Kind.CONNECTION_FAILED, Failure.TRANSIENT),
        (Cause("HTTP 500", status=500), Policy(), Kind.SERVER_ERROR, Failure.TRANSIENT),
        (Cause(REFUSED, "InternalFailure", code=500), Policy(), Kind.SERVER_ERROR, Failure.TRANSIENT),
        (Cause(THROTTLED, "LimitExceededError"), Policy(), Kind.SERVER_ERROR, Failure.THROTTLED),
        (Cause("HTTP 503", status=503), Policy(), Kind.SERVER_ERROR, Failure.THROTTLED),
        (Cause(BROKEN_FRAME, code=1007), Policy(), Kind.DECODING_FAILED, Failure.TRANSIENT),
        (Cause("HTTP 404", status=404), Policy(), Kind.INVALID_FORMAT, Failure.TRANSIENT),
        (Cause(REFUSED, "BadRequest", code=400), Policy(), Kind.INVALID_FORMAT, Failure.TRANSIENT),
        (Cause("closed", code=1002), preset("general"), Kind.INVALID_FORMAT, Failure.FATAL),
        (Cause("HTTP 403", status=403), preset("general"), Kind.AUTHENTICATION_REQUIRED, Failure.AUTH_EXPIRED),
        (Cause("HTTP 401", status=401), Policy(), Kind.AUTHENTICATION_REQUIRED, Failure.AUTH_EXPIRED),
        (Cause("connect failed"), GIVES_UP, Kind.RECONNECT_EXHAUSTED, Failure.EXHAUSTED),
    ],
)
def test_what_a_link_was_dropped_for_has_its_kind_and_its_class(cause, policy, kind, failure):
    stepping = Stepping.into(State.CONNECTING, policy)
    stepping(T.DROPPED, cause=cause)
    assert trouble(stepping) == Trouble(kind, failure)


@pytest.mark.parametrize(("final", "failure"), [(False, Failure.TRANSIENT), (True, Failure.AUTH_REJECTED)])
def test_an_issuer_that_gives_no_token_is_about_authentication(final, failure):
    stepping = Stepping.into(State.CONNECTING)
    stepping(T.TOKEN_FAILED, cause=Cause(TOKEN, "the issuer answered HTTP 503"), final=final)
    assert trouble(stepping) == Trouble(Kind.AUTHENTICATION_REQUIRED, failure)


def test_who_never_signed_in_has_to():
    stepping = Stepping()
    stepping(T.GATE_LOST, name=AUTH_GATE, text="not signed in upstream: sign in again")
    stepping(T.START)
    assert trouble(stepping) == Trouble(Kind.AUTHENTICATION_REQUIRED, Failure.AUTH_REJECTED)


@pytest.mark.parametrize("state", [s for s in State if s not in (State.BACKOFF, State.COOLING, State.FAILED)])
def test_nothing_is_wrong_with_what_nothing_befell(state):
    assert trouble(Stepping.into(state)) is None


def test_what_went_wrong_is_told_until_the_link_is_open_or_rests():
    stepping = Stepping.into(State.BACKOFF)
    stepping.fire(T.BACKOFF_FIRED)
    for trigger in (T.TRANSPORT_UP, T.ACCEPTED):
        assert trouble(stepping) == Trouble(Kind.CONNECTION_FAILED, Failure.TRANSIENT)
        stepping(trigger)
    assert trouble(stepping) == Trouble(Kind.CONNECTION_FAILED, Failure.TRANSIENT)
    stepping(T.SYNCED)
    assert trouble(stepping) is None
    stepping(T.GATE_LOST, name="maintenance")
    assert trouble(stepping) is None


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (Cause("closed by the service", "the service is moving", code=1011), "the service is moving (code 1011)"),
        (Cause("closed by the service", "code 1011", code=1011), "closed by the service: code 1011"),
        (Cause("connect failed"), "connect failed"),
    ],
)
def test_b86_what_happened_is_told_with_its_code(cause, says):
    assert troubles.described(cause).endswith(says)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("failure", Failure)
def test_each_has_a_next_step_of_its_own(kind, failure):
    step = troubles.next_step(Trouble(kind, failure))
    others = {troubles.next_step(Trouble(k, f)) for k in Kind for f in Failure if (k, f) != (kind, failure)}
    assert step.endswith(".") and step not in others
