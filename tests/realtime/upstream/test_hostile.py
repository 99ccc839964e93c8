"""What holds of a whole link on a transport that delays, repeats, reorders, loses, invents, and ends at any point.

The numbers are those of the connection manager's invariants. Where ``test_invariants`` drives the pure core by events,
this drives what runs: manager, connection, session and subscriptions, by frames, failed dials, wishes and time.
"""

import asyncio
import json
from base64 import urlsafe_b64decode
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from realtime.appsync.auth import Token
from realtime.upstream.credentials import TokenRefused, TokenUnavailable
from realtime.upstream.permits import LocalRate, Permits
from realtime.upstream.states import HAS_SESSION, State
from realtime.upstream.transport import TransportError
from tests.fakes import (
    HANGS,
    FakeCredentials,
    FakeService,
    FakeSocket,
    ManualClock,
    ScriptedTransport,
    settle,
    tasks_but_mine,
)
from tests.links import Link
from tests.wire import WIRES

FEEDS = ("presence", "archive", "role", "plan")
DIALS = st.sampled_from(["hangs", "refused", "unauthorised", "reset"])
KINDS = (
    "UnauthorizedException",
    "LimitExceededError",
    "BadRequestException",
    "InternalFailure",
    "MaxSubscriptionsReachedError",
)
SLOW = object()
PICK = st.integers(0, 1_000)


class WatchedPermits(Permits):
    """Counts the turns that are held."""

    held = 0

    @asynccontextmanager
    async def turn(self):
        async with super().turn():
            self.held += 1
            try:
                yield
            finally:
                self.held -= 1


class HostileCredentials(FakeCredentials):
    """Tokens that say whose they are; one that was asked for before somebody else signed in is the former's."""

    def __init__(self):
        super().__init__()
        self.whose = "sub-1"
        self.may_answer = asyncio.Event()

    async def get(self, *, refresh=False):
        whose = self.whose
        if self.script and self.script[0] is SLOW:
            self.script.pop(0)
            await self.may_answer.wait()
        token = await super().get(refresh=refresh)
        return Token(f"{token.token} of {whose}")


class HostileSocket(FakeSocket):
    """Holds every answer of its service back until it is told what becomes of it."""

    def __init__(self, transport):
        super().__init__()
        self.transport = transport
        self.service = transport.service
        self.calm = False
        self.pending = []
        self.asked = {}

    async def send(self, text):
        await super().send(text)
        frame = self.sent[-1]
        if frame["type"] == self.service.wire.subscribes:
            self.transport.show(self.service.wire.authorization(frame)["Authorization"])
            self.asked[frame["id"]] = self.service.wire.target(frame)
        self.pending += self.service.answers(frame)
        if self.calm:
            self.release_all()

    def release_all(self):
        while self.pending:
            self.arrive(self.pending.pop(0))


class HostileTransport(ScriptedTransport):
    """Opens hostile sockets; from the time when it is calm on, such as behave."""

    calm = False

    def __init__(self, service, credentials, permits):
        super().__init__(service=service)
        self.credentials = credentials
        self.permits = permits
        self.under_way = 0
        self.wrongs = []
        """What nobody may do, and somebody did: an error here would be one of the connection's."""

    async def open(self, opening):
        self.under_way += 1
        if self.under_way > self.permits.held:
            self.wrongs.append("5: dialled without a turn")
        self.show(token_in(opening))
        try:
            return await super().open(opening)
        finally:
            self.under_way -= 1

    def show(self, token):
        """Take a token that is sent to the service."""
        if not token.endswith(f" of {self.credentials.whose}"):
            self.wrongs.append(f"11: {token!r} while it is {self.credentials.whose}'s link")

    def make_socket(self):
        socket = HostileSocket(self)
        socket.calm = self.calm
        return socket


def token_in(opening):
    """The token in the subprotocol of an upgrade."""
    (text,) = [name.removeprefix("header-") for name in opening.subprotocols if name.startswith("header-")]
    return json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))["Authorization"]


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.link = None

    def play(self, work):
        """Run a coroutine, and everything that it sets in motion, until all of it waits."""

        async def to_rest():
            await work
            await settle()

        self.loop.run_until_complete(to_rest())

    def call(self, act, *args):
        async def acting():
            act(*args)

        self.play(acting())

    @initialize(wire=st.sampled_from(WIRES), up=st.booleans(), capacity=st.sampled_from([4, 3, 2, 1]))
    def begin(self, wire, up, capacity):
        """``capacity`` is how many of the four feeds the link puts on one connection."""
        self.wire = wire
        clock, credentials = ManualClock(), HostileCredentials()
        permits = WatchedPermits(LocalRate(clock), clock)
        self.transport = HostileTransport(FakeService(wire), credentials, permits)
        self.link = Link(
            self.transport, credentials, wire=wire, feeds=FEEDS, capacity=capacity, permits=permits, clock=clock
        )
        self.muted = {}
        self.manager = self.link.manager
        self.snapshots = []
        self.manager.listen(self.snapshots.append)
        self.unread = self.manager.watch()
        self.published = 0
        self.call(self.manager.start)
        if up:
            self.come_up()

    # ── What is wished ───────────────────────────────────────────────────────────────────────────────────────

    @rule(command=st.sampled_from(["start", "connect_now", "resume"]))
    def command(self, command):
        self.call(getattr(self.manager, command))

    @rule(grace=st.sampled_from([0.0, 30.0]))
    def suspend(self, grace):
        self.call(self.manager.suspend, "nobody is watching", grace)

    @rule(shut=st.booleans())
    def gate(self, shut):
        self.call(self.manager.shut_gate if shut else self.manager.open_gate, "maintenance")

    @rule(authority=st.sampled_from(["sub-1", "sub-1", "sub-2"]))
    def sign_in(self, authority):
        def signing_in():
            self.link.credentials.whose = authority
            self.manager.auth_changed(authority)

        self.call(signing_in)

    @rule(feeds=st.sets(st.sampled_from(FEEDS)))
    def want(self, feeds):
        self.call(self.link.want, *sorted(feeds))

    @rule(there=st.booleans())
    def network(self, there):
        self.call(self.manager.network, there)

    @rule(many=st.integers(1, 3), given_up=st.booleans())
    def stop(self, many, given_up):
        """21: every receipt comes, once, also when who waited for another one has gone."""
        self.open_gates_of_sockets()

        async def stopping():
            waiting = [asyncio.create_task(self.manager.stop("enough")) for _ in range(many)]
            if given_up:
                waiting.pop().cancel()
            async with asyncio.timeout(5):
                await asyncio.gather(*waiting)
            if not given_up or waiting:
                self.is_at_rest()

        self.play(stopping())

    @rule(soon=st.booleans())
    def replace(self, soon):
        """15: a session that is replaced stays the link's until the other one hears everything."""
        if soon:
            self.come_up()
        before = self.manager.snapshot
        self.call(self.manager.rotate, "asked for")
        if soon:
            for _ in range(3):
                for socket in self.transport.sockets[-len(FEEDS) :]:
                    self.call(socket.release_all)
        if before.state is State.OPEN:
            assert self.link.state is State.OPEN or self.manager.snapshot.drops > before.drops, "15"

    # ── What befalls the connection ──────────────────────────────────────────────────────────────────────────

    @rule(outcome=DIALS)
    def spoil_the_next_dial(self, outcome):
        self.transport.script.append(
            {
                "hangs": HANGS,
                "refused": TransportError("HTTP 503", status=503, retry_after=20.0),
                "unauthorised": TransportError("HTTP 401", status=401),
                "reset": TransportError("connect failed"),
            }[outcome]
        )

    @rule(outcome=st.sampled_from([HANGS, SLOW, SLOW, TokenUnavailable("away"), TokenRefused("revoked")]))
    def spoil_the_next_token(self, outcome):
        self.link.credentials.script.append(outcome)

    @rule()
    def let_slow_tokens_come(self):
        self.call(self.link.credentials.may_answer.set)
        self.link.credentials.may_answer.clear()

    @rule(which=PICK, code=st.sampled_from([None, 1000, 1011]))
    @precondition(lambda self: self.transport.sockets)
    def end(self, which, code):
        self.call(self.any_socket(which).end, None if code is None else TransportError("closed", code=code))

    @rule(which=PICK)
    @precondition(lambda self: self.transport.sockets)
    def let_it_close_slowly(self, which):
        self.any_socket(which).close_gate = self.any_socket(which).close_gate or asyncio.Event()

    @rule()
    @precondition(lambda self: self.transport.sockets)
    def replace_it_while_it_closes_slowly(self):
        """Its end is told long after another one has begun."""
        self.let_it_close_slowly(len(self.transport.sockets) - 1)
        self.call(self.manager.connect_now)
        self.come_up()

    @rule()
    def let_it_be_closed(self):
        self.open_gates_of_sockets()

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 10.0, 40.0, 400.0]))
    def pass_time(self, seconds):
        self.play(self.link.clock.advance(seconds))

    @rule(gap=st.sampled_from([5.0, 400.0]), known=st.booleans())
    def sleep(self, gap, known):
        """19: what slept through its time-out is over, and nothing that slept is believed before it is heard."""
        before = self.manager._model
        self.link.clock.sleep(gap)
        if not known:
            return
        self.call(self.manager.woke, gap)
        if before.state in (State.SYNCING, State.OPEN) and self.link.inlet.gate.is_set():
            gone = self.manager.snapshot.session != before.active.id
            assert gone or self.manager.suspect, "19"
            assert gone or gap < before.active.timeout, "19"

    @rule(there=st.booleans())
    def room(self, there):
        self.call(self.link.inlet.gate.set if there else self.link.inlet.gate.clear)

    # ── What befalls the frames ──────────────────────────────────────────────────────────────────────────────

    @rule(which=PICK)
    @precondition(lambda self: self.transport.sockets)
    def release_in_order(self, which):
        self.call(self.any_socket(which).release_all)

    @rule()
    def come_up(self):
        """Let everything go well until the link is open: else hardly any would ever come that far."""
        for _ in range(10):
            if self.link.state is State.OPEN:
                return
            self.wish_well()
            if self.link.state is State.BACKOFF:
                self.play(self.link.clock.advance(20.0))
            for socket in self.transport.sockets[-len(FEEDS) :]:
                self.call(socket.release_all)

    def wish_well(self):
        """Take away whatever keeps the link from trying."""
        self.call(self.manager.start)
        self.call(self.manager.resume)
        self.call(self.manager.open_gate, "maintenance")
        self.sign_in("sub-1")

    @rule(which=PICK, number=PICK, fate=st.sampled_from(["deliver", "repeat", "lose"]))
    @precondition(lambda self: any(socket.pending for socket in self.transport.sockets))
    def befall(self, which, number, fate):
        """Take one of the frames on their way, not necessarily the first."""
        socket = self.any_socket(which, lambda socket: socket.pending)
        frame = socket.pending[number % len(socket.pending)]
        if fate != "repeat":
            socket.pending.remove(frame)
        if fate != "lose":
            self.call(socket.arrive, frame)

    @rule(which=PICK, ident=PICK, kind=st.sampled_from(["ack", "accepted", "ended", "data", "junk", "error"]))
    @precondition(lambda self: self.transport.sockets)
    def invent(self, which, ident, kind):
        """Let a frame arrive that nobody has asked for, about a subscription of this connection or of any other."""
        idents = [ident for socket in self.transport.sockets for ident in socket.asked] or ["nobody's"]
        ident = idents[ident % len(idents)]
        frame = {
            "ack": lambda: self.wire.ack(60_000),
            "accepted": lambda: self.wire.accepted(ident),
            "ended": lambda: self.wire.ended(ident),
            "data": lambda: self.wire.data(ident, '{"stale":1}'),
            "junk": lambda: '{"type":',
            "error": lambda: self.wire.error("InternalFailure"),
        }[kind]()
        self.call(self.any_socket(which).arrive, frame)

    @rule(which=PICK, kind=st.sampled_from(KINDS))
    @precondition(lambda self: self.transport.sockets)
    def reject(self, which, kind):
        self.call(self.any_socket(which).arrive, self.wire.connection_error(kind))

    @rule(feed=st.sampled_from(FEEDS), kind=st.sampled_from(KINDS))
    @precondition(lambda self: self.reads() and self.link.state is State.OPEN)
    def refuse_one(self, feed, kind):
        """13: what befalls one subscription changes neither the connection nor its siblings."""
        if feed not in self.link.statuses():
            return
        siblings, session = self.siblings_of(feed), self.manager.snapshot.session
        ident = self.link.ident(feed)
        if self.link.statuses()[feed] in ("subscribing", "live"):
            self.call(self.speaking(ident).arrive, self.wire.error(kind, ident))
        assert (self.link.state, self.manager.snapshot.session) == (State.OPEN, session), "13"
        assert self.siblings_of(feed) == siblings, "13"

    @rule(kind=st.sampled_from(KINDS))
    @precondition(lambda self: self.link is not None and self.manager._model.draining)
    def provoke_what_was_replaced(self, kind):
        """1: what befalls a subscription of a session that is only heard out is not answered there."""
        life = self.link.connection._lives.get(self.manager._model.draining.id)
        for socket in [line._socket for line in life._lines.values()] if life else []:
            for ident in socket.asked:
                self.call(socket.arrive, self.wire.error(kind, ident))
        self.play(self.link.clock.advance(1.0))

    @rule(feed=st.sampled_from(FEEDS))
    @precondition(lambda self: self.reads() and self.link.state is State.OPEN)
    def publish(self, feed):
        """14 and 15: what is live is heard, and once if every session is live on it."""
        if self.link.statuses().get(feed) == "live":
            self.published += 1
            payload = f'{{"n":{self.published}}}'
            self.call(self.speaking(self.link.ident(feed)).arrive, self.wire.data(self.link.ident(feed), payload))
            for socket in self.transport.sockets:
                for ident in [i for i, target in socket.asked.items() if target == self.link.targets[feed]]:
                    if not socket.closed and ident != self.link.ident(feed):
                        self.call(socket.arrive, self.wire.data(ident, payload))
            heard = self.link.inlet.copies.count((feed, payload))
            assert heard >= 1, "14"
            assert heard == 1 or not self.link.connection._is_heard_by_all(feed), "15"

    def siblings_of(self, feed):
        return [(s.feed, s.status, s.ident) for s in self.link.subscriptions if s.feed != feed]

    def any_socket(self, which, fits=lambda socket: True):
        fitting = [socket for socket in self.transport.sockets if fits(socket)]
        return fitting[which % len(fitting)]

    def speaking(self, ident):
        """The socket of the session that speaks for the link, where this subscription was asked for."""
        return next(s for s in self.transport.sockets if ident in s.asked and not s.closed)

    def reads(self):
        return self.link is not None and self.link.inlet.gate.is_set()

    def open_gates_of_sockets(self):
        def open_them():
            for socket in self.transport.sockets:
                if socket.close_gate is not None:
                    socket.close_gate.set()

        self.call(open_them)

    # ── What holds at rest ───────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def invariant_1_only_what_speaks_for_the_link_or_is_to_is_written_to(self):
        if self.link is None:
            return
        model = self.manager._model
        may = {slot.id for slot in (model.active, model.candidate) if slot is not None}
        lives = self.link.connection._lives
        writable = {line._socket for life in lives.values() if life.id in may for line in life._lines.values()}
        for socket in set(self.transport.sockets) - writable:
            assert len(socket.sent) == self.muted.setdefault(socket, len(socket.sent)), "1"
        assert not writable & set(self.muted), "1: what was replaced does not come back"
        speaking = [life.id for life in lives.values() if self.link.connection.is_used(life)]
        assert model.active is None or speaking in ([], [model.active.id]), "1"

    @invariant()
    def invariants_5_and_11_nothing_is_dialled_without_a_turn_nor_with_a_token_of_somebody_else(self):
        assert self.link is None or self.transport.wrongs == []

    @invariant()
    def invariant_2_and_16_what_is_told_is_in_order(self):
        if self.link is None:
            return
        for before, after in pairwise(self.snapshots):
            assert after.revision == before.revision + 1, "16"
        sessions = [snapshot.session for snapshot in self.snapshots if snapshot.session]
        assert sessions == sorted(sessions), "2"
        assert not self.snapshots or self.snapshots[-1] == self.manager.snapshot, "16"

    @invariant()
    def invariant_4_nothing_runs_for_a_link_without_a_session(self):
        if self.link is None or self.link.state in HAS_SESSION or self.closing():
            return
        assert self.loop.run_until_complete(tasks_at_rest()) == set(), "4"
        assert len(self.link.clock.armed) <= 1, "4: the manager's own"

    @invariant()
    def invariant_12_no_socket_is_closed_twice_and_none_is_left_over(self):
        if self.link is None:
            return
        assert all(socket.closed <= 1 for socket in self.transport.sockets), "12"
        left = [socket for socket in self.transport.sockets if not socket.closed and socket not in self.closing()]
        model = self.manager._model
        slots = [slot for slot in (model.active, model.candidate, model.draining) if slot is not None]
        assert len(left) <= len(slots) * len(FEEDS), "12: none that hears nothing"

    @invariant()
    def invariant_14_what_is_live_was_asked_for_on_an_open_connection(self):
        if self.link is None:
            return
        live = {s.ident: s.target for s in self.link.subscriptions if s.status == "live"}
        assert len(live) == list(self.link.statuses().values()).count("live"), "14: no id twice"
        assert {ident: self.speaking(ident).asked[ident] for ident in live} == live, "14"
        if self.link.state is State.OPEN and not self.manager.snapshot.partial:
            assert set(self.link.statuses()) == set(self.link.targets), "14"

    def closing(self):
        """The sockets that are not closed only because closing them takes a while."""
        return [s for s in self.transport.sockets if s.close_gate is not None and not s.close_gate.is_set()]

    # ── The end ──────────────────────────────────────────────────────────────────────────────────────────────

    def teardown(self):
        try:
            if self.link is not None:
                self.calm_down()
                self.play(self.manager.stop())
                self.call(self.is_at_rest)
                assert [socket.closed for socket in self.transport.sockets] == [1] * len(self.transport.sockets), "12"
                self.play(self.late_reader())
        finally:
            self.loop.close()

    def calm_down(self):
        """7 and 14: once the world is well, time alone brings the link up, and every wanted feed with a new session."""
        self.transport.script.clear()
        self.link.credentials.script.clear()
        self.call(self.link.credentials.may_answer.set)
        self.transport.calm = True
        self.open_gates_of_sockets()
        self.call(self.link.inlet.gate.set)
        for socket in self.transport.sockets:
            socket.calm = True
            self.call(socket.release_all)
        self.wish_well()
        self.call(self.manager.network, True)
        for _ in range(20):
            self.play(self.link.clock.advance(10.0))
            self.keep_alive()
        assert self.link.state is State.OPEN, "7"
        self.call(self.manager.connect_now)
        assert self.link.state is State.OPEN
        assert self.link.statuses() == dict.fromkeys(self.link.targets, "live"), "14"
        for feed in self.link.targets:
            self.publish(feed)

    def keep_alive(self):
        for socket in self.transport.sockets:
            self.call(socket.arrive, {"type": "ka"})

    def is_at_rest(self):
        assert (self.link.state, self.link.clock.armed) == (State.STOPPED, []), "4"
        assert all(socket.closed == 1 for socket in self.transport.sockets), "4"

    async def late_reader(self):
        """16: who never read finds the truth."""
        assert await self.unread.next() == self.manager.snapshot


async def tasks_at_rest():
    return tasks_but_mine()


def check(examples):
    run = settings(
        max_examples=examples,
        stateful_step_count=40,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(Machine, settings=run)


@pytest.mark.feature("S2.12")
def test_a_link_keeps_its_promises_on_a_hostile_transport():
    check(200)


@pytest.mark.soak
def test_a_link_keeps_its_promises_on_a_hostile_transport_at_length():
    check(10_000)
