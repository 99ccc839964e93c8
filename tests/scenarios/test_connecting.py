"""Rows 1 to 17 of the scenario matrix: how a connection is had, and what becomes of it if it can't be."""

import asyncio
from itertools import pairwise

import pytest

from realtime.upstream.policy import PRESETS, Policy
from realtime.upstream.states import State
from tests.scenarios.scripted_server import accept, ack, asked, close, end, greeted, hang_up, refuse, say


@pytest.mark.feature("S2.10")
async def test_b07_ack_never_comes_times_out_and_retries(link, server):
    server.plays([accept, greeted])
    await link.start()
    await link.comes_to(State.AUTHENTICATING)
    await link.clock.advance(10.0)
    await server.socket.over.wait()
    assert (link.state, link.reason) == (State.BACKOFF, "handshake timeout: no connection_ack within 10 s")
    await link.clock.advance(5.0)
    await link.comes_to(State.OPEN)


@pytest.mark.feature("S2.14")
async def test_b09_a_connection_error_for_the_credentials_gets_one_new_token_and_then_waits(link, server, wire):
    refusal = [accept, greeted, say(wire.connection_error("UnauthorizedException", errorCode=401)), close(1000)]
    server.plays(refusal, refusal)
    await link.start()
    await link.comes_to(State.WAITING)
    assert link.credentials.asked == [False, True]
    assert link.reason.startswith("the service refuses the credentials: refused by the service: UnauthorizedException")
    await link.clock.advance(3_600.0)
    assert len(server.peers) == 2
    link.manager.auth_changed("sub-1")
    await link.comes_to(State.OPEN)


@pytest.mark.parametrize(
    ("kind", "code"), [("RequestTimeout", 408), ("InternalFailure", 500), ("LimitExceededError", 429)]
)
async def test_b10_any_other_connection_error_is_tried_again(link, server, wire, kind, code):
    server.plays([accept, greeted, say(wire.connection_error(kind, errorCode=code))])
    await link.start()
    await link.comes_to(State.BACKOFF)
    assert kind in link.reason and link.manager.snapshot.last_error.code == code
    await link.clock.advance(5.0)
    await link.comes_to(State.OPEN)
    assert link.credentials.asked == [False, False]


@pytest.mark.parametrize("status", [401, 403])
async def test_b12_an_upgrade_refused_for_the_credentials_gets_one_new_token_and_then_waits(link, server, status):
    server.plays([refuse(status)], [refuse(status)])
    await link.start()
    await link.comes_to(State.WAITING)
    assert link.credentials.asked == [False, True]
    assert link.reason == f"the service refuses the credentials: HTTP {status}: no"
    await link.clock.advance(3_600.0)
    assert len(server.peers) == 2


@pytest.mark.parametrize(("status", "wait"), [(400, 5.0), (503, 40.0)])
async def test_b12_an_upgrade_refused_otherwise_is_tried_again_no_sooner_than_asked(link, server, status, wait):
    server.plays([refuse(status, Retry_After="40") if status == 503 else refuse(status)])
    await link.start()
    await link.comes_to(State.BACKOFF)
    spread = 1.0 if status == 503 else 0.0
    assert wait <= link.manager.snapshot.next_try_at - link.clock.monotonic() <= wait + spread
    await link.clock.advance(wait + spread)
    await link.comes_to(State.OPEN)


async def test_b14_many_who_want_something_at_once_share_one_socket(link, server):
    feeds = [f"feed-{number}" for number in range(50)]

    async def want(number):
        link.manager.start()
        link.want(*feeds[: number + 1])

    await asyncio.gather(*(want(number) for number in range(50)))
    await link.comes_to(State.OPEN)
    assert len(server.peers) == 1
    assert sorted(link.asked()) == sorted(link.targets.values())


PHASES = {
    "TCP": [],
    "upgrade": [accept],
    "init": [accept, greeted],
    "ack": [accept, ack],
    "subscribing": [accept, ack, asked],
}


ENDINGS = {"end": end, "reset": hang_up, "1000": close(1000), "1011": close(1011)}


@pytest.mark.parametrize(
    ("phase", "ending"),
    [(phase, ending) for phase in PHASES for ending in ENDINGS if phase != "TCP" or ending in ("end", "reset")],
)
async def test_b15_a_connection_that_ends_in_any_phase_of_connecting_is_tried_again(link, server, phase, ending):
    server.plays([*PHASES[phase], ENDINGS[ending]])
    await link.start()
    await link.comes_to(State.BACKOFF)
    await link.clock.advance(5.0)
    await link.comes_to(State.OPEN)
    assert len(server.peers) == 2


@pytest.mark.feature("S0.5")
async def test_b16_tries_are_spread_within_their_bounds_and_counted_anew_once_a_connection_held(made, server):
    policy = Policy(breaker=None)
    link, waits = made(policy=policy), []
    server.plays(*[[refuse(503)]] * 8)
    await link.start()
    for attempt in range(1, 9):
        await link.comes_to(State.BACKOFF)
        wait = link.manager.snapshot.next_try_at - link.clock.monotonic()
        lower, upper = policy.backoff.bounds(attempt)
        assert lower <= wait <= upper
        waits.append(wait)
        await link.wait_for_its_turn()
    assert len(set(waits)) == 8 and any(later < sooner for sooner, later in pairwise(waits))
    await link.comes_to(State.OPEN)
    assert link.manager.snapshot.attempt == 8
    await link.clock.advance(policy.stable_after)
    assert link.manager.snapshot.attempt == 0


@pytest.mark.feature("S3.2")
async def test_b17_a_policy_with_a_limit_gives_up_and_every_cause_was_told(made, server):
    link, causes = made(policy=PRESETS["exponential-5"]), []
    link.manager.listen(lambda snapshot: causes.append(snapshot.last_error.text) if snapshot.last_error else None)
    server.plays(*[[refuse(503, f"reason {number}")] for number in range(6)])
    await link.start()
    for _ in range(5):
        await link.comes_to(State.BACKOFF)
        await link.wait_for_its_turn()
    await link.comes_to(State.FAILED)
    assert link.reason == "gave up after 5 attempts: " + "; ".join(f"HTTP 503: reason {n}" for n in range(6))
    assert list(dict.fromkeys(causes)) == [f"reason {number}" for number in range(6)]
    assert len(server.peers) == 6
