"""What does not fit on one connection goes on others: who goes where, whatever is wanted, dropped and refused."""

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from realtime.upstream.shards import CAPACITY, MAX_SHARDS, Shards

FEEDS = [f"feed-{number}" for number in range(12)]


def targets(*feeds):
    return {feed: f"/app/{feed}" for feed in feeds}


def made(many, capacity):
    return Shards(targets(*FEEDS[:many]), Random(1), capacity)


def dealt(shards):
    """Return the names on each connection."""
    return [[subscription.feed for subscription in shard] for shard in (shards.first, *shards.overflow)]


def one(shards, feed):
    return next(subscription for subscription in shards if subscription.feed == feed)


def test_two_hundred_are_on_one_connection_and_one_more_is_on_another():
    wanted = {str(number): f"/app/{number}" for number in range(CAPACITY + 1)}
    shards = Shards(wanted, Random(1))
    assert [len(part) for part in dealt(shards)] == [200, 1]
    assert [(number, subscription.feed) for number, subscription in shards.numbered()][-2:] == [(1, "199"), (2, "200")]


@pytest.mark.feature("S4.5")
def test_what_stays_wanted_stays_where_it_is_and_what_is_new_goes_where_there_is_room():
    shards = made(7, 3)
    assert shards.want(targets("feed-0", "feed-4", "feed-6", "feed-8", "feed-9", "feed-10"))
    assert dealt(shards) == [["feed-0", "feed-8", "feed-9"], ["feed-4", "feed-10"], ["feed-6"]]


def test_a_connection_with_nothing_left_to_hear_is_gone_unless_it_is_the_first():
    shards = made(7, 3)
    assert shards.want(targets("feed-6"))
    assert dealt(shards) == [[], ["feed-6"]]
    assert not shards.want(targets("feed-6"))
    shards.want({})
    assert dealt(shards) == [[]]


def test_another_target_is_another_subscription_in_the_same_place():
    shards = made(4, 3)
    before = one(shards, "feed-3")
    assert shards.want({**targets(*FEEDS[:3]), "feed-3": "/app/other"})
    assert dealt(shards)[1] == ["feed-3"] and one(shards, "feed-3") is not before


def test_the_next_session_begins_as_the_last_one_was_dealt():
    shards = made(7, 3)
    shards.want(targets(*FEEDS[3:7]))
    one(shards, "feed-3").refreshed = True
    heir = shards.successor()
    assert dealt(heir) == dealt(shards)
    assert one(heir, "feed-3").refreshed and one(heir, "feed-3") is not one(shards, "feed-3")


@pytest.mark.feature("S0.6")
def test_what_a_full_connection_refuses_moves_and_no_more_is_sent_there():
    shards = made(3, 200)
    assert shards.spill(one(shards, "feed-2"), shards.first)
    assert dealt(shards) == [["feed-0", "feed-1"], ["feed-2"]]
    assert one(shards, "feed-2").status == "wanted"
    shards.want(targets(*FEEDS[:4]))
    assert dealt(shards)[1] == ["feed-2", "feed-3"]


def test_a_connection_that_refuses_its_only_one_is_not_full():
    shards = made(1, 200)
    assert not shards.spill(one(shards, "feed-0"), shards.first)
    assert dealt(shards) == [["feed-0"]]


def test_beyond_the_last_connection_there_is_only_to_wait():
    shards = made(MAX_SHARDS + 2, 1)
    assert [len(part) for part in dealt(shards)] == [1] * (MAX_SHARDS - 1) + [3]
    assert not shards.spill(one(shards, "feed-11"), shards.overflow[-1])


class Dealing(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.shards = Shards({}, Random(1), capacity=3)
        self.wanted = {}

    @rule(feeds=st.lists(st.sampled_from(FEEDS), unique=True))
    def want(self, feeds):
        stays = {feed: number for number, part in enumerate(self.objects()) for feed in part if feed in feeds}
        kept = {number: self.objects()[number] for number in set(stays.values())}
        self.wanted = targets(*feeds)
        self.shards.want(self.wanted)
        for feed, number in stays.items():
            assert any(part.get(feed) is kept[number][feed] for part in self.objects())

    @rule(which=st.integers(0, 99))
    def refuse(self, which):
        everywhere = [(s, shard) for shard in (self.shards.first, *self.shards.overflow) for s in shard]
        if everywhere:
            self.shards.spill(*everywhere[which % len(everywhere)])

    @rule()
    def reconnect(self):
        self.shards = self.shards.successor()

    def objects(self):
        return [{s.feed: s for s in shard} for shard in (self.shards.first, *self.shards.overflow)]

    @invariant()
    def each_wanted_feed_is_in_one_place(self):
        assert sorted(feed for part in dealt(self.shards) for feed in part) == sorted(self.wanted)

    @invariant()
    def no_connection_holds_more_than_it_may_and_none_is_opened_for_nothing(self):
        sizes = [len(part) for part in dealt(self.shards)]
        assert len(sizes) <= MAX_SHARDS and all(sizes[1:])
        assert max(sizes) <= 3 or len(sizes) == MAX_SHARDS


@pytest.mark.feature("S2.12")
def test_whatever_is_wanted_and_refused_each_feed_is_in_one_place_that_has_room():
    run_state_machine_as_test(Dealing, settings=settings(max_examples=200, stateful_step_count=20))
