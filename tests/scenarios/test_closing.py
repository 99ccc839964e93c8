"""Rows 57 to 65 of the scenario matrix: giving up a subscription, and giving up the link."""

import asyncio

import pytest

from realtime.appsync.auth import ApiKey
from realtime.emulator.faults import Fault
from realtime.emulator.options import DEFAULT_API_KEY
from realtime.upstream.states import State
from tests.fakes import HANGS, settle
from tests.realtime.emulator.client import eventually, spoken
from tests.scenarios.scripted_server import accept, cut

ACCEPTED = ("subscribe_success", "start_ack")


@pytest.fixture
async def link(link):
    """A link that is open, with all its subscriptions live."""
    await link.start()
    await link.comes_to(State.OPEN)
    return link


async def test_b57_an_unsubscribe_is_sent_and_its_answer_awaited(link, server, wire):
    given_up = link.ident("role")
    server.socket.serving = False
    link.want("presence", "archive")
    await eventually(lambda: server.socket.sent_of(wire.unsubscribes))
    assert [frame["id"] for frame in server.socket.sent_of(wire.unsubscribes)] == [given_up]
    assert link.clock.armed[0].deadline == link.clock.monotonic() + 10.0
    server.socket.arrive(wire.ended(given_up))
    await eventually(lambda: link.clock.armed[0].deadline > link.clock.monotonic() + 10.0)
    assert link.statuses() == {"presence": "live", "archive": "live"}


async def test_b59_what_is_given_up_twice_is_unsubscribed_once(link, server, wire):
    for _ in range(3):
        link.want("presence")
    await eventually(lambda: len(server.socket.sent_of(wire.unsubscribes)) == 2)
    await link.deliver("presence", "{}")
    await eventually(lambda: link.inlet.copies == [("presence", "{}")])
    await link.manager.stop()
    link.want()
    assert len(server.socket.sent_of(wire.unsubscribes)) == 2


async def test_b57_what_is_given_up_while_it_is_asked_for_is_unsubscribed_also_where_that_is_ignored_for_a_while(
    verified, target, emulator, wire
):
    link = verified(ApiKey(DEFAULT_API_KEY))
    await link.start()
    await link.comes_to(State.OPEN)
    emulator.api.faults.add(Fault("early-unsubscribe", delay=60_000, count=1))
    link.connection.want({"any": target})
    link.connection.want({})  # while it is asked for
    await eventually(lambda: emulator.api.faults.list() == [])
    (session,) = emulator.api.sessions.values()
    assert len(session.subscriptions()) == 1
    await link.clock.advance(10.0)
    await eventually(lambda: session.subscriptions() == [])
    subscribe, success, *unsubscribes = spoken(emulator, wire.subscribes, *ACCEPTED, wire.unsubscribes)
    assert (subscribe[0], success[0]) == ("received", "sent")
    assert [frame["id"] for _, frame in unsubscribes] == [subscribe[1]["id"]] * 2


@pytest.mark.parametrize("answered", [True, False])
async def test_b60_an_unsubscribe_that_is_refused_or_not_answered_is_over_all_the_same(link, server, wire, answered):
    given_up = link.ident("role")
    server.socket.serving = False
    link.want("presence", "archive")
    await eventually(lambda: server.socket.sent_of(wire.unsubscribes))
    if answered:
        server.socket.arrive(wire.refused(given_up, "UnknownOperationError"))
    else:
        await link.clock.advance(10.0)
    server.socket.arrive(wire.data(given_up, "{}"))
    await link.deliver("presence", "{}")
    await eventually(lambda: link.inlet.copies == [("presence", "{}")])
    assert link.state is State.OPEN
    server.socket.serving = True
    link.want("presence", "archive", "role")
    await eventually(lambda: link.statuses()["role"] == "live")
    assert link.ident("role") != given_up


async def test_b61_what_was_given_up_while_disconnected_is_not_subscribed_again(link, server):
    server.socket.end()
    await link.comes_to(State.BACKOFF)
    link.want("presence")
    await link.wait_for_its_turn()
    await link.comes_to(State.OPEN)
    assert link.asked() == list(link.wire.targets("presence").values())


WAITING = {
    "dial": ([], None),
    "ack": ([accept], None),
    "token": ([], HANGS),
}


@pytest.mark.parametrize("waits_for", WAITING)
async def test_b63_a_stop_ends_what_waits_for_good_and_may_be_repeated(made, server, waits_for):
    script, outcome = WAITING[waits_for]
    link = made()
    server.plays(script)
    link.credentials.script = [outcome]
    await link.start()
    if waits_for != "token":
        await eventually(lambda: server.peers and (server.socket.sent or not script))
    await asyncio.gather(link.manager.stop("enough"), link.manager.stop("enough"))
    await link.manager.stop("enough")
    await link.clock.advance(86_400.0)
    await settle()
    assert (link.state, link.reason, link.clock.armed) == (State.STOPPED, "enough", [])
    assert [peer.over.is_set() for peer in server.peers] == [True] * (waits_for != "token")


async def test_b63_a_stop_closes_an_open_link_in_order(link, server, wire):
    server.socket.serving = False
    link.want("presence", "plan")
    await eventually(lambda: server.socket.sent_of(wire.unsubscribes))
    await link.manager.stop()
    await server.socket.over.wait()
    assert (server.socket.close_code, set(link.statuses().values())) == (1000, {"wanted"})


async def test_b63_a_stop_does_not_wait_for_a_service_that_is_gone(link, server):
    cut_off = server.socket
    await cut(cut_off)
    async with asyncio.timeout(1):
        await link.manager.stop()
    assert link.state is State.STOPPED


async def test_b65_a_link_that_was_stopped_can_be_started_again(link, server):
    await link.manager.stop()
    await link.start()
    await link.comes_to(State.OPEN)
    await link.deliver("role", "{}")
    await eventually(lambda: link.inlet.copies == [("role", "{}")])
    assert (len(server.peers), link.manager.snapshot.session) == (2, 2)
