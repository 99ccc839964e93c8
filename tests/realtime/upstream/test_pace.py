"""Turns at the rate that the service takes, by a clock that the test moves."""

import asyncio

import pytest

from realtime.appsync.auth import ApiKey
from realtime.appsync.endpoint import derive
from realtime.appsync.publishing import MAX_PER_SECOND
from realtime.upstream.http import Answer
from realtime.upstream.pace import Pace
from realtime.upstream.publish_http import HttpWay
from realtime.upstream.publish_socket import SocketWay
from tests.fakes import FakeSocket, ManualClock, ScriptedTransport, settle

ENDPOINT = derive("http://localhost:4000/event")


class TimedService(ScriptedTransport):
    """A service, over each way, that takes every publish and notes when it came."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.came = []

    def make_socket(self):
        service = self

        class Socket(FakeSocket):
            async def send(self, text):
                await super().send(text)
                if self.sent[-1]["type"] == "publish":
                    service.came.append(service.clock.monotonic())

        return Socket(self.service)

    async def post(self, url, headers, body):
        self.came.append(self.clock.monotonic())
        return Answer(200, b'{"successful":[{"index":0}]}')

    async def close(self):
        pass


WAYS = {
    "http": lambda service, pace, clock: HttpWay(ENDPOINT, service, pace, clock),
    "ws": lambda service, pace, clock: SocketWay(ENDPOINT, service, pace, clock),
}


async def test_b73_no_second_has_more_turns_than_the_service_takes():
    clock, taken = ManualClock(), []
    pace = Pace(clock)

    async def take():
        await pace.turn()
        taken.append(clock.monotonic())

    waiting = [asyncio.create_task(take()) for _ in range(3 * MAX_PER_SECOND)]
    await clock.advance(10.0)
    await asyncio.gather(*waiting)
    assert all(later - earlier >= 1.0 - 1e-6 for earlier, later in zip(taken, taken[MAX_PER_SECOND:], strict=False))
    assert taken[-1] - taken[0] < 3.1
    assert clock.armed == []


@pytest.mark.parametrize("over", WAYS)
async def test_b73_publishes_at_once_are_made_at_the_rate_that_the_service_takes(over):
    clock = ManualClock()
    service = TimedService(clock)
    way = WAYS[over](service, Pace(clock), clock)
    publishing = [
        asyncio.create_task(way.publish("/ns/a", ["1"], ApiKey("da2-key"))) for _ in range(3 * MAX_PER_SECOND)
    ]
    await clock.advance(10.0)
    await asyncio.gather(*publishing)
    came = service.came
    assert len(came) == 3 * MAX_PER_SECOND
    assert all(later - earlier >= 1.0 - 1e-6 for earlier, later in zip(came, came[MAX_PER_SECOND:], strict=False))
    await way.close()


async def test_nobody_waits_after_the_stop():
    clock = ManualClock()
    pace = Pace(clock)
    await pace.turn()
    waiting = [asyncio.create_task(pace.turn()), asyncio.create_task(pace.pause(60.0))]
    await settle()
    assert not any(task.done() for task in waiting)
    pace.stop()
    await settle()
    assert all(task.done() for task in waiting)
    await pace.turn()
    await pace.pause(60.0)
    assert clock.armed == []


async def test_who_is_cancelled_leaves_no_timer():
    clock = ManualClock()
    pausing = asyncio.create_task(Pace(clock).pause(60.0))
    await settle()
    pausing.cancel()
    await settle()
    assert clock.armed == []
