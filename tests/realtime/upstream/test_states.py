"""Walks the connection manager's table: every pair of state and trigger, in every situation that can be reached."""

from collections import defaultdict
from copy import copy, deepcopy
from dataclasses import replace
from functools import cache
from random import Random

import pytest

from realtime.upstream.model import Close, Dial, Publish
from realtime.upstream.policy import Policy
from realtime.upstream.states import HAS_SESSION, TABLE, State, Trigger
from tests.realtime.upstream.stepping import FIRINGS, GIVES_UP, Stepping

VARIANTS = {
    Trigger.GATE_LOST: [{"name": "licence"}, {"name": "auth"}],
    Trigger.GATE_GAINED: [{"name": "licence"}, {"name": "auth"}],
    Trigger.SUSPEND: [{"text": "nobody is watching", "seconds": 20.0}, {"text": "suspended by an operator"}],
    Trigger.SYNCED: [{"final": True}, {"final": False}],
    Trigger.TOKEN_FAILED: [{"final": True}, {"final": False}],
    Trigger.AUTH_CHANGED: [{"text": ""}, {"text": "somebody else"}],
    Trigger.WOKE: [{"seconds": 3.0}, {"seconds": 4_000.0}],
    Trigger.HEARTBEAT: [{"heard": None}, {"heard": 1e9}],
}


def situation(model):
    """What a model is about, without counters and times: the walk visits each situation once."""
    return (
        model.state,
        tuple(sorted(model.shut)),
        bool(model.unwanted),
        model.grace,
        model.authority,
        model.forced_refresh,
        model.refresh_due,
        model.health,
        model.partial,
        model.attempt > 0,
        model.next_try_at is None,
        frozenset(timer.kind for timer in model.timers),
    )


def successor(stepping, trigger, fields):
    """Return what is one event further on; a firing comes at its time."""
    further = copy(stepping)
    further.effects, further.snapshots, further.rng = [], [], Random(1)
    armed = further.timer(FIRINGS[trigger]) if trigger in FIRINGS else None
    if armed is not None:
        further.now = max(further.now, armed.deadline)
    if fields.get("heard"):
        fields = {"heard": further.now}
    further(trigger, **fields)
    return further


@cache
def walk():
    """Give each event to each situation that can be reached; return (before, trigger, after) for all of it."""
    seen, steps = set(), []
    waiting = [Stepping(policy) for policy in (Policy(), GIVES_UP)]
    while waiting:
        before = waiting.pop()
        for trigger in Trigger:
            for fields in VARIANTS.get(trigger, [{}]):
                after = successor(before, trigger, fields)
                steps.append((before, trigger, after))
                key = (before.policy.max_attempts, situation(after.model))
                if key not in seen:
                    seen.add(key)
                    waiting.append(after)
    return steps


def without_fired(before, trigger):
    """The model less the one timer whose firing was consumed."""
    timer = before.timer(FIRINGS[trigger]) if trigger in FIRINGS else None
    kept = tuple(t for t in before.model.timers if t is not timer)
    return replace(before.model, timers=kept)


def test_the_walk_comes_into_every_state():
    assert {after.state for _, _, after in walk()} == set(State) == set(TABLE)
    assert len(walk()) > 5_000


@pytest.mark.feature("S3.1")
@pytest.mark.feature("S2.2")
def test_every_step_ends_where_the_table_says_or_stays():
    for before, trigger, after in walk():
        if after.state is not before.state:
            assert after.state in TABLE[before.state].get(trigger, ()), (before.state, trigger, after.state)


def test_every_way_that_the_table_lists_is_gone():
    gone = defaultdict(set)
    for before, trigger, after in walk():
        if after.state is not before.state:
            gone[before.state, trigger].add(after.state)
    listed = {(state, trigger): set(to) for state, row in TABLE.items() for trigger, to in row.items() if to - {state}}
    assert {pair: to - {pair[0]} for pair, to in listed.items()} == dict(gone)


@pytest.mark.parametrize("state", State)
def test_every_event_in_a_row_means_something_there(state):
    """A row that lists an event which never changes anything would be a lie about the state."""
    means = {trigger for before, trigger, after in walk() if before.state is state and changed(before, trigger, after)}
    assert means == set(TABLE[state])


def changed(before, trigger, after):
    stale = after.model.stale - before.model.stale
    return replace(after.model, stale=after.model.stale - stale) != before.model


@pytest.mark.parametrize("state", State)
def test_an_event_that_a_row_does_not_have_changes_nothing(state):
    for before, trigger, after in walk():
        if before.state is state and trigger not in TABLE[state]:
            same = replace(after.model, stale=before.model.stale)
            assert same in (before.model, without_fired(before, trigger)), trigger
            assert after.effects == []


def test_the_slot_is_filled_exactly_in_the_states_that_have_a_session():
    for _, _, after in walk():
        assert (after.model.active is not None) is (after.state in HAS_SESSION)


def test_a_step_closes_before_it_dials_and_tells_last():
    order = {Close: 0, Dial: 1, Publish: 2}
    for _, trigger, after in walk():
        kinds = [order[type(effect)] for effect in after.effects]
        assert kinds == sorted(set(kinds)), (trigger, after.effects)


def test_a_step_leaves_the_model_it_was_given_alone():
    stepping = Stepping.into(State.OPEN)
    before, kept = stepping.model, deepcopy(stepping.model)
    for trigger in Trigger:
        stepping(trigger)
    assert before == kept
