"""Make before break: the core's steps, and a whole link with two sockets at a time."""

import pytest
from msgspec.structs import replace

from realtime.upstream.model import Breaker, Cause, Close, Dial, Health, TimerKind
from realtime.upstream.policy import Fixed, Lifetime, Policy
from realtime.upstream.states import State, Trigger
from realtime.upstream.step import AUTH_GATE
from tests.fakes import HANGS, FakeSocket, ScriptedTransport, settle
from tests.links import Link
from tests.realtime.upstream.stepping import Stepping

T = Trigger
DAY = 86_400.0
UP = (T.PERMITTED, T.TRANSPORT_UP, T.ACCEPTED)
POLICY = Policy(backoff=Fixed(7.0))
REFUSED = Cause("refused", status=401)


@pytest.fixture
def opened():
    return Stepping.into(State.OPEN, POLICY)


# ── The core ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_connection_is_replaced_in_the_last_fifth_of_its_life(opened):
    due = opened.timer(TimerKind.LIFETIME).deadline - opened.model.active.since
    assert 0.80 * DAY <= due <= 0.95 * DAY
    assert opened.fire(T.LIFETIME_DUE) == [Dial(2)]
    assert (opened.state, opened.session) == (State.OPEN, 1)


def test_the_swap_is_one_step_and_what_was_replaced_is_heard_out(opened):
    opened.candidate(*UP)
    revision = opened.model.revision
    assert opened(T.SYNCED, "candidate") == []
    assert (opened.used, opened.session, opened.session_of("draining")) == (2, 2, 1)
    assert (opened.model.revision, opened.model.rotated_for) == (revision + 1, "asked for")
    assert opened.fire(T.DRAIN_OVER, "draining") == [Close(1)]
    assert {snapshot.state for snapshot in opened.snapshots[-4:]} == {State.OPEN}


def test_the_one_that_took_over_is_judged_from_its_own_beginning(opened):
    opened.now += 40.0
    opened.candidate(*UP, T.SYNCED)
    kinds = {timer.kind for timer in opened.model.timers if timer.session == 2}
    assert kinds == {TimerKind.HEARTBEAT, TimerKind.STABLE, TimerKind.LIFETIME, TimerKind.HARD_LIFETIME}
    assert opened.timer(TimerKind.HEARTBEAT).deadline == opened.now + POLICY.suspect_after


@pytest.mark.parametrize("far", range(4))
def test_a_candidate_that_fails_costs_nothing_and_the_next_has_its_time(opened, far):
    opened.candidate(*UP[:far])
    before = opened.model.active
    assert opened(T.DROPPED, "candidate", cause=Cause("connection lost")) == [Close(2)]
    assert (opened.state, opened.model.active, opened.model.drops) == (State.OPEN, before, 0)
    assert opened.timer(TimerKind.ROTATION).deadline == opened.now + 7.0
    assert opened.fire(T.ROTATION_DUE) == [Dial(3)]


@pytest.mark.parametrize(
    ("far", "firing"), [(0, T.CONNECT_TIMEOUT), (1, T.CONNECT_TIMEOUT), (2, T.AUTH_TIMEOUT), (3, T.SYNC_TIMEOUT)]
)
def test_a_candidate_that_hangs_is_given_up(opened, far, firing):
    opened.candidate(*UP[:far])
    assert opened.fire(firing, "candidate") == [Close(2)]
    assert opened.state is State.OPEN and opened.timer(TimerKind.ROTATION)


def test_one_that_hears_less_is_no_replacement(opened):
    opened.candidate(*UP)
    assert opened(T.SYNCED, "candidate", final=False, text="refused: role") == [Close(2)]
    assert (opened.session, opened.model.last_error.text) == (1, "refused: role")


def test_one_that_hears_no_less_than_a_partial_one_is():
    opened = Stepping.into(State.SYNCING, POLICY)
    opened(T.SYNCED, final=False, text="refused: role")
    opened.candidate(*UP)
    assert opened(T.SYNCED, "candidate", final=False, text="refused: plan") == [Close(2)]
    opened.fire(T.ROTATION_DUE)
    for trigger in UP:
        opened(trigger, "candidate", seconds=300.0)
    opened(T.SYNCED, "candidate", final=False, text="refused: role")
    assert (opened.session, opened.model.partial) == (3, True)


def test_one_that_hears_more_takes_the_refusal_off_the_page():
    opened = Stepping.into(State.SYNCING, POLICY)
    opened(T.SYNCED, final=False, text="refused: role")
    opened.candidate(*UP, T.SYNCED)
    assert (opened.model.partial, opened.model.reason) == (False, "")


@pytest.mark.parametrize(("far", "state"), [(0, State.CONNECTING), (1, State.CONNECTING), (2, State.AUTHENTICATING)])
def test_a_link_that_is_lost_meanwhile_goes_on_with_the_candidate(opened, far, state):
    opened.candidate(*UP[:far])
    assert opened(T.DROPPED, cause=Cause("connection lost")) == [Close(1)]
    assert (opened.state, opened.session, opened.used) == (state, 2, 2)
    assert opened.model.drops == 1


def test_a_candidate_that_is_subscribing_when_the_link_is_lost_is_watched_too(opened):
    opened.candidate(*UP)
    opened(T.DROPPED)
    assert opened.state is State.SYNCING and opened.timer(TimerKind.HEARTBEAT)
    opened(T.SYNCED)
    assert opened.state is State.OPEN


def test_at_the_end_of_its_life_a_connection_is_dropped_whether_or_not_it_could_be_replaced(opened):
    opened.fire(T.LIFETIME_DUE)
    opened(T.DROPPED, "candidate")
    assert opened.fire(T.LIFETIME_OVER) == [Close(1)]
    assert opened.state is State.BACKOFF and opened.model.reason.startswith("lifetime over")


def test_refused_twice_it_waits_for_other_credentials_while_the_present_one_goes_on(opened):
    opened.candidate()
    assert opened(T.DROPPED, "candidate", cause=REFUSED) == [Close(2), Dial(3, refresh=True)]
    assert opened(T.DROPPED, "candidate", cause=REFUSED) == [Close(3)]
    assert opened.state is State.OPEN and set(opened.model.shut) == {AUTH_GATE}
    assert opened.timer(TimerKind.ROTATION) is None
    assert opened(T.AUTH_CHANGED, text="") == [Dial(4)]


def test_a_candidate_that_is_accepted_and_then_refused_again_and_again_has_its_time(opened):
    opened.candidate()
    assert opened(T.AUTH_REJECTED, "candidate") == [Close(2), Dial(3, refresh=True)]
    opened(T.PERMITTED, "candidate")
    assert opened(T.TRANSPORT_UP, "candidate") == []
    opened(T.DROPPED, "candidate", cause=Cause("connection lost"))
    assert opened.fire(T.ROTATION_DUE) == [Dial(4)]
    assert opened(T.AUTH_REJECTED, "candidate") == [Close(4)]
    assert opened.state is State.OPEN and not opened.model.shut
    assert opened.fire(T.ROTATION_DUE) == [Dial(5, refresh=True)]
    for trigger in (*UP, T.SYNCED):
        opened(trigger, "candidate", seconds=300.0)
    assert (opened.session, opened.model.active.renewed) == (5, False)


def test_when_a_link_is_lost_whose_credentials_were_refused_it_waits_for_others(opened):
    opened.candidate()
    opened(T.TOKEN_FAILED, "candidate", final=True, cause=Cause("token", "revoked"))
    assert opened.state is State.OPEN
    opened(T.DROPPED)
    assert (opened.state, opened.model.reason) == (State.WAITING, "the issuer refuses a token: token: revoked")


def test_a_gate_that_shuts_for_the_reason_that_is_known_closes_what_is_open(opened):
    opened.candidate()
    opened(T.TOKEN_FAILED, "candidate", final=True, cause=Cause("token", "revoked"))
    assert opened(T.GATE_LOST, name=AUTH_GATE) == [Close(1)]
    assert opened.state is State.WAITING


def test_what_is_open_stays_while_there_are_no_new_tokens_and_says_so(opened):
    opened.candidate()
    assert opened(T.GATE_LOST, name=AUTH_GATE, text="no token: revoked", keep=True) == [Close(2)]
    assert (opened.state, opened.session) == (State.OPEN, 1)
    assert opened.snapshots[-1].reason == "no token: revoked; what is open stays until it ends"
    assert opened(T.ROTATE, text="asked for") == []
    opened(T.DROPPED)
    assert (opened.state, opened.snapshots[-1].reason) == (State.WAITING, "no token: revoked")


def test_what_stays_without_new_tokens_is_replaced_once_there_are_some(opened):
    opened(T.GATE_LOST, name=AUTH_GATE, text="no token", keep=True)
    opened(T.ROTATE, text="asked for")
    assert opened(T.AUTH_CHANGED, text="") == [Dial(2)]
    assert opened.snapshots[-1].reason == ""


def test_what_stays_and_is_partial_says_both():
    opened = Stepping.into(State.SYNCING, POLICY)
    opened(T.SYNCED, final=False, text="refused: role")
    opened(T.GATE_LOST, name=AUTH_GATE, text="no token", keep=True)
    assert opened.snapshots[-1].reason == "refused: role; no token; what is open stays until it ends"
    assert opened(T.AUTH_CHANGED, text="") == [] and opened.snapshots[-1].reason == "refused: role"


@pytest.mark.parametrize("state", [State.CONNECTING, State.SYNCING, State.BACKOFF, State.COOLING])
def test_what_is_not_open_yet_waits_for_new_tokens(state):
    stepping = Stepping.into(state)
    stepping(T.GATE_LOST, name=AUTH_GATE, text="no token", keep=True)
    assert (stepping.state, stepping.model.reason) == (State.WAITING, "no token")


def test_a_link_that_is_only_kept_for_its_grace_is_replaced_once_somebody_is_back(opened):
    opened(T.SUSPEND, text="nobody is watching", seconds=20.0)
    assert opened(T.ROTATE, text="asked for") == []
    assert opened(T.RESUME) == [Dial(2)]


def test_a_half_open_breaker_has_its_one_try_and_the_replacement_waits():
    opened = Stepping.into(State.COOLING)
    opened.fire(T.COOLED)
    for trigger in (*UP, T.SYNCED):
        opened(trigger)
    assert (opened.state, opened.model.breaker) == (State.OPEN, Breaker.HALF_OPEN)
    assert opened(T.ROTATE, text="asked for") == []
    assert opened.fire(T.STABLE) == [Dial(3)]


@pytest.mark.feature("S0.4")
def test_what_is_open_when_the_network_comes_back_is_suspect_and_replaced(opened):
    opened(T.OFFLINE)
    assert opened(T.ONLINE) == [Dial(2)]
    assert (opened.state, opened.model.health) == (State.OPEN, Health.SUSPECT)


def test_offline_is_only_a_hint_and_a_try_is_made_each_minute_all_the_same():
    stepping = Stepping.into(State.CONNECTING, POLICY)
    stepping(T.OFFLINE)
    stepping(T.DROPPED, cause=Cause("connection lost"))
    assert stepping.timer(TimerKind.BACKOFF).deadline == stepping.now + 60.0
    assert stepping.model.reason == "connection lost (this machine has no network)"
    stepping(T.ONLINE)
    assert stepping.timer(TimerKind.BACKOFF).deadline <= stepping.now + 1.0


@pytest.mark.feature("S0.5")
@pytest.mark.feature("S1.15")
def test_a_breaker_opens_on_failures_and_one_try_decides():
    stepping = Stepping.into(State.CONNECTING)
    for _ in range(7):
        stepping(T.DROPPED, cause=Cause("connection refused"))
        stepping.model = replaced_delay(stepping)
        stepping.fire(T.BACKOFF_FIRED)
    stepping(T.DROPPED, cause=Cause("connection refused"))
    assert (stepping.state, stepping.model.breaker) == (State.COOLING, Breaker.OPEN)
    assert stepping.model.reason == "paused, as tries keep failing: connection refused"
    first = stepping.model.cool_until - stepping.now
    stepping.fire(T.COOLED)
    assert (stepping.state, stepping.model.breaker) == (State.CONNECTING, Breaker.HALF_OPEN)
    stepping(T.DROPPED, cause=Cause("connection refused"))
    assert stepping.model.cool_until - stepping.now > first


def replaced_delay(stepping):
    """Let the back-off end at once: the failures have to come within the breaker's window."""
    timers = [replace(timer, deadline=min(timer.deadline, stepping.now + 1.0)) for timer in stepping.model.timers]
    return replace(stepping.model, timers=tuple(timers))


# ── A whole link ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def made():
    links = []

    def make(*script, **more):
        links.append(Link(ScriptedTransport(*script), **more))
        return links[-1]

    yield make
    for link in links:
        await link.manager.stop()
        assert [socket.closed for socket in link.transport.sockets] == [1] * len(link.transport.sockets)


async def hear(link, number, feed, *payloads):
    """Let events arrive on one of the link's sockets, in the order of their opening."""
    socket = link.transport.sockets[number]
    ident = next(f["id"] for f in socket.sent_of("subscribe") if f["channel"] == link.targets[feed])
    for payload in payloads:
        socket.arrive({"type": "data", "id": ident, "event": payload})
    await settle()


@pytest.mark.feature("S4.12")
async def test_b51_while_two_sessions_are_open_each_event_goes_on_once(made):
    link = made()
    await link.start()
    link.manager.rotate("asked for")
    await settle()
    assert (link.manager.snapshot.session, len(link.transport.sockets)) == (2, 2)
    await hear(link, 0, "role", "both", "old only")
    await hear(link, 1, "role", "new only", "both", "new first")
    await hear(link, 0, "role", "new first")
    assert [payload for _, payload in link.inlet.copies] == ["both", "old only", "new only", "new first"]
    await link.clock.advance(5.0)
    assert link.transport.sockets[0].closed == 1
    await hear(link, 1, "role", "both")
    assert link.inlet.copies[-1] == ("role", "both")


async def test_what_one_session_heard_alone_is_nobodys_copy(made):
    """The state went on and off again before the other session was live, and is now on anew."""
    silent = FakeSocket()
    link = made(None, silent)
    await link.start()
    link.manager.rotate("asked for")
    await settle()
    await hear(link, 0, "role", "on", "off")
    silent.arrive(link.wire.ack())
    await settle()
    for frame in silent.sent_of("subscribe"):
        silent.arrive(link.wire.accepted(frame["id"]))
    await settle()
    await hear(link, 1, "role", "on")
    assert [payload for _, payload in link.inlet.copies] == ["on", "off", "on"]


async def test_nothing_is_asked_for_on_a_session_that_was_replaced(made):
    link = made()
    await link.start()
    link.manager.rotate("asked for")
    await settle()
    sent = list(link.transport.sockets[0].sent)
    link.want("presence", "plan")
    await settle()
    assert link.transport.sockets[0].sent == sent
    assert link.statuses() == {"presence": "live", "plan": "live"}


async def test_what_is_wanted_anew_while_a_candidate_dials_is_asked_for_on_both(made):
    link = made(None, HANGS)
    await link.start()
    link.manager.rotate("asked for")
    await settle()
    link.want("presence", "plan")
    await settle()
    assert link.statuses() == {"presence": "live", "plan": "live"}
    await link.clock.advance(11.0 + 5.0)
    assert (link.manager.snapshot.session, link.statuses()) == (3, {"presence": "live", "plan": "live"})


async def test_the_pages_are_told_of_the_session_that_speaks_for_the_link_alone(made):
    silent = FakeSocket()
    link = made(None, silent)
    await link.start()
    told = list(link.inlet.changes)
    link.manager.rotate("asked for")
    await settle()
    assert link.inlet.changes == told and set(link.statuses().values()) == {"live"}


@pytest.mark.feature("S0.4")
async def test_b48_a_day_with_ten_rotations_never_leaves_open(made):
    """As the service's limit on a connection's life would have it, scaled: each lives for a tenth of a day."""
    link = made(policy=Policy(lifetime=Lifetime(DAY / 10)))
    await link.start()
    states = []
    link.manager.listen(lambda snapshot: states.append(snapshot.state))
    passed = 0.0
    while passed < DAY:
        await link.clock.advance(60.0)
        passed += 60.0
        newest = len(link.transport.sockets) - 1
        for number in {max(0, newest - 1), newest}:
            if not link.transport.sockets[number].closed:
                await hear(link, number, "role", f"minute {passed}")
    snapshot = link.manager.snapshot
    assert set(states) == {State.OPEN}
    assert 10 <= snapshot.rotations <= 13 and snapshot.drops == 0
    assert [payload for _, payload in link.inlet.copies] == [f"minute {60.0 * n}" for n in range(1, 1_441)]


@pytest.mark.feature("S0.4")
async def test_b46_a_machine_that_slept_replaces_what_may_be_half_open(made):
    link = made()
    await link.start()
    link.clock.sleep(120.0)
    link.manager.woke(120.0)
    await settle()
    snapshot = link.manager.snapshot
    assert (snapshot.state, snapshot.session, snapshot.health) == (State.OPEN, 2, Health.HEALTHY)
    assert snapshot.rotated_for == "the machine slept"
