"""What a process's sessions share, with everything else made up."""

import asyncio
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from realtime import feed, groups
from realtime.clock import now_us
from realtime.delivery.continuity import Repair
from realtime.delivery.envelope import Close
from realtime.delivery.hub import Hub, _Beats
from realtime.events import Head
from realtime.models import WORKER_SILENT_AFTER
from tests.realtime.delivery.world import make_entry


class Ears:
    """A listener that hears what the test says."""

    def __init__(self):
        self.groups = set()
        self.answers = True

    def __call__(self, hear, report):
        self.hear, self.report = hear, report
        return self

    def enter(self, group):
        self.groups.add(group)

    def leave(self, group):
        self.groups.discard(group)

    async def entered(self, group):
        if not self.answers:
            await asyncio.Future()

    async def run(self):
        await asyncio.Future()


class Database:
    """Answers at once, in the loop."""

    def __init__(self):
        self.calls = []
        self.gone = self.hangs = False

    async def run(self, function, *args):
        self.calls.append((function.__name__, args))
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Future()
        if self.gone:
            raise OperationalError("gone")
        return function(*args)


class Somebody:
    """A connection that notes what it is told."""

    def __init__(self, user_id=1):
        self.user_id = user_id
        self.told = []
        self.closed = None
        self.ticks = 0

    def deliver(self, run):
        self.told.append(("run", run.first, run.last))

    def repaired(self, repair, entries):
        self.told.append(("repaired", len(entries)))

    def repair_failed(self, repair):
        self.told.append("repair failed")

    def lost(self, topic, cause, head):
        self.told.append(("lost", topic, cause))

    def tell(self, frame, key):
        self.told.append(frame)

    def look(self, heads, *, trusted):
        self.told.append(("look", trusted))

    def tick(self):
        self.ticks += 1

    def close(self, close):
        self.closed = close


class Faulty(Somebody):
    def deliver(self, run):
        raise ValueError("a fault of ours")


class Hosts:
    """A hub with its surroundings."""

    def __init__(self):
        self.ears, self.database = Ears(), Database()
        self.hub = Hub(
            self.ears, SimpleNamespace(xrange=self.xrange, time=self.time, zadd=self.zadd), self.database, None
        )
        self.read = asyncio.Event()
        self.beats = _Beats(0, 0)
        self.announced = asyncio.Queue()
        self.valkey_gone = False

    async def xrange(self, *args):
        await self.read.wait()
        return []

    async def time(self):
        return 1_000, 0

    async def zadd(self, key, wanted):
        if self.valkey_gone:
            raise ConnectionError("gone")
        self.announced.put_nowait(set(wanted))

    async def announcement(self):
        return await asyncio.wait_for(self.announced.get(), 5)

    def look(self, topics):
        return heads(topics), self.beats

    def say(self, *offsets, topic="user.1"):
        entries = [make_entry(offset, topic=topic) for offset in offsets]
        self.ears.hear(groups.entries_message(topic, "e1", entries))


@pytest.fixture
async def hosts(monkeypatch):
    monkeypatch.setattr(feed, "heads", heads)
    monkeypatch.setattr("realtime.delivery.hub.LOOK_EVERY", 0.001)
    hosts = Hosts()
    monkeypatch.setattr(hosts.hub, "_look", hosts.look)
    yield hosts
    await hosts.hub.stop()


def heads(topics):
    return {topic: Head("e1", 3, 0, 0) for topic in topics}


async def test_a_topic_is_listened_to_once_while_anybody_has_it(hosts):
    first, second = Somebody(), Somebody()
    assert await hosts.hub.join(first, ["user.1", "broadcast"]) == heads(["user.1", "broadcast"])
    await hosts.hub.join(second, ["broadcast"])
    assert hosts.ears.groups == {groups.topic("user.1"), groups.topic("broadcast")}
    hosts.hub.forget(first)
    assert hosts.ears.groups == {groups.topic("broadcast")}
    hosts.hub.forget(second)
    assert hosts.ears.groups == set()


async def test_what_is_heard_goes_to_those_who_have_the_topic(hosts):
    first, second = Somebody(), Somebody()
    await hosts.hub.join(first, ["user.1"])
    await hosts.hub.join(second, ["broadcast"])
    hosts.say(4, 5, 7)
    hosts.say(4, topic="org.9")
    assert first.told == [("run", 4, 5), ("run", 7, 7)]
    assert second.told == []


async def test_a_fault_in_one_session_ends_it_alone(hosts):
    faulty, sound = Faulty(), Somebody()
    await hosts.hub.join(faulty, ["user.1"])
    await hosts.hub.join(sound, ["user.1"])
    hosts.say(4)
    assert faulty.closed == Close.FAILED
    assert sound.told == [("run", 4, 4)]


async def test_without_an_answer_of_the_layer_a_session_begins_all_the_same(hosts, monkeypatch):
    monkeypatch.setattr("realtime.delivery.hub.JOIN_DEADLINE", 0.01)
    hosts.ears.answers = False
    assert await hosts.hub.join(Somebody(), ["user.1"]) == heads(["user.1"])


async def test_those_who_lack_the_same_share_one_reading(hosts, monkeypatch):
    monkeypatch.setattr(feed, "read", read)
    people = [Somebody() for _ in range(3)]
    for person in people:
        await hosts.hub.join(person, ["user.1"])
        hosts.hub.repair(person, Repair("user.1", "e1", 1, 3))
    hosts.read.set()
    await until(lambda: all(person.told for person in people))
    assert [person.told for person in people] == [[("repaired", 2)]] * 3
    assert [name for name, _ in hosts.database.calls].count("read") == 1


def read(topic, epoch, after, limit):
    if after == 0:
        raise feed.CursorLost("retention")
    return [make_entry(offset) for offset in range(after + 1, after + 1 + limit)]


read.__name__ = "read"


async def test_what_can_be_read_no_more_is_lost_with_its_cause(hosts, monkeypatch):
    monkeypatch.setattr(feed, "read", read)
    person = Somebody()
    await hosts.hub.join(person, ["user.1"])
    hosts.read.set()
    hosts.hub.repair(person, Repair("user.1", "e1", 0, 3))
    await until(lambda: person.told)
    assert person.told == [("lost", "user.1", "retention")]


async def test_a_reading_that_nobody_can_make_is_reported_as_failed(hosts):
    person = Somebody()
    await hosts.hub.join(person, ["user.1"])
    hosts.read.set()
    hosts.database.gone = True
    hosts.hub.repair(person, Repair("user.1", "e1", 1, 3))
    await until(lambda: person.told)
    assert person.told == ["repair failed"]


async def test_everybody_is_told_of_the_path_and_who_comes_later_too(hosts):
    person = Somebody()
    await hosts.hub.join(person, ["user.1"])
    hosts.ears.report(False, "gone")
    assert [(frame.event, frame.layer) for frame in person.told] == [("path", "down")]
    assert hosts.hub.news() == [("path", person.told[0])]
    hosts.ears.report(True, "")
    assert person.told[-1].layer == "ok"
    assert hosts.hub.news() == []


@pytest.mark.feature("S1.14")
async def test_who_is_sent_away_comes_back_one_after_the_other(hosts):
    people = [Somebody(n) for n in range(401)]
    for person in people:
        await hosts.hub.join(person, ["broadcast"])
    hosts.hub.drain()
    waits = sorted(person.told[0].after_ms for person in people)
    assert (waits[0], waits[-1]) == (250, 2250)
    assert {person.closed for person in people} == {Close.MOVING}


# ── What comes by itself ──────────────────────────────────────────────────────────────────────────────────────


async def test_after_a_break_of_the_path_the_database_is_believed_once(hosts):
    person = Somebody()
    await hosts.hub.join(person, ["user.1"])
    hosts.ears.report(False, "gone")
    hosts.ears.report(True, "")
    hosts.hub.start()
    await until(lambda: person.told.count(("look", True)) >= 2)
    looks = [told for told in person.told if isinstance(told, tuple)]
    assert looks[:2] == [("look", False), ("look", True)]


async def test_while_the_path_is_broken_the_database_is_believed(hosts):
    person = Somebody()
    await hosts.hub.join(person, ["user.1"])
    hosts.ears.report(False, "gone")
    hosts.hub.start()
    await until(lambda: person.told.count(("look", False)) >= 3)
    assert ("look", True) not in person.told


async def test_a_database_that_is_away_ends_nobody_and_is_looked_at_again(hosts, caplog):
    person = Somebody()
    await hosts.hub.join(person, ["user.1"])
    hosts.database.gone = True
    hosts.hub.start()
    calls = len(hosts.database.calls)
    await until(lambda: len(hosts.database.calls) >= calls + 3)
    assert person.told == [] and person.closed is None
    assert len([line for line in caplog.messages if "the database does not answer" in line]) == 1
    hosts.database.gone = False
    await until(lambda: ("look", True) in person.told)


async def test_a_database_that_hangs_stops_no_clock(hosts):
    person = Somebody()
    await hosts.hub.join(person, ["user.1"])
    hosts.database.hangs = True
    hosts.hub.start()
    await until(lambda: person.ticks >= 3)
    assert person.told == []


@pytest.mark.feature("S2.13")
async def test_everybody_is_told_since_when_the_workers_are_silent_and_when_one_lives_again(hosts):
    person = Somebody()
    await hosts.hub.join(person, ["user.1"])
    last = now_us() - WORKER_SILENT_AFTER - 1
    hosts.beats = _Beats(living=last, last=last)
    hosts.hub.start()
    await until(lambda: frames_of(person))
    assert [(frame.worker, frame.since) for frame in frames_of(person)] == [("silent", last)]
    hosts.beats = _Beats(living=now_us(), last=now_us())
    await until(lambda: len(frames_of(person)) == 2)
    assert frames_of(person)[1].worker == "alive"
    assert hosts.hub.news() == [("upstream", frames_of(person)[1])]


async def test_a_worker_that_said_goodbye_is_silent_since_then(hosts):
    person = Somebody()
    await hosts.hub.join(person, ["user.1"])
    goodbye = now_us()
    hosts.beats = _Beats(living=0, last=goodbye)
    hosts.hub.start()
    await until(lambda: frames_of(person))
    assert [(frame.worker, frame.since) for frame in frames_of(person)] == [("silent", goodbye)]


def frames_of(person):
    return [told for told in person.told if not isinstance(told, tuple)]


@pytest.mark.feature("S2.8")
async def test_who_comes_is_announced_at_once(hosts):
    hosts.hub.start()
    await hosts.hub.join(Somebody(7), ["user.7"])
    assert await hosts.announcement() == {"7"}
    await hosts.hub.join(Somebody(8), ["user.8"])
    assert await hosts.announcement() == {"7", "8"}


async def test_an_announcement_that_failed_is_made_again(hosts):
    hosts.valkey_gone = True
    hosts.hub.start()
    await hosts.hub.join(Somebody(7), ["user.7"])
    await until(lambda: not hosts.hub._arrival.is_set())
    hosts.valkey_gone = False
    assert await hosts.announcement() == {"7"}


async def until(fits):
    """Wait until it is so; the hub's seconds are milliseconds here."""
    async with asyncio.timeout(5):
        async for _ in moments():
            if fits():
                return


async def moments():
    while True:
        yield
        await asyncio.sleep(0.001)
