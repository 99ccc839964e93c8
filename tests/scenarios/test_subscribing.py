"""Rows 18 to 30 of the scenario matrix: how a subscription comes to live, and what its failure costs."""

import pytest

from realtime.appsync.auth import ApiKey
from realtime.emulator.options import DEFAULT_API_KEY, Limits
from realtime.upstream.policy import Fixed, Policy
from realtime.upstream.states import State
from tests.fakes import HANGS
from tests.realtime.emulator.client import eventually, spoken
from tests.scenarios.scripted_server import refuse
from tests.wire import EVENTS


async def opened(link):
    await link.start()
    await link.comes_to(State.OPEN)


@pytest.mark.feature("S0.3")
async def test_b18_a_subscription_is_live_once_the_service_says_so_and_that_is_told_once(link, server, wire):
    link.service.keeps_quiet = set(link.targets.values())
    await link.start()
    await link.comes_to(State.SYNCING)
    await eventually(lambda: len(link.asked()) == 3)
    assert link.inlet.changes == []
    for feed in link.targets:
        server.socket.arrive(wire.accepted(link.ident(feed)))
        server.socket.arrive(wire.accepted(link.ident(feed)))
    await link.comes_to(State.OPEN)
    assert link.inlet.changes == [(feed, "live") for feed in link.targets]


@pytest.mark.feature("S0.2")
async def test_b19_a_subscription_without_an_answer_is_asked_for_again_alone(link, server):
    link.service.keeps_quiet.add(link.targets["role"])
    await opened_but(link, "role", "subscribing")
    await link.clock.advance(10.0)
    assert link.statuses()["role"] == "retrying"
    link.service.keeps_quiet.clear()
    await link.clock.advance(1.0)
    await link.comes_to(State.OPEN)
    assert [link.asked().count(target) for target in link.targets.values()] == [1, 1, 2]
    assert len(server.peers) == 1


@pytest.mark.feature("S0.6")
async def test_b20_a_refused_subscription_costs_neither_its_siblings_nor_the_socket(link, server, wire):
    link.service.refuses[link.targets["role"]] = "Unauthorized"
    await opened(link)
    assert link.statuses() == {"presence": "live", "archive": "live", "role": "refused"}
    assert (link.reason, link.manager.snapshot.partial) == ("refused: role", True)
    await link.deliver("presence", "{}")
    await eventually(lambda: link.inlet.copies == [("presence", "{}")])
    await link.clock.advance(250.0)
    assert len(server.peers) == 1 and link.credentials.asked == [False, True]


async def test_b22_an_error_without_an_id_is_told_and_ends_nothing(link, server, wire):
    await opened(link)
    server.socket.arrive(wire.error("UnsupportedOperation"))
    await eventually(lambda: link.inlet.troubles == [("error of the service: UnsupportedOperation", False)])
    assert (link.state, set(link.statuses().values())) == (State.OPEN, {"live"})


@pytest.mark.feature("S0.6")
async def test_b24_a_throttled_subscription_is_retried_on_the_same_socket_until_there_is_room(link, server):
    link.service.refuses[link.targets["role"]] = "LimitExceededError"
    await opened_but(link, "role")
    for tries in range(2, 6):
        await link.clock.advance(31.0)
        await eventually(lambda tries=tries: link.asked().count(link.targets["role"]) >= tries)
    assert link.statuses()["presence"] == "live" and link.inlet.troubles == []
    link.service.refuses.clear()
    await link.clock.advance(31.0)
    await link.comes_to(State.OPEN)
    await eventually(lambda: link.statuses()["role"] == "live")
    assert len(server.peers) == 1


@pytest.mark.feature("S0.6")
async def test_b24_one_that_no_connection_takes_is_retried_on_the_second_and_costs_no_third(link, server):
    link.service.refuses[link.targets["role"]] = "MaxSubscriptionsReachedError"
    await opened_but(link, "role")
    for _ in range(4):
        await until_asked_again(link, "role")
        await eventually(lambda: link.statuses()["role"] == "retrying")
    link.service.refuses.clear()
    await until_asked_again(link, "role")
    await eventually(lambda: set(link.statuses().values()) == {"live"})
    await link.comes_to(State.OPEN)
    assert (len(server.peers), link.manager.snapshot.connects) == (2, 1)


@pytest.mark.feature("S0.6")
async def test_b24_more_than_a_connection_takes_spread_over_others_and_each_event_comes_once(
    verified, target, emulator
):
    feeds = [f"feed-{number}" for number in range(12)]
    link = verified(ApiKey(DEFAULT_API_KEY), dict.fromkeys(feeds, target))
    await opened(link)
    await eventually(lambda: set(link.statuses().values()) == {"live"})
    assert sorted(held(emulator)) == [2, 5, 5]
    assert (link.manager.snapshot.connects, link.manager.snapshot.partial, link.inlet.troubles) == (1, False, [])


@pytest.mark.parametrize("limits", [Limits()], ids=["200"])
async def test_b24_b57_ninety_come_and_go_at_once_on_one_socket(verified, target, emulator, wire):
    link = verified(ApiKey(DEFAULT_API_KEY))
    await opened(link)
    wanted = {f"feed-{number}": target for number in range(90)}
    link.connection.want(wanted)
    await eventually(lambda: list(link.statuses().values()) == ["live"] * 90)
    assert held(emulator) == [90]
    link.connection.want({})
    link.connection.want(wanted)
    link.connection.want({})  # while they are asked for again
    await eventually(lambda: len(spoken(emulator, wire.unsubscribes)) == 180)
    await eventually(lambda: held(emulator) == [0])
    assert len(emulator.api.transcript.since(0, "opened")[0]) == 1


@pytest.mark.feature("S0.6")
@pytest.mark.parametrize("wire", [EVENTS], ids=["events"])
async def test_b24_each_event_comes_once_also_while_all_the_connections_are_replaced(verified, emulator):
    channels = {f"feed-{number}": f"/default/{number}" for number in range(12)}
    link = verified(ApiKey(DEFAULT_API_KEY), channels)
    await opened(link)
    publish_to_all(emulator, channels, "1")
    await eventually(lambda: len(link.inlet.copies) == 12)
    link.manager.rotate("asked for")
    await eventually(lambda: link.manager.snapshot.rotations == 1)
    assert sorted(held(emulator)) == [2, 2, 5, 5, 5, 5]
    publish_to_all(emulator, channels, "2")
    await eventually(lambda: len(link.inlet.copies) == 24)
    await link.clock.advance(60.0)
    await eventually(lambda: sorted(held(emulator)) == [2, 5, 5])
    publish_to_all(emulator, channels, "3")
    await eventually(lambda: len(link.inlet.copies) == 36)
    assert sorted(link.inlet.copies) == sorted((feed, str(n)) for feed in channels for n in (1, 2, 3))


async def test_b25_an_id_that_is_taken_is_asked_for_again_under_a_fresh_one_and_heard_once(link, wire):
    link.service.refuses[link.targets["role"]] = "DuplicatedOperationError"
    await opened_but(link, "role")
    link.service.refuses.clear()
    await link.clock.advance(1.0)
    await eventually(lambda: link.statuses()["role"] == "live")
    idents = [frame["id"] for frame in link.socket.sent_of(wire.subscribes)]
    assert len(idents) == len(set(idents)) == 4
    for ident in idents:
        link.socket.arrive(wire.data(ident, "{}"))
    await eventually(lambda: len(link.inlet.copies) == 3)
    assert [feed for feed, _ in link.inlet.copies].count("role") == 1


@pytest.mark.parametrize("wire", [EVENTS], ids=["events"])
async def test_b20_b76_a_namespace_that_does_not_exist_costs_its_own_subscription_alone(verified, emulator):
    link = verified(ApiKey(DEFAULT_API_KEY), {"nowhere": "/nowhere/a", "any": "/default/a"})
    await opened(link)
    await eventually(lambda: link.statuses() == {"nowhere": "refused", "any": "live"})
    assert link.error("nowhere") == "UnauthorizedException"
    emulator.api.broker.publish("/default/a", "1")
    await eventually(lambda: link.inlet.copies == [("any", "1")])
    assert len(emulator.api.sessions) == 1


@pytest.mark.parametrize("wire", [EVENTS], ids=["events"])
async def test_b27_a_wildcard_hears_every_depth_below_it(verified, emulator):
    link = verified(ApiKey(DEFAULT_API_KEY), {"any": "/default/a/*"})
    await opened(link)
    for number, channel in enumerate(["/default/a", "/default/b", "/default/a/b", "/default/a/b/c/d"]):
        emulator.api.broker.publish(channel, str(number))
    await eventually(lambda: len(link.inlet.copies) == 2)
    assert link.inlet.copies == [("any", "2"), ("any", "3")]


async def test_b28_the_same_target_twice_is_two_subscriptions_and_each_hears_each_event_once(link, wire):
    target = link.targets["presence"]
    link.connection.want({"first": target, "second": target})
    await opened(link)
    await link.deliver("first", "{}")
    await link.deliver("second", "{}")
    await eventually(lambda: len(link.inlet.copies) == 2)
    assert link.inlet.copies == [("first", "{}"), ("second", "{}")]


@pytest.mark.parametrize("when", [State.STOPPED, State.CONNECTING, State.BACKOFF, State.OPEN])
async def test_b30_what_is_wanted_in_any_state_is_asked_for_once_the_connection_is_accepted(link, server, when):
    server.plays(*[[refuse(503)]] * (when is State.BACKOFF))
    if when is not State.STOPPED:
        await link.start()
    if when is not State.CONNECTING:
        await link.comes_to(when)
    assert link.want("plan", "role")
    if when is State.STOPPED:
        await link.start()
    if when is State.BACKOFF:
        await link.wait_for_its_turn()
    await link.comes_to(State.OPEN)
    await eventually(lambda: link.statuses() == {"plan": "live", "role": "live"})
    assert len(server.peers) == 1 + (when is State.BACKOFF)


WISHES = {
    "a start": lambda manager: None,
    "its user comes back": lambda manager: (manager.suspend("nobody is watching"), manager.resume()),
    "a new sign-in": lambda manager: manager.auth_changed("sub-1"),
}


@pytest.mark.parametrize("wish", WISHES)
async def test_b30_a_link_that_gave_up_asks_for_what_was_wanted_meanwhile_with_the_next_wish(made, server, wish):
    """Feeds are wanted all the time, by the link's own user; who wants the link says so."""
    link = made(policy=Policy(backoff=Fixed(5.0), max_attempts=0))
    server.plays([refuse(503)])
    await link.start()
    await link.comes_to(State.FAILED)
    link.want("plan")
    await link.clock.advance(3_600.0)
    assert len(server.peers) == 1
    WISHES[wish](link.manager)
    await opened(link)
    assert (link.statuses(), len(server.peers)) == ({"plan": "live"}, 2)


async def test_b06_a_token_that_hangs_under_a_subscription_costs_that_one_a_while(link, server):
    await opened(link)
    link.credentials.script = [HANGS]
    await link.refuse("role")
    await eventually(lambda: link.statuses()["role"] == "retrying")
    await link.clock.advance(10.0)
    await link.deliver("presence", "{}")
    await eventually(lambda: link.inlet.copies == [("presence", "{}")])
    assert link.error("role") == "no new token within 10 s"
    await link.clock.advance(1.0)
    await eventually(lambda: set(link.statuses().values()) == {"live"})
    assert (link.state, len(server.peers)) == (State.OPEN, 1)


async def opened_but(link, feed, status="retrying"):
    """Start a link of which all feeds but one are live at once."""
    await link.start()
    others = dict.fromkeys(link.targets, "live")
    await eventually(lambda: link.statuses() == {**others, feed: status})


async def until_asked_again(link, feed):
    retry_at = next(s.retry_at for s in link.subscriptions if s.feed == feed)
    await link.clock.advance(retry_at - link.clock.monotonic())


def held(emulator):
    """Return how many subscriptions each connection of the emulator holds."""
    return [len(session.subscriptions()) for session in emulator.api.sessions.values()]


def publish_to_all(emulator, channels, payload):
    for channel in channels.values():
        emulator.api.broker.publish(channel, payload)
