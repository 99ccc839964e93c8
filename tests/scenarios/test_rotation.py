"""Rows 48, 51 and 54 of the scenario matrix: a connection that is replaced before it ends, and hints of the network."""

import asyncio

import pytest

from realtime.upstream.model import Health
from realtime.upstream.states import State
from tests.realtime.emulator.client import eventually
from tests.scenarios.scripted_server import accept, ack, greeted, refuse

PING = {"type": "ka"}


@pytest.fixture
async def link(link):
    """A link that is open, and tells in which states it was from now on."""
    await link.start()
    await link.comes_to(State.OPEN)
    link.states = set()
    link.manager.listen(lambda snapshot: link.states.add(snapshot.state))
    return link


async def replaced(link, server):
    """Wait until the newest connection speaks for the link, and let the one before it be heard out."""
    for _ in range(1_000):
        if link.manager.snapshot.rotations:
            break
        await link.clock.advance(0.1)  # a step that is longer than the time-outs would overtake the real sockets
        await asyncio.sleep(0.002)
    assert link.manager.snapshot.rotations == 1
    await link.clock.advance(5.0)
    await server.peers[0].over.wait()
    assert not server.socket.over.is_set()


@pytest.mark.feature("B5")
async def test_b48_a_connection_is_replaced_before_its_day_ends_and_the_link_stays_open(link, server, wire):
    hours = 0
    while len(server.peers) == 1:
        server.socket.arrive(PING)
        await eventually(lambda: link.manager.heard_at == link.clock.boottime())
        hours += 240.0 / 3600
        await link.clock.advance(240.0)
        await eventually(lambda: link.manager.snapshot.candidate is None or len(server.peers) == 2)
    assert 0.79 * 24 < hours < 0.96 * 24
    await replaced(link, server)
    assert (link.states, set(link.statuses().values())) == ({State.OPEN}, {"live"})
    assert link.asked() == list(link.targets.values())
    idents = [{frame["id"] for frame in peer.sent_of(wire.subscribes)} for peer in (server.peers[0], server.socket)]
    assert not idents[0] & idents[1]


@pytest.mark.feature("B5")
async def test_b51_what_both_connections_hear_is_handed_on_once_and_what_one_of_them_hears_too(link, server, wire):
    old, idents = server.socket, {feed: link.ident(feed) for feed in link.targets}
    link.manager.rotate("somebody asked")
    await eventually(lambda: link.manager.snapshot.rotations == 1)
    new = server.socket
    for number, peers in enumerate([(old, new), (new, old), (old,), (new,), (new, old)]):
        for peer in peers:
            ident = idents["role"] if peer is old else link.ident("role")
            peer.arrive(wire.data(ident, f'{{"n":{number}}}'))
        await eventually(lambda number=number: len(link.inlet.copies) == number + 1)
    await replaced(link, server)
    assert link.inlet.copies == [("role", f'{{"n":{number}}}') for number in range(5)]
    assert link.states == {State.OPEN}


@pytest.mark.feature("B5")
@pytest.mark.parametrize("fate", [[refuse(503)], [accept, greeted], [accept, ack]], ids=["503", "no ack", "no answers"])
async def test_b48_a_replacement_that_can_not_be_had_costs_nothing_and_is_tried_again(link, server, fate):
    server.plays(fate)
    link.manager.rotate("somebody asked")
    await eventually(lambda: len(server.peers) == 2)
    await eventually(lambda: server.socket.request)
    await link.clock.advance(15.0)
    await eventually(lambda: link.manager.snapshot.candidate is None)
    await link.clock.advance(5.0)
    await eventually(lambda: link.manager.snapshot.rotations == 1)
    assert link.states == {State.OPEN} and len(server.peers) >= 3


async def test_b54_while_the_network_is_away_tries_are_rare_and_once_it_is_back_one_follows_at_once(link, server):
    server.plays(*[[refuse(503)]] * 20)
    link.manager.network(False)
    server.socket.hang_up()
    await link.comes_to(State.BACKOFF)
    assert link.manager.snapshot.next_try_at == link.clock.monotonic() + 60.0
    assert "this machine has no network" in link.reason
    await link.wait_for_its_turn()
    await eventually(lambda: link.manager.snapshot.attempt == 2)
    assert link.manager.snapshot.next_try_at == link.clock.monotonic() + 60.0
    server.scripts.clear()
    link.manager.network(True)
    await link.clock.advance(1.0)
    await link.comes_to(State.OPEN)


async def test_b54_what_seems_open_when_the_network_is_back_has_to_prove_itself_and_is_replaced(link, server):
    link.manager.network(False)
    link.manager.network(True)
    assert link.manager.snapshot.health is Health.SUSPECT
    await replaced(link, server)
    assert (link.states, link.manager.snapshot.health) == ({State.OPEN}, Health.HEALTHY)
