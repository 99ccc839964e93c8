"""What a process's sessions share, with everything else made up."""

import asyncio
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from realtime import feed, groups
from realtime.delivery.continuity import Repair
from realtime.delivery.envelope import Close
from realtime.delivery.hub import Hub
from realtime.events import Head
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
        self.gone = False

    async def run(self, function, *args):
        self.calls.append((function.__name__, args))
        await asyncio.sleep(0)
        if self.gone:
            raise OperationalError("gone")
        return function(*args)


class Somebody:
    """A connection that notes what it is told."""

    def __init__(self, user_id=1):
        self.user_id = user_id
        self.told = []
        self.closed = None

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

    def close(self, close):
        self.closed = close


class Faulty(Somebody):
    def deliver(self, run):
        raise ValueError("a fault of ours")


class Hosts:
    """A hub with its surroundings."""

    def __init__(self):
        self.ears, self.database = Ears(), Database()
        self.hub = Hub(self.ears, SimpleNamespace(xrange=self.xrange), self.database, None)
        self.read = asyncio.Event()

    async def xrange(self, *args):
        await self.read.wait()
        return []

    def say(self, *offsets, topic="user.1"):
        entries = [make_entry(offset, topic=topic) for offset in offsets]
        self.ears.hear(groups.entries_message(topic, "e1", entries))


@pytest.fixture
async def hosts(monkeypatch):
    monkeypatch.setattr(feed, "heads", heads)
    hosts = Hosts()
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


async def until(fits):
    for _ in range(1_000):
        if fits():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")
