"""The merge rule in memory: which fact of a field holds, which are kept apart, and what a timeline gets."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.fold import Fold, Known
from dashboard.models import Refused
from realtime.events import Fact
from realtime.merge import tie

NOW = 1_000
AT = ("device/o/d", "online")


def known(text, time, *, sourced=True, seen=NOW - 100):
    return {AT: Known(text, time, tie(text), sourced, time, seen, seen, seen)}


def take(fold, text, time, **about):
    return fold.take(AT, text, time, **{"sourced": True, "source": "events", "changed_at": time, **about})


def reasons(fold):
    return [refusal.reason for refusal in fold.refused.values()]


@pytest.mark.feature("S4.11")
@given(st.lists(st.tuples(st.sampled_from(["true", "false", "null"]), st.integers(1, 4)), max_size=4))
def test_facts_end_alike_in_whatever_order_they_come(facts):
    ends = set()
    for order in itertools.permutations(facts):
        fold = Fold(NOW, {})
        for text, time in order:
            take(fold, text, time)
        ends.add((fold.known[AT].value, fold.known[AT].version) if facts else None)
    assert len(ends) == 1


def test_a_newer_value_is_a_line_of_the_timeline_and_an_equal_one_only_confirms():
    fold = Fold(NOW, known("true", 10))
    take(fold, "true", 20)
    assert fold.changes == []
    assert (fold.known[AT].time, fold.known[AT].changed_at, fold.known[AT].confirmed_at) == (20, 10, NOW)
    take(fold, "false", 30)
    assert [(line.value, line.time, line.recorded_at) for line in fold.changes] == [("false", 30, NOW)]


@pytest.mark.feature("B9")
@pytest.mark.parametrize(
    ("text", "time", "expected"), [("false", 9, Refused.Reason.OLDER), (min("true", "null", key=tie), 10, "tied")]
)
def test_a_fact_that_loses_is_kept_with_its_reason(text, time, expected):
    fold = Fold(NOW, known(max("true", "null", key=tie), 10))
    take(fold, text, time)
    assert reasons(fold) == [expected]
    assert fold.known[AT].heard_at == NOW


def test_the_same_fact_again_is_neither_change_nor_refusal():
    fold = Fold(NOW, known("true", 10))
    take(fold, "true", 10)
    assert (fold.changes, fold.refused) == ([], {})
    assert fold.known[AT].confirmed_at == NOW


def test_a_fact_that_meets_one_of_unknown_time_is_in_doubt():
    fold = Fold(NOW, known("true", 500, sourced=False))
    assert take(fold, "false", 400)
    assert fold.time_to_decide(AT, as_of=400) == 501


@pytest.mark.parametrize(("asked", "expected"), [(499, None), (500, None), (501, 501)])
def test_a_snapshot_settles_only_what_was_received_before_it_was_asked_for(asked, expected):
    fold = Fold(NOW, known("true", 500, sourced=False))
    assert fold.time_to_decide(AT, as_of=400, asked=asked) == expected
    assert Fold(NOW, known("true", 500)).time_to_decide(AT, as_of=400, asked=asked) == 400


def test_what_is_heard_without_a_time_decides_only_where_nothing_is_known():
    fold = Fold(NOW, {})
    assert not fold.hear(AT, "true", 700, "events")
    assert fold.known[AT].value == "true" and not fold.known[AT].sourced
    assert fold.hear(AT, "false", 800, "events")
    assert fold.known[AT].value == "true"


def test_a_copy_from_the_future_changes_nothing_known():
    fold = Fold(NOW, known("true", 10))
    fact = Fact("f", "f", AT[0], (("online", "false"),), 10**9, urgent=False)
    fold.quarantine(fact.heard(user_id=1, received=NOW, source="events"))
    assert reasons(fold) == ["future"]
    assert fold.fields(*AT[:1], ["online", "unheard"]) == (("online", "true", 10, tie("true")),)
