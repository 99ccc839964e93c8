"""Batches become records; what can't be recorded costs itself alone; nothing is dropped while the database is away."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from django.contrib.auth import get_user_model
from django.db import DataError, OperationalError
from prometheus_client import REGISTRY

from dashboard.recording import FieldRecorder
from realtime import bridge as bridge_module
from realtime import feed
from realtime.bridge import Bridge, NotRecorded, RawCopy
from realtime.events import Recording
from realtime.leases import Fenced
from realtime.models import Credential, Drift, FeedEntry, Gap, Link, UndecodablePayload
from realtime.notes import CloseUnknown
from tests.realtime.drafts import draft, now_us

pytestmark = pytest.mark.feature("S4.11")
DEADLINE = 10


class World:
    """A bridge, one link, and what came of it."""

    def __init__(self, database, link, recorder=None):
        self.link = link
        self.published, self.asked, self.refused = [], [], []
        self.fenced, self.lost = False, set()
        self.bridge = Bridge(
            database,
            recorder or FieldRecorder(asks=True),
            self.published.extend,
            self._owned,
            lambda user_id, reason: self.refused.append((user_id, reason)),
            lambda *asked: self.asked.append(asked),
        )

    def _owned(self, link_ids):
        if self.fenced:
            raise Fenced("replaced")
        return set(link_ids) - self.lost

    def hear(self, payload, name="device/presenceChanged"):
        text = payload if isinstance(payload, str) else msgspec.json.encode(payload).decode()
        self.bridge.copy(RawCopy(self.link.pk, self.link.user_id, name, text, now_us(), "events"))

    def presence(self, number=1, online=True):
        self.hear({"orgId": "org", "deviceId": f"d{number}", "online": online, "timestamp": "2026-09-20T12:00:00Z"})

    async def until(self, condition):
        async with asyncio.timeout(DEADLINE):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(bridge):
    task = asyncio.create_task(bridge.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def link(transactional_db):
    user = get_user_model().objects.create_user("viewer", subject="sub-viewer")
    return Link.objects.create(user=user, subject="sub-viewer")


@pytest.fixture
def other(link):
    user = get_user_model().objects.create_user("owner", subject="sub-owner")
    return Link.objects.create(user=user, subject="sub-owner")


@pytest.fixture
def world(database, link):
    return World(database, link)


class Poisoned(FieldRecorder):
    """A recorder that can't take one device."""

    def record(self, copies, now):
        if any(copy.fact.key.endswith("/d3") for copy in copies):
            raise DataError("no such thing")
        return super().record(copies, now)


class Away(FieldRecorder):
    """A database that does not answer a few times."""

    times = 2

    def record(self, copies, now):
        if self.times:
            self.times -= 1
            raise OperationalError("database is locked")
        return super().record(copies, now)


async def kept(database, model):
    return await database.run(lambda: list(model.objects.all()))


async def test_copies_become_entries_in_the_order_of_their_arrival(world):
    async with running(world.bridge):
        for number in range(5):
            world.presence(number)
        await world.until(lambda: len(world.published) == 5)
    assert [entry.key for entry in world.published] == [f"device/org/d{number}" for number in range(5)]
    assert [entry.offset for entry in world.published] == [1, 2, 3, 4, 5]


async def test_what_waits_is_proven_up_to_the_first_that_waits(world):
    before = now_us()
    world.presence()
    assert before - 1 <= world.bridge.recorded_through() < now_us()
    async with running(world.bridge):
        await world.until(lambda: world.published)
        await world.until(lambda: world.bridge.recorded_through() > before + 1_000)


async def test_a_batch_is_kept_and_tried_again_while_the_database_is_away(database, link):
    world = World(database, link, Away(asks=True))
    async with running(world.bridge):
        world.presence(1)
        world.presence(2)
        await world.until(lambda: len(world.published) == 2)
    assert [entry.offset for entry in world.published] == [1, 2]


async def test_b39_full_queues_hold_up_the_sockets_which_is_counted(world, monkeypatch):
    monkeypatch.setattr(bridge_module, "ROOM", 2)
    held_up = REGISTRY.get_sample_value("fleetlight_upstream_held_up_total")
    await asyncio.wait_for(world.bridge.room(), DEADLINE)
    world.presence(1)
    world.presence(2)
    waiting = asyncio.create_task(world.bridge.room())
    async with running(world.bridge):
        assert not waiting.done()
        await asyncio.wait_for(waiting, DEADLINE)
    assert REGISTRY.get_sample_value("fleetlight_upstream_held_up_total") == held_up + 1


async def test_an_undecodable_payload_is_kept_with_an_open_window_that_the_page_is_told_of(world, database):
    async with running(world.bridge):
        world.hear('{"orgId": 7}')
        world.presence()
        await world.until(lambda: len(world.published) == 2)
    (payload,) = await kept(database, UndecodablePayload)
    (gap,) = await kept(database, Gap)
    assert (payload.feed, payload.path, payload.payload) == ("device/presenceChanged", "$.orgId", '{"orgId": 7}')
    assert (gap.feed, gap.cause, gap.outcome) == ("device/presenceChanged", "undecodable payload", "open")
    assert {entry.key for entry in world.published} == {"device/org/d1", "link/self"}
    assert world.asked[:1] == [(world.link.pk, "device/presenceChanged")]


@pytest.mark.feature("S4.10")
async def test_a_payload_that_drifts_is_recorded_and_what_is_not_known_is_counted(world, database):
    async with running(world.bridge):
        world.hear({"orgId": "org", "deviceId": "d1", "online": True, "battery": 80})
        await world.until(lambda: world.published)
    (drift,) = await kept(database, Drift)
    assert (drift.feed, drift.path, drift.count) == ("device/presenceChanged", "$.battery", 1)
    assert '"battery":80' in drift.sample
    assert await kept(database, UndecodablePayload) == []


async def test_drift_that_can_not_be_noted_costs_nothing_else(world, database, monkeypatch, caplog):
    monkeypatch.setattr(Drift.objects, "get_or_create", raising(OperationalError("busy")))
    async with running(world.bridge):
        world.hear({"orgId": "org", "deviceId": "d1", "online": True, "battery": 80})
        await world.until(lambda: world.published)
        monkeypatch.undo()
        world.presence(2)
        await world.until(lambda: len(world.published) == 2)
    assert "could not be noted (busy)" in caplog.text
    assert [drift.count for drift in await kept(database, Drift)] == [1]


def raising(error):
    def function(*args, **kwargs):
        raise error

    return function


async def test_a_payload_that_cannot_be_recorded_costs_itself_alone(database, link):
    world = World(database, link, Poisoned(asks=True))
    async with running(world.bridge):
        for number in range(6):
            world.presence(number)
        await world.until(lambda: len(world.published) == 6)
    devices = [entry.key for entry in world.published if entry.key != "link/self"]
    assert devices == [f"device/org/d{number}" for number in (0, 1, 2, 4, 5)]
    (payload,) = await kept(database, UndecodablePayload)
    assert "no such thing" in payload.error
    assert [gap.outcome for gap in await kept(database, Gap)] == ["open"]


async def test_a_note_that_cannot_be_recorded_says_so_to_who_waits(world):
    class Bad:
        link_id = world.link.pk

        def apply(self, now, book):
            raise DataError("not this")

    async with running(world.bridge):
        done = world.bridge.note(Bad())
        world.presence()
        with pytest.raises(NotRecorded, match="not this"):
            await asyncio.wait_for(done, DEADLINE)
        await world.until(lambda: world.published)


async def test_notes_of_one_moment_are_written_together(world, monkeypatch):
    written = []
    transact = world.bridge.transact
    monkeypatch.setattr(world.bridge, "transact", lambda batch: written.append(len(batch)) or transact(batch))
    note = CloseUnknown(world.link.pk, world.link.user_id, ["device/presenceChanged"], "lost", now_us())
    async with running(world.bridge):
        noted = []
        for _ in range(3):
            noted.append(world.bridge.note(note))
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(*noted), DEADLINE)
    assert written == [3]


async def test_a_copy_does_not_wait_for_notes_to_gather(world, monkeypatch):
    monkeypatch.setattr(bridge_module, "GATHERING", 60.0)
    note = CloseUnknown(world.link.pk, world.link.user_id, ["device/presenceChanged"], "lost", now_us())
    async with running(world.bridge):
        noted = world.bridge.note(note)
        world.presence()
        await asyncio.wait_for(noted, DEADLINE)
    assert world.published


async def test_a_replaced_worker_writes_nothing_more(world, database):
    world.fenced = True
    world.presence()
    async with running(world.bridge) as task:
        with pytest.raises(Fenced):
            await asyncio.wait_for(asyncio.shield(task), DEADLINE)
    assert world.published == []
    assert await kept(database, FeedEntry) == []


async def test_only_what_came_over_a_link_that_was_lost_is_dropped(world, database, other):
    world.lost = {other.pk}
    noted = CloseUnknown(other.pk, other.user_id, ["device/presenceChanged"], "lost", now_us())
    async with running(world.bridge):
        world.presence(1)
        world.bridge.copy(RawCopy(other.pk, other.user_id, "device/presenceChanged", "{}", now_us(), "events"))
        late = world.bridge.note(noted)
        world.presence(2)
        await world.until(lambda: len(world.published) == 2)
    assert late.cancelled()
    assert {entry.topic for entry in world.published} == {f"user.{world.link.user_id}"}
    assert await kept(database, UndecodablePayload) == []


async def test_what_a_cancelled_run_left_is_recorded_by_drain(world):
    world.presence(1)
    world.presence(2)
    await world.bridge.drain()
    assert [entry.offset for entry in world.published] == [1, 2]


async def test_a_revoked_token_is_refused_in_the_transaction_that_records_it(world):
    world.hear({"userId": "sub-viewer", "timestamp": "2026-09-20T12:00:00Z"}, "tokenRevoked")
    await world.bridge.drain()
    assert [user_id for user_id, _ in world.refused] == [world.link.user_id]


async def test_a_narrowed_view_raises_the_floor_above_its_own_entries(world, database):
    world.hear({"userId": "sub-viewer", "timestamp": "2026-09-20T12:00:00Z"}, "tokenRevoked")
    await world.bridge.drain()
    head = (await database.run(feed.heads, [world.published[0].topic]))[world.published[0].topic]
    assert (head.floor, head.access_version) == (head.head, 1)


async def test_notes_and_copies_of_one_batch_have_moments_that_rise(world):
    moments = []

    class Note:
        link_id = world.link.pk

        def apply(self, now, book):
            moments.append(now)
            return Recording(drafts=[draft("user.9")])

    for _ in range(3):
        world.bridge.note(Note())
    await world.bridge.drain()
    world.presence()
    await world.bridge.drain()
    assert moments == sorted(set(moments))
    recorded = msgspec.json.decode(world.published[-1].body)["at"]["recorded"]
    assert recorded > moments[-1]


async def test_credentials_are_untouched_by_anybody_elses_events(world, database):
    world.presence()
    await world.bridge.drain()
    assert world.refused == [] and await kept(database, Credential) == []
