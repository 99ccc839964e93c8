"""What the pure core decides, one situation each. What holds in all of them is in ``test_invariants``."""

import pytest

from realtime.upstream.model import Cause, Close, Dial, Event, Health, TimerKind
from realtime.upstream.policy import Breaker, Fixed, Policy, Steps
from realtime.upstream.states import HAS_SESSION, State, Trigger
from realtime.upstream.step import AUTH_GATE, snapshot
from tests.realtime.upstream.stepping import Stepping

T = Trigger
SESSIONS = [state for state in State if state in HAS_SESSION]


# ── Wishes and gates ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [s for s in State if s not in (State.STOPPED, State.FAILED)])
def test_a_start_of_what_is_started_changes_nothing(state):
    """A worker says ``start`` again and again: it must not cut a wait short, nor hide why a link waits."""
    stepping = Stepping.into(state)
    before = stepping.model
    assert stepping(T.START) == []
    assert stepping.model == before


def test_a_gate_that_opens_lets_the_link_dial_after_a_short_random_wait():
    stepping = Stepping.into(State.WAITING)
    assert stepping(T.GATE_GAINED) == []
    assert 0 <= snapshot(stepping.model).next_try_at - stepping.now <= stepping.policy.resume_spread
    assert stepping.fire(T.SPREAD_OVER) == [Dial(1)]


def test_a_link_that_waits_says_what_each_shut_gate_waits_for():
    stepping = Stepping()
    stepping(T.GATE_LOST, name=AUTH_GATE, text="not signed in upstream: sign in again")
    stepping(T.GATE_LOST, name="licence")
    stepping(T.START)
    assert stepping.model.reason == "not signed in upstream: sign in again; waiting for licence"
    stepping(T.GATE_GAINED, name="licence")
    assert stepping.model.reason == "not signed in upstream: sign in again"


@pytest.mark.feature("S2.14")
def test_why_the_credentials_were_refused_survives_a_suspension_and_a_stop():
    stepping = Stepping.into(State.CONNECTING)
    stepping(T.TOKEN_FAILED, cause=Cause("token", "revoked"), final=True)
    reason = stepping.model.reason
    for there_and_back in ((T.SUSPEND, T.RESUME), (T.STOP, T.START), (T.CONNECT_NOW,)):
        for trigger in there_and_back:
            stepping(trigger)
        assert (stepping.state, stepping.model.reason) == (State.WAITING, reason)
    assert "revoked" in reason


def test_a_gate_that_is_shut_for_another_reason_now_says_so():
    stepping = Stepping.into(State.WAITING)
    stepping(T.GATE_LOST, text="the licence ended yesterday")
    stepping(T.GATE_LOST)
    assert stepping.model.reason == "the licence ended yesterday"


def test_a_gate_that_is_shut_once_more_keeps_its_reason_also_while_the_link_is_open():
    stepping = Stepping.into(State.OPEN)
    for text in ("no new token: revoked", ""):
        stepping(T.GATE_LOST, name=AUTH_GATE, text=text, keep=True)
        assert snapshot(stepping.model).reason == "no new token: revoked; what is open stays until it ends"


@pytest.mark.parametrize("state", SESSIONS)
def test_a_gate_lost_within_the_grace_closes_the_session_and_the_grace_still_ends(state):
    stepping = Stepping.into(state)
    stepping(T.SUSPEND, seconds=20.0)
    assert stepping(T.GATE_LOST) == [Close(1)]
    assert stepping.state is State.WAITING
    stepping.fire(T.GRACE_EXPIRED)
    assert stepping.state is State.SUSPENDED
    assert stepping.model.timers == ()


@pytest.mark.feature("S2.8")
def test_a_return_within_the_grace_keeps_the_session():
    stepping = Stepping.into(State.OPEN)
    stepping(T.SUSPEND, seconds=20.0)
    grace = stepping.event(T.GRACE_EXPIRED)
    assert stepping(T.RESUME) == []
    assert stepping.take(grace) == []
    assert (stepping.state, stepping.session) == (State.OPEN, 1)


def test_a_drop_within_the_grace_is_redialled_and_the_grace_still_ends():
    stepping = Stepping.into(State.OPEN)
    stepping(T.SUSPEND, seconds=200.0)
    stepping(T.DROPPED)
    assert stepping.fire(T.BACKOFF_FIRED) == [Dial(2)]
    assert stepping.fire(T.GRACE_EXPIRED) == [Close(2)]
    assert stepping.state is State.SUSPENDED


def test_gates_and_wishes_that_changed_while_stopped_are_found_by_the_start():
    stepping = Stepping()
    stepping(T.SUSPEND, text="nobody is watching", seconds=20.0)
    stepping(T.GATE_LOST)
    stepping(T.START)
    assert (stepping.state, stepping.model.reason) == (State.SUSPENDED, "nobody is watching")
    stepping(T.RESUME)
    assert stepping.state is State.WAITING


def test_connect_now_begins_anew_in_every_state_that_has_a_session():
    for state in SESSIONS:
        stepping = Stepping.into(state)
        assert stepping(T.CONNECT_NOW) == [Close(1), Dial(2)]
        assert (stepping.state, stepping.model.attempt) == (State.CONNECTING, 0)


# ── Failures and back-off ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", SESSIONS)
def test_a_drop_closes_first_and_dials_only_when_the_delay_is_over(state):
    stepping = Stepping.into(state, Policy(backoff=Fixed(7.0)))
    assert stepping(T.DROPPED, cause=Cause("connection lost")) == [Close(1)]
    assert stepping.model.next_try_at == stepping.now + 7.0
    assert stepping.fire(T.BACKOFF_FIRED) == [Dial(2)]


def test_a_hint_of_the_service_is_the_least_wait():
    stepping = Stepping.into(State.CONNECTING, Policy(backoff=Fixed(7.0)))
    stepping(T.DROPPED, cause=Cause("HTTP 503", retry_after=90.0))
    assert 90.0 <= stepping.model.next_try_at - stepping.now <= 91.0


@pytest.mark.feature("S2.10")
def test_a_connection_that_is_not_had_in_time_is_closed_before_the_back_off():
    stepping = Stepping.into(State.CONNECTING)
    assert stepping.fire(T.CONNECT_TIMEOUT) == [Close(1)]
    assert "connect timeout" in stepping.model.reason


@pytest.mark.feature("S2.10")
def test_an_open_that_comes_late_is_ignored():
    stepping = Stepping.into(State.CONNECTING)
    stepping.fire(T.CONNECT_TIMEOUT)
    before = stepping.model.state
    assert stepping(T.TRANSPORT_UP, session=1) == []
    stepping.fire(T.BACKOFF_FIRED)
    assert stepping(T.TRANSPORT_UP, session=1) == []
    assert (before, stepping.state) == (State.BACKOFF, State.CONNECTING)


def test_attempts_are_forgotten_only_by_a_connection_that_held():
    stepping = Stepping.into(State.OPEN)
    stepping(T.DROPPED)
    for trigger in (T.BACKOFF_FIRED, T.TRANSPORT_UP, T.ACCEPTED, T.SYNCED):
        stepping.fire(trigger) if trigger is T.BACKOFF_FIRED else stepping(trigger)
    assert (stepping.state, stepping.model.attempt) == (State.OPEN, 1)
    stepping.fire(T.STABLE)
    assert stepping.model.attempt == 0


@pytest.mark.feature("S3.2")
def test_a_link_gives_up_after_its_attempts_and_says_why():
    stepping = Stepping.into(State.CONNECTING, Policy(backoff=Fixed(1.0), max_attempts=2))
    for _ in range(2):
        stepping(T.DROPPED, cause=Cause("connect failed", "refused"))
        stepping.fire(T.BACKOFF_FIRED)
    stepping(T.DROPPED, cause=Cause("connect failed", "refused"))
    assert stepping.state is State.FAILED
    assert stepping.model.reason == "gave up after 2 attempts: 3x connect failed: refused"
    assert stepping.model.timers == ()


def failing(policy, *texts, every=5.0):
    """Return a link whose tries failed of these, one after the other."""
    stepping = Stepping.into(State.CONNECTING, policy)
    for text in texts:
        stepping(T.DROPPED, cause=Cause("HTTP", text))
        if stepping.state is State.BACKOFF:
            stepping.now += every
            stepping(T.BACKOFF_FIRED)
    return stepping


@pytest.mark.feature("S3.2")
def test_b17_a_link_gives_up_at_its_deadline_counted_from_the_first_failure():
    policy = Policy(backoff=Fixed(5.0), breaker=None, max_elapsed=12.0)
    assert failing(policy, "a", "b", "a").state is State.CONNECTING
    assert failing(policy, "a", "b", "a", "c").model.reason == "gave up after 12 s: HTTP: b; 2x HTTP: a; HTTP: c"


def test_b17_a_deadline_is_counted_anew_after_a_connection_that_held():
    stepping = failing(Policy(backoff=Fixed(5.0), breaker=None, max_elapsed=12.0), "a", "b", "a")
    for trigger in (T.TRANSPORT_UP, T.ACCEPTED, T.SYNCED):
        stepping(trigger)
    stepping.fire(T.STABLE)
    stepping(T.DROPPED, cause=Cause("HTTP", "c"))
    assert (stepping.state, stepping.model.causes) == (State.BACKOFF, (("HTTP: c", 1),))


def test_b17_the_causes_fit_into_a_reason_however_many_and_long_they_are():
    texts = [f"{number} " + "x" * 300 for number in range(30)]
    reason = failing(Policy(backoff=Fixed(5.0), breaker=None, max_attempts=29), *texts).model.reason
    assert [f"HTTP: {number} x" in reason for number in range(30)] == [False] * 22 + [True] * 8
    assert len(reason) <= 200


def test_a_policy_that_never_gives_up_keeps_no_causes():
    assert failing(Policy(breaker=None), "a", "b").model.causes == ()


def test_a_link_that_gave_up_stays_so_for_the_same_authority_and_begins_anew_for_another():
    stepping = Stepping.into(State.FAILED)
    stepping(T.AUTH_CHANGED, text="")
    assert stepping.state is State.FAILED
    assert stepping(T.AUTH_CHANGED, text="somebody else") == [Dial(2)]


# ── Credentials ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", SESSIONS)
def test_b09_refused_credentials_are_renewed_once_and_then_waited_for(state):
    stepping = Stepping.into(state)
    assert stepping(T.AUTH_REJECTED) == [Close(1), Dial(2, refresh=True)]
    assert stepping(T.AUTH_REJECTED, cause=Cause("HTTP 401", "token expired")) == [Close(2)]
    assert stepping.state is State.WAITING
    assert stepping.model.reason == "the service refuses the credentials: HTTP 401: token expired"
    assert stepping(T.CONNECT_NOW) == []
    assert stepping(T.AUTH_CHANGED) == [Dial(3)]


@pytest.mark.parametrize("final", [{}, {"final": False, "text": "refused: role"}], ids=["ack", "refused: role"])
def test_b81_a_service_that_accepts_and_then_refuses_is_asked_once_more_and_no_oftener(final):
    stepping = Stepping.into(State.OPEN)
    stepping(T.AUTH_REJECTED)
    for trigger in (T.TRANSPORT_UP, T.ACCEPTED):
        stepping(trigger)
    if final:
        stepping(T.SYNCED, **final)
    stepping(T.AUTH_REJECTED)
    assert stepping.state is State.WAITING


def test_a_new_token_that_worked_and_was_refused_soon_is_renewed_too_each_time_after_a_longer_wait():
    stepping = Stepping.into(State.OPEN, Policy(backoff=Steps((1.0, 5.0), tail=9.0, spread=0.0)))
    stepping(T.AUTH_REJECTED)
    for session, delay in ((2, 1.0), (3, 5.0), (4, 9.0)):
        for trigger in (T.TRANSPORT_UP, T.ACCEPTED, T.SYNCED):
            stepping(trigger)
        assert stepping(T.AUTH_REJECTED) == [Close(session)]
        assert (stepping.state, stepping.model.next_try_at - stepping.now) == (State.BACKOFF, delay)
        assert stepping.fire(T.BACKOFF_FIRED) == [Dial(session + 1, refresh=True)]


def test_a_token_that_was_new_once_and_is_refused_at_another_connect_is_renewed_too():
    """Its connection was lost before it held for long enough; by the next one it has expired."""
    stepping = Stepping.into(State.OPEN)
    stepping(T.AUTH_REJECTED)
    for trigger in (T.TRANSPORT_UP, T.ACCEPTED, T.DROPPED):
        stepping(trigger)
    assert stepping.fire(T.BACKOFF_FIRED) == [Dial(3)]
    stepping(T.AUTH_REJECTED)
    assert stepping.fire(T.BACKOFF_FIRED) == [Dial(4, refresh=True)]
    stepping(T.AUTH_REJECTED)
    assert stepping.state is State.WAITING


def test_what_was_dialled_with_a_new_token_may_be_refused_once_more_after_a_sign_in():
    stepping = Stepping.into(State.CONNECTING)
    stepping(T.AUTH_REJECTED)
    stepping(T.AUTH_CHANGED, text="")
    assert stepping(T.AUTH_REJECTED) == [Close(2), Dial(3, refresh=True)]


def test_credentials_that_held_get_another_forced_refresh_when_they_are_refused_later():
    """A token that expires under a session of many hours is renewed each time."""
    stepping = Stepping.into(State.OPEN)
    for _ in range(3):
        session = stepping.session
        assert stepping(T.AUTH_REJECTED) == [Close(session), Dial(session + 1, refresh=True)]
        for trigger in (T.TRANSPORT_UP, T.ACCEPTED, T.SYNCED):
            stepping(trigger)
        stepping.fire(T.STABLE)


@pytest.mark.parametrize("ends", [T.TOKEN_FAILED, T.CONNECT_TIMEOUT, T.DROPPED])
def test_a_new_token_stays_due_until_it_has_been_had(ends):
    """An issuer that is away for a moment must not make a link wait for ever with a token that could be renewed."""
    stepping = Stepping.into(State.CONNECTING)
    stepping(T.AUTH_REJECTED)
    stepping(ends)
    assert stepping.fire(T.BACKOFF_FIRED) == [Dial(3, refresh=True)]
    stepping(T.TRANSPORT_UP)
    stepping(T.DROPPED)
    assert stepping.fire(T.BACKOFF_FIRED) == [Dial(4)]


@pytest.mark.feature("S2.14")
def test_a_token_that_can_not_be_had_is_backed_off_and_shown():
    stepping = Stepping.into(State.CONNECTING)
    assert stepping(T.TOKEN_FAILED, cause=Cause("token", "the issuer can't be reached")) == [Close(1)]
    assert (stepping.state, stepping.model.reason) == (State.BACKOFF, "token: the issuer can't be reached")


def test_new_credentials_of_the_same_authority_leave_a_live_session_alone():
    stepping = Stepping.into(State.OPEN)
    assert stepping(T.AUTH_CHANGED, text="") == []
    assert (stepping.state, stepping.session) == (State.OPEN, 1)


@pytest.mark.parametrize("state", [*SESSIONS, State.BACKOFF])
def test_another_authority_ends_the_session_of_the_one_before(state):
    stepping = Stepping.into(state)
    assert stepping(T.AUTH_CHANGED, text="somebody else")[-1] == Dial(2)


def test_credentials_that_came_while_nobody_watched_get_their_own_forced_refresh():
    stepping = Stepping.into(State.CONNECTING)
    stepping(T.AUTH_REJECTED)
    stepping(T.SUSPEND)
    stepping(T.AUTH_CHANGED)
    assert stepping(T.RESUME) == [Dial(3)]
    assert stepping(T.AUTH_REJECTED) == [Close(3), Dial(4, refresh=True)]


def test_an_accepted_session_that_was_refused_counts_as_dropped():
    stepping = Stepping.into(State.OPEN)
    stepping(T.AUTH_REJECTED)
    assert stepping.model.drops == 1


# ── Liveness ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.feature("S2.7")
def test_b42_silence_makes_a_link_suspect_and_any_frame_well_again():
    stepping = Stepping.into(State.OPEN)
    heard = stepping.now
    assert stepping.fire(T.HEARTBEAT, heard=heard) == []
    assert (stepping.now - heard, stepping.model.health) == (65.0, Health.SUSPECT)
    stepping(T.HEARD)
    assert stepping.model.health is Health.HEALTHY


@pytest.mark.feature("S2.7")
def test_b86_each_silence_is_counted_once_whether_or_not_it_is_the_end():
    stepping = Stepping.into(State.OPEN)
    heard, counted = stepping.now, []
    for _ in range(2):
        stepping.fire(T.HEARTBEAT, heard=heard)
        stepping(T.HEARD)
        heard = stepping.now
        counted.append(snapshot(stepping.model).silences)
    stepping.fire(T.HEARTBEAT, heard=heard)
    stepping.fire(T.HEARTBEAT, heard=heard)
    assert (counted, snapshot(stepping.model).silences, stepping.state) == ([1, 2], 3, State.BACKOFF)


def test_b86_a_time_out_that_is_shorter_than_suspicion_is_a_silence_too():
    stepping = Stepping.into(State.SYNCING)
    stepping(T.DROPPED)
    for trigger in (T.BACKOFF_FIRED, T.TRANSPORT_UP):
        stepping.fire(trigger) if trigger is T.BACKOFF_FIRED else stepping(trigger)
    stepping(T.ACCEPTED, seconds=30.0)
    stepping.fire(T.HEARTBEAT, heard=stepping.now)
    assert (stepping.state, snapshot(stepping.model).silences) == (State.BACKOFF, 1)


@pytest.mark.feature("S2.7")
def test_b41_silence_as_long_as_the_service_allows_ends_the_session():
    stepping = Stepping.into(State.OPEN)
    heard = stepping.now
    stepping.fire(T.HEARTBEAT, heard=heard)
    assert stepping.fire(T.HEARTBEAT, heard=heard) == [Close(1)]
    assert (stepping.now - heard, stepping.model.reason) == (300.0, "keep-alive timeout: no frame for 300 s")


def test_the_services_own_time_out_counts_also_when_it_is_shorter_than_ours():
    stepping = Stepping.into(State.AUTHENTICATING)
    stepping(T.ACCEPTED, seconds=12.0)
    heard = stepping.now
    stepping.fire(T.HEARTBEAT, heard=heard)
    assert (stepping.now - heard, stepping.state) == (12.0, State.BACKOFF)


def test_a_frame_moves_the_deadline_on():
    stepping = Stepping.into(State.OPEN)
    heard = stepping.now + 60.0
    stepping.fire(T.HEARTBEAT, heard=heard)
    assert stepping.model.health is Health.HEALTHY
    assert stepping.timer(TimerKind.HEARTBEAT).deadline == heard + 65.0


@pytest.mark.parametrize("after", [n / 70 for n in range(1, 70)])
def test_a_deadline_that_rounds_badly_is_still_met_by_its_own_timer(after):
    """Else the timer would fire again at the same instant, for ever."""
    stepping = Stepping.into(State.OPEN)
    heard = stepping.now + after
    stepping.fire(T.HEARTBEAT, heard=heard)
    stepping.fire(T.HEARTBEAT, heard=heard)
    assert stepping.model.health is Health.SUSPECT


def test_b46_sleep_counts_as_silence():
    stepping = Stepping.into(State.OPEN)
    stepping.now += 90.0
    assert stepping(T.WOKE, seconds=260.0, heard=stepping.now - 300.0) == [Close(1)]
    assert stepping.model.reason == "keep-alive timeout: no frame for 300 s, asleep for 260 s"


def test_b46_a_session_that_outlived_a_sleep_is_suspect_until_a_frame_proves_it():
    stepping = Stepping.into(State.OPEN)
    stepping.now += 10.0
    heard = stepping.now - 110.0
    assert stepping(T.WOKE, seconds=100.0, heard=heard) == [Dial(2)]
    assert stepping.state is State.OPEN and stepping.used == 1
    assert stepping.model.health is Health.SUSPECT
    assert stepping.timer(TimerKind.HEARTBEAT).deadline == heard + 300.0
    stepping(T.HEARD)
    assert (stepping.model.health, stepping.model.active.slept) == (Health.HEALTHY, 0.0)


def test_a_wake_while_backing_off_dials_at_once():
    stepping = Stepping.into(State.BACKOFF)
    assert stepping(T.WOKE, seconds=60.0) == [Dial(2)]


# ── Syncing ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_subscription_without_an_answer_does_not_keep_its_siblings_waiting():
    stepping = Stepping.into(State.SYNCING)
    stepping.fire(T.SYNC_TIMEOUT)
    assert (stepping.state, stepping.model.partial) == (State.OPEN, True)
    stepping(T.SYNCED)
    assert (stepping.state, stepping.model.partial, stepping.model.reason) == (State.OPEN, False, "")


def test_refused_subscriptions_open_the_link_in_part_and_say_which():
    stepping = Stepping.into(State.SYNCING)
    stepping(T.SYNCED, final=False, text="refused: archive")
    assert (stepping.state, stepping.model.partial, stepping.model.reason) == (State.OPEN, True, "refused: archive")


# ── What is stale ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("token", [None, 0, 10_000])
def test_a_firing_with_an_invented_token_counts_as_stale(token):
    stepping = Stepping.into(State.BACKOFF)
    before = stepping.model
    assert stepping.take(Event(T.BACKOFF_FIRED, token=token)) == []
    assert stepping.model.stale == before.stale + 1
    assert stepping.state is State.BACKOFF


def test_a_firing_with_a_true_token_but_anothers_session_counts_as_stale():
    stepping = Stepping.into(State.CONNECTING)
    token = stepping.timer(TimerKind.CONNECT).token
    assert stepping.take(Event(T.CONNECT_TIMEOUT, 99, token=token)) == []
    assert (stepping.state, stepping.model.stale) == (State.CONNECTING, 1)


def test_a_breaker_cools_no_shorter_than_the_service_asked_to_be_left_alone():
    policy = Policy(breaker=Breaker(failures=1, cool=30.0))
    stepping = Stepping.into(State.CONNECTING, policy)
    stepping(T.DROPPED, cause=Cause("HTTP 503", status=503, retry_after=300.0))
    assert stepping.state is State.COOLING and stepping.model.next_try_at == stepping.now + 300.0
