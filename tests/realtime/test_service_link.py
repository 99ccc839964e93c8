"""One wildcard connection for many links: who hears what, what gates say, and what is never lost on the way."""

import asyncio
import json
from random import Random
from types import SimpleNamespace

import pytest
from django.db import DataError, InterfaceError, OperationalError

from realtime import doubts, service_link
from realtime.appsync.auth import ApiKey
from realtime.appsync.endpoint import derive
from realtime.clock import now_us
from realtime.notes import ServiceState, Unreadable
from realtime.product import Audience
from realtime.service_link import DOUBT_EVERY, GATE, ServiceLink
from realtime.upstream.credentials import StaticCredentials
from realtime.upstream.manager import Manager
from realtime.upstream.permits import LocalRate, Permits
from realtime.upstream.policy import preset
from realtime.upstream.states import State
from realtime.upstream.transport import TransportError
from realtime.upstream.virtual import virtual
from tests.fakes import FakeService, ManualClock, ScriptedTransport, settle, tasks_but_mine

pytestmark = pytest.mark.feature("S4.4")

PATTERN = "/vortex-app/user/*"
CAM, NEW = "device/org/cam", "device/org/new"
FEED = "device/presenceChanged"


def presence(key=CAM, online=True, at="2026-11-28T10:00:00Z", event_type=FEED):
    _, org, device = key.split("/")
    event = {"eventType": event_type, "orgId": org, "deviceId": device, "online": online, "timestamp": at}
    return json.dumps({name: value for name, value in event.items() if value is not None})


class Hearer:
    """A link that shares the connection, and what it was told."""

    def __init__(self, user_id):
        self.user_id = user_id
        self.heard = []
        self.doubts = []
        self.compared = 0
        self.fault = None

    def hear(self, feed, payload, received):
        if self.fault:
            raise self.fault
        self.heard.append(payload)

    def compare(self):
        self.compared += 1

    def doubt(self, cause, since):
        self.doubts.append((cause, since))


class Database:
    """Runs at once; ``away`` are the errors that it raises first, and ``gate`` holds it up."""

    def __init__(self):
        self.away = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, function, *arguments):
        await self.gate.wait()
        if self.away:
            raise self.away.pop()
        return function(*arguments)


class Site:
    """A service link over a scripted transport, with the links that share it."""

    def __init__(self, *script, policy=None):
        self.clock = ManualClock()
        self.service = FakeService()
        self.transport = ScriptedTransport(*script, service=self.service)
        self.database = Database()
        self.notes = []
        self.seen = {CAM: {1, 2}}
        self.strange = {}
        rng = Random(1)
        self.policy = policy or preset("full-jitter")
        self.room = asyncio.Event()
        self.room.set()
        bridge = SimpleNamespace(note=self.notes.append, room=self.room.wait)
        self.link = ServiceLink(
            "w1",
            derive("https://api.example.com/event"),
            StaticCredentials(ApiKey("key")),
            self.transport,
            self.policy,
            Permits(LocalRate(self.clock), self.clock),
            self.clock,
            rng,
            "vortex-app",
            bridge,
            self.database,
            SimpleNamespace(audience=self._audience),
        )
        self.hearers, self.managers = {}, {}
        for user_id in (1, 2, 3):
            self.join(user_id, rng)

    def join(self, user_id, rng):
        hearer = self.hearers[user_id] = Hearer(user_id)
        connection = self.link.connection(user_id, hearer, {FEED: "own", "roleChanged": "own"})
        manager = self.managers[user_id] = Manager(connection, virtual(self.policy), self.clock, rng, f"sub-{user_id}")
        self.link.admit(user_id, manager)
        manager.start()

    def _audience(self, keys):
        return Audience(
            {key: self.seen.get(key, set()) for key in keys}, {k: self.strange[k] for k in keys & self.strange.keys()}
        )

    def states(self):
        return [manager.snapshot.state for manager in self.managers.values()]

    def heard(self):
        return {user_id: hearer.heard for user_id, hearer in self.hearers.items() if hearer.heard}

    async def tell(self, *payloads):
        for payload in payloads:
            ident = self.transport.socket.sent_of("subscribe")[-1]["id"]
            self.transport.socket.arrive({"type": "data", "id": ident, "event": payload})
        await settle()

    async def open(self):
        self.link.follow(True)
        await settle()
        await self.clock.advance(2.0)
        return self

    def told(self):
        return [note for note in self.notes if isinstance(note, ServiceState)][-1].values


@pytest.fixture
async def make():
    sites = []

    def made(*script, **about):
        sites.append(Site(*script, **about))
        return sites[-1]

    yield made
    for site in sites:
        for manager in site.managers.values():
            await manager.stop()
        site.database.gate.set()
        await site.link.stop("the test is over")
    assert tasks_but_mine() == set()


@pytest.fixture
async def site(make):
    return await make().open()


# ── Its state is a gate of each link ─────────────────────────────────────────────────────────────────────────


async def test_one_socket_with_one_wildcard_opens_every_link(site):
    assert site.states() == [State.OPEN] * 3
    (socket,) = site.transport.sockets
    assert [frame["channel"] for frame in socket.sent_of("subscribe")] == [PATTERN]


async def test_nobody_is_served_before_it_is_live(make):
    site = make()
    assert site.states() == [State.WAITING] * 3
    assert site.managers[1].snapshot.reason == "the service link is not open yet"


async def test_while_it_is_down_every_link_waits_with_its_reason_and_none_dials(make):
    down = [TransportError("http", "HTTP 503", status=503)] * 3
    site = make(None, *down)
    await site.open()
    site.transport.socket.end()
    await settle()
    assert site.states() == [State.WAITING] * 3
    assert "the service link is backoff: connection lost" in site.managers[1].snapshot.reason
    await site.clock.advance(3.0)
    assert "HTTP 503" in site.managers[2].snapshot.reason
    await site.clock.advance(60.0)
    assert site.states() == [State.OPEN] * 3


async def test_a_wildcard_that_is_refused_is_the_reason_of_every_link(make):
    site = make()
    site.service.refuses[PATTERN] = "BadRequestException"
    await site.open()
    assert site.states() == [State.WAITING] * 3
    assert "the service link hears nothing: BadRequestException" in site.managers[1].snapshot.reason


async def test_who_comes_later_shares_it_and_who_left_is_forgotten(site):
    site.join(4, Random(2))
    await settle()
    assert site.managers[4].snapshot.state is State.OPEN
    await site.managers[4].stop()
    site.link.dismiss(4)
    site.seen[CAM] = {4}
    await site.tell(presence())
    assert site.heard() == {}


async def test_a_healthy_connection_that_is_replaced_is_nobodys_business(site):
    before = [manager.snapshot.session for manager in site.managers.values()]
    site.link.manager.rotate("asked for")
    await settle()
    await site.clock.advance(30.0)
    assert site.link.manager.snapshot.rotations == 1
    assert [manager.snapshot.session for manager in site.managers.values()] == before
    assert [hearer.compared for hearer in site.hearers.values()] == [1, 1, 1]
    await site.tell(presence())
    assert site.heard() == {1: [presence()], 2: [presence()]}


async def test_a_silent_connection_that_is_replaced_is_a_window_of_every_link(site):
    heard = site.link.manager.heard_at
    await site.clock.advance(70.0)
    assert site.link.manager.suspect
    published = []
    site.managers[1].listen(lambda snapshot: published.append((snapshot.state, site.managers[1].heard_at)))
    site.link.manager.rotate("asked for")
    await settle()
    await site.clock.advance(5.0)
    assert [manager.snapshot.session for manager in site.managers.values()] == [2, 2, 2]
    assert site.states() == [State.OPEN] * 3
    assert (State.WAITING, heard) in published


async def test_it_rests_while_nobody_watches_and_is_back_for_who_comes(site):
    site.link.follow(False)
    await settle()
    assert site.link.manager.snapshot.state is State.SUSPENDED
    assert site.transport.socket.closed == 1
    await site.open()
    assert site.states() == [State.OPEN] * 3


async def test_who_insists_has_it_tried_now_unless_it_is_live(make):
    site = make(TransportError("http", "HTTP 503", status=503))
    site.link.follow(True)
    await settle()
    assert site.link.manager.snapshot.state is State.BACKOFF
    site.link.reconnect()
    await settle()
    assert site.link.manager.snapshot.state is State.OPEN
    site.link.reconnect()
    await settle()
    assert len(site.transport.sockets) == 1


async def test_who_insists_has_refused_credentials_tried_again(make):
    refused = TransportError("http", "HTTP 401", status=401)
    site = make(refused, refused)
    site.link.follow(True)
    await settle()
    assert site.link.manager.snapshot.state is State.WAITING
    site.link.reconnect()
    await settle()
    await site.clock.advance(2.0)
    assert site.states() == [State.OPEN] * 3


async def test_a_wildcard_that_was_refused_is_tried_again_after_a_while(make):
    site = make()
    site.service.refuses[PATTERN] = "BadRequestException"
    await site.open()
    site.service.refuses.clear()
    for _ in range(round(service_link.REFUSED_REST)):
        site.link.follow(True)
        site.transport.socket.arrive({"type": "ka"})
        await site.clock.advance(1.0)
    site.link.follow(True)
    await site.clock.advance(2.0)
    assert site.states() == [State.OPEN] * 3


async def test_one_that_gave_up_is_tried_again_for_who_comes(make):
    down = TransportError("http", "HTTP 503", status=503)
    site = make(down, down, policy=preset("full-jitter", max_attempts=1))
    site.link.follow(True)
    await site.clock.advance(60.0)
    assert site.link.manager.snapshot.state is State.FAILED
    site.link.follow(True)
    await site.clock.advance(60.0)
    assert site.link.manager.snapshot.state is State.FAILED
    site.link.follow(False)
    await site.open()
    assert site.states() == [State.OPEN] * 3


# ── Who hears what ───────────────────────────────────────────────────────────────────────────────────────────


async def test_an_event_goes_to_whom_it_concerns_and_to_nobody_else(site):
    await site.tell(presence())
    assert site.heard() == {1: [presence()], 2: [presence()]}


async def test_the_copies_of_an_event_are_one(site):
    await site.tell(*[presence()] * 5, presence(online=False, at="2026-11-28T10:00:01Z"), presence())
    assert len(site.hearers[1].heard) == 2
    site.link.prove()
    assert {name: site.told()[name] for name in ("received", "copies", "handed_on")} == {
        "received": 7,
        "copies": 5,
        "handed_on": 4,
    }


async def test_without_a_time_what_is_said_again_is_news_after_something_else(site):
    on, off = presence(at=None), presence(online=False, at=None)
    await site.tell(on, on, off, off, on)
    assert site.hearers[1].heard == [on, off, on]


async def test_a_link_that_waits_hears_nothing_and_its_window_covers_that(site):
    site.managers[2].shut_gate("auth", "not now")
    await settle()
    await site.tell(presence())
    assert list(site.heard()) == [1]


async def test_what_is_of_no_feed_of_ours_is_shown_by_its_type_and_left_alone(site):
    await site.tell(presence(event_type="billing/paid"), *(presence(event_type=f"kind-{n}") for n in range(30)))
    await site.tell(presence(event_type="billing/paid", at="2026-11-28T10:00:01Z"))
    site.link.prove()
    assert site.told()["of_no_feed"]["billing/paid"] == 2
    assert len(site.told()["of_no_feed"]) == service_link.MOST_KINDS + 1 and site.told()["of_no_feed"]["others"] == 11
    assert site.heard() == {} and all(hearer.doubts == [] for hearer in site.hearers.values())


async def test_an_entity_that_nobody_sees_is_asked_about_by_its_organisations_members_soon_and_then_seldom(site):
    site.strange[NEW] = {1, 3}
    asked = []
    for second in range(0, 8 * 3600, 600):
        await site.tell(presence(NEW, at=f"2026-11-28T{10 + second // 3600:02d}:{second % 3600 // 60:02d}:00Z"))
        asked.append([len(hearer.doubts) for hearer in site.hearers.values()])
        await site.clock.advance(600.0)
    assert asked[0] == [1, 0, 1] and asked[1] == [2, 0, 2] == asked[17]
    assert asked[-1] == [4, 0, 4]


async def test_many_entities_that_nobody_sees_cost_each_member_one_repair(site):
    for number in range(200):
        site.strange[f"device/org/new-{number}"] = {1, 3}
    await site.tell(*(presence(f"device/org/new-{number}") for number in range(200)))
    await site.clock.advance(DOUBT_EVERY)
    assert len(site.hearers[1].doubts) <= 2


# ── Nothing is lost on the way ───────────────────────────────────────────────────────────────────────────────


async def test_what_waits_for_the_database_counts_as_not_heard(site):
    site.database.gate.clear()
    await site.clock.advance(1.0)
    heard_before = site.clock.boottime()
    await site.tell(presence())
    await site.clock.advance(5.0)
    await site.tell(presence(online=False, at="2026-11-28T10:00:01Z"))
    assert site.link.heard_through() < heard_before + 0.001
    await site.clock.advance(service_link.TELL_EVERY)
    site.link.prove()
    assert site.managers[1].heard_at < heard_before + 0.001
    site.database.gate.set()
    await settle()
    assert len(site.hearers[1].heard) == 2
    assert site.link.heard_through() == site.link.manager.heard_at == heard_before + 5.0


async def test_a_lost_connection_begins_windows_before_what_still_waits(site):
    site.database.gate.clear()
    await site.clock.advance(1.0)
    await site.tell(presence())
    waiting_since = site.clock.boottime()
    await site.clock.advance(3.0)
    site.transport.socket.end()
    await settle()
    assert site.states() == [State.WAITING] * 3
    assert site.managers[1].heard_at < waiting_since


async def test_after_a_gap_the_same_text_is_news(site):
    """The socket drops, what came between is missed and repaired, and the same is said again."""
    await site.tell(presence(at=None))
    site.transport.socket.end()
    await settle()
    await site.clock.advance(3.0)
    assert site.states() == [State.OPEN] * 3
    await site.tell(presence(at=None))
    assert len(site.hearers[1].heard) == 2


@pytest.mark.parametrize("fault", [DataError("a NUL"), ZeroDivisionError("ours")])
async def test_a_fault_of_ours_is_a_window_of_every_link_and_never_the_end(site, fault):
    site.database.away = [fault]
    before = site.clock.boottime()
    await site.clock.advance(1.0)
    await site.tell(presence())
    assert site.states() == [State.WAITING] * 3
    assert "the service link failed" in site.managers[1].snapshot.reason
    assert site.managers[1].heard_at <= before + 1.0
    await site.clock.advance(service_link.FAULT_REST + 2.0)
    assert site.states() == [State.OPEN] * 3
    later = presence(online=False, at="2026-11-28T10:00:01Z")
    await site.tell(later)
    assert site.heard() == {1: [later], 2: [later]}


async def test_b40_a_link_that_can_not_take_an_event_has_a_window_and_the_others_have_the_event(site, caplog):
    site.hearers[1].fault = ZeroDivisionError("ours")
    await site.tell(presence())
    assert site.states() == [State.OPEN] * 3
    assert site.heard() == {2: [presence()]}
    assert [cause for cause, _ in site.hearers[1].doubts] == [service_link.NOT_TAKEN]
    assert site.hearers[2].doubts == []
    assert "a link can't take an event" in caplog.text


async def test_b40_an_event_at_which_the_service_link_fails_is_doubted_like_one_that_can_not_be_read(site, monkeypatch):
    def fails(payload):
        raise ZeroDivisionError("ours")

    site.seen["organization/org"] = {3}
    monkeypatch.setattr(service_link.decoding, "fact_by_type", fails)
    await site.tell(presence())
    monkeypatch.undo()
    await site.tell(presence(online=False))
    await site.clock.advance(0.0)
    assert (site.states(), len(site.transport.sockets)) == ([State.OPEN] * 3, 1)
    assert site.heard() == {1: [presence(online=False)], 2: [presence(online=False)]}
    assert [cause for cause, _ in site.hearers[3].doubts] == ["undecodable payload"]


async def test_the_bridge_is_given_no_more_than_it_has_room_for(site):
    site.room.clear()
    site.transport.socket.arrive({"type": "ka"})
    await settle()
    site.link.data("", presence())
    await settle()
    assert site.heard() == {}
    site.room.set()
    await settle()
    assert list(site.heard()) == [1, 2]


async def test_a_database_that_is_away_costs_time_and_no_event(site, monkeypatch, caplog):
    monkeypatch.setattr(service_link, "RETRY", 0.0)
    site.database.away = [OperationalError("away"), InterfaceError("away"), OperationalError("away")]
    await site.tell(presence())
    assert site.heard() == {1: [presence()], 2: [presence()]}
    assert "can't see whom events concern" in caplog.text


async def test_too_much_that_waits_stops_the_reading(site, monkeypatch):
    monkeypatch.setattr(service_link, "ROOM", 2)
    site.database.gate.clear()
    await site.tell(*(presence(at=f"2026-11-28T10:00:0{n}Z") for n in range(5)))
    site.link.prove()
    assert site.told()["received"] == 2
    site.database.gate.set()
    await settle()
    assert len(site.hearers[1].heard) == 5


async def test_what_can_not_be_read_is_kept_and_repaired_by_whom_it_may_have_concerned(site):
    site.seen["organization/org"] = {3}
    before = now_us()
    await site.tell(presence(online="maybe"))
    await site.clock.advance(0.0)
    ((cause, since),) = site.hearers[3].doubts
    assert cause == "undecodable payload" and before <= since <= now_us()
    assert site.hearers[1].doubts == []
    (kept,) = [note for note in site.notes if isinstance(note, Unreadable)]
    assert (kept.link_id, kept.feed) == (None, GATE) and "$.online" in kept.error


async def test_what_could_not_be_read_counts_as_not_heard_until_somebody_repairs_it(site):
    bad = presence(event_type=None)
    await site.tell(bad)
    await site.clock.advance(3.0)
    assert len(site.hearers[1].doubts) == 1
    unread = site.clock.boottime()
    await site.tell(bad)
    await site.clock.advance(3.0)
    await site.tell(presence())
    assert site.link.heard_through() < unread
    await site.clock.advance(DOUBT_EVERY)
    assert len(site.hearers[1].doubts) == 2
    assert site.link.heard_through() == site.link.manager.heard_at


async def test_a_frame_that_may_have_been_an_event_and_could_not_be_read_concerns_everybody(site):
    site.link.trouble("unknown frame type 'news'", lossy=False)
    site.link.trouble("unreadable frame: it is no JSON", lossy=True)
    await site.clock.advance(0.0)
    assert [len(hearer.doubts) for hearer in site.hearers.values()] == [1, 1, 1]
    (kept,) = [note for note in site.notes if isinstance(note, Unreadable)]
    assert kept.error == "unreadable frame: it is no JSON"


async def test_what_can_not_be_read_while_it_is_asked_whom_others_concerned_is_repaired_in_its_turn(site):
    """Nothing else comes that would wake the service link."""
    site.seen["organization/org"] = {3}
    site.database.gate.clear()
    await site.tell(presence(online="maybe"))
    await site.clock.advance(0.0)
    await site.tell(presence(online="perhaps"))
    site.database.gate.set()
    await site.clock.advance(0.0)
    before = len(site.hearers[3].doubts)
    await site.clock.advance(DOUBT_EVERY + 1.0)
    assert (before, len(site.hearers[3].doubts)) == (1, 2)


async def test_doubts_are_repaired_while_events_go_on_and_on(site):
    """The next event always waits when the last one was looked up."""
    lookups = 0

    def audience(keys):
        nonlocal lookups
        lookups += 1
        if lookups < 100:
            site.link.data("", presence(at=f"2026-11-28T{lookups // 60:02d}:{lookups % 60:02d}:00Z"))
        if lookups == 50:
            assert len(site.hearers[1].doubts) == 1
        return Audience({key: {1} for key in keys}, {})

    site.link._recorder.audience = audience
    await site.tell(presence(event_type=None), presence())
    assert lookups >= 100


async def test_what_could_not_be_read_is_kept_also_when_it_ends_before_the_repair(site):
    await site.tell(presence(event_type=None))
    await site.tell(presence(event_type=None, online=False))
    await site.link.stop("the test says so")
    assert len([note for note in site.notes if isinstance(note, Unreadable)]) == 2
    assert site.link._alarm.cancelled


async def test_an_event_that_does_not_say_what_it_is_may_have_been_anybodys(site):
    await site.tell(presence(event_type=None).replace("orgId", "organisation"))
    await site.clock.advance(0.0)
    assert [len(hearer.doubts) for hearer in site.hearers.values()] == [1, 1, 1]
    (kept,) = [note for note in site.notes if isinstance(note, Unreadable)]
    assert "no eventType" in kept.error


async def test_a_backend_that_drifted_costs_a_repair_now_and_then_and_hides_nothing(site):
    bad = [presence(event_type=None, at=f"2026-11-28T10:00:{n:02d}Z").replace("orgId", "org") for n in range(40)]
    for payload in bad:
        await site.tell(payload)
        await site.clock.advance(1.0)
    await site.clock.advance(DOUBT_EVERY)
    assert 4 <= len(site.hearers[1].doubts) <= 6
    kept = [note for note in site.notes if isinstance(note, Unreadable)]
    assert len(kept) <= doubts.SAMPLES * len(site.hearers[1].doubts)
    site.link.prove()
    assert site.told()["unread"] == 40


# ── What operators are told ──────────────────────────────────────────────────────────────────────────────────


async def test_operators_are_told_of_it_when_there_is_news(site):
    site.link.prove()
    told = site.told()
    assert (told["state"], told["reason"], told["links"], told["channel"]) == ("open", "", 3, PATTERN)
    assert (told["kind"], told["code"], told["next"]) == ("", "", "")
    count = len(site.notes)
    site.link.prove()
    assert len(site.notes) == count
    site.transport.script.append(TransportError("http", "HTTP 503", status=503))
    site.transport.socket.end()
    await settle()
    site.link.prove()
    assert site.told()["links"] == 0 and "connection lost" in site.told()["reason"]
    assert (site.told()["kind"], site.told()["code"]) == ("connection-failed", "transient")
    assert "manage.py doctor" in site.told()["next"]
