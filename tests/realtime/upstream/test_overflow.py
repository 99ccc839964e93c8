"""A link that hears more than one connection may hold: each further one fails, and comes back, for itself."""

import asyncio

import pytest

from realtime.upstream.connection import ACCEPT_TIMEOUT, OPEN_TIMEOUT
from realtime.upstream.credentials import TokenRefused
from realtime.upstream.states import State
from realtime.upstream.subscriptions import RETRY
from realtime.upstream.transport import TransportError
from tests.fakes import HANGS, FakeService, ScriptedTransport, settle, tasks_but_mine
from tests.links import Link
from tests.wire import WIRES

FEEDS = ("presence", "archive", "role", "plan", "alerts")
LOST = TransportError("connection lost")
PING = {"type": "ka"}


@pytest.fixture(params=WIRES, ids=lambda wire: wire.dialect)
def wire(request):
    return request.param


@pytest.fixture
async def made(wire):
    """Make links that put two subscriptions on a connection. None leaves a task, a timer or a socket behind."""
    links = []

    def make(*script):
        transport = ScriptedTransport(*script, service=FakeService(wire))
        links.append(Link(transport, wire=wire, feeds=FEEDS, capacity=2))
        return links[-1]

    yield make
    for link in links:
        await link.manager.stop()
        assert [socket.closed for socket in link.transport.sockets] == [1] * len(link.transport.sockets)
        assert link.clock.armed == []
    assert tasks_but_mine() == set()


@pytest.fixture
async def link(made):
    link = made()
    await link.start()
    assert (link.state, len(link.transport.sockets)) == (State.OPEN, 3)
    return link


def live(link):
    return [feed for feed, status in link.statuses().items() if status == "live"]


def asked_on(link, number):
    targets = {target: feed for feed, target in link.targets.items()}
    frames = link.transport.sockets[number].sent_of(link.wire.subscribes)
    return [targets[link.wire.target(frame)] for frame in frames]


async def arrive(link, feed, payload):
    ident = link.ident(feed)
    for socket in link.transport.sockets:
        if any(frame.get("id") == ident for frame in socket.sent):
            socket.arrive(link.wire.data(ident, payload))
    await settle()


async def back_to_open(link):
    await link.clock.advance(RETRY.first)
    assert live(link) == list(FEEDS)


async def test_a_link_opens_once_all_its_connections_hear(link):
    assert live(link) == list(FEEDS) and not link.manager.snapshot.partial
    assert [asked_on(link, number) for number in range(3)] == [["presence", "archive"], ["role", "plan"], ["alerts"]]
    assert (link.manager.snapshot.connects, link.credentials.asked) == (1, [False] * 3)


async def test_events_of_all_connections_come_by_feed_and_once(link):
    for feed in FEEDS:
        await arrive(link, feed, "{}")
    assert link.inlet.copies == [(feed, "{}") for feed in FEEDS]


@pytest.mark.feature("S2.12")
async def test_one_that_is_lost_is_deaf_for_itself_and_the_link_says_so(link):
    heard_at = link.clock.boottime()
    await link.clock.advance(20.0)
    link.inlet.changes.clear()
    link.transport.sockets[1].end()
    await settle()
    assert live(link) == ["presence", "archive", "alerts"]
    assert link.inlet.changes == [("role", "wanted"), ("plan", "wanted")]
    assert [s.deaf_since for s in link.subscriptions] == [None, None, heard_at, heard_at, None]
    assert "connection lost" in link.error("role")
    assert (link.state, link.manager.snapshot.partial) == (State.OPEN, True)
    assert link.reason == "feeds that wait for their connection: 2"
    await back_to_open(link)
    assert (link.reason, link.manager.snapshot.partial, link.manager.snapshot.drops) == ("", False, 0)
    assert asked_on(link, 3) == ["role", "plan"] and [s.deaf_since for s in link.subscriptions] == [None] * 5


async def test_the_first_that_is_lost_takes_the_others_with_it(link):
    link.socket.end()
    link.transport.sockets[0].end()
    await settle()
    assert (link.state, live(link)) == (State.BACKOFF, [])
    assert [socket.closed for socket in link.transport.sockets] == [1, 1, 1]
    await link.clock.advance(5.0)
    assert (link.state, len(live(link)), len(link.transport.sockets)) == (State.OPEN, 5, 6)


async def test_none_waits_for_the_socket_of_another_to_be_closed(link):
    link.transport.sockets[0].close_gate = asyncio.Event()
    link.manager.suspend("nobody is watching")
    await settle()
    assert [socket.closed for socket in link.transport.sockets] == [0, 1, 1]
    link.transport.sockets[0].close_gate.set()


async def test_tries_are_spread_by_full_jitter_and_wait_as_long_as_the_service_asks(link):
    link.transport.script = [TransportError("HTTP 503", status=503, retry_after=20.0), *[LOST] * 6]
    link.socket.end()
    await settle()
    await link.clock.advance(RETRY.first)
    tried = len(link.transport.openings)
    await link.clock.advance(19.0)
    assert len(link.transport.openings) == tried
    for _ in range(14):
        await link.clock.advance(RETRY.cap)
        link.transport.sockets[0].arrive(PING)
        link.transport.sockets[1].arrive(PING)
        await settle()
    assert live(link) == list(FEEDS) and link.manager.snapshot.connects == 1


async def test_a_dial_that_hangs_is_given_up(link):
    link.transport.script = [HANGS]
    link.socket.end()
    await settle()
    await link.clock.advance(RETRY.first + OPEN_TIMEOUT)
    assert link.transport.given_up == 1 and "connect timeout" in link.error("alerts")
    await link.clock.advance(RETRY.bounds(2)[1])
    assert live(link) == list(FEEDS)


async def test_one_that_is_never_accepted_is_given_up(link):
    link.service.acks = False
    link.socket.end()
    await settle()
    await link.clock.advance(RETRY.first)
    mute = link.socket
    assert mute.closed == 0
    await link.clock.advance(ACCEPT_TIMEOUT)
    assert mute.closed == 1 and "no frame for 10 s" in link.error("alerts")


async def test_one_that_falls_silent_is_given_up_before_the_link_is(made):
    link = made()
    link.service.timeout_ms = 100_000
    await link.start()
    began = link.clock.boottime()
    for _ in range(9):
        for socket in link.transport.sockets[:2]:
            socket.arrive(PING)
        await link.clock.advance(9.9)
    assert link.transport.sockets[2].closed == 0 and link.manager.heard_at == began
    await link.clock.advance(0.9)
    assert link.transport.sockets[2].closed == 1
    assert "keep-alive timeout: no frame for 90 s" in link.error("alerts")
    assert next(s for s in link.subscriptions if s.feed == "alerts").deaf_since == began
    assert link.manager.heard_at == pytest.approx(began + 8 * 9.9)
    await link.clock.advance(20.0)
    assert (link.state, link.manager.snapshot.drops) == (State.OPEN, 0)


async def test_what_the_link_has_heard_is_what_each_connection_has(link):
    began = link.clock.boottime()
    await link.clock.advance(10.0)
    for number, heard_at in ((0, began), (1, began), (2, began + 10.0)):
        link.transport.sockets[number].arrive(PING)
        await settle()
        assert link.manager.heard_at == heard_at


async def test_b46_after_a_sleep_one_that_speaks_again_does_not_vouch_for_the_others(link):
    """Else the window of one that is found dead would begin after the sleep, in which it was deaf already."""
    before = link.clock.boottime()
    link.clock.sleep(60.0)
    link.transport.sockets[0].arrive(PING)
    await settle()
    assert link.manager.heard_at == before
    link.transport.sockets[1].end()
    await settle()
    assert [s.deaf_since for s in link.subscriptions] == [None, None, before, before, None]


async def test_while_it_is_us_who_do_not_read_none_is_silent(made):
    link = made()
    link.service.timeout_ms = 100_000
    await link.start()
    link.inlet.gate.clear()
    for socket in 2 * link.transport.sockets:
        socket.arrive(PING)
    await settle()
    await link.clock.advance(500.0)
    assert (link.state, len(link.transport.openings)) == (State.OPEN, 3)
    link.inlet.gate.set()
    await settle()
    await link.clock.advance(89.0)
    assert (link.state, len(link.transport.openings)) == (State.OPEN, 3)


async def test_refused_credentials_cost_one_new_token_and_not_one_each_try(link):
    link.credentials.asked.clear()
    link.transport.script = [TransportError("HTTP 401", status=401)] * 4
    link.socket.end()
    await settle()
    while link.transport.script:
        await link.clock.advance(1.0)
        for socket in link.transport.sockets[:2]:
            socket.arrive(PING)
        await settle()
    assert link.credentials.asked == [False, True, False, False]
    assert link.state is State.OPEN


async def test_a_revoked_sign_in_is_told_as_the_feeds_error(link):
    link.credentials.script = [TokenRefused("revoked")]
    link.socket.end()
    await settle()
    await link.clock.advance(RETRY.first)
    assert link.error("alerts") == "revoked" and link.state is State.OPEN


@pytest.mark.feature("S4.5")
async def test_what_is_wanted_opens_connections_and_closes_them(link):
    link.want("presence", "role", "alerts")
    await settle()
    assert [socket.closed for socket in link.transport.sockets] == [0, 0, 0]
    link.want("presence", "role")
    await settle()
    assert [socket.closed for socket in link.transport.sockets] == [0, 0, 1]
    link.want(*FEEDS)
    await settle()
    assert live(link) and set(live(link)) == set(FEEDS)
    assert [socket.closed for socket in link.transport.sockets] == [0, 0, 1, 0]
    assert (link.state, link.reason, link.manager.snapshot.partial) == (State.OPEN, "", False)


async def test_a_link_that_is_replaced_hears_all_on_other_connections_and_each_event_once(link):
    link.manager.rotate("asked for")
    await settle()
    assert (link.manager.snapshot.rotations, len(link.transport.sockets)) == (1, 6)
    for socket in link.transport.sockets:
        for frame in socket.sent_of(link.wire.subscribes):
            socket.arrive(link.wire.data(frame["id"], '{"n":1}'))
        await settle()
    assert sorted(link.inlet.copies) == sorted((feed, '{"n":1}') for feed in FEEDS)
    await link.clock.advance(60.0)
    assert [socket.closed for socket in link.transport.sockets] == [1, 1, 1, 0, 0, 0]


async def test_the_present_one_stays_until_each_connection_of_the_other_hears(link):
    link.transport.script = [None, LOST, None]
    link.manager.rotate("asked for")
    await settle()
    assert (link.manager.snapshot.rotations, link.manager.snapshot.candidate[0]) == (0, 2)
    await link.clock.advance(RETRY.first)
    assert (link.manager.snapshot.rotations, live(link)) == (1, list(FEEDS))


async def test_one_that_is_lost_while_it_is_heard_out_is_not_dialled_again(link):
    link.manager.rotate("asked for")
    await settle()
    link.transport.sockets[2].end()
    await settle()
    await link.clock.advance(5.0)
    assert (len(link.transport.openings), link.reason, live(link)) == (6, "", list(FEEDS))


async def test_a_fault_of_ours_on_any_connection_ends_the_session_with_a_reason(link, monkeypatch, caplog):
    def broken(*args):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("realtime.upstream.connection._Life.data", broken)
    await arrive(link, "alerts", "{}")
    assert link.state is State.BACKOFF and "internal error: ZeroDivisionError" in link.reason
