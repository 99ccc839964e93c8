"""One person's link suffers: that person's page says so and is repaired, and nobody else's notices."""

import pytest

from tests.demo import until

pytestmark = [pytest.mark.faults, pytest.mark.feature("S4.12")]


@pytest.mark.feature("B1")
def test_one_cut_link_is_repaired_without_a_reload_while_the_others_go_on(stack, people, assert_nothing_lost):
    resyncs, drops = list(people.viewer.store.resyncs), stack.link("sub-owner")["drops"]
    stack.fault("drop", user="viewer", **{"for": 2})
    until(lambda: people.viewer.value("link/self", "gap"), "the news of it")
    before = people.owner.store.new
    until(lambda: people.owner.store.new > before + 20, "changes of the owner's")
    assert_nothing_lost(**vars(people))
    assert people.viewer.store.resyncs == resyncs
    assert stack.link("sub-owner")["drops"] == drops


def test_an_expired_token_is_renewed(stack, people, assert_nothing_lost):
    stack.fault("expire-token", user="viewer")
    stack.fault("drop", user="viewer")
    until(lambda: people.viewer.value("link/self", "gap"), "the loss")
    assert_nothing_lost(**vars(people))


def test_an_issuer_that_is_down_is_named_and_waited_for(stack, people, assert_nothing_lost):
    stack.fault("issuer-down")
    stack.fault("expire-token", user="owner")
    stack.fault("drop", user="owner")
    until(lambda: "the issuer answered HTTP 503" in (people.owner.value("link/self", "reason") or ""), "the reason")
    stack.clear_faults()
    assert_nothing_lost(**vars(people))


def test_a_silent_half_of_the_feeds_has_a_window_of_its_own(stack, people, assert_nothing_lost):
    stack.fault("subscribe-error", user="viewer", channel="device/presenceChanged", errorType="UnauthorizedException")
    stack.fault("drop", user="viewer")
    until(lambda: [gap["feed"] for gap in stack.open_gaps("sub-viewer")] == ["device/presenceChanged"], "its window")
    until(lambda: people.viewer.value("link/self", "gap"), "the news of it")
    stack.clear_faults()
    stack.fault("drop", user="viewer")
    assert_nothing_lost(**vars(people))


def test_payloads_that_make_no_sense_are_kept_and_cost_only_themselves(stack, people, assert_nothing_lost):
    channel = "vortex-app/user/sub-viewer/device/presenceChanged"
    stack.control("publish", {"channel": channel, "events": [{"orgId": 7}, "no event", {"deviceId": "x" * 5000}]})
    until(lambda: len(stack.query("SELECT * FROM realtime_undecodablepayload")) == 3, "their record")
    assert_nothing_lost(**vars(people))
    gaps = stack.query("SELECT * FROM realtime_gap WHERE cause = 'undecodable payload'")
    assert {gap["outcome"] for gap in gaps} <= {"repaired", "nothing-missed"} and gaps


@pytest.mark.parametrize("fault", ["duplicate", "shuffle", "no-timestamp"])
def test_copies_that_come_twice_late_or_without_a_time_end_right(stack, people, assert_nothing_lost, fault):
    stack.fault(fault, user="viewer")
    before = people.viewer.store.new
    until(lambda: people.viewer.store.new > before + 15, "changes")
    stack.clear_faults()
    assert_nothing_lost(**vars(people))
