"""Differences in time, in bounded memory."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.digest import Digest

pytestmark = pytest.mark.feature("B6")

seconds = st.floats(-30, 30).filter(lambda value: abs(value) >= 0.001)


def of(values):
    digest = Digest()
    for value in values:
        digest.add(value)
    return digest


@given(st.lists(seconds, min_size=1), st.sampled_from([0.01, 0.5, 0.99, 1.0]))
def test_a_quantile_is_off_by_five_percent_at_most(values, share):
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    assert of(values).quantile(share) == pytest.approx(exact, rel=0.051)


@given(st.lists(seconds, min_size=1))
def test_the_extremes_are_exact(values):
    assert (of(values).least, of(values).most) == (min(values), max(values))


def test_without_a_difference_there_is_no_quantile():
    assert Digest().quantile(0.5) is None


@given(st.lists(st.floats(-1e6, 1e6), max_size=300))
def test_its_memory_is_bounded(values):
    assert len(of(values).buckets) <= 2 * 220


@given(st.lists(seconds, min_size=1))
def test_counted_from_the_other_end_it_is_the_digest_of_the_negated(values):
    assert of(values).negated() == of([-value for value in values])


@given(st.lists(seconds))
def test_it_can_be_stored_as_json_and_read_again(values):
    stored = msgspec.json.encode(of(values))
    assert msgspec.json.decode(stored, type=Digest) == of(values)
