"""A session joined to a transport, with a hub and an admission of the test's making."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import msgspec
import pytest
from django.db import OperationalError

from realtime.delivery import envelope
from realtime.delivery.admission import NotAdmitted, Visitor
from realtime.delivery.connection import Live, attend, let_in
from realtime.delivery.envelope import Close
from realtime.delivery.limits import Limits, Occupancy
from realtime.delivery.run import Run
from realtime.events import Head
from tests.realtime.delivery.world import frames, make_entry

TOPIC = "user.1"


class Clock:
    now = 1_760_000_000.0

    def monotonic(self):
        return self.now


class Wire:
    """A transport that keeps what it is given."""

    name = "test"
    blocked = False

    def __init__(self):
        self.sent = []
        self.calls = []

    def open(self, drained):
        self.drained = drained

    def send(self, items, session):
        self.sent += frames(items)

    def keep_alive(self, silent):
        self.calls.append(("keep alive", silent))

    def close(self, close):
        self.calls.append(close)

    def abort(self):
        self.calls.append("abort")

    @property
    def endings(self):
        return [call for call in self.calls if not isinstance(call, tuple)]


class Hub:
    """Answers as the test wants."""

    draining = False

    def __init__(self):
        self.heads = {TOPIC: Head("e1", 0, 0, 0)}
        self.allowed = True
        self.gone = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.forgotten = []
        self.joined = []

    async def topics_for(self, user):
        return [TOPIC]

    async def join(self, connection, topics):
        await self.gate.wait()
        self._fail_if_gone()
        self.joined.append(tuple(topics))
        return {topic: self.heads.get(topic, Head("e9", 0, 0, 0)) for topic in topics}

    async def may_have(self, user, topics):
        self._fail_if_gone()
        return self.allowed

    async def state(self, user, topics, ident):
        self._fail_if_gone()
        return envelope.State(id=ident, cursor="c", entities={}, meta={})

    def leave(self, connection, topics):
        self.joined.append(("left", *topics))

    def forget(self, connection):
        self.forgotten.append(connection)

    def news(self):
        return []

    def _fail_if_gone(self):
        if self.gone:
            raise OperationalError("gone")


class Admission:
    fault = None

    async def admit(self, scope, *, shows_origin):
        return Visitor(SimpleNamespace(pk=1), "s1")

    async def confirm(self, visitor):
        if self.fault is not None:
            raise NotAdmitted(self.fault)
        return visitor


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("realtime.delivery.connection.time", clock)
    return clock


@pytest.fixture
def live():
    limits = Limits(sessions_per_user=1)
    return Live(hub=Hub(), admission=Admission(), occupancy=Occupancy(limits), limits=limits)


@asynccontextmanager
async def attending(live):
    wire = Wire()
    async with attend(live, Visitor(SimpleNamespace(pk=1), "s1"), wire, "") as connection:
        await settle()
        yield connection, wire


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


def say(connection, **message):
    connection.receive(msgspec.json.encode(message))


def change(n, key="a"):
    return Run([make_entry(n, key, {"online": (n, n)})])


async def test_it_begins_with_hello_and_ends_forgotten(live):
    async with attending(live) as (connection, wire):
        assert [frame["type"] for frame in wire.sent] == ["hello"]
    assert live.hub.forgotten == [connection]


async def test_a_database_that_is_away_at_the_beginning_sends_the_client_back(live):
    live.hub.gone = True
    async with attending(live) as (_, wire):
        assert wire.endings == [Close.UNAVAILABLE]


async def test_a_transport_that_is_full_gets_nothing_until_it_says_so(live):
    async with attending(live) as (connection, wire):
        wire.blocked = True
        for n in (1, 2, 3):
            connection.deliver(change(n))
        assert len(wire.sent) == 2  # the hello, and what filled it
        wire.blocked = False
        wire.drained()
        assert wire.sent[-1]["offset"] == 3 and len(wire.sent) == 3


async def test_who_reads_nothing_for_too_long_is_cut_off_once(live, clock):
    async with attending(live) as (connection, wire):
        wire.blocked = True
        connection.deliver(change(1))
        clock.now += 59
        connection.tick()
        assert wire.endings == []
        clock.now += 2
        connection.tick()
        connection.tick()
        assert wire.endings == ["abort"]


@pytest.mark.feature("S3.8")
async def test_a_hidden_page_gets_the_gathered_rest_by_the_clock(live, clock):
    async with attending(live) as (connection, wire):
        say(connection, id=1, type="visibility", hidden=True)
        connection.deliver(change(1))
        connection.deliver(change(2))
        connection.tick()
        assert wire.sent[-1]["type"] == "reply"
        clock.now += 6
        connection.tick()
        assert wire.sent[-1]["offset"] == 2


async def test_the_state_is_sent_when_asked_for(live):
    async with attending(live) as (connection, wire):
        say(connection, id="s", type="sync")
        await settle()
        assert (wire.sent[-1]["type"], wire.sent[-1]["id"]) == ("state", "s")
        live.hub.gone = True
        say(connection, id="t", type="sync")
        await settle()
        assert (wire.sent[-1]["code"], wire.sent[-1]["id"]) == ("unavailable", "t")


async def test_topics_are_given_refused_and_left(live):
    async with attending(live) as (connection, wire):
        say(connection, id=1, type="subscribe", topics=["org.1"])
        await settle()
        assert wire.sent[-1]["topics"] == [TOPIC, "org.1"]
        say(connection, id=2, type="unsubscribe", topics=["org.1"])
        assert live.hub.joined[-1] == ("left", "org.1")
        live.hub.allowed = False
        say(connection, id=3, type="subscribe", topics=["org.2"])
        await settle()
        assert wire.sent[-1]["code"] == "not-allowed"
        live.hub.gone = True
        say(connection, id=4, type="subscribe", topics=["org.2"])
        await settle()
        assert wire.sent[-1]["code"] == "unavailable"


async def test_one_who_leaves_while_joining_is_forgotten_last_of_all(live):
    async with attending(live) as (connection, _):
        live.hub.gate.clear()
        say(connection, id=1, type="subscribe", topics=["org.1"])
        await settle()
        asyncio.get_running_loop().call_soon(live.hub.gate.set)
    assert live.hub.joined[-1] == ("org.1",)
    assert live.hub.forgotten == [connection]


@pytest.mark.parametrize(
    ("fault", "close"),
    [
        (envelope.NOT_SIGNED_IN, [Close.NOT_SIGNED_IN]),
        (envelope.ACCESS_ENDED, [Close.ACCESS_ENDED]),
        (envelope.UNAVAILABLE, []),
        (None, []),
    ],
)
@pytest.mark.feature("S4.14")
async def test_a_change_of_access_has_the_sign_in_looked_at_again(live, fault, close):
    async with attending(live) as (connection, wire):
        live.admission.fault = fault
        connection.look({TOPIC: Head("e1", 0, 0, 1)}, trusted=True)
        await settle()
        assert wire.endings == close


async def test_a_topic_one_may_have_no_more_ends_the_session(live):
    async with attending(live) as (connection, wire):
        live.hub.allowed = False
        connection.look({TOPIC: Head("e1", 0, 0, 1)}, trusted=True)
        await settle()
        assert wire.endings == [Close.ACCESS_ENDED]


async def test_a_sign_in_is_looked_at_once_a_minute(live, clock):
    async with attending(live) as (connection, wire):
        live.admission.fault = envelope.NOT_SIGNED_IN
        clock.now += 59
        connection.tick()
        await settle()
        assert wire.endings == []
        clock.now += 2
        connection.tick()
        await settle()
        assert wire.endings == [Close.NOT_SIGNED_IN]


async def test_after_the_end_nothing_is_sent(live):
    async with attending(live) as (connection, wire):
        connection.close(Close.MOVING)
        connection.close(Close.FAILED)
        before = len(wire.sent)
        connection.deliver(change(1))
        assert len(wire.sent) == before
        assert wire.endings == [Close.MOVING]


async def test_who_comes_takes_a_place_while_there_is_one(live):
    await let_in(live, {}, shows_origin=True)
    with pytest.raises(NotAdmitted) as refused:
        await let_in(live, {}, shows_origin=True)
    assert refused.value.fault == envelope.TOO_MANY


async def test_nobody_comes_into_a_process_that_leaves(live):
    live.hub.draining = True
    with pytest.raises(NotAdmitted) as refused:
        await let_in(live, {}, shows_origin=True)
    assert refused.value.fault == envelope.DRAINING
