"""A link as a whole, from manager to socket, in both dialects, with everything outside replaced."""

import asyncio
import json
from base64 import urlsafe_b64decode

import pytest

from realtime.upstream.credentials import TokenRefused, TokenUnavailable
from realtime.upstream.model import Health
from realtime.upstream.policy import PRESETS
from realtime.upstream.states import State
from realtime.upstream.subscriptions import Subscriptions
from realtime.upstream.transport import TransportError
from realtime.upstream.verbs import AUTH_GATE
from tests.fakes import HANGS, FakeCredentials, FakeService, ScriptedTransport, settle, tasks_but_mine
from tests.links import FEEDS, Link
from tests.wire import WIRES

PING = {"type": "ka"}


def broken(*args):
    raise ZeroDivisionError("ours")


@pytest.fixture(params=WIRES, ids=lambda wire: wire.dialect)
def wire(request):
    return request.param


@pytest.fixture
async def made(wire):
    """Make links; ``script`` is what happens to their first tries. None leaves a task, a timer or a socket behind."""
    links = []

    def make(*script, **options):
        transport = ScriptedTransport(*script, service=FakeService(wire))
        links.append(Link(transport, wire=options.pop("wire", wire), **options))
        return links[-1]

    yield make
    for link in links:
        await link.manager.stop()
        assert [socket.closed for socket in link.transport.sockets] == [1] * len(link.transport.sockets)
        assert link.clock.armed == []
    assert tasks_but_mine() == set()


@pytest.fixture
async def link(made):
    return made()


# ── The way up ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.feature("S4.1")
async def test_a_link_opens_and_hears_all_its_feeds_on_one_socket(link):
    await link.start()
    assert link.state is State.OPEN
    assert set(link.statuses().values()) == {"live"}
    assert len(link.transport.sockets) == 1
    assert [frame["type"] for frame in link.socket.sent] == ["connection_init"] + [link.wire.subscribes] * 3


def carried(opening):
    """Return the authorization object that an upgrade carries."""
    carrier = opening.subprotocols[1].removeprefix("header-")
    return json.loads(urlsafe_b64decode(carrier + "=" * (-len(carrier) % 4)))


async def test_the_token_is_carried_by_the_subprotocol_and_by_every_subscribe(link):
    await link.start()
    assert carried(link.transport.openings[0]) == {"host": "localhost:4000", "Authorization": "token-1"}
    assert set(link.tokens()) == {"token-1"}


async def test_events_reach_the_inlet_by_feed_and_in_order(link):
    await link.start()
    await link.deliver("archive", '{"n":1}', '{"n":2}')
    await link.deliver("role", '{"n":3}')
    assert link.inlet.copies == [("archive", '{"n":1}'), ("archive", '{"n":2}'), ("role", '{"n":3}')]


async def test_a_link_that_wants_nothing_is_open_at_once(made):
    link = made(feeds=())
    await link.start()
    assert (link.state, link.manager.snapshot.partial) == (State.OPEN, False)


async def test_b05_each_dial_asks_for_the_credentials_anew(made):
    link = made()
    await link.start()
    link.credentials.issued = 7
    link.socket.end()
    await link.clock.advance(5.0)
    assert [carried(opening)["Authorization"] for opening in link.transport.openings] == ["token-1", "token-7"]
    assert set(link.tokens()) == {"token-7"}


# ── The preset that tries every ten seconds ──────────────────────────────────────────────────────────────────


@pytest.mark.feature("S4.6")
async def test_fixed_10s_tries_every_ten_seconds_without_an_end_and_counts_anew_once_it_is_open(made):
    link = made(*[TransportError("connect failed")] * 100, policy=PRESETS["fixed-10s"])
    await link.start()
    for attempt in range(1, 100):
        assert (link.manager.snapshot.attempt, len(link.transport.openings)) == (attempt, attempt)
        await link.clock.advance(9.9)
        assert len(link.transport.openings) == attempt
        await link.clock.advance(0.1)
    await link.clock.advance(10.0)
    assert (link.state, link.manager.snapshot.attempt, len(link.transport.openings)) == (State.OPEN, 0, 101)
    link.socket.end()
    await settle()
    assert (link.state, link.manager.snapshot.attempt) == (State.BACKOFF, 1)
    await link.clock.advance(10.0)
    assert (link.state, len(link.transport.openings)) == (State.OPEN, 102)


ENDS = {
    "signed out": (lambda manager: manager.shut_gate(AUTH_GATE, "signed out"), State.WAITING),
    "nobody is watching": (lambda manager: manager.suspend("nobody is watching"), State.SUSPENDED),
}


@pytest.mark.feature("S4.6")
@pytest.mark.parametrize("when", [State.OPEN, State.BACKOFF])
@pytest.mark.parametrize("reason", ENDS)
async def test_fixed_10s_tries_nothing_after_a_sign_out_or_a_close_of_our_own(made, reason, when):
    link = made(policy=PRESETS["fixed-10s"])
    await link.start()
    if when is State.BACKOFF:
        link.socket.end()
        await settle()
    end, state = ENDS[reason]
    end(link.manager)
    await link.clock.advance(86_400.0)
    assert (link.state, len(link.transport.openings), link.socket.closed) == (state, 1, 1)
    assert reason in link.reason


@pytest.mark.feature("S4.6")
async def test_fixed_10s_tries_nothing_after_a_stop_and_begins_at_once_when_it_is_started_again(made):
    link = made(policy=PRESETS["fixed-10s"])
    await link.start()
    await link.manager.stop("enough")
    await link.clock.advance(86_400.0)
    assert (link.state, len(link.transport.openings)) == (State.STOPPED, 1)
    await link.start()
    assert (link.state, link.manager.snapshot.attempt) == (State.OPEN, 0)


# ── Time-outs on the way up ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.feature("S2.10")
async def test_b07_a_dial_that_hangs_is_given_up_before_the_back_off(made):
    link = made(HANGS)
    await link.start()
    await link.clock.advance(9.9)
    assert link.transport.given_up == 0
    await link.clock.advance(0.2)
    assert (link.transport.given_up, link.state) == (1, State.BACKOFF)
    await link.clock.advance(5.0)
    assert link.state is State.OPEN


async def test_b06_credentials_that_hang_are_given_up_and_tried_again(made):
    link = made(credentials=FakeCredentials(HANGS))
    await link.start()
    await link.clock.advance(60.0)
    assert link.state is State.BACKOFF and "no token, or no turn to dial, within 60 s" in link.reason
    await link.clock.advance(5.0)
    assert (link.state, len(link.transport.openings)) == (State.OPEN, 1)


# ── Failures ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_end_is_told_when_the_socket_is_closed_and_not_before(link):
    await link.start()
    link.socket.close_gate = asyncio.Event()
    link.socket.end()
    await settle()
    assert link.state is State.OPEN
    link.socket.close_gate.set()
    await settle()
    assert (link.state, link.socket.closed) == (State.BACKOFF, 1)


async def test_a_session_that_is_replaced_while_it_closes_is_closed_all_the_same(link):
    await link.start()
    closing = link.socket
    closing.close_gate = asyncio.Event()
    closing.end()
    await settle()
    link.manager.connect_now()
    await settle()
    closing.close_gate.set()
    await settle()
    assert (closing.closed, link.state, len(link.transport.sockets)) == (1, State.OPEN, 2)


async def test_a_socket_that_can_not_be_written_to_is_closed_all_the_same(link):
    await link.start()
    link.socket.send_error = TransportError("connection lost")
    link.want(*FEEDS, "plan")
    await settle()
    link.socket.end()
    await settle()
    assert (link.state, link.socket.closed) == (State.BACKOFF, 1)


@pytest.mark.feature("S2.14")
async def test_b06_no_token_is_visible_as_such_and_tried_again(made):
    link = made(credentials=FakeCredentials(TokenUnavailable("the issuer can't be reached")))
    await link.start()
    assert (link.state, link.reason) == (State.BACKOFF, "token: the issuer can't be reached")
    assert link.transport.openings == []
    await link.clock.advance(5.0)
    assert link.state is State.OPEN


async def test_a_revoked_sign_in_waits_for_another(made):
    link = made(credentials=FakeCredentials(TokenRefused("revoked")))
    await link.start()
    assert (link.state, link.reason) == (State.WAITING, "the issuer refuses a token: token: revoked")


async def test_an_issuer_that_is_away_during_the_forced_refresh_is_asked_again(made):
    refused = TransportError("HTTP 401", status=401)
    link = made(refused, credentials=FakeCredentials(None, TokenUnavailable("away")))
    await link.start()
    assert (link.state, link.reason) == (State.BACKOFF, "token: away")
    await link.clock.advance(5.0)
    assert (link.credentials.asked, link.state) == ([False, True, True], State.OPEN)


async def test_a_fault_of_ours_ends_the_session_with_a_reason(link, monkeypatch, caplog):
    monkeypatch.setattr(Subscriptions, "begin", broken)
    await link.start()
    assert link.state is State.BACKOFF
    assert "internal error: ZeroDivisionError" in link.reason


async def test_a_fault_of_ours_in_a_timer_ends_the_session_with_a_reason(link, monkeypatch, caplog):
    link.service.keeps_quiet.add(link.targets["role"])
    await link.start()
    monkeypatch.setattr(Subscriptions, "retry_due", broken)
    await link.clock.advance(10.0)
    assert link.state is State.BACKOFF
    assert "internal error: ZeroDivisionError" in link.reason


async def test_a_fault_of_ours_while_renewing_a_token_ends_the_session_with_a_reason(link, caplog):
    await link.start()
    link.credentials.script = [ZeroDivisionError("ours")]
    await link.refuse("role")
    assert link.state is State.BACKOFF
    assert "internal error: ZeroDivisionError" in link.reason
    assert link.socket.closed == 1


# ── Subscriptions ────────────────────────────────────────────────────────────────────────────────────────────


async def test_b20_a_channel_that_stays_unauthorised_costs_one_token_and_not_one_each_session(link):
    link.service.refuses[link.targets["role"]] = "Unauthorized"
    await link.start()
    for _ in range(3):
        link.socket.end()
        await link.clock.advance(5.0)
    assert link.credentials.asked.count(True) == 1
    assert len(link.asked()) == 3


@pytest.mark.feature("S0.6")
async def test_b79_a_token_that_expired_under_a_subscription_is_renewed_and_the_feed_asked_for_again(link):
    await link.start()
    for feed in ("role", "archive"):
        await link.refuse(feed)
    assert link.credentials.asked == [False, True, True]
    assert set(link.statuses().values()) == {"live"}
    assert link.tokens() == ["token-1"] * 3 + ["token-2", "token-3"]


async def test_b79_two_subscriptions_refused_together_share_one_new_token(link):
    await link.start()
    for feed in ("role", "archive"):
        link.socket.arrive(link.wire.error("UnauthorizedException", link.ident(feed)))
    await settle()
    assert link.credentials.asked == [False, True]
    assert set(link.statuses().values()) == {"live"}


async def test_b79_an_issuer_that_is_away_costs_the_feed_a_while_and_not_the_session(link):
    await link.start()
    link.credentials.script = [TokenUnavailable("away")]
    await link.refuse("role")
    assert link.statuses()["role"] == "retrying"
    await link.clock.advance(31.0)
    assert set(link.statuses().values()) == {"live"}
    assert len(link.transport.sockets) == 1


async def test_a_token_refused_under_a_subscription_is_told_as_its_error(link):
    await link.start()
    link.credentials.script = [TokenRefused("revoked")]
    await link.refuse("role")
    assert (link.statuses()["role"], link.state) == ("refused", State.OPEN)
    assert link.reason == "refused: role"
    assert link.error("role") == "revoked"


async def test_a_subscription_that_was_long_live_gets_another_new_token_later(link):
    for _ in range(2):
        await link.start()
        await link.clock.advance(31.0)
        await link.refuse("role")
        assert link.statuses()["role"] == "live"
    assert link.credentials.asked == [False, True, True]


@pytest.mark.feature("S3.5")
@pytest.mark.feature("S4.5")
async def test_b61_what_is_no_longer_wanted_is_unsubscribed_and_not_asked_for_again(link):
    await link.start()
    link.want("presence", "plan")
    await settle()
    assert link.statuses() == {"presence": "live", "plan": "live"}
    assert len(link.socket.sent_of(link.wire.unsubscribes)) == 2
    link.socket.end()
    await link.clock.advance(5.0)
    assert set(link.asked()) == set(link.targets.values()) == set(link.wire.targets("presence", "plan").values())


async def test_b57_what_is_given_up_while_it_is_asked_for_is_unsubscribed_once_it_is_accepted(link):
    await link.start()
    link.service.keeps_quiet.update(link.wire.targets("plan").values())
    link.want(*FEEDS, "plan")
    await settle()
    pending = link.ident("plan")
    link.want(*FEEDS)
    await settle()
    assert link.socket.sent_of(link.wire.unsubscribes) == []
    link.socket.arrive(link.wire.accepted(pending))
    link.socket.arrive(link.wire.data(pending, "{}"))
    await settle()
    assert [frame["id"] for frame in link.socket.sent_of(link.wire.unsubscribes)] == [pending]
    assert (link.inlet.copies, set(link.statuses())) == ([], set(FEEDS))


# ── Liveness and pressure ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.feature("S2.7")
@pytest.mark.parametrize("frame", [PING, {"type": "data", "id": "?", "event": "{}"}, "not json", {"type": "new"}])
async def test_any_frame_counts_as_life(link, frame):
    await link.start()
    for _ in range(10):
        await link.clock.advance(60.0)
        link.socket.arrive(frame)
        await settle()
    assert (link.state, link.manager.snapshot.health) == (State.OPEN, Health.HEALTHY)


async def test_b41_the_services_own_time_out_is_kept(made):
    link = made()
    link.service.timeout_ms = 20_000
    await link.start()
    await link.clock.advance(20.1)
    assert (link.state, link.socket.closed) == (State.BACKOFF, 1)
    assert link.reason == "keep-alive timeout: no frame for 20 s"


async def test_data_and_keep_alives_look_for_no_deadline(link, monkeypatch):
    """What comes thousands of times a second must not cost a search each, let alone a timer."""
    await link.start()
    looked = []
    monkeypatch.setattr(Subscriptions, "next_deadline", lambda self: looked.append(1))
    await link.deliver("archive", "1", "2")
    link.socket.arrive(PING)
    await settle()
    assert (len(link.inlet.copies), looked) == (2, [])


async def test_a_deadline_that_did_not_change_is_not_armed_again(link):
    link.service.keeps_quiet.add(link.targets["role"])
    await link.start()
    armed = link.clock.armed
    link.socket.arrive("not json")
    await settle()
    assert link.clock.armed == armed
    assert len(link.inlet.troubles) == 1


async def test_a_timer_that_fires_a_little_early_is_armed_again(link):
    """A loop's clock may be a tick ahead of ours."""
    link.service.keeps_quiet.add(link.targets["role"])
    await link.start()
    soonest = link.clock.armed[0]
    soonest.cancel()
    soonest.callback()
    link.service.keeps_quiet.clear()
    await link.clock.advance(12.0)
    assert link.statuses()["role"] == "live"


# ── Ends ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("during", ["token", "dial", "handshake", "subscribing", "open", "renewing", "full"])
async def test_a_stop_during_anything_leaves_nothing(made, during):
    link = made(
        *([HANGS] if during == "dial" else []), credentials=FakeCredentials(*([HANGS] if during == "token" else []))
    )
    link.service.acks = during != "handshake"
    if during == "subscribing":
        link.service.keeps_quiet = set(link.targets.values())
    await link.start()
    if during == "renewing":
        link.credentials.script = [HANGS]
        await link.refuse("role")
    if during == "full":
        link.inlet.gate.clear()
        await link.deliver("role", "{}")
    await link.manager.stop()
    assert tasks_but_mine() == set()
    assert link.clock.armed == []
    assert [socket.closed for socket in link.transport.sockets] in ([], [1])


async def test_a_session_that_is_slow_to_close_takes_nothing_from_the_next(link):
    """Both share the list of what is wanted; only the newest may say what is lost."""
    await link.start()
    old = link.socket
    old.close_gate = asyncio.Event()
    link.manager.connect_now()
    await settle()
    assert (len(link.transport.sockets), link.state) == (2, State.OPEN)
    old.arrive(link.wire.data(link.ident("role"), "{}"))
    old.close_gate.set()
    await settle()
    assert set(link.statuses().values()) == {"live"}
    assert (old.closed, link.inlet.copies) == (1, [])


async def test_b83_nothing_that_is_shown_holds_the_token(made, caplog):
    caplog.set_level("DEBUG")
    link = made(TransportError("HTTP 401", "no", status=401))
    await link.start()
    shown = f"{caplog.text} {link.manager.snapshot} {link.transport.openings} {link.inlet.changes}"
    assert "token-" not in shown
