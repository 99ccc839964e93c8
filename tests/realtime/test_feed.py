"""Offsets are dense and in the order of commits; a cursor gets everything after it, or is told why not."""

import threading

import msgspec
import pytest
from django.db import connection, transaction

from realtime import feed
from realtime.models import FeedEntry, Topic
from tests.realtime.drafts import draft, now_us, write, write_many

pytestmark = pytest.mark.feature("S4.12")
TOPIC = "user.1"


def epoch_of(topic=TOPIC):
    return feed.heads([topic])[topic].epoch


def offsets(entries):
    return [entry.offset for entry in entries]


def lost(epoch, after):
    with pytest.raises(feed.CursorLost) as caught:
        feed.read(TOPIC, epoch, after, 10)
    return caught.value.cause


@pytest.mark.django_db
class TestAppending:
    def test_the_first_entry_makes_the_topic(self):
        (entry,) = write(draft())
        assert (entry.offset, feed.heads([TOPIC])[TOPIC].head) == (1, 1)

    def test_each_topic_counts_for_itself_in_the_order_of_the_drafts(self):
        entries = write(draft("user.2"), draft("user.1"), draft("user.2"), draft("user.1"))
        assert [(entry.topic, entry.offset) for entry in entries] == [
            ("user.2", 1),
            ("user.1", 1),
            ("user.2", 2),
            ("user.1", 2),
        ]

    def test_the_next_batch_goes_on_behind_the_last(self):
        write_many(TOPIC, 3)
        assert offsets(write_many(TOPIC, 2)) == [4, 5]

    def test_what_is_rolled_back_leaves_no_hole(self):
        write_many(TOPIC, 2)
        with pytest.raises(RuntimeError), transaction.atomic():
            feed.append([draft(), draft()], now_us())
            raise RuntimeError
        assert offsets(write(draft())) == [3]

    def test_a_body_is_a_whole_frame_that_ends_with_its_times(self):
        (entry,) = write(draft(number=7, online=False, name='"ü\u2028'), at=5)
        frame = msgspec.json.decode(entry.body)
        assert entry.body.endswith(b"}}")
        assert frame["v"] == 1 and frame["type"] == "event"
        assert (frame["topic"], frame["epoch"], frame["offset"]) == (TOPIC, epoch_of(), 1)
        assert (frame["key"], frame["urgent"], frame["fields"]["name"][0]) == ("device/org/d7", False, '"ü\u2028')
        assert frame["at"]["recorded"] == 5
        assert "gone" not in frame

    def test_what_left_the_view_says_so(self):
        (entry,) = write(draft(gone=True))
        assert msgspec.json.decode(entry.body)["gone"] is True


@pytest.mark.django_db
class TestReading:
    def test_gives_what_follows_a_cursor_in_order(self):
        write_many(TOPIC, 5)
        assert offsets(feed.read(TOPIC, epoch_of(), 2, 10)) == [3, 4, 5]

    def test_gives_no_more_than_was_asked_for(self):
        write_many(TOPIC, 5)
        assert offsets(feed.read(TOPIC, epoch_of(), 0, 2)) == [1, 2]

    def test_gives_nothing_at_the_head(self):
        write_many(TOPIC, 5)
        assert feed.read(TOPIC, epoch_of(), 5, 10) == []

    def test_is_lost_in_another_life_of_the_topic(self):
        write(draft())
        assert lost("f" * 16, 0) == "epoch"

    def test_is_lost_in_a_topic_that_is_not_there(self):
        assert lost("f" * 16, 0) == "epoch"

    def test_is_lost_above_the_head(self):
        write(draft())
        assert lost(epoch_of(), 2) == "above-head"

    def test_is_lost_where_retention_took_what_follows(self):
        write_many(TOPIC, 5)
        FeedEntry.objects.filter(offset__lte=3).delete()
        assert lost(epoch_of(), 2) == "retention"
        assert offsets(feed.read(TOPIC, epoch_of(), 3, 10)) == [4, 5]

    def test_is_lost_where_retention_took_everything(self):
        write_many(TOPIC, 5)
        FeedEntry.objects.all().delete()
        assert lost(epoch_of(), 4) == "retention"
        assert feed.read(TOPIC, epoch_of(), 5, 10) == []


@pytest.mark.django_db
class TestRevoking:
    def test_nothing_from_before_is_read_by_an_old_cursor(self):
        write_many(TOPIC, 3)
        feed.revoke([TOPIC])
        write(draft())
        assert lost(epoch_of(), 2) == "floor"
        assert offsets(feed.read(TOPIC, epoch_of(), 3, 10)) == [4]

    def test_is_seen_by_the_access_version_of_that_topic_alone(self):
        write(draft("user.1"), draft("user.2"))
        feed.revoke(["user.1", "user.1"])
        heads = feed.heads(["user.1", "user.2"])
        assert (heads["user.1"].access_version, heads["user.2"].access_version) == (1, 0)


@pytest.mark.django_db
class TestRenewing:
    def test_gives_no_offset_out_twice_and_loses_every_old_cursor(self):
        write_many(TOPIC, 3)
        before = epoch_of()
        feed.renew_epoch(TOPIC, before)
        assert epoch_of() != before
        assert offsets(write(draft())) == [4]
        assert lost(before, 3) == "epoch"
        assert lost(epoch_of(), 2) == "floor"
        assert offsets(feed.read(TOPIC, epoch_of(), 3, 10)) == [4]

    def test_happens_once_for_all_who_ask_for_it(self):
        write(draft())
        before = epoch_of()
        feed.renew_epoch(TOPIC, before)
        after = epoch_of()
        feed.renew_epoch(TOPIC, before)
        assert epoch_of() == after


@pytest.mark.django_db
class TestUnrelayed:
    def test_names_what_waits_for_longer_than_its_writer_needs(self):
        write_many("user.1", 2, at=100)
        write_many("user.2", 1, at=900)
        assert [(name, relayed, head) for name, _, relayed, head in feed.unrelayed(500, 10)] == [("user.1", 0, 2)]

    def test_forgets_what_was_relayed(self):
        write_many(TOPIC, 2, at=100)
        feed.mark_relayed({(TOPIC, epoch_of()): 2})
        assert feed.unrelayed(500, 10) == []

    def test_goes_by_the_first_that_waits(self):
        write_many(TOPIC, 2, at=100)
        write_many(TOPIC, 1, at=900)
        feed.mark_relayed({(TOPIC, epoch_of()): 1})
        assert [row[2] for row in feed.unrelayed(500, 10)] == [1]

    def test_marks_never_go_back_and_never_reach_another_life(self):
        write_many(TOPIC, 3)
        feed.mark_relayed({(TOPIC, epoch_of()): 3})
        feed.mark_relayed({(TOPIC, epoch_of()): 1, (TOPIC, "f" * 16): 9})
        assert Topic.objects.get(name=TOPIC).relayed == 3


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_share_out_dense_offsets_in_the_order_of_their_commits():
    """Each takes topics in another order; what a reader sees at any moment has no hole."""
    names = ["user.1", "user.2", "user.3"]
    holes, failures, done = [], [], threading.Event()

    def writer(number):
        try:
            for turn in range(15):
                order = names[number:] + names[:number]
                write(*(draft(name, turn) for name in order for _ in range(number + 1)))
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    def reader():
        while not done.is_set():
            for name, head in feed.heads(names).items():
                seen = offsets(feed.read(name, head.epoch, 0, 1_000))
                if seen != list(range(1, len(seen) + 1)) or len(seen) < head.head:
                    holes.append((name, seen))
        connection.close()

    watching = threading.Thread(target=reader)
    writers = [threading.Thread(target=writer, args=(number,)) for number in range(3)]
    for thread in [watching, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    watching.join()
    assert (holes, failures) == ([], [])
    assert {head.head for head in feed.heads(names).values()} == {15 * (1 + 2 + 3)}


def test_topics_that_nobody_wrote_to_begin_here(db):
    feed.ensure(["broadcast"])
    found = feed.ensured_heads(["broadcast", "user.1"])
    assert {name: head.head for name, head in found.items()} == {"broadcast": 0, "user.1": 0}
    assert found == feed.ensured_heads(["broadcast", "user.1"])
