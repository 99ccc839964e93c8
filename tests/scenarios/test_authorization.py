"""Rows 3, 4 and 79 to 83 of the scenario matrix: credentials, also as somebody else verifies them."""

from datetime import UTC, datetime, timedelta

import pytest

from realtime.appsync.auth import ApiKey, Iam, Token
from realtime.appsync.events_session import EventsSession
from realtime.appsync.graphql_session import GraphQLSession
from realtime.emulator.options import DEFAULT_API_KEY
from realtime.upstream.states import State
from tests.fakes import settle
from tests.realtime.emulator.client import eventually
from tests.scenarios.scripted_server import accept, ack, greeted, refuse, say


def iam(session_token=None, secret="secret"):
    return Iam("AKIDEXAMPLE", secret, "eu-west-1", session_token)


MODES = {
    "API key": lambda emulator: ApiKey(DEFAULT_API_KEY),
    "JWT": lambda emulator: Token(emulator.api.issuer.grant("sub-owner", username="owner").access_token),
    "Lambda": lambda emulator: Token("open sesame"),
    "IAM": lambda emulator: iam(),
    "IAM with a session token": lambda emulator: iam("session-token"),
}


@pytest.mark.feature("S4.4")
@pytest.mark.parametrize("mode", MODES)
async def test_b03_each_mode_is_let_in_and_heard_by_a_service_that_verifies_it(verified, emulator, target, mode):
    link = verified(MODES[mode](emulator), {"any": target})
    await link.start()
    await link.comes_to(State.OPEN)
    assert link.statuses() == {"any": "live"}


async def test_b04_a_signature_over_another_path_than_the_dialects_is_refused(verified, wire, monkeypatch):
    session = {"events": EventsSession, "graphql": GraphQLSession}[wire.dialect]
    assert session.connect_path == {"events": "/event", "graphql": "/graphql/connect"}[wire.dialect]
    link = verified(iam())
    await link.start()
    await link.comes_to(State.OPEN)
    await link.manager.stop()
    monkeypatch.setattr(session, "connect_path", "/event/connect" if wire.dialect == "events" else "/graphql")
    await link.start()
    await link.comes_to(State.BACKOFF)
    assert "does not match" in link.reason


async def test_b04_a_signature_by_another_key_is_refused_with_the_services_words(verified):
    link = verified(iam(secret="another"))
    await link.start()
    await link.comes_to(State.BACKOFF)
    assert "does not match" in link.reason


@pytest.mark.feature("S3.9")
@pytest.mark.parametrize("minutes", [-10, 10])
async def test_b82_a_clock_that_is_wrong_by_minutes_is_named_with_the_next_step(verified, monkeypatch, minutes):
    def wrong(*_):
        return (datetime.now(UTC) + timedelta(minutes=minutes)).replace(tzinfo=None)

    monkeypatch.setattr("botocore.auth.get_current_datetime", wrong)
    link = verified(iam())
    await link.start()
    await link.comes_to(State.BACKOFF)
    assert "set this machine's clock" in link.reason


@pytest.mark.feature("S0.6")
async def test_b79_a_token_that_expired_under_a_subscription_is_renewed_once_and_siblings_are_untouched(link, server):
    await link.start()
    await link.comes_to(State.OPEN)
    untouched = link.ident("presence")
    for feed in ("role", "archive"):
        server.socket.arrive(link.wire.error("UnauthorizedException", link.ident(feed)))
    await eventually(lambda: len(link.asked()) == 5)
    await eventually(lambda: set(link.statuses().values()) == {"live"})
    assert link.credentials.asked == [False, True]
    assert link.tokens() == ["token-1"] * 3 + ["token-2"] * 2
    assert (link.ident("presence"), len(server.peers)) == (untouched, 1)
    link.want(*link.targets, "plan")
    await eventually(lambda: link.statuses()["plan"] == "live")
    assert (link.tokens()[-1], link.credentials.asked, len(server.peers)) == ("token-2", [False, True], 1)


REFUSALS = {
    "by HTTP": lambda wire: [refuse(401)],
    "in the greeting": lambda wire: [accept, greeted, say(wire.connection_error("UnauthorizedException"))],
    "once accepted": lambda wire: [accept, ack, say(wire.connection_error("UnauthorizedException"))],
}


@pytest.mark.feature("S2.14")
@pytest.mark.parametrize("how", REFUSALS)
async def test_b81_credentials_that_are_refused_for_good_are_tried_twice_and_then_waited_for(link, server, wire, how):
    server.plays(*[REFUSALS[how](wire)] * 4)
    for round_ in (1, 2):
        await link.start()
        await link.comes_to(State.WAITING)
        await link.clock.advance(86_400.0)
        await settle()
        assert len(server.peers) == 2 * round_
        assert link.reason.startswith("the service refuses the credentials")
        link.manager.auth_changed("sub-1")
        await settle()
    await link.comes_to(State.OPEN)


async def test_b83_nothing_that_is_shown_of_a_life_with_refusals_holds_a_token(link, server, wire, caplog):
    caplog.set_level("DEBUG")
    server.plays([refuse(401)], [accept, greeted, say(wire.connection_error("InternalFailure"))])
    shown = []
    link.manager.listen(lambda snapshot: shown.append(repr(snapshot)))
    await link.start()
    await link.comes_to(State.BACKOFF)
    await link.wait_for_its_turn()
    await link.comes_to(State.OPEN)
    await link.refuse("role")
    await eventually(lambda: link.credentials.issued == 3)
    assert "token-" not in f"{caplog.text} {shown} {link.inlet.changes} {link.inlet.troubles}"
