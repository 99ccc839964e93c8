"""The links that a worker keeps, as far as no database is needed: whom it asks again, and whom it lets go."""

from types import SimpleNamespace
from unittest.mock import Mock, call

import pytest

from realtime import roster
from realtime.gates import Gate
from realtime.roster import ASK_AGAIN_AFTER, FORGET_AFTER, Roster
from realtime.upstream.states import State
from realtime.wanted import Wanted
from tests.fakes import ManualClock


class Shadows:
    managers = ()

    async def end(self, link_ids, reason):
        pass


class Kept:
    """A keeper in some state, since now; ``told`` is what it was told."""

    def __init__(self, clock, state, waiting_for=(), fault=None):
        self.link_id, self.subject, self.told, self.fault = 1, "sub-1", [], fault
        snapshot = SimpleNamespace(state=state, waiting_for=frozenset(waiting_for), since=clock.monotonic())
        self.manager = SimpleNamespace(snapshot=snapshot, name=self.subject, auth_changed=self.told.append)

    async def stop(self, reason):
        self.told.append(reason)
        if self.fault:
            raise self.fault


@pytest.fixture
def made():
    def make(shared=None, **kept):
        clock = ManualClock()
        made = Roster(
            SimpleNamespace(clock=clock, service=None),
            Shadows(),
            shared,
            None,
            None,
            lambda link_id: True,
            "access",
            30.0,
        )
        return made, clock

    return make


async def test_shared_credentials_that_were_refused_are_tried_again_after_a_while(made):
    links, clock = made(shared="key")
    links.keepers[1] = refused = Kept(clock, State.WAITING, {"auth"})
    links.keepers[2] = other = Kept(clock, State.WAITING, {"maintenance"})
    links.ask_again()
    await clock.advance(ASK_AGAIN_AFTER)
    assert refused.told == []
    links.ask_again()
    assert (refused.told, other.told) == (["sub-1"], [])


def test_each_link_is_proven_as_far_as_it_was_heard_itself(made):
    links, clock = made()
    heard = {1: 970, 2: 999, 3: 1_000, 4: 990}
    for link_id, at in heard.items():
        links.keepers[link_id] = kept = Kept(clock, State.OPEN)
        kept.provable = link_id != 4
        kept.proof = lambda through, link_id=link_id, at=at: None if at > 999 else (link_id, min(through, at), 5)
    assert links.proofs(998) == [(1, 970, 5), (2, 998, 5)]


async def test_a_users_own_credentials_wait_for_the_user(made):
    links, clock = made()
    links.keepers[1] = refused = Kept(clock, State.WAITING, {"auth"})
    await clock.advance(ASK_AGAIN_AFTER * 2)
    links.ask_again()
    assert refused.told == []


async def test_one_that_fails_to_end_keeps_no_other_from_ending(made, caplog):
    links, clock = made()
    kept = [Kept(clock, State.OPEN, fault=fault) for fault in (None, ZeroDivisionError("ours"), None)]
    links.keepers.update(enumerate(kept))
    await links.let_go([0, 1, 2], "the worker stopped")
    assert [keeper.told for keeper in kept] == [["the worker stopped"]] * 3
    assert links.keepers == {} and "did not end as it should" in caplog.text


@pytest.mark.parametrize(("suspended", "calls"), [(False, ["connect_now", "resume", "start"]), (True, ["suspend"])])
def test_a_wish_to_reconnect_overrides_that_nobody_watches_and_no_operator(made, suspended, calls):
    links, clock = made()
    links.keepers[1] = kept = Kept(clock, State.SUSPENDED)
    row = Wanted(1, 1, "sub-1", False, False, 0, 0, 0, 0, 0, 0, 1, "", True)
    kept.manager = Mock(snapshot=kept.manager.snapshot)
    assert not links.follow(row)
    kept.manager.reset_mock()
    wished = row._replace(present=True, suspended=suspended, reconnect=1, revision=1)
    assert links.follow(wished)
    assert [name for name, *_ in kept.manager.method_calls] == calls


@pytest.mark.parametrize(
    ("before", "wish"),
    [
        ({"present": False}, {"present": True}),
        ({"suspended": True}, {"suspended": False}),
        ({"active": False}, {"active": True}),
        ({}, {"generation": 2}),
    ],
    ids=["its user comes back", "an operator resumes it", "the account is active again", "a new sign-in"],
)
def test_b30_a_new_wish_for_a_link_that_gave_up_has_it_tried_again(made, before, wish):
    links, clock = made()
    links.keepers[1] = kept = Kept(clock, State.FAILED)
    kept.manager = Mock(snapshot=kept.manager.snapshot)
    row = Wanted(1, 1, "sub-1", True, False, 0, 0, 0, 0, 0, 0, 1, "", True)._replace(**before)
    links.follow(row)
    kept.manager.reset_mock()
    links.follow(row)
    assert kept.manager.method_calls == []
    links.follow(row._replace(**wish))
    kept.manager.start.assert_called_once_with()


@pytest.mark.parametrize(
    ("generation", "asked"),
    [(1, call("auth", "the issuer refuses a token: no", keep=True)), (2, call("auth", "no"))],
    ids=["no new tokens", "revoked"],
)
def test_tokens_that_are_not_renewed_close_nothing_and_a_revocation_does(made, generation, asked):
    links, clock = made()
    links.keepers[1] = kept = Kept(clock, State.OPEN)
    kept.manager = Mock(snapshot=kept.manager.snapshot)
    row = Wanted(1, 1, "sub-1", True, False, 0, 0, 0, 0, 0, 0, 1, "", True)
    links.follow(row)
    links.follow(row._replace(generation=generation, refused="no"))
    assert kept.manager.shut_gate.call_args_list == [asked]


@pytest.mark.parametrize("state", [State.SUSPENDED, State.STOPPED, State.FAILED, State.OPEN])
async def test_what_rests_and_is_not_watched_for_long_is_let_go(made, monkeypatch, state):
    links, clock = made()
    links.keepers[1] = Kept(clock, state)
    links._idle_since[1] = 0.0
    monkeypatch.setattr(roster.time, "monotonic", lambda: FORGET_AFTER + 1.0)
    await links.forget()
    assert bool(links.keepers) is (state is State.OPEN)


# ── Where all links share a connection ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def sharing(made):
    """A roster whose links share a service link, with one of them open; the service link is a mock."""
    links, clock = made(shared="key")
    snapshot = SimpleNamespace(state=State.OPEN, waiting_for=frozenset(), since=clock.monotonic())
    service = Mock(manager=Mock(snapshot=snapshot))
    service.manager.name = "service link"
    links.use(SimpleNamespace(clock=clock, service=service))
    links.keepers[1] = kept = Kept(clock, State.OPEN)
    kept.state, kept.user_id, kept.manager = State.OPEN, 7, Mock(snapshot=kept.manager.snapshot)
    return SimpleNamespace(links=links, clock=clock, service=service, kept=kept)


@pytest.mark.feature("S4.4")
def test_gates_are_told_to_the_connection_that_is_shared_also_to_a_new_one(sharing):
    sharing.links.follow_gates({"maintenance": Gate("AppSync is being moved")})
    sharing.service.manager.shut_gate.assert_called_once_with("maintenance", "AppSync is being moved")
    sharing.kept.manager.shut_gate.assert_not_called()
    another = Mock()
    sharing.links.use(SimpleNamespace(clock=sharing.clock, service=another))
    another.manager.shut_gate.assert_called_once_with("maintenance", "AppSync is being moved")


@pytest.mark.feature("S4.4")
@pytest.mark.parametrize(("state", "wanted"), [(State.OPEN, True), (State.WAITING, True), (State.SUSPENDED, False)])
def test_it_is_wanted_while_any_link_is(sharing, state, wanted):
    sharing.kept.state = state
    sharing.links.follow_service()
    sharing.service.follow.assert_called_once_with(wanted)


@pytest.mark.feature("S4.4")
def test_wishes_for_the_socket_reach_the_one_there_is(sharing):
    row = Wanted(1, 7, "sub-1", True, False, 0, 0, 0, 0, 0, 0, 0, "", True)
    sharing.links.follow(row)
    sharing.links.follow(row._replace(rotate=1, revision=1))
    sharing.service.manager.rotate.assert_called_once_with("asked for by an operator")
    sharing.kept.manager.rotate.assert_not_called()
    sharing.links.follow(row._replace(rotate=1, reconnect=1, revision=2))
    sharing.service.reconnect.assert_called_once_with()
    sharing.kept.manager.connect_now.assert_called_once_with()


@pytest.mark.feature("S4.4")
async def test_its_refused_credentials_are_tried_again_after_a_while(sharing):
    sharing.service.manager.snapshot.waiting_for = frozenset({"auth"})
    await sharing.clock.advance(ASK_AGAIN_AFTER)
    sharing.links.ask_again()
    sharing.service.manager.auth_changed.assert_called_once_with("service link")


@pytest.mark.feature("S4.4")
async def test_a_link_that_is_let_go_shares_no_longer(sharing):
    await sharing.links.let_go([1], "nobody is watching")
    sharing.service.dismiss.assert_called_once_with(7)
