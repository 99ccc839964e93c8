"""Copies are told from events by their text, and by whether that text can be news again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.copies import Copies

pytestmark = pytest.mark.feature("S4.4")

CAMERA = "device/presenceChanged", "device/org/cam"
OTHER = "device/presenceChanged", "device/org/other"


@pytest.fixture
def copies():
    return Copies(most=3)


def test_what_was_never_heard_is_no_copy(copies):
    assert not copies.has("on")


def test_a_text_with_a_time_is_the_same_event_however_late_it_comes(copies):
    copies.hear("on at 1", CAMERA, timed=True)
    copies.hear("off at 2", CAMERA, timed=True)
    assert copies.has("on at 1") and copies.has("off at 2")


def test_a_text_without_a_time_is_a_copy_while_it_is_what_was_heard_last_of_its_entity(copies):
    copies.hear("cam on", CAMERA, timed=False)
    copies.hear("other off", OTHER, timed=False)
    assert copies.has("cam on") and copies.has("other off")


def test_a_text_without_a_time_is_news_again_after_another_one(copies):
    copies.hear("on", CAMERA, timed=False)
    copies.hear("off", CAMERA, timed=False)
    assert copies.has("off") and not copies.has("on")
    copies.hear("on", CAMERA, timed=False)
    assert copies.has("on") and not copies.has("off")


def test_only_so_many_are_remembered_the_newest_ones(copies):
    for number in range(4):
        copies.hear(f"at {number}", (CAMERA[0], f"device/org/{number}"), timed=True)
    assert [copies.has(f"at {number}") for number in range(4)] == [False, True, True, True]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_whoever_drops_copies_ends_where_all_that_is_heard_ends(events):
    """Off and on and off of three devices, each sent to three people at once: what is passed on tells the same."""
    copies = Copies()
    heard, passed = {}, {}
    for device, value in events:
        for _ in range(3):
            text = f"{device} {value}"
            heard[device] = value
            if not copies.has(text):
                copies.hear(text, ("presence", device), timed=False)
                passed[device] = value
    assert passed == heard
