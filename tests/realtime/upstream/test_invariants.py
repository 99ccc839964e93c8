"""What holds of the connection manager's core under any sequence of events, numbered as in its design.

Random sequences go in: commands, what a live session tells, what dead and invented sessions tell, true, late and
invented timer firings. One model, one clock that only moves on, many policies.
"""

from math import ceil
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from realtime.upstream.model import MANAGER, Breaker, Cause, Close, Dial, Event, Health, Model, Publish, TimerKind, Use
from realtime.upstream.policy import PRESETS, FullJitter, Lifetime, Policy
from realtime.upstream.policy import Breaker as BreakerPolicy
from realtime.upstream.states import HAS_SESSION, TABLE, State, Trigger
from realtime.upstream.step import AUTH_GATE, snapshot, step
from tests.realtime.upstream.stepping import Stepping

T = Trigger

POLICIES = [
    *PRESETS.values(),
    Policy(max_attempts=2),
    Policy(max_elapsed=20.0),
    Policy(backoff=FullJitter(factor=10.0), stable_after=3.0),
    Policy(lifetime=Lifetime(100.0), breaker=BreakerPolicy(failures=2)),
]
SESSIONLESS = (State.STOPPED, State.WAITING, State.SUSPENDED, State.COOLING, State.FAILED)
EXPLICIT = (T.START, T.CONNECT_NOW, T.RESUME, T.AUTH_CHANGED, T.SPREAD_OVER, T.WOKE, T.ONLINE)
"""What may bring a dial before the back-off's delay is over: somebody asked, or something changed."""

UP = {
    State.CONNECTING: T.TRANSPORT_UP,
    State.AUTHENTICATING: T.ACCEPTED,
    State.SYNCING: T.SYNCED,
    State.OPEN: T.HEARD,
}
OF_A_SESSION = [T.PERMITTED, T.TRANSPORT_UP, T.ACCEPTED, T.SYNCED, T.HEARD, T.DROPPED, T.AUTH_REJECTED, T.TOKEN_FAILED]
REACHED = st.sampled_from([*UP, State.OPEN, State.OPEN, State.BACKOFF, State.FAILED])
RUN = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}


class Machine(RuleBasedStateMachine):
    """Drives ``step`` and watches every step as an outsider would: by its effects, and by the model it returns."""

    def __init__(self):
        super().__init__()
        self.policy, self.seed, self.rng = Policy(), 0, Random(0)
        self.model = Model(authority="sub-1")
        self.now = 0.0
        self.trace = []
        self.dialled = {}
        self.closed = set()
        self.renewed = set()
        self.refused_anew = False
        self.held_back_until = -1.0
        self.rotation_held_until = -1.0
        self.used = 0
        self.probes = 0
        self.shown = snapshot(self.model)

    # ── One step, watched ────────────────────────────────────────────────────────────────────────────────────

    def post(self, trigger, session=None, **fields):
        event = Event(trigger, session, **fields)
        before = self.model
        self.model, effects = step(before, event, self.now, self.rng, self.policy)
        self.trace.append((event, self.now, effects))
        for effect in effects:
            if isinstance(effect, Close):
                self._closed(effect)
            elif isinstance(effect, Dial):
                self._dialled(effect, event)
            elif isinstance(effect, Use):
                self._used(effect)
            else:
                self._published(effect)
        self._judge(before, event, effects)

    def _closed(self, close):
        assert close.session in self.dialled, "12: closed what was never opened"
        assert close.session not in self.closed, "12: closed twice"
        self.closed.add(close.session)

    def _dialled(self, dial, event):
        earlier, self.dialled = self.dialled, self.dialled | {dial.session: self.now}
        assert dial.session > max(earlier, default=0), "2: session ids strictly increase"
        assert self.model.breaker is not Breaker.OPEN, "18: nothing is dialled while the breaker is open"
        self.probes += self.model.breaker is Breaker.HALF_OPEN and event.trigger not in EXPLICIT
        assert self.model.wants, "5: wanted"
        assert not self.model.shut, "5: every gate open"
        assert not self.model.unwanted or self.model.grace, "5: somebody watches"
        assert not self.refused_anew, "10: a new token was refused too, and the credentials are the same"
        if dial.refresh:
            self.renewed.add(dial.session)
        refreshing = event.trigger is T.AUTH_REJECTED
        if self.model.candidate is not None and self.model.candidate.id == dial.session:
            self._dialled_beside(set(earlier) - self.closed, refreshing)
            return
        assert set(earlier) == self.closed, "12: what was open is closed before a dial"
        if event.trigger not in EXPLICIT and not refreshing:
            assert self.now >= self.held_back_until, "5: never before the delay is over"

    def _dialled_beside(self, others, refreshing):
        assert others <= {self.session, self.id_of("draining")}, "1: one candidate"
        assert self.model.breaker is Breaker.CLOSED, "18"
        assert refreshing or self.now >= self.rotation_held_until, "5: the next candidate has its time"

    def _used(self, use):
        assert use.session not in self.closed, "1: what speaks for the link is not closed"
        assert use.session > self.used, "2"
        self.used = use.session

    def _published(self, publish):
        assert publish.snapshot.revision == self.shown.revision + 1, "16: revisions rise by one"
        assert replace(publish.snapshot, revision=0) != replace(self.shown, revision=0), "16: only news is told"
        self.shown = publish.snapshot

    def _judge(self, before, event, effects):
        after = self.model
        live = {slot.id for slot in (before.active, before.candidate, before.draining) if slot}
        if event.session not in {None, MANAGER, *live}:
            assert replace(after, stale=before.stale) == before, "3: another session changes nothing"
            assert effects == (), "3"
            assert after.stale == before.stale + 1, "3: but is counted"
        worked = event.trigger is T.STABLE or (event.trigger is T.SYNCED and event.final)
        if worked and after.state is State.OPEN and event.session == self.session:
            self.renewed.discard(event.session)
        self._judge_rotation(before, event)
        self._judge_breaker(before, event)
        if before.state is State.STOPPED and after.state is not State.STOPPED:
            assert event.trigger in (T.START, T.CONNECT_NOW), "9"
        if before.state is State.FAILED and after.state is not State.FAILED:
            new_authority = event.trigger is T.AUTH_CHANGED and event.text != before.authority
            assert event.trigger in (T.START, T.CONNECT_NOW, T.STOP) or new_authority, "9"
        if after.state is State.BACKOFF and before.state is not State.BACKOFF:
            self._judge_delay(event)
        if after.state is State.COOLING:
            self.held_back_until = after.cool_until
        if after.attempt < before.attempt:
            forgotten_by = (T.STABLE, T.GATE_GAINED, *EXPLICIT)
            assert event.trigger in forgotten_by, "6: only what held, or an explicit wish, forgets attempts"

    def _judge_rotation(self, before, event):
        """15: whatever becomes of a candidate, the link is open all the while."""
        after = self.model
        if before.candidate is not None and event.session == before.candidate.id:
            assert (before.state, after.state) == (State.OPEN, State.OPEN), "15"
            swapped = after.active.id == before.candidate.id
            assert swapped or after.active == before.active, "15: its failure costs the present session nothing"
            assert not swapped or after.draining == before.active, "15: what was replaced is heard out"
        if after.rotation_attempt > before.rotation_attempt and (timer := self._timer(TimerKind.ROTATION)):
            delay, hint = timer.deadline - self.now, event.cause.retry_after if event.cause else 0.0
            lower, upper = self.policy.backoff.bounds(after.rotation_attempt)
            assert max(lower, hint) - 1e-6 <= delay <= max(upper, hint) + 1e-6, "8: a candidate's delay is the policy's"
            self.rotation_held_until = timer.deadline
        if after.rotation_attempt == 0:
            self.rotation_held_until = -1.0

    def _judge_breaker(self, before, event):
        after = self.model
        assert self.probes <= 1, "18: one dial a cool-down"
        if after.breaker is Breaker.OPEN and before.breaker is not Breaker.OPEN:
            self.probes = 0
            lower, upper = self.policy.breaker.bounds(after.trips)
            hint, cool = event.cause.retry_after if event.cause else 0.0, after.cool_until - self.now
            assert max(lower, hint) - 1e-6 <= cool <= max(upper, hint) + 1e-6, "8: it cools for as long as it should"
        if after.breaker is Breaker.CLOSED and before.breaker is not Breaker.CLOSED:
            assert event.trigger is T.STABLE, "18: only what held closes it"
            self.probes = 0

    def _judge_delay(self, event):
        timer = self._timer(TimerKind.BACKOFF)
        delay, hint = timer.deadline - self.now, event.cause.retry_after if event.cause else 0.0
        lower, upper = self.policy.backoff.bounds(self.model.attempt)
        most = hint + self.policy.resume_spread if hint else 0.0
        least = max(hint, self.policy.offline_every) if self.model.offline else hint
        assert max(lower, least) - 1e-6 <= delay <= max(upper, least, most) + 1e-6, "8: the delay is the policy's"
        assert self.model.next_try_at == timer.deadline, "16"
        self.held_back_until = timer.deadline

    def _timer(self, kind):
        return next((timer for timer in self.model.timers if timer.kind is kind), None)

    @property
    def session(self):
        return self.id_of("active")

    def id_of(self, slot):
        held = getattr(self.model, slot)
        return held.id if held else None

    # ── The way up ───────────────────────────────────────────────────────────────────────────────────────────

    @initialize(policy=st.sampled_from(POLICIES), seed=st.integers(0, 9), to=REACHED)
    def begin(self, policy, seed, to):
        self.policy, self.seed, self.rng = policy, seed, Random(seed)
        self.bring_up(to)

    @rule(to=REACHED)
    def bring_up(self, to):
        """Let everything go well until a state is reached: else random events would hardly ever come that far."""
        for _ in range(12):
            if self.model.state is to:
                return
            self.go_well()

    def go_well(self):
        state = self.model.state
        if state in (State.STOPPED, State.FAILED):
            self.post(T.START)
        elif AUTH_GATE in self.model.shut:
            self.sign_in("sub-1")
        elif self.model.shut:
            self.post(T.GATE_GAINED, name=min(self.model.shut))
        elif state is State.SUSPENDED:
            self.post(T.RESUME)
        elif state in UP:
            self.post(UP[state], self.session, final=True)
        else:
            self.pass_time(1.0, heard=True)

    # ── Commands ─────────────────────────────────────────────────────────────────────────────────────────────

    @rule(trigger=st.sampled_from([T.START, T.CONNECT_NOW, T.STOP]))
    def command(self, trigger):
        self.post(trigger)

    @rule(gate=st.sampled_from(["licence", "maintenance", AUTH_GATE]), reason=st.sampled_from(["", "why"]))
    def shut_gate(self, gate, reason):
        self.post(T.GATE_LOST, name=gate, text=reason)

    @rule(reason=st.sampled_from(["", "why"]))
    def get_no_new_tokens(self, reason):
        self.post(T.GATE_LOST, name=AUTH_GATE, text=reason, keep=True)

    @rule(gate=st.sampled_from(["licence", "maintenance"]))
    def open_gate(self, gate):
        self.post(T.GATE_GAINED, name=gate)

    @rule(authority=st.sampled_from(["sub-1", "sub-1", "sub-2"]))
    def sign_in(self, authority):
        self.renewed, self.refused_anew = set(), False
        changed = authority != self.model.authority
        session = self.session
        self.post(T.AUTH_CHANGED, text=authority)
        if changed and session is not None:
            assert session in self.closed, "11: a token never crosses an authority change"

    @rule(grace=st.sampled_from([0.0, 3.0, 30.0]))
    def suspend(self, grace):
        before = self.session
        self.post(T.SUSPEND, text="nobody is watching", seconds=grace)
        if grace:
            assert self.session == before, "17: the grace keeps the session"

    @rule()
    def resume(self):
        before, grace = self.session, self.model.grace
        self.post(T.RESUME)
        if grace and before is not None:
            assert self.session == before, "17: a return within the grace keeps the session"

    @rule(gap=st.sampled_from([2.5, 100.0, 5_000.0]))
    def wake(self, gap):
        before = self.model
        self.post(T.WOKE, seconds=gap, heard=self.now - gap)
        if before.state in (State.SYNCING, State.OPEN):
            if gap >= before.active.timeout:
                assert before.active.id in self.closed, "slept through the time-out"
            elif self.session == before.active.id:
                assert self.model.health is Health.SUSPECT, "to be proven by a frame"

    @rule(there=st.booleans())
    def network(self, there):
        if there and self.model.offline:
            self.held_back_until = -1.0
        self.post(T.ONLINE if there else T.OFFLINE)

    # ── Replacing a session ──────────────────────────────────────────────────────────────────────────────────

    @rule(well=st.integers(0, 3))
    def rotate(self, well):
        """Have an open session replaced, and let the candidate come some way, up to the swap."""
        self.bring_up(State.OPEN)
        if self.model.breaker is not Breaker.CLOSED:
            self.hold()
        self.post(T.ROTATE, text="asked for")
        for _ in range(well):
            if self.model.candidate is not None:
                self.post(UP[self.model.candidate.phase], self.id_of("candidate"), seconds=300.0, final=True)

    @rule(trigger=st.sampled_from(OF_A_SESSION), final=st.booleans(), status=st.sampled_from([None, 401, 503]))
    @precondition(lambda self: self.model.candidate)
    def tell_of_the_candidate(self, trigger, final, status):
        """Anything, whether or not it is its turn."""
        meant = self.model.candidate.phase in (State.CONNECTING, State.AUTHENTICATING, State.SYNCING)
        refused = trigger is T.AUTH_REJECTED or (trigger is T.DROPPED and status == 401)
        self.refused_anew |= meant and refused and self.id_of("candidate") in self.renewed
        cause = Cause("connection lost", status=status, retry_after=7.0 if status == 503 else 0.0)
        has_cause = trigger in (T.DROPPED, T.AUTH_REJECTED, T.TOKEN_FAILED)
        self.post(trigger, self.id_of("candidate"), seconds=10.0, final=final, cause=cause if has_cause else None)

    @rule(trigger=st.sampled_from(OF_A_SESSION))
    @precondition(lambda self: self.model.draining)
    def tell_of_the_replaced(self, trigger):
        before = self.model
        self.post(trigger, self.id_of("draining"), cause=Cause("connection lost"))
        assert (self.model.state, self.model.active) == (before.state, before.active), "15"

    # ── What a live session tells ────────────────────────────────────────────────────────────────────────────

    @rule(hint=st.sampled_from([0.0, 0.0, 5.0, 400.0]))
    @precondition(lambda self: self.model.state in HAS_SESSION)
    def drop(self, hint):
        self.post(T.DROPPED, self.session, cause=Cause("connection lost", retry_after=hint))

    @rule()
    @precondition(lambda self: self.model.state in HAS_SESSION)
    def reject(self):
        self.refused_anew |= self.session in self.renewed
        self.post(T.AUTH_REJECTED, self.session, cause=Cause("HTTP 401"))

    @rule(final=st.booleans())
    @precondition(lambda self: self.model.state is State.CONNECTING)
    def fail_the_token(self, final):
        self.post(T.TOKEN_FAILED, self.session, cause=Cause("token"), final=final)

    @rule(
        trigger=st.sampled_from([T.HEARD, T.SYNCED, T.ACCEPTED, T.TRANSPORT_UP]),
        seconds=st.sampled_from([0.0, 10.0, 300.0]),
        final=st.booleans(),
    )
    @precondition(lambda self: self.model.state in HAS_SESSION)
    def tell(self, trigger, seconds, final):
        """Anything else, whether or not it is its turn."""
        before = self.model.state
        self.post(trigger, self.session, seconds=seconds, final=final)
        assert self.model.state in (before, *TABLE[before].get(trigger, ()))

    # ── What nobody should listen to ─────────────────────────────────────────────────────────────────────────

    @rule(
        trigger=st.sampled_from([t for t in Trigger if t not in EXPLICIT]),
        session=st.integers(1, 50),
        token=st.none() | st.integers(0, 200),
        seconds=st.floats(0, 400),
        final=st.booleans(),
    )
    def stranger(self, trigger, session, token, seconds, final):
        """An event of a session that is over, or never was; and of a timer that is not armed."""
        if session not in (self.session, self.id_of("candidate"), self.id_of("draining")):
            self.post(trigger, session, token=token, seconds=seconds, final=final)

    @rule(trigger=st.sampled_from([kind.value for kind in TimerKind]), token=st.none() | st.integers(0, 200))
    def invented_firing(self, trigger, token):
        if all(timer.token != token for timer in self.model.timers):
            before = self.model
            self.post(trigger, token=token)
            assert replace(self.model, stale=before.stale) == before, "3: an invented firing changes nothing"

    # ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(share=st.sampled_from([0.1, 1.0, 1.0]), heard=st.booleans())
    @precondition(lambda self: self.model.timers)
    def pass_time(self, share, heard):
        """Let time pass up to the next deadline; at the deadline itself the timer fires."""
        timer = min(self.model.timers, key=lambda t: (t.deadline, t.token))
        if share < 1.0:
            self.come_to(self.now + max(0.0, timer.deadline - self.now) * share)
            return
        self.come_to(timer.deadline)
        self.post(timer.kind.value, timer.session or None, token=timer.token, heard=self.now if heard else None)
        assert timer not in self.model.timers, "a timer fires once"

    def come_to(self, time):
        """Move on to the first tick of the clock that is not before this time."""
        self.now = max(self.now, ceil(time / TICK) * TICK)

    @rule()
    @precondition(lambda self: self.model.state is State.OPEN)
    def hold(self):
        """Stay open until the connection is believed."""
        if self._timer(TimerKind.STABLE) is None:
            return
        until = self._timer(TimerKind.STABLE).deadline
        while due := [timer for timer in self.model.timers if timer.deadline <= until]:
            timer = min(due, key=lambda timer: timer.deadline)
            self.come_to(timer.deadline)
            self.post(timer.kind.value, timer.session or None, token=timer.token, heard=self.now)

    # ── What holds in between ────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def invariant_1_what_is_open_is_in_a_slot_and_one_speaks_for_the_link(self):
        slots = [self.id_of(slot) for slot in ("active", "candidate", "draining")]
        assert set(self.dialled) - self.closed == {session for session in slots if session is not None}
        assert self.session in (None, self.used)

    @invariant()
    def invariant_4_every_timer_belongs_to_a_live_slot_or_to_the_manager(self):
        kinds = [(timer.kind, timer.session) for timer in self.model.timers]
        assert len(kinds) == len(set(kinds))
        for timer in self.model.timers:
            assert timer.session in (MANAGER, self.session, self.id_of("candidate"), self.id_of("draining"))
        if self.model.state in SESSIONLESS:
            assert all(timer.session == MANAGER for timer in self.model.timers)
        if self.model.state in (State.STOPPED, State.SUSPENDED, State.FAILED):
            assert self.model.timers == ()

    @invariant()
    def invariant_7_a_link_that_may_connect_is_never_stuck(self):
        model = self.model
        if model.wants and not model.shut and model.state not in (State.SUSPENDED, State.FAILED):
            assert model.timers, model.state
        if model.state in (State.CONNECTING, State.AUTHENTICATING, State.SYNCING, State.OPEN):
            assert any(timer.session == self.session for timer in model.timers)

    @invariant()
    def invariant_10_credentials_refused_twice_wait_for_others(self):
        if self.refused_anew and self.model.state is not State.STOPPED:
            assert self.model.state not in HAS_SESSION or (self.model.state is State.OPEN and not self.model.candidate)

    @invariant()
    def invariant_16_the_snapshot_is_current_and_consistent(self):
        model = self.model
        assert self.shown == snapshot(model)
        assert (model.active is not None) is (model.state in HAS_SESSION)
        assert (model.state is State.STOPPED) is (not model.wants)
        assert (model.next_try_at is not None) is bool(
            {TimerKind.BACKOFF, TimerKind.SPREAD, TimerKind.COOL} & self._kinds()
        )
        assert model.state is not State.SUSPENDED or model.unwanted
        only_auth = model.state is State.OPEN and set(model.shut) == {AUTH_GATE} and not model.candidate
        assert not model.shut or model.state in SESSIONLESS or only_auth
        assert model.state is State.OPEN or (model.candidate, model.draining, model.rotating) == (None, None, "")
        assert not model.partial or model.state is State.OPEN
        assert model.state in (State.SYNCING, State.OPEN) or model.health is Health.HEALTHY

    @invariant()
    def invariant_17_a_grace_has_its_timer(self):
        assert self.model.grace is (TimerKind.GRACE in self._kinds())

    def _kinds(self):
        return {timer.kind for timer in self.model.timers}

    def teardown(self):
        self._progress()
        self._stop()
        self._again_without_noise()
        self._again_with_noise()
        self._again_later()

    def _progress(self):
        """7: with every gate open, time alone brings a dial or the end of all attempts."""
        if not self.model.wants or self.model.unwanted or self.model.shut:
            return
        dials = len(self.dialled)
        for _ in range(30):
            if len(self.dialled) > dials or self.model.state is State.FAILED:
                return
            timer = min(self.model.timers, key=lambda t: (t.deadline, t.token))
            self.come_to(timer.deadline)
            self.post(timer.kind.value, timer.session or None, token=timer.token)
        raise AssertionError("7: stuck")

    def _stop(self):
        """4 and 12: after a stop there is nothing left, and every session was closed once."""
        self.post(T.STOP)
        assert (self.model.state, self.model.timers, self.model.active) == (State.STOPPED, (), None)
        assert (self.model.candidate, self.model.draining) == (None, None)
        assert set(self.dialled) == self.closed

    def _again_without_noise(self):
        """8 and 22: the same events have the same effects, and what means nothing in between makes no difference."""
        model, rng = Model(authority="sub-1"), Random(self.seed)
        for event, now, effects in self.trace:
            after, again = step(model, event, now, rng, self.policy)
            assert again == effects, "8"
            model = after
        model, rng = Model(authority="sub-1"), Random(self.seed)
        for event, now, effects in self.trace:
            if means_nothing(model, event, now, self.policy):
                assert effects == (), "22"
            else:
                model, again = step(model, event, now, rng, self.policy)
                assert again == effects, "22"

    def _again_with_noise(self):
        """22: what comes twice, of a session that never was, or of a gate that is as it is told, changes nothing."""
        true, model, rng, chance = Model(authority="sub-1"), Model(authority="sub-1"), Random(self.seed), Random(1)
        true_rng = Random(self.seed)
        for event, now, effects in self.trace:
            twin = as_in(model, true, event)
            true, _ = step(true, event, now, true_rng, self.policy)
            model, again = step(model, twin, now, rng, self.policy)
            assert again == effects, "22"
            for noise in (twin, *noises(model, chance)):
                if noise.trigger not in COUNTS_EACH_TIME:
                    model, nothing = step(model, noise, now, rng, self.policy)
                    assert nothing == (), ("22", noise)

    def _again_later(self):
        """22: the same events a while later have the same effects; ticks and the shift add up without rounding."""
        model, rng = Model(authority="sub-1"), Random(self.seed)
        for event, now, effects in self.trace:
            later = event if event.heard is None else replace(event, heard=event.heard + SHIFT)
            model, again = step(model, later, now + SHIFT, rng, self.policy)
            assert [without_times(effect) for effect in again] == [without_times(effect) for effect in effects], "22"


TICK = 2.0**-10
SHIFT = 2.0**17

COUNTS_EACH_TIME = (T.CONNECT_NOW, T.WOKE)
"""Of these each is one more: another wish to begin anew, another sleep."""


def as_in(model, true, event):
    """Return the event as it is where timers have other tokens: the firing of the same timer."""
    fired = next((timer for timer in true.timers if timer.token == event.token), None)
    if fired is None:
        return event
    twin = next(t for t in model.timers if (t.kind, t.session) == (fired.kind, fired.session))
    return replace(event, token=twin.token)


def noises(model, chance):
    """Return events that tell nothing new."""
    yield Event(chance.choice(list(Trigger)), 1_000 + chance.randrange(9), token=chance.choice([None, 10_000]))
    yield Event(T.GATE_GAINED, name="open all the time")
    for gate, reason in model.shut.items():
        yield Event(T.GATE_LOST, name=gate, text=chance.choice(["", reason]), keep=model.state is State.OPEN)


def means_nothing(model, event, now, policy):
    after, effects = step(model, event, now, Random(0), policy)
    return effects == () and replace(after, stale=model.stale) == model


def without_times(effect):
    if isinstance(effect, Publish):
        return replace(effect.snapshot, since=0.0, next_try_at=None, rotates_at=None)
    return effect


def check(examples):
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=60, **RUN))


@pytest.mark.feature("S2.2")
def test_the_invariants_hold_under_any_sequence_of_events():
    check(250)


@pytest.mark.soak
def test_the_invariants_hold_under_very_many_sequences():
    check(10_000)


@pytest.mark.parametrize("accept", [True, False], ids=["accepts and drops", "refuses"])
@pytest.mark.parametrize("policy", POLICIES)
def test_invariant_6_hours_with_a_bad_server_bring_few_dials(policy, accept):
    """Each accepted connection is dropped just before it counts as stable."""
    stepping = Stepping(policy)
    stepping(T.START)
    dials = 1
    for _ in range(10_000):
        if accept and policy.stable_after:
            for trigger in (T.TRANSPORT_UP, T.ACCEPTED, T.SYNCED):
                stepping(trigger)
            stepping.now += policy.stable_after * 0.01
        stepping(T.DROPPED)
        if stepping.state is State.FAILED or stepping.now > 600.0 + 1_000.0:
            break
        dials += len(stepping.fire(T.COOLED if stepping.state is State.COOLING else T.BACKOFF_FIRED))
    assert dials <= most_dials(policy, 600.0)


def most_dials(policy, seconds):
    """The most dials that a schedule allows in a time, if every jitter draws its least, and its mean draws count."""
    passed, attempt = 0.0, 0
    while passed < seconds and (policy.max_attempts is None or attempt < policy.max_attempts):
        attempt += 1
        passed += sum(policy.backoff.bounds(attempt)) / 2
    return 2 * attempt + 2
