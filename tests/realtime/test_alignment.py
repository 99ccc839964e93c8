"""Equal things are told apart by their times."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.alignment import HORIZON, Seen, partner_of_first

pytestmark = pytest.mark.feature("B6")
REACH = 30.0


def seen(*times, leave=REACH):
    return [Seen(at, leave) for at in times]


@pytest.mark.parametrize(
    ("ours", "theirs", "partner"),
    [
        ([1.0], [], None),
        ([1.0], [1.2], 0),
        ([1.0], [31.0], 0),
        ([1.0], [31.1], None),
        ([1.0, 5.0], [5.2], None),  # the first was lost
        ([1.0, 5.0], [1.2], 0),  # the second was
        ([1.0], [0.0, 1.2], 1),
        ([1.0, 5.0, 9.0], [5.1, 9.1], None),
        ([1.0, 1.1], [1.3, 1.4], 0),  # order is kept, although the second is nearer
        ([1.0, 5.0], [4.8, 9.0], 0),  # a shift of all costs less than to leave any
    ],
)
def test_the_partner_is_the_one_with_the_least_shift_of_all(ours, theirs, partner):
    assert partner_of_first(seen(*ours), seen(*theirs), REACH) == partner


def test_what_costs_less_to_leave_is_left():
    ours = [Seen(1.0, REACH), Seen(1.1, REACH / 2)]
    assert partner_of_first(ours, seen(1.3), REACH) == 0


times = st.lists(st.integers(0, 60).map(float), min_size=1, max_size=5).map(sorted)


def cost_of(ours, theirs, pairs):
    alone = len(ours) + len(theirs) - 2 * len(pairs)
    return alone * REACH + sum(abs(ours[i] - theirs[j]) for i, j in pairs)


def alignments(ours, theirs):
    """Every way to pair some of both without crossing."""
    for size in range(min(len(ours), len(theirs)) + 1):
        for left in itertools.combinations(range(len(ours)), size):
            for right in itertools.combinations(range(len(theirs)), size):
                pairs = list(zip(left, right, strict=True))
                if all(abs(ours[i] - theirs[j]) <= REACH for i, j in pairs):
                    yield pairs


@given(times, times)
def test_no_other_alignment_costs_less(ours, theirs):
    partner = partner_of_first(seen(*ours), seen(*theirs), REACH)
    costs = {}
    for pairs in alignments(ours, theirs):
        first = dict(pairs).get(0)
        costs[first] = min(costs.get(first, 1e9), cost_of(ours, theirs, pairs))
    assert costs[partner] == min(costs.values())


def test_a_long_run_is_looked_at_only_up_to_the_horizon():
    long = [float(second) for second in range(10 * HORIZON)]
    assert partner_of_first(seen(*long), seen(*(at + 0.2 for at in long)), REACH) == 0
