"""Leases: every bucket has one owner, a living one; who lost it may write for its links no more."""

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from realtime import gaps, leases
from realtime.clock import now_us
from realtime.leases import DEAD_AFTER, LOOKED_AWAY, AnotherWorker, CanNotDrain, Fenced, Leases, Release, Watch
from realtime.linkbook import LinkBook
from realtime.models import BUCKETS, Gap, Lease, Link, Worker, bucket_of

pytestmark = [pytest.mark.django_db, pytest.mark.feature("S4.12")]
STEP = 1.0


class Fleet:
    """Workers on one clock that moves when it is told to; each look is a second after the last."""

    def __init__(self):
        self.now = 100.0
        self.workers = {}

    def join(self, name):
        worker = Leases(name, lambda: self.now)
        worker.join()
        self.workers[name] = worker
        return worker

    def look(self, times=1, *, without=()):
        """Let everybody beat and look, and release what is surplus; return the changes of the last round."""
        for _ in range(times):
            self.now += STEP
            awake = [worker for name, worker in self.workers.items() if name not in without]
            for worker in awake:
                worker.beat()
            changes = {worker.name: self._look(worker) for worker in awake}
        return changes

    def _look(self, worker):
        change = worker.look()
        Release(worker.name, [(bucket, worker.held[bucket]) for bucket in change.surplus]).apply(0, LinkBook())
        worker.forget(change.surplus)
        return change

    def owners(self):
        return dict(Lease.objects.values_list("bucket", "owner"))

    def assert_shared(self, *names):
        held = [bucket for name in names for bucket in self.workers[name].held]
        assert sorted(held) == list(range(BUCKETS))
        assert all(self.workers[name].held for name in names)
        assert self.owners() == {bucket: name for name in names for bucket in self.workers[name].held}


@pytest.fixture
def fleet(monkeypatch):
    """A fleet on a database that takes several writers."""
    monkeypatch.setattr(Leases, "_refuse_company", lambda leases, now: None)
    return Fleet()


@pytest.fixture
def links():
    """A link in each of two buckets, both live, with worker `a`."""
    users = [get_user_model().objects.create_user(name, subject=f"sub-{name}") for name in ("ann", "bob")]
    live = {"state": "open", "live": True, "proven_at": 777_000_000, "worker": "a"}
    return [Link.objects.create(user=user, subject=user.subject, **live) for user in users]


def owned(worker, *links):
    with transaction.atomic():
        return worker.owned([link.pk for link in links])


def dead(seconds=DEAD_AFTER):
    return round(seconds / STEP) + 1


def test_a_worker_alone_owns_everything_at_its_first_look(fleet):
    fleet.join("a")
    fleet.look()
    fleet.assert_shared("a")


def test_one_that_comes_gets_its_share_once_it_was_released(fleet):
    fleet.join("a")
    fleet.look()
    fleet.join("b")
    fleet.look()
    before = fleet.workers["a"].held
    assert before.keys() | fleet.workers["b"].held.keys() == set(range(BUCKETS))
    fleet.look()
    fleet.assert_shared("a", "b")
    assert fleet.workers["a"].held.items() <= before.items()


def test_what_one_that_goes_released_is_taken_at_the_next_look(fleet):
    for name in "abc":
        fleet.join(name)
    fleet.look(3)
    fleet.workers.pop("b").leave()
    fleet.look()
    fleet.assert_shared("a", "c")


def test_the_buckets_of_a_dead_worker_go_to_the_others_after_its_beat_stood_still(fleet):
    for name in "abc":
        fleet.join(name)
    fleet.look(3)
    fleet.look(dead() - 2, without="b")
    assert set(fleet.owners().values()) == {"a", "b", "c"}
    fleet.look(2, without="b")
    fleet.assert_shared("a", "c")


def test_links_that_were_live_have_a_window_since_their_last_proof(fleet, links):
    fleet.join("a")
    fleet.look()
    Gap.objects.all().delete()
    Link.objects.update(state="open", live=True)
    fleet.join("b")
    left_live = [fleet.look(without="a")["b"].left_live for _ in range(dead() + 1)]
    assert sum(left_live) == 2
    assert [gap.started_at for gap in Gap.objects.all()] == [777_000_000 - gaps.MARGIN] * 2
    assert {(link.worker, link.state, link.live) for link in Link.objects.all()} == {("b", "stopped", False)}


def test_a_worker_that_wakes_up_may_write_only_for_what_it_still_owns(fleet, links):
    for name in "ab":
        fleet.join(name)
    fleet.look(3)
    theirs = next(name for name in "ab" if owned(fleet.workers[name], links[0]))
    asleep, other = fleet.workers[theirs], fleet.workers["ab".replace(theirs, "")]
    held = asleep.held
    fleet.look(dead(), without=theirs)
    assert owned(asleep, *links) == set()
    assert not asleep.owns(links[0].pk)
    assert owned(other, *links) == {link.pk for link in links}
    asleep.beat()
    change = asleep.look()
    assert set(change.lost) == held.keys()
    assert asleep.held == {}


def test_one_that_is_drained_hands_everything_over_and_takes_nothing(fleet):
    fleet.join("a"), fleet.join("b")
    fleet.look(3)
    leases.drain("a")
    fleet.look(3)
    fleet.assert_shared("b")
    assert leases.left("a") == 0
    fleet.join("a")
    fleet.look(3)
    fleet.assert_shared("a", "b")


def test_nobody_is_drained_whom_no_other_could_follow(fleet):
    fleet.join("a")
    with pytest.raises(CanNotDrain, match="start one first"):
        leases.drain("a")
    with pytest.raises(CanNotDrain, match="'c' is running"):
        leases.drain("c")


def test_when_all_are_drained_everybody_keeps_a_share(fleet):
    """Somebody has to: links are not let go because of a wish that can't be met."""
    fleet.join("a"), fleet.join("b")
    fleet.look(3)
    Worker.objects.update(draining=True)
    fleet.look(3)
    fleet.assert_shared("a", "b")


def test_one_that_woke_up_gets_its_share_again(fleet):
    for name in "ab":
        fleet.join(name)
    fleet.look(3)
    fleet.look(dead(), without="a")
    assert set(fleet.owners().values()) == {"b"}
    fleet.look(3)
    fleet.assert_shared("a", "b")


@pytest.mark.parametrize("seconds", [LOOKED_AWAY + 1, 3600])
def test_who_looked_away_hands_nothing_to_one_that_is_dead(fleet, seconds):
    for name in "ab":
        fleet.join(name)
    fleet.look(3)
    fleet.look(dead(), without="b")
    fleet.now += seconds
    for _ in range(dead() + 1):
        assert not fleet.look(without="b")["a"].surplus
    assert set(fleet.owners().values()) == {"a"}
    fleet.look(3)
    fleet.assert_shared("a", "b")


def test_who_looked_away_takes_nothing_from_one_that_lives(fleet):
    for name in "ab":
        fleet.join(name)
    fleet.look(3)
    fleet.now += 3600
    fleet.look(dead() - 2, without="b")
    fleet.assert_shared("a", "b")


def test_who_starts_hands_nothing_to_one_that_is_dead(fleet):
    for name in "ab":
        fleet.join(name)
    fleet.look(3)
    fleet.look(dead(), without="b")
    fleet.join("a")
    for _ in range(dead() + 1):
        assert not fleet.look(without="b")["a"].surplus
    assert set(fleet.owners().values()) == {"a"}


def test_a_second_worker_of_a_name_replaces_the_first(fleet, links):
    first = fleet.join("a")
    fleet.look()
    second = fleet.join("a")
    assert second.held.keys() == first.held.keys()
    assert Gap.objects.count() == len(links)
    assert owned(second, *links) == {link.pk for link in links}
    for step in (first.beat, first.look, first.leave, lambda: owned(first, *links)):
        with pytest.raises(Fenced, match="'a'"):
            step()
    assert not first.owns(links[0].pk)
    assert owned(second, *links) == {link.pk for link in links}


def test_a_released_bucket_that_was_lost_meanwhile_stays_with_its_new_owner(fleet):
    for name in "ab":
        fleet.join(name)
    fleet.look(3)
    asleep = fleet.workers["a"]
    held = asleep.held
    fleet.look(dead(), without="a")
    Release("a", list(held.items())).apply(0, LinkBook())
    assert set(fleet.owners().values()) == {"b"}


def test_two_that_reach_for_one_lease_do_not_both_get_it(fleet):
    for name in "ab":
        fleet.join(name)
    first, second = fleet.workers.values()
    first.look()
    rows = list(Lease.objects.values_list("bucket", "owner", "fence"))
    taken, _ = first._claim(rows)
    late, _ = second._claim(rows)
    assert (len(taken), late) == (BUCKETS, {})


def test_a_fence_rises_with_each_new_owner(fleet):
    fleet.join("a")
    fleet.look()
    before = dict(Lease.objects.values_list("bucket", "fence"))
    fleet.join("b")
    fleet.look(3)
    after = dict(Lease.objects.values_list("bucket", "fence"))
    moved = fleet.workers["b"].held
    assert moved and all(after[bucket] == before[bucket] + (bucket in moved) for bucket in after)


def test_workers_that_were_not_heard_of_for_a_day_are_forgotten(fleet):
    Worker.objects.create(name="old", beat=now_us() - leases.FORGOTTEN_AFTER - 1)
    Worker.objects.create(name="new", beat=now_us() - leases.FORGOTTEN_AFTER // 2)
    fleet.join("a")
    assert set(Worker.objects.values_list("name", flat=True)) == {"a", "new"}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the rule is SQLite's")
def test_beside_a_living_worker_on_sqlite_no_other_one_joins():
    Worker.objects.create(name="w0", beat=now_us())
    with pytest.raises(AnotherWorker, match=r"w0.*PostgreSQL"):
        Leases("w1").join()
    Leases("w0").join()
    Worker.objects.update(beat=1)
    assert Leases("w1").join() == 0


def test_links_fall_into_all_buckets():
    assert {bucket_of(number) for number in range(1, 1_000)} == set(range(BUCKETS))


class TestWatch:
    """Who lives, on the clock of who looks."""

    def test_a_beat_that_moves_lives_whatever_it_says(self):
        watch = Watch()
        for second in range(20):
            assert watch.living({"a": -second}, float(second)) == {"a"}

    def test_one_that_stands_still_dies_and_lives_again_when_it_moves(self):
        watch = Watch()
        seen = [watch.living({"a": 1}, float(second)) for second in range(8)]
        assert seen == [{"a"}] * 6 + [set()] * 2
        assert watch.living({"a": 2}, 8.0) == {"a"}

    def test_one_that_is_gone_is_not_listed(self):
        watch = Watch()
        watch.living({"a": 1, "b": 1}, 0.0)
        assert watch.living({"b": 1}, 1.0) == {"b"}

    def test_who_did_not_look_blames_nobody(self):
        watch = Watch()
        watch.living({"a": 1}, 0.0)
        assert watch.living({"a": 1}, DEAD_AFTER + LOOKED_AWAY) == {"a"}
        assert watch.beating == set()
        watch.living({"a": 2}, DEAD_AFTER + LOOKED_AWAY + 1)
        assert watch.beating == {"a"}

    def test_who_was_dead_before_nobody_looked_is_dead_still(self):
        watch = Watch()
        for second in range(8):
            watch.living({"a": 1, "b": second}, float(second))
        assert watch.living({"a": 1, "b": 7}, 100.0) == {"b"}
        assert watch.living({"a": 2, "b": 8}, 200.0) == {"a", "b"}
