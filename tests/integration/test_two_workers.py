"""Two workers record the same events at the same moment: each change once, every copy told, nobody in the other's way.

Each has a thread and a database connection of its own. On SQLite they take turns; on PostgreSQL they really meet.
"""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from threading import Barrier, Event

import msgspec
import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from dashboard.models import Change, Field
from dashboard.recording import FieldRecorder
from realtime import feed, gaps
from realtime.bridge import Bridge, Pending, RawCopy
from realtime.clock import now_us, to_us
from realtime.models import FeedEntry, Link, Topic
from realtime.notes import Backfill
from realtime.snapshot import Device, Identity, Organization, Snapshot
from tests.realtime.drafts import draft, write

pytestmark = [pytest.mark.feature("S4.12"), pytest.mark.django_db(transaction=True)]
DEVICES, ROUNDS = 12, 25
BEGIN = datetime(2026, 9, 20, 12, tzinfo=UTC)


class Half:
    """One worker with one user's link."""

    def __init__(self, name, recorder):
        user = get_user_model().objects.create_user(name, subject=f"sub-{name}")
        self.link = Link.objects.create(user=user, subject=user.subject)
        self.recorder = recorder
        self.bridge = Bridge(
            None, recorder, lambda entries: None, set, lambda *about: None, lambda link_id, doubted: None
        )

    @property
    def topic(self):
        return f"user.{self.link.user_id}"

    def copy(self, device, at, online):
        event = {"orgId": "org", "deviceId": f"d{device}", "online": online, "timestamp": at.isoformat()}
        text = msgspec.json.encode(event).decode()
        return RawCopy(self.link.pk, self.link.user_id, "device/presenceChanged", text, now_us(), "events")

    def backfill(self, as_of):
        devices = tuple(Device("org", f"d{device}", online=True) for device in range(DEVICES))
        snapshot = Snapshot(as_of, Identity(self.link.subject), (Organization("org", "Viewer"),), devices)
        note = Backfill(self.link.pk, self.link.user_id, self.recorder, snapshot, None, [gaps.WHOLE_LINK])
        return Pending(note, None, now_us())


@pytest.fixture
def together():
    """Run the same function for both workers at the same moment, each in a thread that keeps its connection."""
    halves = [Half(name, FieldRecorder(asks=True)) for name in ("ann", "bob")]
    barrier = Barrier(2, timeout=30)

    def run(step):
        def turn(number):
            try:
                for turn in range(ROUNDS):
                    barrier.wait()
                    halves[number].bridge.transact(step(halves[number], number, turn))
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(turn, range(2)))
        return halves

    return run


def test_an_event_that_both_hear_at_once_is_one_change_and_an_entry_for_each(together):
    def step(half, number, turn):
        order = range(DEVICES) if number else reversed(range(DEVICES))
        return [half.copy(device, BEGIN + timedelta(seconds=turn), bool(turn % 2)) for device in order]

    halves = together(step)
    assert Change.objects.count() == DEVICES * ROUNDS
    for half in halves:
        assert FeedEntry.objects.filter(topic_id=half.topic).count() == DEVICES * ROUNDS
    last = to_us(BEGIN + timedelta(seconds=ROUNDS - 1))
    assert set(Field.objects.values_list("time", flat=True)) == {last}


def test_copies_and_comparisons_in_any_order_wait_for_each_other_in_one_order(together):
    def step(half, number, turn):
        device = turn % DEVICES if number else DEVICES - 1 - turn % DEVICES
        at = BEGIN + timedelta(seconds=turn)
        return [half.copy(device, at, True), half.backfill(at), half.copy((device + 5) % DEVICES, at, False)]

    for half in together(step):
        assert FeedEntry.objects.filter(topic_id=half.topic, key__startswith="device/").count() >= 2 * ROUNDS


class Slow(FieldRecorder):
    """A recorder that has written and waits with its transaction open."""

    def __init__(self):
        super().__init__(asks=True)
        self.written, self.goes_on = Event(), Event()

    def record(self, copies, now):
        recording = super().record(copies, now)
        self.written.set()
        assert self.goes_on.wait(30)
        return recording


def test_a_comparison_that_meets_another_workers_recording_waits_for_it_and_tells_of_it():
    slow = Slow()
    ann, bob = Half("ann", slow), Half("bob", FieldRecorder(asks=True))
    before, first, second = (bob.backfill(BEGIN) for _ in range(3))
    bob.bridge.transact([before])
    first.note.since = before.note.applied_at + 1

    def turn(half, *batch):
        try:
            return half.bridge.transact(batch)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        recorded = threads.submit(turn, ann, ann.copy(3, BEGIN + timedelta(seconds=1), False))
        assert slow.written.wait(30)
        compared = threads.submit(turn, bob, first)
        early, _ = wait([compared], timeout=0.5)
        slow.goes_on.set()
        assert not early
        recorded.result()
        compared.result()
    second.note.since = first.note.applied_at + 1
    told = compared.result().entries + bob.bridge.transact([second]).entries
    assert "device/org/d3" in {entry.key for entry in told if entry.topic == bob.topic}


def test_a_relay_marks_topics_in_the_order_in_which_writers_lock_them(together):
    names = [f"user.{number}" for number in range(1_000, 1_400)]
    Topic.objects.bulk_create(Topic(name=name, epoch="e", head=1_000) for name in reversed(names))

    def step(half, number, turn):
        if number:
            feed.mark_relayed({(name, "e"): turn + 1 for name in names})
        else:
            write(*(draft(name) for name in names))
        return []

    together(step)
    marked = Topic.objects.filter(name__in=names).values_list("relayed", "head")
    assert set(marked) == {(ROUNDS, 1_000 + ROUNDS)}
