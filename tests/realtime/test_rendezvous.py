"""Every bucket has one owner; who comes or goes moves its own share and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.models import BUCKETS
from realtime.rendezvous import owners

pytestmark = pytest.mark.feature("S4.12")

names = st.frozensets(st.text(min_size=1, max_size=12), min_size=1, max_size=8)


@given(names)
def test_every_bucket_has_one_living_owner(workers):
    found = owners(BUCKETS, workers)
    assert len(found) == BUCKETS
    assert set(found) <= workers


@given(names, st.text(min_size=1, max_size=12))
def test_a_worker_that_comes_takes_only_its_own_share_and_one_that_goes_leaves_only_that(workers, other):
    others = workers - {other} or frozenset({other + "!"})
    without, beside = owners(BUCKETS, others), owners(BUCKETS, others | {other})
    moved = [bucket for bucket in range(BUCKETS) if without[bucket] != beside[bucket]]
    assert moved == [bucket for bucket in range(BUCKETS) if beside[bucket] == other]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_shares_are_balanced_over_many_fleets(count):
    """Of a bucket's owner nothing is known but that each is equally likely: shares deviate as such draws do."""
    fleets = [frozenset(f"fleet{fleet}-worker{number}" for number in range(count)) for fleet in range(100)]
    shares = [owners(BUCKETS, workers).count(name) for workers in fleets for name in workers]
    expected = BUCKETS / count
    deviation = (BUCKETS * (1 / count) * (1 - 1 / count)) ** 0.5
    assert sum(shares) == 100 * BUCKETS
    assert sum(abs(share - expected) < 2 * deviation for share in shares) > 0.9 * len(shares)
    assert max(shares) < expected + 5 * deviation
