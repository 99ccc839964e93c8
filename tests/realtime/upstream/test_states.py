"""Walks the connection manager's table: every pair of state and trigger, in the situations that can be reached.

There are too many of those to visit each (a link has some twenty independent circumstances), so the walk goes on from
every one that shows two circumstances together which were not seen together before.
"""

from collections import Counter, defaultdict, deque
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from random import Random

import pytest
from msgspec.structs import replace

from realtime.upstream.failures import general
from realtime.upstream.model import Breaker as BreakerState
from realtime.upstream.model import Cause, Close, Dial, Publish, TimerKind, Use
from realtime.upstream.policy import Breaker, Policy
from realtime.upstream.states import CANDIDATE, DRAINING, HAS_SESSION, TABLE, State, Trigger
from tests.realtime.upstream.stepping import FIRINGS, GIVES_UP, SLOTS, TELLS, Stepping

VARIANTS = {
    Trigger.GATE_LOST: [{"name": "licence"}, {"name": "auth"}, {"name": "auth", "keep": True}],
    Trigger.DROPPED: [
        {},
        {"cause": Cause("refused", status=401)},
        {"cause": Cause("refused", status=403)},
        {"cause": Cause("refused", status=400)},
        {"cause": Cause("busy", status=429, retry_after=50.0)},
    ],
    Trigger.GATE_GAINED: [{"name": "licence"}, {"name": "auth"}],
    Trigger.SUSPEND: [{"text": "nobody is watching", "seconds": 20.0}, {"text": "suspended by an operator"}],
    Trigger.SYNCED: [{"final": True}, {"final": False}],
    Trigger.TOKEN_FAILED: [{"final": True}, {"final": False}],
    Trigger.AUTH_CHANGED: [{"text": ""}, {"text": "somebody else"}],
    Trigger.WOKE: [{"seconds": 3.0}, {"seconds": 4_000.0}],
    Trigger.HEARTBEAT: [{"heard": None}, {"heard": 1e9}],
}


TRIPS = Breaker(failures=2)
POLICIES = (
    Policy(breaker=None),
    GIVES_UP,
    Policy(breaker=TRIPS),
    Policy(breaker=TRIPS, max_attempts=2, classify=general),
)
TIMERS = [
    *(
        (kind, None)
        for kind in (TimerKind.BACKOFF, TimerKind.GRACE, TimerKind.SPREAD, TimerKind.COOL, TimerKind.ROTATION)
    ),
    *((kind, "active") for kind in (TimerKind.SYNC, TimerKind.HEARTBEAT, TimerKind.STABLE, TimerKind.LIFETIME)),
    (TimerKind.DRAIN, "draining"),
]
"""Those that the state, or the candidate's phase, does not imply."""

HAS_SLOT = TELLS | set(FIRINGS)
"""Events that are some session's: they are tried for each slot."""


@dataclass
class Walked:
    """One event in one situation: ``of`` is the slot whose session it was of."""

    before: Stepping
    trigger: Trigger
    of: str
    after: Stepping


def circumstances(stepping):
    """What a model is about, without counters and times."""
    model = stepping.model
    roles = {stepping.session_of(slot): slot for slot in SLOTS}
    armed = {(timer.kind, roles.get(timer.session)) for timer in model.timers}
    return (
        model.state,
        tuple(sorted(model.shut)),
        (bool(model.unwanted), model.grace),
        model.offline,
        (model.forced_refresh, bool(model.active and model.active.renewed)),
        model.refresh_due,
        model.health,
        model.breaker,
        len(model.failures),
        model.partial,
        min(model.attempt, 2),
        model.candidate and model.candidate.phase,
        model.active and model.active.permitted,
        bool(model.rotating),
        *(timer in armed for timer in TIMERS),
    )


def pairs(stepping):
    """Return which circumstances the situation shows together."""
    return set(combinations(enumerate(circumstances(stepping)), 2))


def successor(stepping, trigger, of, fields):
    """Return what is one event further on; a firing comes at its time."""
    further = copy(stepping)
    further.effects, further.snapshots, further.rng = [], [], Random(1)
    armed = further.timer(FIRINGS[trigger], of) if trigger in FIRINGS else None
    if armed is not None:
        further.now = max(further.now, armed.deadline)
    if (fields.get("heard") or 0.0) > 0.0:
        fields = {"heard": further.now}
    further(trigger, of, **fields)
    return further


@cache
def walk():
    """Give each event to each situation that can be reached; return all of it."""
    seen, steps = {id(policy): set() for policy in POLICIES}, []
    waiting = deque(Stepping(policy) for policy in POLICIES)
    while waiting:
        before = waiting.popleft()
        for trigger, of, fields in _events(before):
            after = successor(before, trigger, of, fields)
            steps.append(Walked(before, trigger, of, after))
            known = seen[id(after.policy)]
            if not pairs(after) <= known:
                known |= pairs(after)
                waiting.append(after)
    return steps


def _events(before):
    for trigger in Trigger:
        for of in SLOTS if trigger in HAS_SLOT else ["active"]:
            if of == "active" or before.session_of(of) is not None:
                for fields in VARIANTS.get(trigger, [{}]):
                    yield trigger, of, fields


def without_fired(walked):
    """The model less the one timer whose firing was consumed."""
    fired = walked.before.timer(FIRINGS[walked.trigger], walked.of) if walked.trigger in FIRINGS else None
    kept = tuple(timer for timer in walked.before.model.timers if timer is not fired)
    return replace(walked.before.model, timers=kept)


def told(of):
    """Give the steps whose event was of the session in a slot."""
    return [walked for walked in walk() if walked.of == of]


def changed(walked):
    """Tell whether anything but the count of stale events changed."""
    return replace(walked.after.model, stale=walked.before.model.stale) != walked.before.model


def test_the_walk_comes_into_every_state_and_every_phase():
    assert {walked.after.state for walked in walk()} == set(State) == set(TABLE)
    assert {walked.after.model.breaker for walked in walk()} == set(BreakerState)
    candidates = [walked.after.model.candidate for walked in walk()]
    assert {candidate.phase for candidate in candidates if candidate} == set(CANDIDATE)
    assert len(walk()) > 20_000


@pytest.mark.feature("S3.1")
@pytest.mark.feature("S2.2")
def test_every_step_ends_where_the_table_says_or_stays():
    for walked in walk():
        before, after = walked.before.state, walked.after.state
        if after is not before:
            assert walked.of == "active", (walked.trigger, walked.of)
            assert after in TABLE[before].get(walked.trigger, ()), (before, walked.trigger, after)


def test_every_way_that_the_table_lists_is_gone():
    gone = defaultdict(set)
    for walked in told("active"):
        if walked.after.state is not walked.before.state:
            gone[walked.before.state, walked.trigger].add(walked.after.state)
    listed = {(state, trigger): set(to) for state, row in TABLE.items() for trigger, to in row.items() if to - {state}}
    assert {pair: to - {pair[0]} for pair, to in listed.items()} == dict(gone)


@pytest.mark.parametrize("state", State)
def test_every_event_in_a_row_means_something_there(state):
    """A row that lists an event which never changes anything would be a lie about the state."""
    means = {walked.trigger for walked in told("active") if walked.before.state is state and changed(walked)}
    assert means == set(TABLE[state])


@pytest.mark.parametrize("state", State)
def test_an_event_that_a_row_does_not_have_changes_nothing(state):
    for walked in told("active"):
        if walked.before.state is state and walked.trigger not in TABLE[state]:
            unmoved(walked)


@pytest.mark.parametrize("phase", CANDIDATE)
def test_a_candidate_is_moved_by_what_its_row_lists_and_by_nothing_else(phase):
    steps = [walked for walked in told("candidate") if walked.before.model.candidate.phase is phase]
    assert {walked.trigger for walked in steps if changed(walked)} == CANDIDATE[phase]
    for walked in steps:
        if walked.trigger not in CANDIDATE[phase]:
            unmoved(walked)


def test_a_session_that_was_replaced_can_only_end():
    assert {walked.trigger for walked in told("draining") if changed(walked)} == DRAINING
    for walked in told("draining"):
        if walked.trigger not in DRAINING:
            unmoved(walked)


def unmoved(walked):
    same = replace(walked.after.model, stale=walked.before.model.stale)
    assert same in (walked.before.model, without_fired(walked)), walked.trigger
    assert walked.after.effects == []


def test_the_slots_are_filled_exactly_where_they_may_be():
    for walked in walk():
        model = walked.after.model
        assert (model.active is not None) is (model.state in HAS_SESSION)
        assert model.state is State.OPEN or (model.candidate, model.draining) == (None, None)


def test_a_step_closes_before_it_dials_and_tells_last():
    order = {Close: 0, Dial: 1, Use: 2, Publish: 3}
    for walked in walk():
        kinds = [order[type(effect)] for effect in walked.after.effects]
        assert kinds == sorted(kinds), (walked.trigger, walked.after.effects)
        assert max(Counter(kinds[kinds.count(0) :]).values(), default=1) == 1, (walked.trigger, walked.after.effects)


def test_a_step_leaves_the_model_it_was_given_alone():
    stepping = Stepping.into(State.OPEN)
    before, kept = stepping.model, deepcopy(stepping.model)
    for trigger in Trigger:
        stepping(trigger)
    assert before == kept
