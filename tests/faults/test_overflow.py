"""A service that takes four subscriptions a connection: nine go on three, each of which may be lost for itself."""

import json
from collections import Counter

import pytest

from tests.demo import until
from tests.faults.stack import Stack

pytestmark = [pytest.mark.faults, pytest.mark.feature("S2.12")]

HELD = 4


@pytest.fixture(scope="module")
def shared_stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("overflow"), emulator=("--max-subscriptions", str(HELD))) as stack:
        yield stack


def shown(stack):
    """What `links show` says of the viewer's link."""
    return json.loads(stack.run_manage("links", "show", "viewer", "--json"))


def windows(stack, since):
    """What `gaps list` says of the viewer's windows after that one: feed → outcome."""
    rows = map(json.loads, stack.run_manage("gaps", "list", "--link", "viewer", "--json").splitlines())
    return {row["feed"]: row["outcome"] for row in rows if row["id"] > since}


def newest_window(stack):
    return stack.query("SELECT max(id) AS id FROM realtime_gap")[0]["id"]


def sockets(stack):
    """The viewer's sockets at the service, by id, with the feeds that each holds."""
    found = [row for row in stack.control("stats")["connections"] if row["sub"] == "sub-viewer"]
    return {row["id"]: {channel.split("/", 4)[-1] for channel in row["subscriptions"]} for row in found}


def feeds_on(whole, connection):
    return {row["feed"] for row in whole["subscriptions"] if row["connection"] == connection}


def test_an_operator_sees_which_feed_is_on_which_connection(stack, people):
    whole = shown(stack)
    assert (whole["state"], whole["live_feeds"], whole["connections"]) == ("open", "9/9", 3)
    assert Counter(row["connection"] for row in whole["subscriptions"]) == {1: HELD, 2: HELD, 3: 1}
    assert {frozenset(feeds_on(whole, number)) for number in (1, 2, 3)} == set(map(frozenset, sockets(stack).values()))


@pytest.mark.parametrize("number", [2, 3])
def test_a_further_connection_that_is_lost_has_windows_for_its_own_feeds(stack, people, assert_nothing_lost, number):
    before, since = shown(stack), newest_window(stack)
    lost = feeds_on(before, number)
    (socket,) = [name for name, feeds in sockets(stack).items() if feeds == lost]
    stack.fault("refuse", user="viewer")
    assert stack.fault("drop", connection=socket)["hit"] == [socket]
    until(lambda: windows(stack, since) == dict.fromkeys(lost, "open"), "a window for each of its feeds")
    whole = shown(stack)
    assert (whole["state"], whole["live_feeds"]) == ("open", f"{9 - len(lost)}/9")
    assert whole["reason"] == f"feeds that wait for their connection: {len(lost)}"
    assert {row["feed"] for row in whole["subscriptions"] if row["state"] != "live"} == lost == feeds_on(whole, number)
    assert all(row["error"] for row in whole["subscriptions"] if row["feed"] in lost)
    stack.clear_faults()
    until(lambda: shown(stack)["live_feeds"] == "9/9", "the feeds")
    until(
        lambda: windows(stack, since).keys() == lost and "open" not in windows(stack, since).values(), "their windows"
    )
    assert set(windows(stack, since).values()) <= {"repaired", "nothing-missed"}
    after = shown(stack)
    assert (after["connects"], after["drops"], after["reason"]) == (before["connects"], before["drops"], "")
    assert_nothing_lost(**vars(people))


def test_all_connections_are_replaced_together_and_nothing_is_missed(stack, people, assert_nothing_lost):
    before, since, held = shown(stack), newest_window(stack), sockets(stack)
    stack.run_manage("links", "rotate", "viewer")
    until(lambda: shown(stack)["rotations"] > before["rotations"], "the replacement")
    until(lambda: len(sockets(stack)) == 3 and not held.keys() & sockets(stack).keys(), "the end of the old sockets")
    whole = shown(stack)
    assert (whole["state"], whole["live_feeds"], whole["connections"]) == ("open", "9/9", 3)
    assert windows(stack, since) == {}
    assert_nothing_lost(**vars(people))
