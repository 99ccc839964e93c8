import pytest

from realtime.delivery.continuity import Continuity, Repair
from realtime.delivery.run import Run
from realtime.events import Head
from tests.realtime.delivery.world import make_entry


def run(first, last, epoch="e1"):
    return Run([make_entry(n, epoch=epoch) for n in range(first, last + 1)])


def head(offset, epoch="e1", floor=0):
    return Head(epoch, offset, floor, 0)


def spans(ready):
    return [(run.first, run.last) for run in ready]


@pytest.fixture
def topic():
    return Continuity("user.1", head(5), 5, max_held=10)


def test_what_follows_comes_out_as_it_is(topic):
    assert spans(topic.accept(run(6, 8))) == [(6, 8)]
    assert topic.last == 8


def test_what_was_seen_is_cut_off(topic):
    assert spans(topic.accept(run(4, 7))) == [(6, 7)]
    assert spans(topic.accept(run(4, 7))) == []


def test_another_life_of_the_topic_is_not_believed_before_the_database_says_so(topic):
    assert spans(topic.accept(run(6, 8, epoch="e2"))) == []
    assert topic.look(head(8, epoch="e2"), trusted=True) == "epoch"


def test_what_is_ahead_comes_out_after_what_was_missing(topic):
    topic.accept(run(8, 9))
    assert topic.repair_due() == Repair("user.1", "e1", 5, 7)
    assert topic.repair_due() is None
    assert spans(topic.repaired([make_entry(6), make_entry(7)])) == [(6, 7), (8, 9)]
    assert topic.complete


def test_what_came_late_closes_the_hole_without_the_repair(topic):
    topic.accept(run(8, 9))
    assert spans(topic.accept(run(6, 7))) == [(6, 7), (8, 9)]


def test_two_holes_are_repaired_one_after_the_other(topic):
    topic.accept(run(7, 7))
    topic.accept(run(9, 9))
    assert topic.repair_due() == Repair("user.1", "e1", 5, 6)
    assert spans(topic.repaired([make_entry(6)])) == [(6, 6), (7, 7)]
    assert topic.repair_due() == Repair("user.1", "e1", 7, 8)


def test_a_floor_above_what_came_out_is_a_reason_to_start_over(topic):
    assert topic.look(head(9, floor=6), trusted=True) == "floor"
    topic.restart(head(9, floor=6), 9)
    assert topic.complete and topic.last == 9
