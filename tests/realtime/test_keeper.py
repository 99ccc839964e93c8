"""A link's windows: where they begin, what closes them, and that none is forgotten."""

import asyncio
import dataclasses
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace

import msgspec
import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from django.db.models import F

from dashboard.models import Field
from dashboard.recording import FieldRecorder
from realtime import gaps, repairs
from realtime.appsync.auth import ApiKey
from realtime.appsync.endpoint import derive
from realtime.bridge import Bridge, now_us
from realtime.keeper import Keeper
from realtime.models import Gap, Link, Transition
from realtime.notes import FeedsState
from realtime.parts import Parts
from realtime.snapshot import Snapshot, SnapshotUnavailable
from realtime.upstream.clock import SystemClock
from realtime.upstream.credentials import StaticCredentials, TokenUnavailable
from realtime.upstream.model import Breaker, Cause, Failure, Health
from realtime.upstream.permits import LocalRate, Permits
from realtime.upstream.policy import FullJitter, preset
from realtime.upstream.states import State
from tests.fakes import FakeCredentials, FakeService, ScriptedTransport
from tests.realtime.emulator.client import eventually
from tests.wire import EVENTS, GRAPHQL

pytestmark = pytest.mark.feature("S4.12")
DEADLINE = 10


class Provider:
    """Answers with what ``devices`` holds, once, if ``later`` says what holds then; or raises ``failures`` first."""

    def __init__(self):
        self.devices = []
        self.later = None
        self.failures = []
        self.before_answer = lambda: None
        self.whose = "sub-viewer"
        self.asked = 0
        self.answering = asyncio.Event()
        self.answering.set()

    async def fetch(self, subject, authorization):
        self.asked += 1
        await self.answering.wait()
        self.before_answer()
        if self.failures:
            raise self.failures.pop(0)
        body = {
            "asOf": datetime.fromtimestamp(now_us() / 1e6, UTC).isoformat(),
            "user": {"userId": self.whose},
            "organizations": [{"orgId": "org", "role": "Viewer"}],
            "devices": self.devices,
        }
        if self.later is not None:
            self.devices, self.later = self.later, None
        return msgspec.convert(body, Snapshot)


class Upstream:
    """A keeper whose manager is the test: `be` publishes a state."""

    def __init__(self, link, bridge, database, provider, dialect="events"):
        self.dialect = dialect
        self.link, self.bridge, self.database, self.provider = link, bridge, database, provider
        self.clock = SystemClock()
        self.keeper = Keeper(link.pk, link.user_id, link.subject, StaticCredentials(ApiKey("key")), self._parts())
        self.manager = SimpleNamespace(snapshot=None, heard_at=None)
        self.keeper.manager = self.manager
        self.revision = 0

    def _parts(self):
        async def organizations(user_id):
            return ["org"]

        known = {
            "worker": "w1",
            "endpoint": SimpleNamespace(dialect=self.dialect),
            "transport": None,
            "policy": preset("full-jitter"),
            "bridge": self.bridge,
            "recorder": FieldRecorder(asks=True),
            "provider": self.provider,
            "clock": self.clock,
            "rng": Random(1),
            "root": "root",
            "settle": 0.0,
            "permits": None,
            "organizations": organizations,
            "service": None,
        }
        return Parts(**{name: known[name] for name in Parts.__dataclass_fields__})

    def be(self, state, reason="", silent_for=0.0, session=1, health=Health.HEALTHY):
        """Publish a state; the last frame was heard ``silent_for`` seconds ago."""
        self.manager.heard_at = self.clock.boottime() - silent_for
        self.publish(state, reason, session, health)

    def publish(self, state, reason="", session=1, health=Health.HEALTHY, last_error=None, failure=None):
        self.revision += 1
        now = self.clock.monotonic()
        self.manager.snapshot = SimpleNamespace(
            revision=self.revision,
            state=state,
            reason=reason,
            attempt=0,
            session=session,
            since=now,
            next_try_at=None,
            waiting_for=frozenset(),
            last_error=last_error,
            failure=failure,
            connects=1,
            drops=0,
            rotations=0,
            silences=0,
            rotates_at=None,
            rotated_for="the machine slept",
            health=health,
            breaker=Breaker.CLOSED,
        )
        self.keeper._changed(self.manager.snapshot)

    def feeds(self, status, only=None):
        """Let feeds take a status, and tell the keeper of each."""
        for subscription in self.keeper._connection.subscriptions:
            if only in (None, subscription.feed):
                subscription.status = status
                self.keeper.subscription(subscription)

    async def gaps(self, **about):
        rows = await self.database.run(lambda: list(Gap.objects.filter(link=self.link, **about).order_by("pk")))
        return [(gap.feed, gap.cause, gap.outcome) for gap in rows]

    async def until(self, outcome, count=1):
        async with asyncio.timeout(DEADLINE):
            while True:
                if len(await self.gaps(outcome=outcome)) == count:
                    return
                await asyncio.sleep(0.005)

    async def open(self):
        """Come up and be repaired, for the first time, long enough ago."""
        self.be(State.CONNECTING)
        self.be(State.OPEN)
        self.feeds("live")
        async with asyncio.timeout(DEADLINE):
            while True:
                if await self.gaps() and not await self.gaps(outcome="open"):
                    break
                await asyncio.sleep(0.005)
        await self.database.run(lambda: Field.objects.update(recorded_at=F("recorded_at") - 60_000_000))


@pytest.fixture
def link(transactional_db):
    user = get_user_model().objects.create_user("viewer", subject="sub-viewer")
    return Link.objects.create(user=user, subject="sub-viewer")


@pytest_asyncio.fixture
async def upstream(link, database):
    asked = {}
    bridge = Bridge(
        database, FieldRecorder(asks=True), lambda entries: None, set, lambda *about: None,
        lambda link_id, doubted: asked["keeper"].repairs.doubt(doubted),
    )  # fmt: skip
    task = asyncio.create_task(bridge.run())
    made = Upstream(link, bridge, database, Provider())
    asked["keeper"] = made.keeper
    yield made
    await made.keeper.repairs.end()
    task.cancel()
    await asyncio.wait([task])


async def test_the_first_connect_has_a_window_too_and_the_snapshot_closes_it(upstream, database):
    upstream.provider.devices = [{"orgId": "org", "deviceId": "d1", "online": True}]
    await upstream.open()
    assert await upstream.gaps() == [("", "connecting", "repaired")]
    assert (await database.run(Link.objects.get)).live


async def test_a_window_in_which_nothing_happened_says_so(upstream):
    await upstream.open()
    upstream.be(State.BACKOFF, "connection lost")
    upstream.be(State.OPEN)
    await upstream.until("nothing-missed")
    assert (await upstream.gaps())[1] == ("", "connection lost", "nothing-missed")


@pytest.mark.feature("S4.4")
async def test_what_is_doubted_while_the_second_snapshot_is_under_way_is_not_closed_by_it(upstream):
    await upstream.open()
    provider, before = upstream.provider, upstream.provider.asked

    def doubt():
        if provider.asked == before + 2:
            upstream.keeper.doubt("an entity not known before", now_us())

    provider.before_answer = doubt
    upstream.keeper.compare()
    await upstream.until("nothing-missed")
    assert (await upstream.gaps())[1] == ("", "an entity not known before", "nothing-missed")
    assert provider.asked == before + 4


@pytest.mark.feature("S4.4")
async def test_what_is_doubted_while_its_windows_are_noted_is_not_closed_by_it_either(upstream, monkeypatch):
    await upstream.open()
    provider, before = upstream.provider, upstream.provider.asked
    closable, doubts = upstream.keeper.repairs._closable, [now_us()]

    async def doubted_meanwhile():
        closes = await closable()
        if doubts:
            upstream.keeper.doubt("an entity not known before", doubts.pop())
        return closes

    monkeypatch.setattr(upstream.keeper.repairs, "_closable", doubted_meanwhile)
    upstream.keeper.compare()
    await upstream.until("nothing-missed")
    assert provider.asked == before + 4


def before_it_closes(upstream, happens):
    """Have something happen once, when the note that closes windows has just been given to the bridge."""
    notes, happening = upstream.bridge.note, [happens]

    def note(applied):
        done = notes(applied)
        if getattr(applied, "closes", None) and happening:
            happening.pop()(done)
        return done

    upstream.bridge.note = note


@pytest.mark.feature("S4.4")
async def test_what_is_doubted_while_what_closes_windows_waits_for_the_database_is_not_closed_by_it(
    upstream, monkeypatch
):
    monkeypatch.setattr(repairs, "DOUBT_EVERY", 0.01)
    await upstream.open()
    before = upstream.provider.asked
    upstream.keeper.doubt("an entity not known before", now_us())
    before_it_closes(upstream, lambda done: upstream.keeper.repairs.doubt())
    await upstream.until("nothing-missed")
    assert upstream.provider.asked == before + 4


async def test_a_payload_that_is_unreadable_during_a_comparison_is_not_closed_by_it(upstream):
    await upstream.open()
    provider, before = upstream.provider, upstream.provider.asked

    def hear():
        if provider.asked == before + 2:
            upstream.keeper.data("tokenRevoked", "{")

    provider.before_answer = hear
    upstream.keeper.compare()
    await upstream.until("nothing-missed")
    assert provider.asked == before + 4


async def test_one_that_is_recorded_together_with_what_closes_windows_is_not_closed_by_it(upstream, monkeypatch):
    await upstream.open()
    provider, before = upstream.provider, upstream.provider.asked
    closable, payloads = upstream.keeper.repairs._closable, ["{"]

    async def heard_meanwhile():
        closes = await closable()
        if payloads:
            upstream.keeper.data("tokenRevoked", payloads.pop())
        return closes

    monkeypatch.setattr(upstream.keeper.repairs, "_closable", heard_meanwhile)
    upstream.keeper.compare()
    await upstream.until("nothing-missed")
    assert provider.asked == before + 4


async def test_what_is_asked_for_in_the_very_pass_in_which_a_repair_ends_is_done(upstream):
    """The repair's task is over then, and nobody was told yet."""
    await upstream.open()
    before, asking = upstream.provider.asked, []

    async def ask_after(done):
        await done
        upstream.keeper.compare()

    before_it_closes(upstream, lambda done: asking.append(asyncio.create_task(ask_after(done))))
    upstream.keeper.compare()
    await asyncio.wait_for(upstream.keeper.repairs._task, DEADLINE)
    await asyncio.wait(asking)
    await asyncio.wait_for(upstream.keeper.repairs._task, DEADLINE)
    assert upstream.provider.asked == before + 4


@pytest.mark.parametrize("lossy", [True, False])
async def test_a_frame_that_may_have_been_an_event_and_could_not_be_read_is_a_window(upstream, lossy):
    await upstream.open()
    before = upstream.provider.asked
    upstream.keeper.trouble("unreadable frame: it is no JSON", lossy)
    if lossy:
        await upstream.until("nothing-missed")
        assert (await upstream.gaps())[1] == ("", "unreadable frame: it is no JSON", "nothing-missed")
    else:
        await asyncio.wait([upstream.bridge.note(FeedsState(upstream.link.pk, upstream.link.user_id, []))])
        assert len(await upstream.gaps()) == 1 and upstream.provider.asked == before


async def test_a_service_whose_frames_can_not_be_read_is_compared_now_and_then_and_other_windows_close(
    upstream, monkeypatch
):
    """Each would ask for two snapshots, and none would close what began before it."""
    await upstream.open()
    upstream.be(State.BACKOFF, "connection lost")
    before = upstream.provider.asked
    upstream.provider.before_answer = lambda: upstream.keeper.trouble("unreadable frame", lossy=True)
    upstream.be(State.OPEN)
    await upstream.until("nothing-missed")
    for _ in range(50):
        upstream.keeper.trouble("unreadable frame", lossy=True)
    await asyncio.wait([upstream.bridge.note(FeedsState(upstream.link.pk, upstream.link.user_id, []))])
    assert upstream.provider.asked <= before + 4
    assert upstream.keeper.proof(now_us()) is None


async def test_a_loss_has_its_window_from_what_could_not_be_read_before_it(upstream):
    await upstream.open()
    upstream.keeper.trouble("unreadable frame", lossy=True)
    unread = now_us()
    upstream.keeper.trouble("unreadable frame", lossy=True)
    await upstream.until("nothing-missed")
    upstream.be(State.BACKOFF, "connection lost", silent_for=-60.0)
    await upstream.until("open")
    gap = await upstream.database.run(lambda: Gap.objects.get(outcome="open"))
    assert abs(gap.started_at - (unread - gaps.MARGIN)) < 1_000_000


@pytest.mark.feature("S4.10")
async def test_payloads_of_a_feed_that_can_not_be_read_keep_no_other_window_open(upstream):
    await upstream.open()
    upstream.be(State.BACKOFF, "connection lost")
    upstream.provider.before_answer = lambda: upstream.keeper.data("tokenRevoked", "{")
    upstream.be(State.OPEN)
    await upstream.until("nothing-missed")
    assert await upstream.gaps(outcome="open") == [("tokenRevoked", "undecodable payload", "open")]


async def test_what_a_repair_found_that_closed_nothing_is_told_by_the_one_that_does(upstream, monkeypatch):
    monkeypatch.setattr(repairs, "DOUBT_EVERY", 0.01)
    await upstream.open()
    provider, before = upstream.provider, upstream.provider.asked
    provider.devices = [{"orgId": "org", "deviceId": "d1", "online": True}]

    def doubt_once():
        if provider.asked == before + 2:
            upstream.keeper.repairs.doubt()

    provider.before_answer = doubt_once
    upstream.keeper.doubt("an entity not known before", now_us())
    await upstream.until("repaired", 2)
    assert provider.asked == before + 4


async def test_who_hears_along_and_fails_costs_the_link_nothing(upstream, caplog):
    await upstream.open()
    upstream.keeper.tap = SimpleNamespace(data=lambda feed, payload: 1 // 0)
    upstream.keeper.data("tokenRevoked", "{}")
    assert upstream.keeper.tap is None and "ZeroDivisionError" in caplog.text


async def test_a_feed_that_falls_silent_while_windows_are_opened_keeps_its_own(upstream):
    await upstream.open()
    upstream.feeds("live")
    await upstream.until("open", 0)
    notes, silenced = upstream.bridge.note, []

    def note(applied):
        done = notes(applied)
        if isinstance(applied, FeedsState) and not silenced:
            silenced.append("roleChanged")
            upstream.feeds("refused", only="roleChanged")
        return done

    def before_answer():
        if upstream.provider.asked % 2 == 0:
            upstream.bridge.note = note

    upstream.provider.before_answer = before_answer
    upstream.keeper.compare()
    await asyncio.wait_for(upstream.keeper.repairs._task, DEADLINE)
    assert silenced == ["roleChanged"]
    await upstream.until("open")
    assert await upstream.gaps(outcome="open") == [("roleChanged", "refused", "open")]
    assert [gap for gap in await upstream.gaps() if gap[0]] == [("roleChanged", "refused", "open")]


@pytest.mark.feature("S4.4")
async def test_nothing_is_proven_while_the_window_of_a_doubt_is_being_opened(upstream):
    await upstream.open()
    upstream.keeper.doubt("an entity not known before", now_us())
    assert upstream.keeper.proof(now_us()) is None


@pytest.mark.feature("S4.4")
async def test_who_turns_out_to_see_more_at_the_end_of_a_repair_is_compared_once_more(upstream):
    await upstream.open()
    provider, before = upstream.provider, upstream.provider.asked

    def reveal():
        if provider.asked == before + 2:
            provider.devices = [{"orgId": "org", "deviceId": "new", "online": True}]

    provider.before_answer = reveal
    upstream.keeper.compare()
    async with asyncio.timeout(DEADLINE):
        await upstream.keeper.repairs._task
    assert provider.asked == before + 4


async def test_b50_a_window_begins_at_the_last_frame_heard_and_not_when_the_loss_was_noticed(upstream, database):
    await upstream.open()
    upstream.be(State.BACKOFF, "connection lost", silent_for=40.0)
    await upstream.until("open")
    gap = await database.run(lambda: Gap.objects.get(outcome="open"))
    expected = now_us() - 40_000_000 - gaps.MARGIN
    assert abs(gap.started_at - expected) < 1_000_000
    assert not (await database.run(Link.objects.get)).live


async def test_b50_one_window_spans_all_attempts_until_the_link_is_back(upstream):
    await upstream.open()
    for state in (State.BACKOFF, State.CONNECTING, State.BACKOFF, State.CONNECTING, State.AUTHENTICATING):
        upstream.be(state)
    await upstream.until("open")
    upstream.be(State.OPEN)
    await upstream.until("nothing-missed")
    assert len(await upstream.gaps()) == 2


async def test_b29_what_is_lost_between_a_success_and_its_settling_is_found_by_the_second_snapshot(upstream):
    upstream.provider.devices = [{"orgId": "org", "deviceId": "d1", "online": True}]
    await upstream.open()
    upstream.be(State.BACKOFF, "connection lost")
    upstream.provider.later = [{"orgId": "org", "deviceId": "d1", "online": False}]
    upstream.be(State.OPEN)
    await upstream.until("repaired", 2)
    assert (await upstream.gaps())[1] == ("", "connection lost", "repaired")


async def test_a_loss_during_the_repair_keeps_the_window_open(upstream):
    upstream.provider.answering.clear()
    upstream.be(State.CONNECTING)
    upstream.be(State.OPEN)
    upstream.feeds("live")
    upstream.be(State.BACKOFF)
    upstream.provider.answering.set()
    await upstream.until("open")
    upstream.be(State.OPEN)
    await upstream.until("repaired")
    assert await upstream.gaps(outcome="open") == []


async def test_a_snapshot_that_is_away_is_asked_until_it_comes(upstream, monkeypatch):
    monkeypatch.setattr(repairs, "SNAPSHOT_RETRY", FullJitter(base=0.001, cap=0.001))
    upstream.provider.failures = [SnapshotUnavailable("down")] * 3
    await upstream.open()
    assert upstream.provider.asked == 3 + 2


@pytest.mark.parametrize(
    ("unauthorized", "refreshes"),
    [
        ([False, False, False], [False] * 5),
        ([False, True, True, True], [False, False, True, False, False, False]),
    ],
    ids=["an outage", "refused credentials"],
)
async def test_a_token_is_forced_to_be_new_for_a_snapshot_once_and_only_if_it_was_refused(
    upstream, monkeypatch, unauthorized, refreshes
):
    monkeypatch.setattr(repairs, "SNAPSHOT_RETRY", FullJitter(base=0.001, cap=0.001))
    upstream.provider.failures = [SnapshotUnavailable("no", unauthorized=refused) for refused in unauthorized]
    credentials = upstream.keeper._credentials = FakeCredentials()
    await upstream.open()
    assert credentials.asked == refreshes


async def test_a_new_token_that_could_not_be_had_is_asked_for_again(upstream, monkeypatch):
    monkeypatch.setattr(repairs, "SNAPSHOT_RETRY", FullJitter(base=0.001, cap=0.001))
    upstream.provider.failures = [SnapshotUnavailable("no", unauthorized=True)]
    credentials = upstream.keeper._credentials = FakeCredentials(None, TokenUnavailable("the issuer is down"))
    await upstream.open()
    assert credentials.asked == [False, True, True, False]


@pytest.mark.feature("S3.10")
async def test_somebody_elses_view_is_not_taken_for_the_users(upstream):
    upstream.provider.whose = "sub-owner"
    await upstream.open()
    assert await upstream.gaps() == [("", "connecting", "unknown")]


async def test_a_snapshot_that_can_never_be_read_closes_the_window_as_unknown(upstream):
    upstream.provider.failures = [SnapshotUnavailable("not in the expected form", retryable=False)]
    await upstream.open()
    assert await upstream.gaps() == [("", "connecting", "unknown")]


async def test_without_a_provider_windows_close_as_unknown(upstream, link, database):
    alone = Upstream(link, upstream.bridge, database, None)
    await alone.open()
    assert await alone.gaps() == [("", "connecting", "unknown")]


async def test_a_refused_feed_has_a_window_of_its_own_until_it_is_live(upstream):
    upstream.be(State.CONNECTING)
    upstream.feeds("live")
    upstream.feeds("refused", only="roleChanged")
    upstream.be(State.OPEN)
    await upstream.until("repaired")
    assert await upstream.gaps(outcome="open") == [("roleChanged", "refused", "open")]
    upstream.feeds("live", only="roleChanged")
    await upstream.until("open", 0)
    assert {outcome for feed, _, outcome in await upstream.gaps() if feed} == {"nothing-missed"}


async def test_a_feed_that_falls_silent_while_the_window_closes_is_not_forgotten(upstream):
    notes = upstream.bridge.note

    def note(applied):
        done = notes(applied)
        if getattr(applied, "closes", None):
            upstream.feeds("refused", only="roleChanged")
        return done

    upstream.bridge.note = note
    upstream.be(State.CONNECTING)
    upstream.be(State.OPEN)
    upstream.feeds("live")
    await upstream.until("repaired")
    await upstream.until("open")
    assert await upstream.gaps(outcome="open") == [("roleChanged", "refused", "open")]


async def test_a_silent_connection_that_was_replaced_has_a_window_from_its_last_frame_on(upstream, link, database):
    await upstream.open()
    upstream.be(State.OPEN, silent_for=100.0, health=Health.SUSPECT)
    upstream.provider.devices = [{"orgId": "org", "deviceId": "d1", "online": True}]
    upstream.be(State.OPEN, silent_for=100.0, session=2)
    await upstream.until("repaired", 2)
    (window,) = await database.run(lambda: list(Gap.objects.filter(link=link, cause__startswith="silent until")))
    assert (window.cause, window.outcome) == ("silent until it was replaced: the machine slept", "repaired")
    assert 95_000_000 < now_us() - window.started_at < 110_000_000


@pytest.mark.feature("S4.12")
async def test_a_connection_that_was_replaced_in_good_health_is_compared_and_has_no_window(upstream):
    await upstream.open()
    windows, asked = await upstream.gaps(), upstream.provider.asked
    upstream.be(State.OPEN, session=2)
    await asyncio.wait_for(upstream.keeper.repairs._task, DEADLINE)
    assert (upstream.provider.asked, await upstream.gaps()) == (asked + 2, windows)


async def test_a_feed_that_came_while_the_second_snapshot_was_taken_is_compared_once_more(upstream):
    """The snapshot may be older than the subscription, and what came between them in neither."""
    upstream.be(State.CONNECTING)
    upstream.feeds("live")
    upstream.feeds("retrying", only="roleChanged")
    upstream.provider.before_answer = lambda: (
        upstream.provider.asked == 2 and upstream.feeds("live", only="roleChanged")
    )
    upstream.be(State.OPEN)
    await upstream.until("repaired")
    await upstream.until("nothing-missed")
    assert ("roleChanged", "live only during the comparison", "nothing-missed") in await upstream.gaps()
    assert upstream.provider.asked == 4


async def test_a_repair_that_fails_for_a_reason_of_ours_is_tried_again(upstream, monkeypatch):
    monkeypatch.setattr(repairs, "REPAIR_RETRY", 0.01)
    faults = [ZeroDivisionError("ours"), ZeroDivisionError("ours")]

    def fail():
        if faults:
            raise faults.pop()

    upstream.provider.before_answer = fail
    await upstream.open()
    assert faults == [] and await upstream.gaps(outcome="open") == []


async def test_an_unreadable_payload_has_a_window_that_the_next_comparison_closes(upstream):
    await upstream.open()
    upstream.keeper.data("tokenRevoked", "{")
    await upstream.until("nothing-missed", 1)
    assert ("tokenRevoked", "undecodable payload", "nothing-missed") in await upstream.gaps()


async def test_what_is_proven_ends_at_the_last_frame_heard_and_at_what_is_recorded(upstream):
    await upstream.open()
    upstream.manager.heard_at = upstream.clock.boottime() - 5
    _, through, _ = upstream.keeper.proof(now_us())
    assert abs(through - (now_us() - 5_000_000)) < 1_000_000


async def test_a_proof_is_repeated_only_when_something_was_heard_or_not_all_was_recorded(upstream):
    await upstream.open()
    upstream.manager.heard_at = upstream.clock.boottime()
    all_of_it = now_us() + 60_000_000
    assert [upstream.keeper.proof(0)[1] for _ in range(2)] == [0, 0]
    assert upstream.keeper.proof(all_of_it) is not None
    assert upstream.keeper.proof(all_of_it) is None
    upstream.manager.heard_at += 1
    assert upstream.keeper.proof(all_of_it) is not None


async def test_each_news_of_the_state_is_a_transition_and_repeats_are_none(upstream, database):
    for _ in range(3):
        upstream.be(State.CONNECTING)
    await upstream.until("open")
    assert await database.run(lambda: Transition.objects.count()) == 1


async def test_a_link_that_stays_up_is_compared_again_after_some_hours(upstream, monkeypatch):
    await upstream.open()
    asked = upstream.provider.asked
    upstream.keeper.repairs.reconcile()
    assert upstream.provider.asked == asked
    later = upstream.clock.monotonic() + 1.3 * repairs.RECONCILE_EVERY
    upstream.be(State.OPEN)
    monkeypatch.setattr(upstream.clock, "monotonic", lambda: later)
    upstream.provider.devices = [{"orgId": "org", "deviceId": "d1", "online": False}]
    upstream.keeper.repairs.reconcile()
    await upstream.keeper.repairs._task
    assert await upstream.database.run(Field.objects.filter(key="device/org/d1", name="online").exists)


async def test_a_feed_that_comes_while_the_windows_close_does_not_keep_its_own(upstream):
    notes = upstream.bridge.note

    def note(applied):
        done = notes(applied)
        if getattr(applied, "closes", None) and upstream.provider.asked == 2:
            upstream.feeds("live", only="roleChanged")
        return done

    upstream.bridge.note = note
    upstream.be(State.CONNECTING)
    upstream.be(State.OPEN)
    upstream.feeds("live")
    upstream.feeds("retrying", only="roleChanged")
    await upstream.until("repaired", count=1)
    await upstream.until("nothing-missed", count=1)
    assert await upstream.gaps(outcome="open") == []


async def test_a_feed_whose_connection_is_lost_has_a_window_from_its_last_frame_and_no_other_has(upstream):
    upstream.be(State.OPEN)
    upstream.feeds("live")
    await upstream.keeper.repairs._task
    silent = upstream.clock.boottime() - 300.0
    for subscription in upstream.keeper.subscriptions:
        if subscription.feed == "roleChanged":
            subscription.deaf_since, subscription.error = silent, "keep-alive timeout"
    upstream.feeds("wanted", only="roleChanged")
    assert upstream.keeper.proof(now_us()) is None
    await upstream.until("open")
    await asyncio.wait([upstream.keeper._opening], timeout=DEADLINE)
    assert upstream.keeper.proof(now_us()) is not None
    gap = await upstream.database.run(lambda: Gap.objects.get(link=upstream.link, outcome="open"))
    assert (gap.feed, gap.cause) == ("roleChanged", "keep-alive timeout")
    assert abs(now_us() - gap.started_at - 300_000_000 - gaps.MARGIN) < 10_000_000


@pytest.mark.feature("S3.9")
async def test_b46_a_loss_that_is_noticed_before_the_sleep_is_has_a_window_that_begins_before_it(upstream, monkeypatch):
    """The socket of a machine that wakes up may fail at once; that it slept is looked for each second."""
    upstream.be(State.OPEN)
    upstream.feeds("live")
    await upstream.keeper.repairs._task
    awake = upstream.clock.boottime
    heard = now_us()
    monkeypatch.setattr(upstream.clock, "boottime", lambda: awake() + 600.0)
    monkeypatch.setattr("realtime.keeper.now_us", lambda: now_us() + 600_000_000)
    upstream.manager.heard_at = awake()
    upstream.publish(State.BACKOFF, "connection lost")
    await upstream.until("open")
    gap = await upstream.database.run(lambda: Gap.objects.get(link=upstream.link, outcome="open"))
    assert abs(gap.started_at - heard + gaps.MARGIN) < 5_000_000


async def test_b40_an_event_that_could_not_be_taken_is_a_window_that_a_snapshot_closes(upstream):
    await upstream.open()
    upstream.keeper.not_taken("roleChanged", "{}", ZeroDivisionError("ours"))
    await upstream.until("nothing-missed")
    assert (await upstream.gaps())[1] == ("", "an event could not be taken", "nothing-missed")


@pytest.mark.feature("S3.9")
async def test_what_is_wrong_stands_in_the_links_row_until_it_is_open(upstream):
    error = Cause("HTTP 503", status=503)
    told = []
    for state in (State.BACKOFF, State.OPEN):
        upstream.publish(state, "HTTP 503", last_error=error, failure=Failure.THROTTLED)
        await upstream.bridge.note(FeedsState(upstream.link.pk, upstream.link.user_id, []))
        link = await upstream.database.run(lambda: Link.objects.get(pk=upstream.link.pk))
        told.append((link.error_kind, link.error_class, link.last_error))
    assert told == [("server-error", "throttled", "HTTP 503"), ("", "", "HTTP 503")]


async def asked_anew(upstream):
    """Wait until there are subscriptions, and none of them has an answer yet."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if {s.status for s in upstream.keeper.subscriptions} == {"wanted"}:
                return
            await asyncio.sleep(0.005)


async def switched(upstream):
    upstream.keeper.switch()
    await asked_anew(upstream)
    await upstream.until("open")


@pytest.mark.feature("S4.5")
async def test_a_switch_gives_every_subscription_up_and_its_window_closes_by_a_snapshot(upstream):
    await upstream.open()
    before = list(upstream.keeper.subscriptions)
    await switched(upstream)
    assert not set(map(id, before)) & set(map(id, upstream.keeper.subscriptions))
    await upstream.until("open")
    assert await upstream.gaps(outcome="open") == [("", "organisation switched", "open")]
    upstream.feeds("live")
    await upstream.until("nothing-missed")
    assert (await upstream.gaps())[-1] == ("", "organisation switched", "nothing-missed")


@pytest.mark.feature("S4.5")
@pytest.mark.parametrize(("wire", "count"), [(EVENTS, 9), (GRAPHQL, 5)], ids=["events", "graphql"])
async def test_on_the_wire_a_switch_gives_all_up_before_it_asks_for_all_anew(upstream, link, wire, count):
    transport = ScriptedTransport(service=FakeService(wire))
    parts = dataclasses.replace(
        upstream._parts(),
        endpoint=derive("http://localhost:4000", dialect=wire.dialect),
        transport=transport,
        permits=Permits(LocalRate(upstream.clock), upstream.clock),
    )
    keeper = Keeper(link.pk, link.user_id, link.subject, StaticCredentials(ApiKey("key")), parts)
    keeper.manager.start()
    await upstream.until("repaired")
    keeper.switch()
    await eventually(lambda: len(transport.socket.sent) == 1 + 3 * count)
    greeting, *frames = transport.socket.sent
    asked, given_up, asked_again = frames[:count], frames[count : 2 * count], frames[2 * count :]
    assert greeting["type"] == "connection_init"
    assert [frame["type"] for frame in asked_again] == [frame["type"] for frame in asked] == [wire.subscribes] * count
    assert [frame["type"] for frame in given_up] == [wire.unsubscribes] * count
    assert {frame["id"] for frame in given_up} == {frame["id"] for frame in asked}
    assert not {frame["id"] for frame in asked} & {frame["id"] for frame in asked_again}
    assert set(map(wire.target, asked)) == set(map(wire.target, asked_again))
    await keeper.stop("over")
    assert (len(transport.sockets), transport.socket.closed) == (1, 1)


@pytest.mark.feature("S4.5")
async def test_nothing_is_compared_before_the_new_subscriptions_have_their_answer(upstream):
    await upstream.open()
    asked = upstream.provider.asked
    await switched(upstream)
    for feed in [s.feed for s in upstream.keeper.subscriptions][:-1]:
        upstream.feeds("live", only=feed)
    await asyncio.sleep(0)
    assert upstream.provider.asked == asked
    upstream.feeds("live")
    await upstream.until("nothing-missed")


@pytest.mark.feature("S4.5")
async def test_what_a_switch_missed_is_repaired(upstream):
    await upstream.open()
    await switched(upstream)
    upstream.provider.devices = [{"orgId": "org", "deviceId": "d1", "online": True}]
    upstream.feeds("live")
    await upstream.until("repaired", 2)
    assert (await upstream.gaps())[-1] == ("", "organisation switched", "repaired")


@pytest.mark.feature("S4.5")
async def test_a_switch_while_the_link_is_down_belongs_to_the_window_that_is_open(upstream):
    await upstream.open()
    upstream.be(State.BACKOFF, "connection lost")
    upstream.keeper.switch()
    upstream.be(State.OPEN)
    await upstream.until("nothing-missed")
    assert [cause for _, cause, _ in await upstream.gaps()] == ["connecting", "connection lost"]


@pytest.mark.feature("S4.5")
async def test_a_link_lost_in_the_middle_of_a_switch_keeps_its_window_until_it_is_back(upstream):
    await upstream.open()
    await switched(upstream)
    upstream.be(State.BACKOFF, "connection lost")
    await upstream.until("open")
    upstream.be(State.OPEN)
    upstream.feeds("live")
    await upstream.until("open", 0)
    assert [cause for _, cause, _ in await upstream.gaps()] == ["connecting", "organisation switched"]


@pytest.mark.feature("S4.5")
async def test_over_graphql_the_window_begins_when_the_other_organisation_was_last_compared(upstream, link):
    wide = Upstream(link, upstream.bridge, upstream.database, upstream.provider, dialect="graphql")
    wide.be(State.OPEN)
    await asked_anew(wide)
    wide.feeds("live")
    await wide.keeper.repairs._task
    compared = wide.keeper.repairs.compared_at
    await switched(wide)
    await wide.until("open")
    gap = await wide.database.run(lambda: Gap.objects.get(outcome="open"))
    assert (gap.cause, gap.started_at) == ("organisation switched", compared - gaps.MARGIN)
    wide.feeds("live")
    await wide.until("open", 0)
    await wide.keeper.repairs.end()


@pytest.mark.feature("S4.5")
async def test_a_second_switch_during_the_first_goes_on_with_its_window(upstream):
    await upstream.open()
    await switched(upstream)
    upstream.feeds("live", only="roleChanged")
    await switched(upstream)
    upstream.feeds("live")
    await upstream.until("open", 0)
    assert [cause for _, cause, _ in await upstream.gaps()] == ["connecting", "organisation switched"]


@pytest.mark.feature("S4.5")
async def test_after_a_switch_no_window_begins_with_a_loss_that_was_repaired_long_ago(upstream):
    upstream.keeper.repairs._parts = dataclasses.replace(
        upstream.keeper.repairs._parts, policy=preset("full-jitter", sync_timeout=0.05)
    )
    await upstream.open()
    upstream.be(State.BACKOFF, "connection lost", silent_for=3600.0)
    upstream.be(State.OPEN)
    await upstream.until("repaired", 2)
    began = now_us()
    await switched(upstream)
    for feed in [s.feed for s in upstream.keeper.subscriptions if s.feed != "roleChanged"]:
        upstream.feeds("live", only=feed)
    await upstream.until("nothing-missed")
    gap = await upstream.database.run(lambda: Gap.objects.get(outcome="open"))
    assert gap.feed == "roleChanged" and gap.started_at >= began - gaps.MARGIN


async def test_after_a_comparison_that_could_not_be_made_the_next_is_made_all_the_same(upstream, monkeypatch):
    await upstream.open()
    asked = upstream.provider.asked

    def fail():
        if upstream.provider.asked == asked + 1:
            raise SnapshotUnavailable("snapshot: unreadable", retryable=False)

    upstream.provider.before_answer = fail
    now = upstream.clock.monotonic()
    for comparison, snapshots in ((1, 1), (2, 3)):
        later = now + comparison * 1.3 * repairs.RECONCILE_EVERY
        monkeypatch.setattr(upstream.clock, "monotonic", lambda later=later: later)
        upstream.keeper.repairs.reconcile()
        await asyncio.wait_for(upstream.keeper.repairs._task, DEADLINE)
        assert upstream.provider.asked == asked + snapshots


@pytest.mark.feature("S4.5")
async def test_a_feed_that_stays_without_an_answer_after_a_switch_has_a_window_of_its_own(upstream):
    upstream.keeper.repairs._parts = dataclasses.replace(
        upstream.keeper.repairs._parts, policy=preset("full-jitter", sync_timeout=0.05)
    )
    await upstream.open()
    await switched(upstream)
    for feed in [s.feed for s in upstream.keeper.subscriptions if s.feed != "roleChanged"]:
        upstream.feeds("live", only=feed)
    await upstream.until("nothing-missed")
    await upstream.until("open")
    assert await upstream.gaps(outcome="open") == [("roleChanged", "wanted", "open")]
