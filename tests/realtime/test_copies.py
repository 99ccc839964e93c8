"""Copies are told from events by their text, and by whether that text can be news again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.copies import WITHIN, Copies, marked

pytestmark = pytest.mark.feature("S4.4")

CAMERA = "device/presenceChanged", "device/org/cam"
OTHER = "device/presenceChanged", "device/org/other"


class Ear:
    """Hears at a time that the test moves; ``timed`` texts carry their own."""

    def __init__(self, most=50):
        self.copies = Copies(most)
        self.now = 0.0

    def hear(self, text, entity=CAMERA, timed=False):
        self.copies.hear(marked(text), entity, self.now, timed=timed)

    def has(self, text):
        return self.copies.has(marked(text), self.now)


@pytest.fixture
def ear():
    return Ear()


def test_what_was_never_heard_is_no_copy(ear):
    assert not ear.has("on")


def test_a_text_with_a_time_is_the_same_event_however_late_it_comes(ear):
    ear.hear("on at 1", timed=True)
    ear.hear("off at 2", timed=True)
    ear.now += 3600.0
    assert ear.has("on at 1") and ear.has("off at 2")


def test_a_text_without_a_time_is_a_copy_while_it_is_what_was_heard_last_of_its_entity(ear):
    ear.hear("cam on")
    ear.hear("other off", OTHER)
    assert ear.has("cam on") and ear.has("other off")


def test_a_text_without_a_time_is_news_again_after_another_one(ear):
    ear.hear("on")
    ear.hear("off")
    assert ear.has("off") and not ear.has("on")
    ear.hear("on")
    assert ear.has("on") and not ear.has("off")


def test_a_text_without_a_time_is_news_again_after_some_seconds(ear):
    """What came between may have been lost on the way: on, off, on."""
    ear.hear("on")
    ear.now += WITHIN
    assert not ear.has("on")


def test_after_a_gap_everything_may_be_news(ear):
    ear.hear("on")
    ear.hear("at 1", OTHER, timed=True)
    ear.copies.forget()
    assert not ear.has("on") and not ear.has("at 1")


def test_only_so_many_are_remembered_the_newest_ones():
    ear = Ear(most=3)
    for number in range(4):
        ear.hear(f"at {number}", (CAMERA[0], f"device/org/{number}"), timed=True)
    assert [ear.has(f"at {number}") for number in range(4)] == [False, True, True, True]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=60))
def test_whoever_drops_copies_ends_where_a_snapshot_of_each_gap_and_all_that_is_heard_ends(events):
    """Three devices go on and off; some of it is lost, which begins a gap that a snapshot of then ends."""
    ear, truth, state = Ear(), {}, {}
    for device, value, lost in events:
        truth[device] = value
        if lost:
            ear.copies.forget()
            state.update(truth)
            continue
        for _ in range(3):
            if not ear.has(f"{device} {value}"):
                ear.hear(f"{device} {value}", ("presence", device))
                state[device] = value
    assert state == truth
