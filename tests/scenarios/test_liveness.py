"""Rows 41 to 56 of the scenario matrix: how a dead connection is told from a quiet one, and what comes after it."""

import pytest

from realtime.appsync.auth import ApiKey
from realtime.emulator.options import DEFAULT_API_KEY
from realtime.upstream.model import Health
from realtime.upstream.policy import Policy
from realtime.upstream.states import State
from tests.fakes import tasks_but_mine
from tests.realtime.emulator.client import eventually
from tests.scenarios.scripted_server import accept, refuse

PING = {"type": "ka"}


async def opened(link):
    await link.start()
    await link.comes_to(State.OPEN)


async def comes_back(link):
    """Let a lost link try again, and see it whole."""
    await link.comes_to(State.BACKOFF)
    await link.wait_for_its_turn()
    await link.comes_to(State.OPEN)
    assert set(link.statuses().values()) == {"live"}


@pytest.mark.feature("S2.7")
async def test_b41_b42_silence_is_shown_and_then_ends_the_session_unless_a_frame_comes(link, server):
    await opened(link)
    await link.clock.advance(66.0)
    assert link.manager.snapshot.health is Health.SUSPECT
    server.socket.arrive(PING)
    await eventually(lambda: link.manager.snapshot.health is Health.HEALTHY)
    await link.clock.advance(299.0)
    assert (link.state, link.manager.snapshot.health) == (State.OPEN, Health.SUSPECT)
    await link.clock.advance(1.5)
    assert link.reason == "keep-alive timeout: no frame for 300 s"
    await comes_back(link)


async def test_b44_time_before_the_acknowledgement_is_no_silence(link, server):
    server.plays(*[[refuse(503)]] * 100, [accept])
    await link.start()
    for _ in range(100):
        await link.comes_to(State.BACKOFF)
        await link.wait_for_its_turn()
    await link.comes_to(State.AUTHENTICATING)
    await link.clock.advance(9.0)
    server.socket.arrive(link.wire.ack())
    server.socket.serve()
    await link.comes_to(State.OPEN)
    await link.clock.advance(64.0)
    assert (link.state, link.manager.snapshot.health) == (State.OPEN, Health.HEALTHY)


@pytest.mark.feature("S0.4")
async def test_b45_a_half_open_connection_is_found_out_and_replaced(link, server):
    await opened(link)
    server.socket.cut()
    await link.deliver("role", "{}")
    await link.clock.advance(300.5)
    assert link.reason == "keep-alive timeout: no frame for 300 s"
    assert link.inlet.copies == []
    await comes_back(link)


@pytest.mark.feature("S0.4")
@pytest.mark.parametrize(("slept", "ends"), [(100.0, False), (400.0, True)])
async def test_b46_what_outlived_a_sleep_has_to_prove_itself_and_what_did_not_is_replaced(link, slept, ends):
    await opened(link)
    link.clock.sleep(slept)
    link.manager.woke(slept)
    if ends:
        assert link.reason.startswith("keep-alive timeout: no frame for 400 s, asleep for 400 s")
        await comes_back(link)
        return
    assert link.manager.snapshot.health is Health.SUSPECT
    link.socket.arrive(PING)
    await eventually(lambda: link.manager.snapshot.health is Health.HEALTHY)


async def test_b48_a_service_that_ends_the_connection_after_a_day_is_dialled_again(made, server):
    link = made(policy=Policy(lifetime=None, breaker=None))
    await opened(link)
    for _ in range(24 * 15):
        await link.clock.advance(240.0)
        server.socket.arrive(PING)
        await eventually(lambda: link.manager.heard_at == link.clock.boottime())
    server.socket.close(1000)
    await comes_back(link)
    assert (link.manager.snapshot.connects, len(server.peers)) == (2, 2)


@pytest.mark.feature("S0.4")
@pytest.mark.parametrize("ending", ["close", "end", "hang_up"])
async def test_b49_after_a_reconnect_all_is_subscribed_anew_with_fresh_ids_and_credentials(link, server, wire, ending):
    await opened(link)
    first, tokens = server.socket, link.tokens()
    link.credentials.issued = 7
    server.socket.close(1011) if ending == "close" else getattr(server.socket, ending)()
    await comes_back(link)
    assert (set(tokens), set(link.tokens())) == ({"token-1"}, {"token-7"})
    assert [peer.authorization["authorization"] for peer in server.peers] == ["token-1", "token-7"]
    assert link.asked() == list(link.targets.values())
    idents = [{frame["id"] for frame in peer.sent_of(wire.subscribes)} for peer in (first, server.socket)]
    assert len(idents[1]) == 3 and not idents[0] & idents[1]
    for ident in idents[0]:
        server.socket.arrive(wire.data(ident, '{"n":0}'))
    for feed in link.targets:
        await link.deliver(feed, '{"n":1}')
    await eventually(lambda: link.inlet.copies == [(feed, '{"n":1}') for feed in link.targets])


async def test_b52_a_connection_that_flaps_leaks_nothing(link, server):
    await opened(link)
    tasks, timers = len(tasks_but_mine()), len(link.clock.armed)
    for number in range(100):
        server.socket.hang_up() if number % 2 else server.socket.close(1000)
        await comes_back(link)
    assert all(peer.over.is_set() for peer in server.peers[:-1])
    await eventually(lambda: (len(tasks_but_mine()), len(link.clock.armed)) == (tasks, timers))
    assert (link.manager.snapshot.drops, len(server.peers)) == (100, 101)
    idents = [frame["id"] for peer in server.peers for frame in peer.sent_of(link.wire.subscribes)]
    assert (len(idents), len(set(idents)), link.subscriptions.first.held) == (303, 303, 3)
    assert link.clock.monotonic() >= 1_000.0 + 100 * 5.0, "each try waited for its turn"


async def test_b52_a_service_holds_one_connection_with_its_subscriptions_however_often_it_was_lost(
    verified, target, emulator
):
    link = verified(ApiKey(DEFAULT_API_KEY), dict.fromkeys(("first", "second"), target))
    await opened(link)
    for _ in range(20):
        (session,) = emulator.api.sessions.values()
        session.socket.abort()
        await comes_back(link)
    (session,) = emulator.api.sessions.values()
    assert len(session.subscriptions()) == 2
    assert [len(emulator.api.transcript.since(0, kind)[0]) for kind in ("opened", "closed")] == [21, 20]


async def test_b55_reasons_to_connect_that_repeat_make_one_connection(link, server):
    for _ in range(5):
        link.manager.start()
        link.manager.resume()
        link.manager.auth_changed("sub-1")
    await opened(link)
    for _ in range(5):
        link.manager.connect_now()
    await link.comes_to(State.OPEN)
    await eventually(lambda: [peer.over.is_set() for peer in server.peers[:-1]] == [True] * (len(server.peers) - 1))
    assert set(link.statuses().values()) == {"live"}
    assert (link.manager.snapshot.connects, len(server.peers), link.credentials.asked) == (2, 2, [False, False])


@pytest.mark.feature("S2.8")
async def test_b56_a_link_that_nobody_wants_closes_after_a_grace_in_which_a_return_finds_it_as_it_was(link, server):
    await opened(link)
    link.manager.suspend("nobody is watching", 30.0)
    await link.clock.advance(29.0)
    link.manager.resume()
    await link.clock.advance(30.0)
    assert (link.state, len(server.peers)) == (State.OPEN, 1)
    link.manager.suspend("nobody is watching", 30.0)
    await link.clock.advance(30.0)
    assert (link.state, link.reason) == (State.SUSPENDED, "nobody is watching")
    await server.socket.over.wait()
    assert server.socket.close_code == 1000
    link.manager.resume()
    await link.comes_to(State.OPEN)
    assert len(server.peers) == 2
