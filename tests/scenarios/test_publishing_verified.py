"""Rows 64 to 76 of the scenario matrix, against the emulator, which verifies what it takes: publishes over each way."""

import asyncio
import ssl
from random import Random

import pytest

from realtime.appsync.auth import ApiKey, Iam, Token
from realtime.appsync.endpoint import derive
from realtime.appsync.publishing import Outcome
from realtime.emulator.faults import Fault
from realtime.emulator.options import DEFAULT_API_KEY, Auth, Fleet, Options
from realtime.emulator.server import Emulator
from realtime.upstream import http
from realtime.upstream.credentials import StaticCredentials
from realtime.upstream.pace import Pace
from realtime.upstream.publish_http import HttpWay
from realtime.upstream.publish_socket import SocketWay
from realtime.upstream.publisher import RETRY, Publisher
from realtime.upstream.transport import WebSocketTransport
from tests.fakes import ManualClock
from tests.realtime.emulator.client import eventually

SENT = Outcome("sent")
IAM = Iam("AKIDEXAMPLE", "secret", "eu-west-1")
FOREIGN, ANGLED = '"fünf 💡 \\u2028"', '"<a> & <b>"'


class Desk:
    """A publisher to the emulator. Its time moves only by the test, so its requests follow each other in no time."""

    def __init__(self, emulator, over):
        self.emulator = emulator
        self.clock = ManualClock()
        pace = Pace(self.clock)
        endpoint = derive(f"http://127.0.0.1:{emulator.port}")
        if over == "ws":
            way = SocketWay(endpoint, WebSocketTransport(), pace, self.clock)
        else:
            way = HttpWay(endpoint, http.Client(ssl.create_default_context()), pace, self.clock)
        self.publisher = Publisher(way, pace, StaticCredentials(ApiKey(DEFAULT_API_KEY)), self.clock, Random(1))

    async def publish(self, channel, event, authorization=None):
        """Publish one event when it may be published, and return its outcome."""
        credentials = None if authorization is None else StaticCredentials(authorization)
        (outcome,) = await self.publisher.publish(channel, [event], credentials)
        await self.clock.advance(0.1)
        return outcome

    @property
    def published(self):
        """The events that the emulator took, as their texts."""
        records, _ = self.emulator.api.transcript.since(0, "published")
        return [record.event for record in records]


@pytest.fixture(params=["http", "ws"])
async def desk(emulator, request):
    desk = Desk(emulator, request.param)
    yield desk
    await desk.publisher.close()
    assert desk.clock.armed == []


@pytest.mark.parametrize("desk", ["ws"], indirect=True)
@pytest.mark.parametrize(("faults", "waits", "outcome"), [([], 0.0, "sent"), (["drop-reply"], 10.0, "outcome unknown")])
async def test_b64_a_close_waits_for_the_answer_as_long_as_a_publish_may(desk, faults, waits, outcome):
    for kind in faults:
        desk.emulator.api.faults.add(Fault(kind, operation="publish"))
    publishing = asyncio.create_task(desk.publisher.publish("/default/a", ["1"]))
    await eventually(lambda: desk.published == ["1"])
    closing = asyncio.create_task(desk.publisher.close())
    await desk.clock.advance(waits)
    async with asyncio.timeout(5):
        await closing
    assert [ended.status for ended in await publishing] == [outcome]


async def test_b73_what_is_throttled_as_a_whole_is_made_again_later_and_taken_once(desk):
    desk.emulator.api.faults.add(Fault("throttle", operation="publish", count=1))
    publishing = asyncio.create_task(desk.publisher.publish("/default/a", ["1"]))
    longest = RETRY.bounds(1)[1]
    await eventually(lambda: any(timer.deadline <= desk.clock.monotonic() + longest for timer in desk.clock.armed))
    await desk.clock.advance(longest)
    assert await publishing == [SENT]
    assert desk.published == ["1"]


# ── Who publishes ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "authorization",
    [ApiKey(DEFAULT_API_KEY), Token("open sesame"), IAM, Iam("AKIDEXAMPLE", "secret", "eu-west-1", "session")],
    ids=["api key", "lambda", "iam", "iam with a session token"],
)
async def test_b03_b74_each_auth_mode_publishes_whatever_stands_in_the_event(desk, authorization):
    for event in (FOREIGN, ANGLED):
        assert await desk.publish("/default/a", event, authorization) == SENT
    assert desk.published == [FOREIGN, ANGLED]


async def test_b03_a_persons_token_publishes_where_that_person_may(desk):
    token = Token(desk.emulator.api.issuer.grant("sub-anna", username="anna").access_token)
    assert await desk.publish("/default/a", "1", token) == SENT
    assert await desk.publish("/vortex-app/user/sub-anna/presence", "2", token) == SENT
    refused = await desk.publish("/vortex-app/user/sub-ben/presence", "3", token)
    assert (refused.status, refused.code) == ("failed", "UnauthorizedException")
    assert desk.published == ["1", "2"]


@pytest.mark.parametrize("authorization", [Token("nobody's"), ApiKey("da2-nobodys")], ids=["token", "api key"])
async def test_b66_who_is_not_known_publishes_nothing_and_who_is_goes_on(desk, authorization):
    assert await desk.publish("/default/a", "1") == SENT
    refused = await desk.publish("/default/a", "2", authorization)
    assert (refused.status, refused.code) == ("failed", "UnauthorizedException")
    assert await desk.publish("/default/a", "3") == SENT
    assert desk.published == ["1", "3"]


async def test_b76_a_namespace_that_does_not_exist_takes_nothing(desk):
    assert await desk.publish("/nowhere/a", "1") == Outcome("failed", "UnauthorizedException")
    assert desk.published == []


# ── A service that escapes what it verifies ──────────────────────────────────────────────────────────────────


@pytest.fixture
async def escaping():
    """A publisher over a WebSocket to a service that rebuilds a message with escapes before it checks the signature."""
    auth = Auth(iam_keys={"AKIDEXAMPLE": "secret"}, html_escapes_signed_body=True)
    emulator = Emulator(Options(auth=auth, fleet=Fleet(devices=1)))
    await emulator.start()
    desk = Desk(emulator, "ws")
    yield desk
    await desk.publisher.close()
    await emulator.stop()


async def test_b74_a_signed_websocket_publish_that_the_service_spells_otherwise_has_failed_and_says_so(escaping):
    refused = await escaping.publish("/default/a", ANGLED, IAM)
    assert (refused.status, refused.code) == ("failed", "BadRequestException")
    assert "signature" in refused.text
    assert await escaping.publish("/default/a", FOREIGN, IAM) == SENT
    assert await escaping.publish("/default/a", ANGLED) == SENT
    assert escaping.published == [FOREIGN, ANGLED]
