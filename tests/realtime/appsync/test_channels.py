"""Channel names: what the Events API would refuse is refused here, with the reason."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.appsync.channels import namespace, parse_channel, parse_pattern
from realtime.appsync.exceptions import ChannelError

DOCUMENTED = re.compile(
    r"^\/?[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?(?:\/[A-Za-z0-9](?:[A-Za-z0-9-]{0,48}[A-Za-z0-9])?){0,4}\/?\Z"
)
"""The service's own expression for a channel."""


@pytest.mark.parametrize("text", ["/a/b", "a/b", "/a/b/", "a/b/"])
def test_a_slash_at_either_end_makes_no_other_channel(text):
    assert parse_channel(text) == "/a/b"


@given(st.text(alphabet="aZ9-/* ü", max_size=12) | st.text(alphabet="ab/", max_size=60))
def test_b26_exactly_what_the_service_documents_is_accepted(text):
    try:
        parsed = parse_channel(text)
    except ChannelError:
        assert not DOCUMENTED.match(text)
    else:
        assert DOCUMENTED.match(text)
        assert parse_channel(parsed) == parsed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/a/b/c/d/e/f", "6 segments"),
        ("/ns/" + "x" * 51, "longer than 50"),
        ("/ns/a_b", "letters, digits and inner dashes"),
        ("/ns/-a", "inner dashes"),
        ("/ns/a-", "inner dashes"),
        ("/ns//a", "empty segment"),
        ("", "empty segment"),
        ("/", "empty segment"),
        ("//a", "empty segment"),
        ("/ns/a\n", "letters, digits"),
        ("/ns/*", "a wildcard stands last"),
    ],
)
def test_b26_a_bad_channel_is_refused_with_the_rule_that_it_breaks(text, reason):
    with pytest.raises(ChannelError, match=reason) as caught:
        parse_channel(text)
    assert caught.value.scope == "subscription" and not caught.value.retryable


def test_b26_the_longest_channel_is_accepted():
    longest = "/" + "/".join(["x" * 50] * 5)
    assert parse_channel(longest) == longest


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("/ns/*", "/ns/*"), ("ns/*", "/ns/*"), ("/ns/*/", "/ns/*"), ("/a/b/c/d/*", "/a/b/c/d/*"), ("/a/b", "/a/b")],
)
def test_b27_a_pattern_may_end_in_a_wildcard(text, parsed):
    assert parse_pattern(text) == parsed


@pytest.mark.parametrize("text", ["*", "/*", "//*", "/ns/*/a", "/ns/a*", "/ns/**", "/a/b/c/d/e/*", "/ns//*", "/n_s/*"])
def test_b26_a_wildcard_elsewhere_is_refused(text):
    with pytest.raises(ChannelError):
        parse_pattern(text)


def test_the_namespace_is_the_first_segment():
    assert (namespace("/ns/a/b"), namespace("/ns"), namespace("/ns/*")) == ("ns", "ns", "ns")
