"""From the settings to credentials that all links share."""

from dataclasses import replace

import pytest

from realtime import config
from realtime.appsync.endpoint import derive
from realtime.appsync.events_session import EventsSession
from realtime.appsync.exceptions import BadEndpoint
from realtime.config import Secret
from realtime.upstream.endpoints import shared_credentials


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
