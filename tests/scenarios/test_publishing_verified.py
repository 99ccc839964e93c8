"""Rows 64 to 76 of the scenario matrix, against the emulator, which verifies what it takes: publishes over each way."""

import asyncio
import ssl
from random import Random

import pytest

from realtime.appsync.auth import ApiKey
from realtime.appsync.endpoint import derive
from realtime.emulator.faults import Fault
from realtime.emulator.options import DEFAULT_API_KEY
from realtime.upstream import http
from realtime.upstream.credentials import StaticCredentials
from realtime.upstream.pace import Pace
from realtime.upstream.publish_http import HttpWay
from realtime.upstream.publish_socket import SocketWay
from realtime.upstream.publisher import Publisher
from realtime.upstream.transport import WebSocketTransport
from tests.fakes import ManualClock
from tests.realtime.emulator.client import eventually


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
