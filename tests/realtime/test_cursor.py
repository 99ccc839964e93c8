import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.cursor import cursor_text, parse_cursor


def test_a_cursor_comes_back_as_it_went():
    places = {"user.3": ("9f0c1a2b3c4d5e6f", 120), "org.a:b": ("0011223344556677", 0)}
    text = "user.3:9f0c1a2b3c4d5e6f:120,org.a:b:0011223344556677:0"
    assert cursor_text(places) == text
    assert parse_cursor(text) == places


@given(st.text())
@pytest.mark.feature("S3.10")
def test_any_text_can_be_read_as_a_cursor(text):
    for epoch, offset in parse_cursor(text).values():
        assert isinstance(epoch, str) and offset >= 0


@pytest.mark.parametrize("text", ["", ",", " , ,", ":e:1"])
def test_what_names_no_topic_has_no_place(text):
    assert parse_cursor(text) == {}


@pytest.mark.parametrize("place", ["", ":e:-1", ":e:x", ":e:\u0661", ":e:" + "9" * 19, ":e:"])
def test_a_place_that_cannot_be_read_is_in_no_life_of_its_topic(place):
    assert parse_cursor(f"org.a{place},user.1:e:3") == {"org.a": ("", 0), "user.1": ("e", 3)}
