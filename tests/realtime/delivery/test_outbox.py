import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.delivery.outbox import Outbox
from tests.realtime.delivery.world import fold, make_entry


@pytest.fixture
def outbox():
    return Outbox(max_entries=4, max_bytes=10_000)


def put(outbox, *entries):
    for entry in entries:
        assert outbox.put(entry)


def taken(outbox, room=10_000, **options):
    return [(due.entry.offset, due.waiting) for due in outbox.take(room, **options)]


def body_of(due):
    return msgspec.json.decode(due.entry.body)


def test_entries_leave_by_priority_and_then_in_the_order_they_came(outbox):
    put(outbox, *(make_entry(n, f"k{n}", priority=priority) for n, priority in [(1, 3), (2, 2), (3, 1), (4, 2)]))
    assert [offset for offset, _ in taken(outbox)] == [3, 2, 4, 1]


def test_each_tells_the_lowest_offset_that_is_unsent_after_it(outbox):
    put(outbox, *(make_entry(n, f"k{n}", priority=priority) for n, priority in [(1, 3), (2, 2), (3, 1)]))
    assert taken(outbox) == [(3, 1), (2, 1), (1, None)]


def test_what_stays_for_want_of_room_counts_as_unsent(outbox):
    put(outbox, make_entry(1, "a"), make_entry(2, "b"))
    assert taken(outbox, room=1) == [(1, 2)]
    assert outbox.oldest("user.1") == 2


def test_topics_do_not_wait_for_one_another(outbox):
    put(outbox, make_entry(1, "a"), make_entry(7, "a", topic="broadcast"))
    assert outbox.topics() == {"user.1", "broadcast"}
    assert taken(outbox) == [(1, None), (7, None)]


def test_a_newer_entry_of_a_key_keeps_the_place_and_all_fields(outbox):
    put(outbox, make_entry(1, "a", {"online": (1, 5), "name": (1, 5)}), make_entry(2, "b"))
    put(outbox, make_entry(3, "a", {"online": (0, 4), "model": (1, 6)}))
    first, second = outbox.take(10_000)
    assert (first.entry.offset, first.waiting) == (3, 2)
    assert body_of(first)["fields"] == {"online": [1, 5, 1], "name": [1, 5, 1], "model": [1, 6, 1]}
    assert (second.entry.offset, second.waiting) == (2, None)


def test_the_offset_that_was_replaced_is_unsent_until_its_replacement_is_sent(outbox):
    put(outbox, make_entry(1, "a"), make_entry(2, "b", priority=1), make_entry(3, "a"))
    assert taken(outbox) == [(2, 1), (3, None)]


def test_an_urgent_entry_takes_what_waits_of_its_key_with_it(outbox):
    put(outbox, make_entry(1, "b"), make_entry(2, "a"), make_entry(3, "a", priority=1))
    assert [offset for offset, _ in taken(outbox, lowest=1)] == [3]
    assert [offset for offset, _ in taken(outbox)] == [1]


def test_what_waits_of_an_urgent_key_stays_urgent(outbox):
    put(outbox, make_entry(1, "a", priority=1), make_entry(2, "a", priority=3))
    (due,) = outbox.take(10_000, lowest=1)
    assert body_of(due)["urgent"] is True


def test_an_entity_that_left_needs_nothing_of_what_went_before(outbox):
    put(outbox, make_entry(1, "a", {"online": (1, 1)}), make_entry(2, "a", gone=True))
    (due,) = outbox.take(10_000)
    assert body_of(due) == msgspec.json.decode(make_entry(2, "a", gone=True).body)


def test_an_entity_that_left_and_came_again_is_told_in_this_order(outbox):
    put(outbox, make_entry(1, "a", {"name": (1, 1)}), make_entry(2, "a", gone=True))
    put(outbox, make_entry(3, "a", {"online": (1, 1)}, priority=1))
    gone, again = outbox.take(10_000)
    assert (gone.entry.offset, again.entry.offset) == (2, 3)
    assert again.waiting is None and gone.waiting is not None


def test_an_entity_that_left_is_told_after_all_that_went_before(outbox):
    put(outbox, make_entry(1, "a", priority=3), make_entry(2, "b", priority=3), make_entry(3, "a", priority=1))
    put(outbox, make_entry(4, "a", gone=True, priority=0), make_entry(5, "c", priority=3))
    assert taken(outbox) == [(2, 1), (4, 5), (5, None)]


def test_too_many_keys_do_not_fit(outbox):
    put(outbox, *(make_entry(n, f"k{n}") for n in range(1, 5)))
    assert outbox.put(make_entry(5, "k1")) is True
    assert outbox.put(make_entry(6, "k6")) is False


def test_too_many_bytes_do_not_fit():
    outbox = Outbox(max_entries=100, max_bytes=600)
    assert outbox.put(make_entry(1, "a"))
    assert not outbox.put(make_entry(2, "b" * 400))


def test_a_forgotten_topic_leaves_the_others(outbox):
    put(outbox, make_entry(1, "a"), make_entry(1, "a", topic="broadcast"))
    outbox.forget("user.1")
    assert outbox.topics() == {"broadcast"}
    assert len(outbox) == 1


def test_frames_that_stand_for_no_entry_come_first_and_replace_their_like(outbox):
    put(outbox, make_entry(1, "a"))
    outbox.put_frame(b"one", key="path")
    outbox.put_frame(b"hello")
    outbox.put_frame(b"two", key="path")
    assert outbox.take_frames() == [b"two", b"hello"]
    assert outbox.take_frames() == []
    assert len(outbox) == 1 and outbox


entries = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["online", "name"]),
        st.integers(0, 9),
        st.integers(1, 5),
        st.integers(0, 3),
        st.sampled_from([False, False, True]),
        st.sampled_from([0, 0, 0, 1, 400]),
    )
)


@given(entries)
@pytest.mark.feature("S1.5")
def test_what_is_taken_says_the_same_as_what_was_put(plan):
    outbox, truth, client, position = Outbox(100, 1_000_000), {}, {}, 0

    def take(room):
        nonlocal position
        for due in outbox.take(room):
            fold(client, body_of(due))
            low = len(put_so_far) if due.waiting is None else due.waiting - 1
            assert low >= position, "the position went back"
            position = low

    put_so_far = []
    for key, field, value, time, priority, gone, room in plan:
        offset = len(put_so_far) + 1
        entry = make_entry(offset, key, {} if gone else {field: (value, time)}, priority=priority, gone=gone)
        put_so_far.append(entry)
        fold(truth, msgspec.json.decode(entry.body))
        assert outbox.put(entry)
        take(room)
    take(1_000_000)
    assert client == truth
    assert position == len(plan)
    assert not outbox
