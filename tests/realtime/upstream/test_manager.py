"""The actor around the core: order, fencing, the barrier of a stop, and watchers that can't hurt it."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.upstream.manager import Manager
from realtime.upstream.model import Cause, Event, Health
from realtime.upstream.policy import Fixed, Policy
from realtime.upstream.states import State, Trigger
from tests.fakes import FakeConnector, ManualClock, settle, tasks_but_mine

POLICY = Policy(backoff=Fixed(5.0))


class Bench:
    """A manager, its clock, and a connector whose sessions the test speaks for."""

    def __init__(self, policy=POLICY):
        self.clock = ManualClock()
        self.connector = FakeConnector()
        self.manager = Manager(self.connector, policy, self.clock, Random(1), "sub-1")
        self.states = []
        self.manager.listen(lambda snapshot: self.states.append(snapshot.state))

    @property
    def state(self):
        return self.manager.snapshot.state

    @property
    def sink(self):
        return self.connector.sinks[-1]

    async def open(self):
        self.manager.start()
        await settle()
        self.go_well()

    def go_well(self):
        self.sink.post(Trigger.TRANSPORT_UP)
        self.sink.heard(self.clock.boottime())
        self.sink.post(Trigger.ACCEPTED, seconds=300.0)
        self.sink.post(Trigger.SYNCED, final=True)


@pytest.fixture
async def bench():
    bench = Bench()
    yield bench
    await bench.manager.stop()


@pytest.mark.feature("S2.3")
async def test_a_start_dials_at_once(bench):
    bench.manager.start()
    await settle()
    assert bench.connector.running == {1}
    assert bench.state is State.CONNECTING


async def test_b84_every_snapshot_reaches_every_listener_in_order(bench):
    revisions = []
    bench.manager.listen(lambda snapshot: revisions.append(snapshot.revision))
    await bench.open()
    assert bench.states == [State.CONNECTING, State.AUTHENTICATING, State.SYNCING, State.OPEN]
    assert revisions == [1, 2, 3, 4]


@pytest.mark.feature("S2.10")
async def test_a_session_that_was_replaced_can_tell_whatever_it_wants(bench):
    await bench.open()
    old = bench.sink
    bench.manager.connect_now()
    await settle()
    before = bench.manager.snapshot
    for trigger in (Trigger.ACCEPTED, Trigger.DROPPED, Trigger.AUTH_REJECTED, Trigger.SYNCED):
        old.post(trigger)
    assert bench.manager.snapshot == before
    assert bench.connector.running == {2}


async def test_a_task_that_ends_after_its_own_drop_counts_once(bench):
    await bench.open()
    bench.sink.post(Trigger.DROPPED, cause=Cause("connection lost"))
    await settle()
    assert (bench.manager.snapshot.drops, bench.manager.snapshot.attempt) == (1, 1)
    assert bench.connector.running == set()


async def test_a_session_that_fails_by_a_fault_of_ours_is_backed_off_and_logged(bench, caplog):
    bench.connector.fault = ZeroDivisionError("ours")
    bench.manager.start()
    await settle()
    assert bench.state is State.BACKOFF
    assert "internal error" in bench.manager.snapshot.reason
    assert "session 1 of link sub-1 failed" in caplog.text


@pytest.mark.feature("S2.7")
async def test_b42_silence_is_shown_after_65_seconds_and_any_frame_ends_it(bench):
    await bench.open()
    await bench.clock.advance(64.9)
    assert bench.manager.snapshot.health is Health.HEALTHY
    await bench.clock.advance(0.2)
    assert bench.manager.snapshot.health is Health.SUSPECT
    bench.sink.heard(bench.clock.boottime())
    assert bench.manager.snapshot.health is Health.HEALTHY


@pytest.mark.feature("S2.7")
async def test_b41_a_silent_session_ends_at_the_services_own_time_out(bench):
    await bench.open()
    await bench.clock.advance(100.0)
    bench.sink.heard(bench.clock.boottime())
    await bench.clock.advance(299.9)
    assert bench.state is State.OPEN
    await bench.clock.advance(0.2)
    assert bench.state is State.BACKOFF


async def test_b46_a_sleep_as_long_as_the_time_out_ends_the_session_at_once(bench):
    await bench.open()
    bench.clock.sleep(400.0)
    bench.manager.woke(400.0)
    assert bench.state is State.BACKOFF


async def test_b46_a_frame_that_came_after_a_sleep_proves_the_session_before_anybody_knows_of_the_sleep(bench):
    await bench.open()
    bench.clock.sleep(400.0)
    bench.sink.heard(bench.clock.boottime())
    bench.manager.woke(400.0)
    assert bench.state is State.OPEN


async def test_b46_a_timer_that_fires_before_anybody_knows_of_the_sleep_counts_it_as_silence(bench):
    await bench.open()
    bench.sink.heard(bench.clock.boottime())
    bench.clock.sleep(400.0)
    await bench.clock.advance(66.0)
    assert "no frame for 465 s" in bench.manager.snapshot.reason


async def test_b46_a_shorter_sleep_leaves_the_session_to_be_proven(bench):
    await bench.open()
    await bench.clock.advance(10.0)
    bench.clock.sleep(200.0)
    bench.manager.woke(200.0)
    assert bench.manager.snapshot.health is Health.SUSPECT
    await settle()
    bench.sink.post(Trigger.DROPPED)
    await bench.clock.advance(89.0)
    assert (bench.state, bench.manager.snapshot.session) == (State.OPEN, 1)
    await bench.clock.advance(2.0)
    assert bench.manager.snapshot.session != 1


async def test_when_the_link_was_last_heard_outlives_the_session(bench):
    """A gap begins there, also when a new session is dialled in the very step that ended the old one."""
    await bench.open()
    heard = bench.manager.heard_at
    told = []
    bench.manager.listen(lambda snapshot: told.append(bench.manager.heard_at))
    await bench.clock.advance(20.0)
    bench.manager.connect_now()
    assert heard is not None and told == [heard]


# ── Stopping ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stop_returns_only_when_the_session_has_ended(bench):
    bench.connector.slow_to_end = asyncio.Event()
    await bench.open()
    stopping = asyncio.create_task(bench.manager.stop())
    await settle()
    assert bench.state is State.STOPPED
    assert not stopping.done()
    bench.connector.slow_to_end.set()
    await stopping
    assert bench.connector.running == set()


async def test_a_stop_waits_for_sessions_that_were_replaced_too(bench):
    bench.connector.slow_to_end = asyncio.Event()
    await bench.open()
    bench.manager.connect_now()
    await settle()
    stopping = asyncio.create_task(bench.manager.stop())
    await settle()
    assert bench.connector.running == {1, 2}
    bench.connector.slow_to_end.set()
    await stopping
    assert bench.connector.running == set()


async def test_a_start_during_a_stop_does_not_hold_the_stop_up(bench):
    await bench.open()
    stopping = asyncio.create_task(bench.manager.stop())
    await asyncio.sleep(0)
    bench.manager.start()
    await stopping
    await settle()
    assert bench.connector.running == {2}


async def test_two_stops_return_both(bench):
    await bench.open()
    await asyncio.gather(bench.manager.stop("one"), bench.manager.stop("two"))
    assert bench.manager.snapshot.reason == "one"


async def test_a_stop_of_what_never_started_returns_at_once(bench):
    await bench.manager.stop()
    assert bench.states == []


async def test_a_stop_that_is_given_up_still_stops(bench):
    bench.connector.slow_to_end = asyncio.Event()
    await bench.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await bench.manager.stop()
    bench.connector.slow_to_end.set()
    await bench.manager.stop()
    assert tasks_but_mine() == set()


@pytest.mark.parametrize("when", [State.AUTHENTICATING, State.SYNCING, State.OPEN])
async def test_a_stop_out_of_a_listener_takes_effect_after_what_is_under_way(bench, when):
    """Posting while an event is handled only queues it, so no listener can get in between."""

    def stop_then(snapshot):
        if snapshot.state is when:
            bench.manager.post(Event(Trigger.STOP, text="enough"))

    bench.manager.listen(stop_then)
    await bench.open()
    assert bench.state is State.STOPPED
    assert bench.states[-2:] == [when, State.STOPPED]


async def test_a_stop_out_of_a_session_ends_that_session():
    bench = Bench()

    class StopsItself(FakeConnector):
        async def run(self, dial, sink):
            await bench.manager.stop("it wanted to")

    bench.manager._connector = StopsItself()
    bench.manager.start()
    await settle()
    assert bench.manager.snapshot.reason == "it wanted to"
    assert tasks_but_mine() == set()


@pytest.mark.feature("S2.1")
@given(st.lists(st.sampled_from(["start", "connect_now", "suspend", "resume", "tell", "advance", "fault", "yield"])))
@settings(max_examples=60)
def test_a_stop_during_anything_leaves_no_task_no_timer_and_no_session(script):
    async def play():
        bench = Bench()
        for what in script:
            if what == "suspend":
                bench.manager.suspend("nobody is watching", 3.0)
            elif what == "tell":
                for sink in bench.connector.sinks:
                    sink.post(Trigger.ACCEPTED)
                    sink.post(Trigger.SYNCED, final=True)
            elif what == "advance":
                await bench.clock.advance(4.0)
            elif what == "fault":
                for sink in bench.connector.sinks[-1:]:
                    sink.post(Trigger.DROPPED)
            elif what == "yield":
                await settle()
            else:
                getattr(bench.manager, what)()
            assert len(bench.connector.running) <= 2
        await bench.manager.stop()
        assert (tasks_but_mine(), bench.clock.armed, bench.connector.running) == (set(), [], set())
        assert bench.state is State.STOPPED

    asyncio.run(play())


# ── Watching ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.feature("S2.9")
async def test_a_slow_watcher_gets_the_newest_snapshot_and_steals_nobodys(bench):
    slow, quick = bench.manager.watch(), bench.manager.watch()
    assert (await quick.next()).state is State.STOPPED
    await bench.open()
    assert (await quick.next()).state is State.OPEN
    assert (await slow.next()).state is State.OPEN
    waiting = asyncio.create_task(slow.next())
    await settle()
    assert not waiting.done()
    bench.manager.suspend("nobody is watching")
    assert (await waiting).state is State.SUSPENDED


@pytest.mark.feature("S2.9")
async def test_a_watcher_that_never_reads_changes_nothing():
    async def trace(watched):
        bench = Bench()
        if watched:
            bench.manager.watch()
        await bench.open()
        await bench.clock.advance(400.0)
        await bench.manager.stop()
        return bench.states

    assert await trace(watched=True) == await trace(watched=False)


async def test_b40_a_listener_that_fails_hurts_neither_the_link_nor_the_others(bench, caplog):
    def fails(snapshot):
        raise ZeroDivisionError("a listener's own")

    bench.manager._listeners.insert(0, fails)
    await bench.open()
    assert bench.states == [State.CONNECTING, State.AUTHENTICATING, State.SYNCING, State.OPEN]
    assert "a listener of link sub-1 failed" in caplog.text
    assert bench.clock.armed


# ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_shell_arms_exactly_one_timer_for_all_of_the_models(bench):
    await bench.open()
    assert len(bench.clock.armed) == 1
    assert bench.clock.armed[0].deadline == bench.clock.monotonic() + bench.manager._policy.stable_after


@pytest.mark.feature("S2.12")
async def test_an_hour_of_outage_is_a_few_dials_and_takes_milliseconds():
    bench = Bench(Policy())
    bench.manager.start()
    for _ in range(3_600):
        await settle()
        if bench.connector.running:
            bench.sink.post(Trigger.DROPPED)
        await bench.clock.advance(1.0)
    assert 60 < len(bench.connector.dials) < 120
    await bench.manager.stop()


@pytest.mark.feature("S0.5")
async def test_a_server_that_accepts_and_drops_for_ten_minutes_gets_few_dials():
    """Without the gate of stability the same server got thousands."""
    bench = Bench(Policy())
    bench.manager.listen(lambda snapshot: None)
    bench.manager.start()
    for _ in range(6_000):
        await settle()
        if bench.connector.running:
            bench.go_well()
            bench.sink.post(Trigger.DROPPED)
        await bench.clock.advance(0.1)
    assert len(bench.connector.dials) < 60
    await bench.manager.stop()
