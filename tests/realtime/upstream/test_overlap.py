"""Two sessions hear the same events, each in its own order: each event goes on once, and none is held back."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.upstream.overlap import Overlap

EVENTS = st.lists(st.sampled_from("abc"), max_size=12)


def heard(overlap, arrivals):
    """Return what goes on of (session, payload) in the order of arrival."""
    return [payload for session, payload in arrivals if overlap.first(session, "feed", payload)]


def interleaved(seed, *sides):
    """Mix the sessions' arrivals, each of which may also have been shuffled on its way."""
    arrivals = [(session, payload) for session, payloads in sides for payload in payloads]
    Random(seed).shuffle(arrivals)
    return arrivals


@pytest.mark.feature("S4.12")
@given(EVENTS, st.integers(0, 999))
def test_what_both_hear_goes_on_once_however_it_is_mixed(events, seed):
    overlap = Overlap({1, 2})
    assert Counter(heard(overlap, interleaved(seed, (1, events), (2, events)))) == Counter(events)


@given(EVENTS, EVENTS, EVENTS, st.integers(0, 999))
def test_what_only_one_hears_goes_on_too(both, first_only, second_only, seed):
    """Equal texts of different events may be taken for one, but never for fewer than one session heard."""
    overlap = Overlap({1, 2})
    one, two = Counter(both + first_only), Counter(both + second_only)
    arrivals = interleaved(seed, (1, both + first_only), (2, both + second_only))
    assert Counter(heard(overlap, arrivals)) == one | two


@given(EVENTS, st.integers(0, 999))
def test_nothing_is_kept_of_what_all_have_heard(events, seed):
    overlap = Overlap({1, 2, 3})
    heard(overlap, interleaved(seed, (1, events), (2, events), (3, events)))
    assert not overlap._heard


def test_equal_texts_on_two_feeds_are_two_events():
    overlap = Overlap({1, 2})
    assert overlap.first(1, "role", "{}") and overlap.first(2, "plan", "{}")
