"""A shadow beside a keeper: up while the link is, heard only to be compared, gone when it is not wanted."""

import asyncio
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model

from realtime import config, dualrun, shadow
from realtime.appsync.auth import ApiKey
from realtime.appsync.endpoint import derive
from realtime.models import DualRun, Link
from realtime.shadow import Shadows
from realtime.upstream.credentials import StaticCredentials
from realtime.upstream.permits import LocalRate, Permits
from realtime.upstream.policy import preset
from realtime.upstream.shards import Shards
from realtime.upstream.states import State
from tests.fakes import FakeService, FakeSocket, ManualClock, settle

pytestmark = pytest.mark.feature("B6")

PRESENCE = "device/presenceChanged"
WINDOW = 5.0


class Site:
    """A worker's parts around one link that speaks GraphQL, so that its shadow speaks Events, to a scripted service."""

    def __init__(self, link, database):
        self.link, self.database = link, database
        self.clock = ManualClock()
        self.sockets, self.noted = [], []
        self.shadows = Shadows(database, self)
        self.upstream = config.load().upstream
        self.keeper = self.new_keeper()

    def new_keeper(self):
        manager = SimpleNamespace(snapshot=None, heard_at=None)
        keeper = SimpleNamespace(
            link_id=self.link.pk,
            user_id=self.link.user_id,
            subject="sub-viewer",
            manager=manager,
            credentials=StaticCredentials(ApiKey("key")),
            subscriptions=Shards({"onDeviceState org": "document"}, Random(1)),
            tap=None,
        )
        manager.snapshot = self.snapshot(State.OPEN)
        for subscription in keeper.subscriptions:
            subscription.status, subscription.live_since = "live", self.clock.monotonic()
        return keeper

    def snapshot(self, state):
        return SimpleNamespace(state=state, reason="", session=1)

    @property
    def parts(self):
        return SimpleNamespace(
            endpoint=derive("http://127.0.0.1:9/graphql", dialect="graphql"),
            transport=self,
            policy=preset("full-jitter"),
            clock=self.clock,
            rng=Random(1),
            root="root",
            bridge=self,
            permits=Permits(LocalRate(self.clock), self.clock),
            organizations=self.organizations,
        )

    async def organizations(self, user_id):
        return ["org"]

    def visible(self, user_id, keys):
        return {key for key in keys if key.endswith("mine")}

    async def open(self, opening):
        self.sockets.append(FakeSocket(FakeService()))
        return self.sockets[-1]

    def note(self, note):
        self.noted.append(note)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def follow(self, seconds=0.0):
        """Let time pass, then let the worker look."""
        await self.clock.advance(seconds)
        await self.shadows.follow({self.link.pk: self.keeper}, self.parts, self.upstream)
        await settle()

    async def want(self):
        await self.database.run(dualrun.start, [self.link.pk], WINDOW)
        await self.follow()

    def recorded_hears(self, device, online):
        text = str(online).lower()
        told = f'{{"onDeviceState":{{"orgId":"org","deviceId":"{device}","online":{text}}}}}'
        self.keeper.manager.heard_at = self.clock.boottime()
        self.keeper.tap.data("onDeviceState org", told)

    async def shadow_hears(self, payload):
        (ident,) = [f["id"] for f in self.sockets[-1].sent_of("subscribe") if f["channel"].endswith(PRESENCE)]
        self.sockets[-1].arrive({"type": "data", "id": ident, "event": payload})
        await settle()

    async def results(self):
        """What was found once everything is over and both sides were heard since."""
        for _ in range(2):
            await self.clock.advance(WINDOW + 5)
            self.keeper.manager.heard_at = self.clock.boottime()
            self.sockets[-1].arrive({"type": "ka"})
            await self.follow()
        return dualrun._results(self.noted[-1].results)


@pytest.fixture
def link(transactional_db):
    user = get_user_model().objects.create_user("viewer", subject="sub-viewer")
    return Link.objects.create(user=user, subject="sub-viewer")


@pytest_asyncio.fixture
async def site(link, database, settings):
    settings.APPSYNC_EVENTS_URL = "http://127.0.0.1:9/event"
    config.load.cache_clear()
    made = Site(link, database)
    yield made
    await made.shadows.end([link.pk], "the test is over")
    config.load.cache_clear()


async def test_without_a_wish_there_is_no_shadow(site):
    await site.follow()
    assert (site.sockets, site.keeper.tap, site.noted) == ([], None, [])


async def test_a_shadow_speaks_the_other_dialect_and_says_how_both_sides_are(site):
    await site.want()
    await site.follow(shadow.NOTE_EVERY)
    assert len(site.sockets[0].sent_of("subscribe")) == 9
    note = site.noted[-1]
    assert note.recorded == "graphql"
    assert {side: state["live"] for side, state in note.sides.items()} == {"events": True, "graphql": True}


async def test_what_both_sides_hear_is_compared(site):
    await site.want()
    await site.follow(10.0)
    site.recorded_hears("mine", True)
    await site.shadow_hears('{"orgId":"org","deviceId":"mine","online":true}')
    assert (await site.results()).channels[PRESENCE].matched == 1


async def test_what_graphql_alone_tells_counts_only_if_the_user_may_see_it(site):
    await site.want()
    await site.follow(10.0)
    site.recorded_hears("mine", True)
    site.recorded_hears("others", True)
    tally = (await site.results()).channels[PRESENCE]
    assert (tally.alone["graphql"], tally.outside) == (1, 1)


async def test_a_payload_that_the_shadow_cannot_read_is_told(site):
    await site.want()
    await site.follow(10.0)
    await site.shadow_hears('{"orgId":7}')
    results = await site.results()
    assert results.unreadable["events"] == 1
    assert results.samples[0].kind == "unreadable"


@pytest.mark.parametrize("state", sorted(shadow.RESTING, key=str))
async def test_a_shadow_rests_while_its_link_does_and_comes_back_with_it(site, state):
    await site.want()
    site.keeper.manager.snapshot = site.snapshot(state)
    await site.follow()
    assert site.sockets[0].closed == 1
    site.keeper.manager.snapshot = site.snapshot(State.OPEN)
    await site.follow()
    assert len(site.sockets) == 2


async def test_a_shadow_whose_run_was_stopped_hears_no_more(site):
    await site.want()
    await site.database.run(dualrun.stop, [site.link.pk])
    await site.follow()
    assert site.sockets[0].closed == 1
    assert site.keeper.tap is None


async def test_a_link_that_was_begun_anew_has_a_new_shadow(site):
    await site.want()
    old, site.keeper = site.keeper, site.new_keeper()
    await site.follow()
    assert (site.sockets[0].closed, len(site.sockets)) == (1, 2)
    assert old.tap is None
    assert site.keeper.tap is not None


async def test_what_is_not_judged_at_the_end_is_counted(site):
    await site.want()
    site.recorded_hears("mine", True)
    await site.shadows.end([site.link.pk], "the worker stopped")
    assert dualrun._results(site.noted[-1].results).channels[PRESENCE].unjudged == 1


async def test_nothing_new_is_not_noted_again(site):
    await site.want()
    await site.follow(10.0)
    before = len(site.noted)
    await site.follow(10.0)
    assert len(site.noted) == before


async def test_a_dialect_without_an_address_is_named_once(site):
    site.upstream = replace(site.upstream, events_url="")
    await site.want()
    await site.follow()
    assert site.sockets == []
    (reason,) = [note.sides["events"]["reason"] for note in site.noted]
    assert reason.startswith("APPSYNC_EVENTS_URL is not set")
    assert await site.database.run(DualRun.objects.count) == 1


async def test_after_a_sleep_of_the_machine_the_shadow_knows_too(site):
    await site.want()
    site.clock.sleep(3600.0)
    for manager in site.shadows.managers:
        manager.woke(3600.0)
    await settle()
    assert site.sockets[0].closed == 1
