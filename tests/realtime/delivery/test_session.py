"""One session against a topic's truth: whatever the layer loses, repeats or delays, the client ends equal."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.cursor import parse_cursor
from realtime.delivery.envelope import Close
from realtime.delivery.limits import Limits
from realtime.delivery.run import Run
from realtime.delivery.session import DropTopics, EndSession, Session, WantState, WantTime, WantTopics
from realtime.events import Head
from tests.realtime.delivery.world import NOW, Client, Line, Truth, frames

SMALL = Limits(outbox_entries=4, outbox_bytes=4_000, held_entries=3, recovery_entries=20, hidden_seconds=0)


@pytest.fixture
def truth():
    return Truth()


@pytest.fixture
def client(truth):
    return Client(truth)


def on(value=1, time=1):
    return {"online": (value, time)}


# ── Beginning ─────────────────────────────────────────────────────────────────────────────────────────────────


def open_session(truth, cursor=""):
    session = Session("s1", 7, parse_cursor(cursor), Limits())
    session.open(truth.heads)
    if not session.recovering:
        session.greet(datetime.fromtimestamp(NOW, UTC))
    return session


def test_hello_says_who_where_and_when(truth):
    truth.append(fields=on())
    (hello,) = frames(open_session(truth).take(0))
    assert (hello["type"], hello["v"], hello["session"], hello["user"]) == ("hello", 1, "s1", 7)
    assert hello["topics"] == {"user.1": {"epoch": "e1", "offset": 1, "recovered": False}}
    assert hello["cursor"] == "user.1:e1:1"
    assert (hello["t"], hello["time"]) == (int(NOW * 1_000_000), "2025-10-09T08:53:20.000+00:00")
    assert hello["heartbeat"] == 25


def test_a_client_that_missed_nothing_is_recovered_at_once(truth):
    truth.append(fields=on())
    (hello,) = frames(open_session(truth, "user.1:e1:1").take(0))
    assert hello["topics"]["user.1"] == {"epoch": "e1", "offset": 1, "recovered": True}


def test_hello_waits_until_what_was_missed_is_at_hand_and_then_brings_it(truth, client):
    truth.append(fields=on())
    truth.append(fields=on(0, 2))
    client.position, client.state = 0, {}
    line = Line(truth, client)
    assert not line.greeted
    line.answer()
    assert line.greeted
    assert client.sent == [1, 2]
    assert client.state == truth.state()
    assert client.resyncs == []


def test_what_is_heard_while_recovering_comes_after_what_was_missed(truth, client):
    truth.append(fields=on())
    client.position, client.state = 0, {}
    line = Line(truth, client)
    line.hear(truth.append(key="b", fields=on()))
    line.answer()
    assert client.sent == [1, 2]


def test_what_is_heard_before_the_heads_are_read_is_kept():
    truth = Truth()
    session = Session("s1", 1, {}, Limits())
    before = truth.heads
    session.deliver(Run([truth.append(fields=on())]))
    session.open(before)
    session.greet(datetime.fromtimestamp(NOW, UTC))
    assert [frame["type"] for frame in frames(session.take(0))] == ["hello", "event"]


@pytest.mark.parametrize(
    ("cursor", "cause"),
    [("user.1:e9:1", "epoch"), ("user.1:e1:9", "above-head"), ("user.1:e1:1", "floor")],
)
def test_a_cursor_that_cannot_be_continued_gets_a_resync_with_its_cause(truth, cursor, cause):
    for _ in range(3):
        truth.append(fields=on())
    truth.floor = 2
    hello, resync = frames(open_session(truth, cursor).take(0))
    assert hello["topics"]["user.1"] == {"epoch": "e1", "offset": 3, "recovered": False}
    assert (resync["type"], resync["event"], resync["cause"], resync["offset"]) == ("system", "resync", cause, 3)


def test_a_client_that_missed_too_much_gets_the_snapshot_instead(truth, client):
    for n in range(21):
        truth.append(fields=on(n, n))
    client.position = 0
    line = Line(truth, client, SMALL)
    assert line.repairs == []
    assert client.resyncs == ["retention"]


def test_history_that_is_gone_while_recovering_ends_in_a_resync(truth, client):
    truth.append(fields=on())
    client.position = 0
    line = Line(truth, client)
    truth.revoke()
    line.answer()
    assert line.greeted
    assert client.resyncs == ["floor"]
    assert client.state == truth.state()


# ── Losses ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_entries_that_follow_one_another_are_handed_on_as_they_came(truth, client):
    line = Line(truth, client)
    run = Run([truth.append(fields=on()), truth.append(fields=on(0, 2))])
    line.session.deliver(run)
    assert line.session.take(65_536) == [run]


def test_a_hole_is_asked_for_once_and_what_is_ahead_of_it_waits(truth, client):
    line = Line(truth, client)
    lost = truth.append(fields=on())
    line.hear(truth.append(key="b", fields=on()))
    line.hear(truth.append(key="c", fields=on()))
    assert client.sent == []
    (repair,) = line.repairs
    assert (repair.after, repair.upto) == (0, lost.offset)
    line.answer()
    assert client.sent == [1, 2, 3]


def test_a_repeated_entry_is_sent_once(truth, client):
    line = Line(truth, client)
    entry = truth.append(fields=on())
    line.hear(entry)
    line.hear(entry)
    line.hear(entry, truth.append(key="b", fields=on()))
    assert client.sent == [1, 2]


def test_a_lost_last_entry_is_found_by_the_second_look(truth, client):
    line = Line(truth, client)
    truth.append(fields=on())
    line.look()
    assert line.repairs == []  # it may still be on its way
    line.look()
    line.answer()
    assert client.state == truth.state()


def test_without_a_layer_the_first_look_is_believed(truth, client):
    line = Line(truth, client)
    truth.append(fields=on())
    line.look(trusted=False)
    line.answer()
    assert client.state == truth.state()


def test_a_repair_that_failed_is_asked_again_at_the_next_look(truth, client):
    line = Line(truth, client)
    truth.append(fields=on())
    line.hear(truth.append(key="b", fields=on()))
    line.fail()
    assert line.repairs == []
    line.look()
    line.answer()
    assert client.sent == [1, 2]


def test_a_repair_in_parts_goes_on_where_it_stopped(truth, client):
    line = Line(truth, client)
    for n in range(4):
        truth.append(fields=on(n, n))
    line.hear(truth.append(key="b", fields=on()))
    line.answer(part=2)
    assert [(repair.after, repair.upto) for repair in line.repairs] == [(2, 4)]
    line.answer()
    assert client.sent == [1, 2, 3, 4, 5]


def test_a_flood_ahead_of_a_hole_is_not_kept_without_bound_and_still_comes(truth, client):
    line = Line(truth, client, SMALL)
    truth.append(fields=on())
    for n in range(10):
        line.hear(truth.append(key=f"k{n}", fields=on()))
    line.settle()
    assert client.sent == list(range(1, 12))


# ── The database has the last word ────────────────────────────────────────────────────────────────────────────


def test_a_restored_database_makes_the_client_start_over(truth, client):
    line = Line(truth, client)
    for n in range(3):
        line.hear(truth.append(fields=on(n, n)))
    line.look()
    truth.restore(1)
    line.look()
    assert client.resyncs == ["epoch"]
    line.hear(truth.append(fields=on(9, 9)))
    assert client.state == truth.state()


def test_a_head_below_what_was_sent_makes_the_client_start_over(truth, client):
    line = Line(truth, client)
    for n in range(3):
        line.hear(truth.append(fields=on(n, n)))
    line.look()
    del truth.entries[1:]
    line.look()
    assert client.resyncs == ["above-head"]


def test_an_old_look_that_comes_late_is_no_restored_database(truth, client):
    line = Line(truth, client)
    old = truth.heads
    line.hear(truth.append(fields=on()))
    line.session.look(old, trusted=True)
    line.act()
    assert client.resyncs == []


@pytest.mark.feature("S4.14")
def test_what_waits_from_before_a_revocation_is_never_sent(truth, client):
    line = Line(truth, client)
    line.block()
    line.hear(truth.append(key="secret", fields=on()))
    line.hear(truth.append(key="secret", gone=True))
    line.hear(truth.append(key="other", fields=on()))
    truth.revoke()
    line.look()
    line.unblock()
    assert client.sent == []
    assert client.resyncs == ["floor"]


# ── A client that does not read ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.feature("S1.5")
def test_a_slow_client_gets_the_newest_of_each_key_and_a_position_that_covers_the_rest(truth, client):
    line = Line(truth, client)
    line.block()
    for n in range(50):
        line.hear(truth.append(key="ab"[n % 2], fields=on(n, n)))
    line.unblock()
    assert client.sent == [49, 50]
    assert client.position == 50
    assert client.state == truth.state()


def test_an_urgent_entry_overtakes_and_the_position_stays_behind(truth, client):
    line = Line(truth, client)
    line.block()
    line.hear(truth.append(key="a", fields=on()))
    line.hear(truth.append(key="b", fields=on(), priority=1))
    line.unblock(room=1)
    assert (client.sent, client.position) == ([2], 0)
    line.act()
    assert (client.sent, client.position) == ([2, 1], 2)


def test_an_overflow_is_one_resync_after_which_the_feed_goes_on(truth, client):
    line = Line(truth, client, SMALL)
    line.block()
    for n in range(30):
        line.hear(truth.append(key=f"k{n}", fields=on(n, n)))
    line.unblock()
    assert client.resyncs == ["overflow"]
    line.settle()
    line.hear(truth.append(key="x", fields=on()))
    assert client.state == truth.state()


@pytest.mark.feature("S3.8")
def test_a_hidden_page_gets_what_is_urgent_at_once_and_the_rest_gathered(truth, client):
    line = Line(truth, client, Limits(hidden_seconds=5))
    line.session.receive(b'{"id":1,"type":"visibility","hidden":true}', NOW)
    line.act()
    line.hear(truth.append(key="a", fields=on(1, 1)))
    line.hear(truth.append(key="a", fields=on(2, 2)))
    line.hear(truth.append(key="b", fields=on(), priority=1))
    assert client.sent == [3]
    line.session.tick(NOW + 4)
    line.act()
    assert client.sent == [3]
    line.session.tick(NOW + 6)
    line.act()
    assert client.sent == [3, 2]
    line.hear(truth.append(key="a", fields=on(3, 3)))
    assert client.sent == [3, 2]
    line.session.receive(b'{"id":2,"type":"visibility","hidden":false}', NOW + 7)
    line.act()
    assert client.sent == [3, 2, 4]
    assert client.state == truth.state()


# ── The client's messages ─────────────────────────────────────────────────────────────────────────────────────


def says(session, **message):
    session.receive(msgspec.json.encode(message), NOW)
    return frames(session.take(65_536))[-1:]


@pytest.fixture
def session(truth):
    session = open_session(truth)
    session.take(0)
    return session


def test_a_ping_asks_the_owner_for_the_time(session):
    assert says(session, id="p1", type="ping") == []
    assert session.asks == [WantTime("p1")]


def test_a_sync_asks_the_owner_for_the_state(session):
    assert says(session, id=4, type="sync") == []
    assert session.asks == [WantState(4)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"\xff\xfe", "malformed"),
        (b"not json", "malformed"),
        (b"[]", "malformed"),
        (b'{"type":"ping"}', "malformed"),
        (b'{"id":"","type":"ping"}', "malformed"),
        (b'{"id":1,"type":"subscribe","topics":[]}', "malformed"),
        (b'{"id":1,"type":"subscribe","topics":["a b"]}', "malformed"),
        (b'{"id":1,"type":"visibility","hidden":"yes"}', "malformed"),
        (b'{"id":1,"type":"launch"}', "unknown-type"),
        (b'{"type":"launch"}', "unknown-type"),
    ],
)
@pytest.mark.feature("S3.10")
def test_nonsense_is_answered_with_what_is_wrong_and_what_to_do(session, text, code):
    session.receive(text, NOW)
    (error,) = frames(session.take(0))
    assert (error["type"], error["code"]) == ("error", code)
    assert error["cause"] and error["next"]


def test_much_nonsense_in_a_row_ends_the_session(session):
    for _ in range(19):
        session.receive(b"?", NOW)
        session.receive(b"?", NOW + 100)
        says(session, id=1, type="visibility", hidden=False)
    assert session.asks == []
    for n in range(20):
        session.receive(b"?", NOW + 200 + n)
    assert session.asks == [EndSession(Close.MALFORMED)]


def test_more_messages_than_allowed_are_refused_with_the_time_to_wait(truth):
    session = open_session(truth)
    session.take(0)
    for _ in range(80):
        session.receive(b'{"id":1,"type":"visibility","hidden":false}', NOW)
    session.receive(b'{"id":2,"type":"visibility","hidden":false}', NOW)
    error = frames(session.take(0))[-1]
    assert (error["code"], error["retry_after"]) == ("too-fast", 0.05)
    session.receive(b'{"id":3,"type":"visibility","hidden":false}', NOW + 0.06)
    assert frames(session.take(0))[-1]["id"] == 3


def test_a_topic_is_added_when_the_owner_allows_it(session):
    assert says(session, id=1, type="subscribe", topics=["org.1", "user.1", "org.1"]) == []
    assert session.asks == [WantTopics(1, ("org.1",))]
    session.add_topics(1, {"org.1": Head("e5", 3, 0, 0)})
    (reply,) = frames(session.take(0))
    assert reply == {"type": "reply", "v": 1, "id": 1, "ok": True, "topics": ["user.1", "org.1"]}
    assert session.cursor() == "user.1:e1:0,org.1:e5:3"


def test_a_topic_one_has_is_confirmed_without_asking_anybody(session):
    (reply,) = says(session, id=1, type="subscribe", topics=["user.1"])
    assert reply["topics"] == ["user.1"]
    assert session.asks == []


def test_topics_are_bounded(session):
    (error,) = says(session, id=1, type="subscribe", topics=[f"t{n}" for n in range(32)])
    assert error["code"] == "too-many-topics"


def test_a_left_topic_is_heard_no_more(session, truth):
    (reply,) = says(session, id=1, type="unsubscribe", topics=["user.1", "foreign"])
    assert reply["topics"] == []
    assert session.asks == [DropTopics(("user.1",))]
    session.deliver(Run([truth.append(fields=on())]))
    assert session.take(65_536) == []


# ── Any interleaving ──────────────────────────────────────────────────────────────────────────────────────────

steps = st.one_of(
    st.tuples(
        st.just("happen"),
        st.sampled_from("abcdef"),
        st.sampled_from(["online", "name"]),
        st.integers(0, 9),
        st.integers(1, 6),
        st.integers(0, 3),
        st.sampled_from([False, False, False, False, True]),
        st.sampled_from(["heard", "heard", "lost", "twice", "late"]),
    ),
    st.tuples(st.just("late")),
    st.tuples(st.just("block")),
    st.tuples(st.just("unblock"), st.sampled_from([1, 300, 900, 65_536])),
    st.tuples(st.just("look"), st.booleans()),
    st.tuples(st.just("answer"), st.sampled_from([1, None])),
    st.tuples(st.just("fail")),
    st.tuples(st.just("hide"), st.booleans()),
    st.tuples(st.just("reconnect")),
    st.tuples(st.just("revoke")),
    st.tuples(st.just("restore"), st.integers(0, 5)),
)


class Play:
    """Plays steps on a world, and checks after each that the client's position skips nothing."""

    def __init__(self):
        self.truth = Truth()
        self.client = Client(self.truth)
        self.line = Line(self.truth, self.client, SMALL)
        self.held_back = []

    def step(self, name, *args):
        getattr(self, name)(*args)
        self.check_position()

    def happen(self, key, field, value, time, priority, gone, fate):
        fields = {} if gone else {field: (value, time)}
        entry = self.truth.append(key=key, fields=fields, priority=priority, gone=gone)
        if fate in ("heard", "twice"):
            self.line.hear(entry)
        if fate == "twice":
            self.line.hear(entry)
        if fate == "late":
            self.held_back.append(entry)

    def late(self):
        if self.held_back:
            self.line.hear(self.held_back.pop())

    def block(self):
        self.line.block()

    def unblock(self, room):
        self.line.unblock(room)

    def look(self, trusted):
        self.line.look(trusted=trusted)

    def answer(self, part):
        if self.line.repairs:
            self.line.answer(part)

    def fail(self):
        if self.line.repairs:
            self.line.fail()

    def hide(self, hidden):
        self.line.session.receive(msgspec.json.encode({"id": 1, "type": "visibility", "hidden": hidden}), NOW)
        self.line.session.take(0) if self.line.session.blocked else self.line.act()

    def reconnect(self):
        self.line = Line(self.truth, self.client, SMALL)

    def revoke(self):
        self.truth.revoke()

    def restore(self, keep):
        if self.truth.epoch == "e1":
            self.truth.restore(min(keep, len(self.truth.entries)))
            self.held_back.clear()

    def check_position(self):
        """Whatever lies between the last snapshot and the position was sent, or a newer frame of its key was."""
        client = self.client
        if client.epoch != self.truth.epoch:
            return
        newest = {}
        for frame in client.covered:
            newest[frame["key"]] = max(frame["offset"], newest.get(frame["key"], 0))
        for entry in self.truth.entries[client.base : client.position]:
            assert newest.get(entry.key, 0) >= entry.offset, f"{entry.key}@{entry.offset} was skipped"

    def end(self):
        self.line.session.receive(b'{"id":1,"type":"visibility","hidden":false}', NOW)
        self.line.settle()


@given(st.lists(steps, max_size=60))
@settings(max_examples=300)
@pytest.mark.feature("S3.13")
def test_whatever_happens_the_client_ends_with_the_truth(plan):
    ends_with_the_truth(plan)


@given(st.lists(steps, min_size=60, max_size=150))
@settings(max_examples=2_000)
@pytest.mark.soak
def test_whatever_happens_for_long_the_client_ends_with_the_truth(plan):
    ends_with_the_truth(plan)


def ends_with_the_truth(plan):
    play = Play()
    for name, *args in plan:
        play.step(name, *args)
    play.end()
    assert play.client.epoch == play.truth.epoch
    assert play.client.state == play.truth.state()
    assert play.client.position == len(play.truth.entries)


@given(st.lists(steps.filter(lambda step: step[0] not in ("reconnect", "restore")), max_size=60))
@settings(max_examples=200)
def test_one_session_sends_no_entry_twice(plan):
    play = Play()
    for name, *args in plan:
        play.step(name, *args)
    play.end()
    assert len(play.client.sent) == len(set(play.client.sent))
