"""The one rule by which facts meet."""

from hypothesis import given
from hypothesis import strategies as st

from realtime.merge import canonical, newer, tie

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
versions = st.tuples(st.integers(0, 3), st.integers(0, 3))


def test_the_later_fact_overwrites_and_the_earlier_does_not():
    assert newer((2, 0), (1, 9))
    assert not newer((1, 9), (2, 0))


def test_anything_overwrites_nothing():
    assert newer((0, 0), None)


def test_the_same_fact_again_is_not_newer():
    assert not newer((1, 5), (1, 5))


@given(st.permutations([(1, 3), (2, 1), (2, 4), (2, 4), (0, 9)]))
def test_every_order_ends_at_the_same_fact(arrivals):
    current = None
    for version in arrivals:
        current = version if newer(version, current) else current
    assert current == (2, 4)


def test_equal_values_have_one_text_whatever_the_order_of_their_keys():
    assert canonical({"b": 1, "a": {"d": 2, "c": 3}}) == canonical({"a": {"c": 3, "d": 2}, "b": 1})


@given(values)
def test_a_tie_is_a_number_that_a_browser_holds_exactly(value):
    assert 0 <= tie(canonical(value)) < 2**48 < 2**53


def test_two_values_of_one_moment_differ_in_their_tie():
    assert tie("true") != tie("false")
