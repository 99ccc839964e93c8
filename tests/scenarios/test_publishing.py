"""Rows 64 to 75 of the scenario matrix, as the scripted server plays them: publishes over a socket."""

import asyncio
from random import Random

import pytest

from realtime.appsync.endpoint import derive
from realtime.appsync.publishing import Outcome
from realtime.upstream.pace import Pace
from realtime.upstream.publish_socket import SocketWay
from realtime.upstream.publisher import Publisher
from tests.fakes import FakeCredentials, ManualClock
from tests.realtime.emulator.client import eventually
from tests.scenarios.scripted_server import accept, ack, refuse
from tests.wire import EVENTS

SENT = Outcome("sent")
pytestmark = pytest.mark.parametrize("wire", [EVENTS], ids=["events"])


class Desk:
    """A publisher whose service is the scripted server; its time moves by itself, or turns would never come."""

    def __init__(self, server):
        self.clock = ManualClock()
        pace = Pace(self.clock)
        way = SocketWay(derive(f"http://{server.host}"), server, pace, self.clock)
        self.publisher = Publisher(way, pace, FakeCredentials(), self.clock, Random(1))

    def start(self, *events):
        return asyncio.create_task(self.publisher.publish("/ns/a", events))

    async def ended(self, publishing):
        """Let time pass until a publish has ended, but never as much as a time-out takes."""
        for _ in range(100):
            if publishing.done():
                break
            await asyncio.sleep(0.005)
            await self.clock.advance(0.05)
        return await publishing


@pytest.fixture
async def desk(server):
    desk = Desk(server)
    yield desk
    await desk.publisher.close()
    assert desk.clock.armed == []


async def test_b66_b70_b75_seven_events_go_in_two_requests_on_a_socket_without_subscriptions(desk, server):
    assert await desk.ended(desk.start(*"1234567")) == [SENT] * 7
    assert [frame["type"] for frame in server.socket.sent] == ["connection_init", "publish", "publish"]
    assert [frame["events"] for frame in server.socket.sent_of("publish")] == [list("12345"), list("67")]


async def test_b75_a_publish_survives_that_the_connection_ended_before_it(desk, server):
    assert await desk.ended(desk.start("1")) == [SENT]
    server.socket.close(1000)
    await eventually(lambda: "publisher" not in {task.get_name() for task in asyncio.all_tasks()})
    assert await desk.ended(desk.start("2")) == [SENT]
    assert len(server.peers) == 2


async def test_b12_a_service_that_can_not_be_had_is_tried_again_because_nothing_was_sent(desk, server):
    server.plays([refuse(503)])
    assert await desk.ended(desk.start("1")) == [SENT]
    assert len(server.peers) == 2


async def test_b69_a_connection_that_ends_under_a_publish_leaves_its_outcome_unknown_and_nothing_is_repeated(
    desk, server
):
    server.plays([accept, ack])
    publishing = desk.start("1")
    await eventually(lambda: server.peers and server.socket.sent_of("publish"))
    server.socket.hang_up()
    (outcome,) = await desk.ended(publishing)
    assert outcome.status == "outcome unknown"
    await desk.clock.advance(300.0)
    assert len(server.peers) == 1


async def test_b68_a_publish_without_an_answer_in_time_has_an_unknown_outcome(desk, server):
    server.plays([accept, ack])
    publishing = desk.start("1")
    await eventually(lambda: server.peers and server.socket.sent_of("publish"))
    await desk.clock.advance(10.5)
    (outcome,) = await publishing
    assert outcome.status == "outcome unknown"


@pytest.mark.parametrize(("answered", "outcome"), [(True, "sent"), (False, "outcome unknown")])
async def test_b64_a_close_waits_for_the_outcome_of_what_was_written_and_no_longer_than_a_publish_may(
    desk, server, answered, outcome
):
    server.plays([accept, ack])
    publishing = desk.start(*"1234567")
    await eventually(lambda: server.peers and server.socket.sent_of("publish"))
    closing = asyncio.create_task(desk.publisher.close())
    await desk.clock.advance(9.0)
    assert not closing.done()
    if answered:
        server.socket.serve()
    else:
        await desk.clock.advance(1.0)
    async with asyncio.timeout(5):
        await closing
    assert [outcome.status for outcome in await publishing] == [outcome] * 5 + ["not sent"] * 2
    assert [outcome.status for outcome in await desk.start("8")] == ["not sent"]
    await server.socket.over.wait()
    assert (len(server.socket.sent_of("publish")), server.socket.close_code) == (1, 1000)
