"""From the settings to credentials that all links share, and to the policy of each."""

from dataclasses import replace

import pytest

from realtime import config
from realtime.appsync.endpoint import derive
from realtime.appsync.events_session import EventsSession
from realtime.appsync.exceptions import BadEndpoint
from realtime.config import ReconnectConfig, Secret
from realtime.upstream.endpoints import policy, shared_credentials
from realtime.upstream.policy import PRESETS, Breaker, Exponential, FullJitter, Lifetime, Policy


@pytest.mark.parametrize("auth", ["api-key", "lambda"])
@pytest.mark.feature("S4.4")
async def test_a_configured_secret_can_be_carried_by_the_upgrade_and_by_frames(auth):
    given = {"api_key": Secret("da2-key"), "lambda_token": Secret("opaque")}
    authorization = await shared_credentials(replace(config.load().upstream, auth=auth, **given)).get()
    session = EventsSession(derive("http://localhost:4000"))
    assert session.opening(authorization).subprotocols[1].startswith("header-")
    session.opened()
    session.receive('{"type":"connection_ack"}', 0.0)
    session.subscribe("/ns/a", authorization, 0.0)
    frame = session.data_to_send()[-1]
    assert ("da2-key" if auth == "api-key" else "opaque") in frame


@pytest.mark.parametrize(("auth", "variable"), [("api-key", "APPSYNC_API_KEY"), ("lambda", "APPSYNC_LAMBDA_TOKEN")])
@pytest.mark.feature("S3.9")
def test_a_secret_that_is_missing_is_named(auth, variable):
    with pytest.raises(BadEndpoint, match=variable):
        shared_credentials(replace(config.load().upstream, auth=auth))


@pytest.mark.parametrize("auth", ["user-pool", "oidc"])
def test_users_with_tokens_of_their_own_share_nothing(auth):
    assert shared_credentials(replace(config.load().upstream, auth=auth)) is None


def of(preset, **numbers):
    """The policy with these settings."""
    return policy(replace(config.load().upstream, reconnect=ReconnectConfig(preset, **numbers)))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_of_which_nothing_is_set_is_as_it_is(name):
    assert of(name) == PRESETS[name]


@pytest.mark.feature("S3.3")
@pytest.mark.feature("S3.2")
@pytest.mark.parametrize(
    ("numbers", "changed"),
    [
        ({"base": 1.0, "factor": 3.0, "cap": 9.0}, {"backoff": FullJitter(1.0, 3.0, 9.0)}),
        ({"attempts": 7, "elapsed": 90.0}, {"max_attempts": 7, "max_elapsed": 90.0}),
        ({"breaker_failures": 3, "breaker_cool": 90.0}, {"breaker": Breaker(3, cool=90.0, cap=90.0)}),
        ({"breaker_failures": 0}, {"breaker": None}),
        ({"connect": 5.0, "handshake": 6.0}, {"connect_timeout": 5.0, "auth_timeout": 6.0}),
        ({"sync": 7.0, "ping": 30.0}, {"sync_timeout": 7.0, "ping_every": 30.0}),
        ({"stable_after": 0.0}, {"stable_after": 0.0}),
    ],
)
def test_each_number_of_a_preset_can_be_set(numbers, changed):
    assert of("full-jitter", **numbers) == replace(Policy(), **changed)


def test_no_limit_and_no_breaker_can_be_had_of_any_preset():
    assert of("exponential-5", attempts=0).max_attempts is None
    assert of("exponential-5", cap=8.0).backoff == Exponential(2.0, cap=8.0)
    assert of("fixed-10s", breaker_failures=4).breaker == Breaker(4)


@pytest.mark.parametrize(
    ("preset", "numbers", "variable"),
    [
        ("fixed-10s", {"factor": 2.0}, "UPSTREAM_RECONNECT_FACTOR"),
        ("amplify", {"cap": 2.0}, "UPSTREAM_RECONNECT_CAP_SECONDS"),
        ("exponential-5", {"breaker_cool": 20.0}, "UPSTREAM_BREAKER_FAILURES"),
    ],
)
def test_a_number_that_a_preset_does_not_have_is_named(preset, numbers, variable):
    with pytest.raises(BadEndpoint, match=variable):
        of(preset, **numbers)


def test_the_lifetime_is_the_services_and_what_was_replaced_is_heard_until_its_successor_is_live():
    upstream = replace(config.load().upstream, lifetime=100.0, settle=20.0)
    assert (policy(upstream).lifetime, policy(upstream).drain) == (Lifetime(100.0), 40.0)
    assert policy(replace(upstream, lifetime=0.0)).lifetime is None
