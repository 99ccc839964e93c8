"""Rows 84 to 86 of the scenario matrix: what can be known of a link from outside."""

from itertools import pairwise

import pytest
from msgspec.structs import replace

from realtime.upstream.states import State
from tests.realtime.emulator.client import eventually
from tests.scenarios.scripted_server import refuse


async def opened(link):
    await link.start()
    await link.comes_to(State.OPEN)


@pytest.mark.feature("S2.9")
async def test_b84_every_change_is_told_once_in_order_and_who_comes_later_gets_the_latest(link, server):
    snapshots = []
    link.manager.listen(snapshots.append)
    server.plays([refuse(503)])
    await link.start()
    await link.comes_to(State.BACKOFF)
    await link.wait_for_its_turn()
    await link.comes_to(State.OPEN)
    up = [State.CONNECTING, State.AUTHENTICATING, State.SYNCING, State.OPEN]
    states = [snapshot.state for snapshot in snapshots]
    assert states == [State.CONNECTING, State.BACKOFF, *up]
    for before, after in pairwise(snapshots):
        assert after.revision == before.revision + 1
        assert replace(after, revision=0) != replace(before, revision=0)
    assert await link.manager.watch().next() == snapshots[-1] == link.manager.snapshot


@pytest.mark.feature("S0.3")
async def test_b85_the_subscriptions_are_listed_with_their_states_through_a_reconnect(link, server):
    link.service.refuses[link.targets["role"]] = "Unauthorized"
    await opened(link)
    listed = {s.feed: (s.target, s.status, s.error) for s in link.subscriptions}
    assert listed["presence"] == (link.targets["presence"], "live", "")
    assert listed["role"] == (link.targets["role"], "refused", "Unauthorized")
    server.socket.end()
    await link.comes_to(State.BACKOFF)
    assert set(link.statuses().values()) == {"wanted"}
    link.service.refuses.clear()
    await link.wait_for_its_turn()
    await link.comes_to(State.OPEN)
    assert {s.feed: (s.status, s.error) for s in link.subscriptions} == dict.fromkeys(link.targets, ("live", ""))


async def test_b86_what_happened_is_counted_and_the_last_error_kept_with_its_code(link, server):
    await opened(link)
    server.socket.close(1011, "the service is moving")
    await link.comes_to(State.BACKOFF)
    snapshot = link.manager.snapshot
    assert (snapshot.connects, snapshot.drops, snapshot.attempt) == (1, 1, 1)
    assert (snapshot.last_error.code, snapshot.last_error.text) == (1011, "the service is moving")
    server.plays([refuse(503)])
    await link.wait_for_its_turn()
    await eventually(lambda: link.manager.snapshot.attempt == 2)
    assert link.manager.snapshot.last_error.status == 503
    await link.wait_for_its_turn()
    await link.comes_to(State.OPEN)
    snapshot = link.manager.snapshot
    assert (snapshot.connects, snapshot.drops, snapshot.session) == (2, 1, 3)
    await link.clock.advance(7.0)
    await link.deliver("role", "{}")
    await eventually(lambda: link.manager.heard_at == link.clock.boottime())
