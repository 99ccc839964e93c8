"""What the end of a connection means, as AppSync needs it and as other services mean it, and what the link does."""

import pytest

from realtime.upstream.failures import BROKEN_FRAME, SCOPES, THROTTLED, appsync, general
from realtime.upstream.model import Cause, Close, Dial, Failure
from realtime.upstream.policy import Fixed, Policy, preset
from realtime.upstream.states import HAS_SESSION, State, Trigger
from realtime.upstream.step import AUTH_GATE
from tests.realtime.upstream.stepping import Stepping

T = Trigger
CODES = [None, 1000, 1001, 1002, 1006, 1008, 1009, 1011, 1012, 1013, 3500, 4400, 4999]
SESSIONS = [state for state in State if state in HAS_SESSION]


@pytest.mark.feature("S0.2")
@pytest.mark.parametrize("code", CODES)
def test_no_close_code_of_appsync_means_anything_but_try_again(code):
    assert appsync(Cause("closed by the service", code=code)) is Failure.TRANSIENT


@pytest.mark.parametrize(
    ("status", "of_appsync", "of_others"),
    [
        (401, Failure.AUTH_EXPIRED, Failure.AUTH_EXPIRED),
        (403, Failure.AUTH_EXPIRED, Failure.AUTH_EXPIRED),
        (429, Failure.THROTTLED, Failure.THROTTLED),
        (503, Failure.THROTTLED, Failure.THROTTLED),
        (500, Failure.TRANSIENT, Failure.TRANSIENT),
        (400, Failure.TRANSIENT, Failure.FATAL),
        (404, Failure.TRANSIENT, Failure.FATAL),
        (426, Failure.TRANSIENT, Failure.FATAL),
    ],
)
def test_only_other_services_mean_for_good_what_they_refuse(status, of_appsync, of_others):
    cause = Cause("HTTP", status=status)
    assert (appsync(cause), general(cause)) == (of_appsync, of_others)


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (1000, Failure.TRANSIENT),
        (1002, Failure.FATAL),
        (1008, Failure.AUTH_EXPIRED),
        (1011, Failure.TRANSIENT),
        (1012, Failure.THROTTLED),
        (1013, Failure.THROTTLED),
        (3500, Failure.FATAL),
        (3999, Failure.FATAL),
        (4000, Failure.TRANSIENT),
    ],
)
def test_other_services_mean_their_close_codes(code, failure):
    assert general(Cause("closed", code=code)) is failure


@pytest.mark.parametrize("judge", [appsync, general])
@pytest.mark.parametrize("cause", [Cause(THROTTLED, code=429), Cause("HTTP 500", status=500, retry_after=9.0)])
def test_whoever_says_when_to_come_back_throttles(judge, cause):
    assert judge(cause) is Failure.THROTTLED


@pytest.mark.parametrize("judge", [appsync, general])
def test_what_just_ends_is_tried_again(judge):
    assert judge(Cause("connection lost")) is judge(Cause(BROKEN_FRAME)) is Failure.TRANSIENT


def test_each_class_says_how_far_it_reaches():
    assert set(SCOPES) == set(Failure)


# ── What is done about each, in every state that has a session ───────────────────────────────────────────────

GENERAL = preset("general", backoff=Fixed(7.0))


def dropped(state, policy=GENERAL, **cause):
    """Return a link that was dropped for this, and what it did at once."""
    stepping = Stepping.into(state, policy)
    return stepping, stepping(T.DROPPED, cause=Cause("closed", **cause))


@pytest.mark.parametrize("state", SESSIONS)
@pytest.mark.parametrize(
    ("cause", "after", "effects"),
    [
        ({"code": 1011}, State.BACKOFF, [Close(1)]),
        ({"code": 1013}, State.BACKOFF, [Close(1)]),
        ({"status": 401}, State.CONNECTING, [Close(1), Dial(2, refresh=True)]),
        ({"status": 403}, State.CONNECTING, [Close(1), Dial(2, refresh=True)]),
        ({"code": 1008}, State.CONNECTING, [Close(1), Dial(2, refresh=True)]),
        ({"code": 1002}, State.FAILED, [Close(1)]),
    ],
)
def test_each_class_has_its_end(state, cause, after, effects):
    stepping, done = dropped(state, **cause)
    assert (stepping.state, done) == (after, effects)
    assert stepping.snapshots[-1].failure is general(Cause("closed", **cause))


@pytest.mark.parametrize("state", SESSIONS)
def test_what_is_throttled_waits_at_least_as_long_as_it_was_asked_and_counts_for_the_breaker(state):
    """A service that asks everybody to stay away is not helped by tries that nothing counts."""
    policy = preset("general", backoff=Fixed(7.0))
    stepping, _ = dropped(state, policy, code=1013, retry_after=90.0)
    assert 90.0 <= stepping.model.next_try_at - stepping.now <= 90.0 + policy.resume_spread
    assert stepping.model.failures == (stepping.now,)


@pytest.mark.parametrize("state", SESSIONS)
def test_rejected_credentials_are_not_tried_again_before_they_change(state):
    stepping, _ = dropped(state, status=403)
    assert stepping(T.DROPPED, cause=Cause("HTTP 403", status=403)) == [Close(2)]
    assert stepping(T.CONNECT_NOW) == []
    assert "the service refuses the credentials" in stepping.model.shut[AUTH_GATE]
    assert stepping(T.AUTH_CHANGED) == [Dial(3)]


def test_a_candidate_whose_credentials_are_rejected_costs_the_present_session_nothing():
    stepping = Stepping.into(State.OPEN, GENERAL)
    stepping.candidate(T.PERMITTED)
    refused = Cause("HTTP 403", status=403)
    assert stepping(T.DROPPED, "candidate", cause=refused) == [Close(2), Dial(3, refresh=True)]
    stepping.candidate(T.PERMITTED)
    assert stepping(T.DROPPED, "candidate", cause=refused) == [Close(3)]
    assert (stepping.state, stepping.session, AUTH_GATE in stepping.model.shut) == (State.OPEN, 1, True)


@pytest.mark.feature("S3.2")
def test_a_link_that_gave_up_is_exhausted_whatever_it_last_failed_of():
    stepping, _ = dropped(State.CONNECTING, Policy(max_attempts=0, breaker=None), status=503)
    assert (stepping.state, stepping.snapshots[-1].failure) == (State.FAILED, Failure.EXHAUSTED)
