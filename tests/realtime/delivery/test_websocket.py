import asyncio

import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from dashboard.models import Session
from realtime import feed
from realtime.delivery.websocket import frame
from realtime.models import Topic
from tests.realtime.delivery.serving import Browser


@pytest.fixture
def topic(viewer):
    return f"user.{viewer.pk}"


@pytest.mark.feature("S1.1")
@pytest.mark.feature("S1.8")
async def test_a_session_is_greeted_and_hears_what_happens(browser, viewer, topic, writer):
    async with browser.socket() as socket:
        hello = await socket.next()
        await writer.online(topic, 1)
        event = await socket.of_type("event")
    assert hello["type"] == "hello"
    assert hello["user"] == viewer.pk
    assert set(hello["topics"]) == {topic, "broadcast"}
    assert event["topic"] == topic
    assert event["offset"] == hello["topics"][topic]["offset"] + 1
    assert event["fields"]["online"][0] is True
    assert event["at"]["relayed"] >= event["at"]["recorded"]


@pytest.mark.feature("S4.14")
async def test_nobody_hears_what_is_another_ones(server, rivals_session, browser, topic, writer):
    async with Browser(server, rivals_session).socket() as other, browser.socket() as socket:
        await other.next()
        await socket.next()
        await writer.online(topic, 1)
        await writer.online("broadcast", 2)
        await socket.events(2)
        heard = await other.of_type("event")
        assert heard["topic"] == "broadcast"
        await other.say(id=1, type="subscribe", topics=[topic])
        assert (await other.of_type("error"))["code"] == "not-allowed"


async def test_a_stranger_is_told_to_sign_in(server):
    async with Browser(server).socket() as socket:
        assert await socket.ending() == 4401
        assert socket.seen[-1]["code"] == "not-signed-in"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null", None])
async def test_a_page_of_another_site_cannot_open_it(browser, origin):
    with pytest.raises(InvalidStatus) as refused:
        async with browser.socket(origin=origin):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.feature("S1.15")
async def test_a_cursor_brings_what_was_missed_in_order_and_nothing_twice(browser, topic, writer):
    async with browser.socket() as socket:
        cursor = (await socket.next())["cursor"]
    for n in range(5):
        await writer.online(topic, n)
    async with browser.socket(cursor) as socket:
        hello = await socket.next()
        assert hello["topics"][topic]["recovered"] is True
        await writer.online(topic, 9)
        events = await socket.events(6)
    assert [event["offset"] for event in events] == [1, 2, 3, 4, 5, 6]


async def test_a_cursor_of_another_life_gets_a_resync_and_the_state_on_request(browser, topic, writer):
    await writer.online(topic, 1)
    async with browser.socket(f"{topic}:ffffffffffffffff:1") as socket:
        assert (await socket.next())["topics"][topic]["recovered"] is False
        resync = await socket.of_type("system")
        assert (resync["event"], resync["topic"], resync["cause"]) == ("resync", topic, "epoch")
        await socket.say(id="s1", type="sync")
        state = await socket.of_type("state")
    assert state["id"] == "s1"
    assert state["full"] is True
    assert "link/self" in state["entities"]
    assert feed_places(state["cursor"])[topic] == 1


def feed_places(cursor):
    return {part.rsplit(":", 2)[0]: int(part.rsplit(":", 1)[1]) for part in cursor.split(",")}


@pytest.mark.feature("B4")
@pytest.mark.feature("S3.13")
async def test_what_the_layer_loses_is_repaired_before_what_follows(browser, topic, writer):
    async with browser.socket() as socket:
        await socket.next()
        await writer.online(topic, 1)
        await writer.online(topic, 2, relayed=False)
        await writer.online(topic, 3)
        events = await socket.events(3)
    assert [event["offset"] for event in events] == [1, 2, 3]


async def test_a_lost_last_entry_comes_within_seconds(browser, topic, writer):
    async with browser.socket() as socket:
        await socket.next()
        await writer.online(topic, 1, relayed=False)
        event = await socket.of_type("event")
    assert event["offset"] == 1


@pytest.mark.faults
async def test_while_valkey_is_away_changes_still_come_and_the_path_is_told(browser, topic, writer, valkey):
    async with browser.socket() as socket:
        await socket.next()
        await asyncio.to_thread(valkey.kill)
        down = await socket.until(lambda frame: frame.get("event") == "path")
        assert down["layer"] == "down"
        await writer.online(topic, 1, relayed=False)
        assert (await socket.of_type("event"))["offset"] == 1
        await asyncio.to_thread(valkey.start)
        up = await socket.until(lambda frame: frame.get("event") == "path")
        assert up["layer"] == "ok"
        await writer.online(topic, 2)
        assert (await socket.of_type("event"))["offset"] == 2


async def test_a_session_can_begin_while_valkey_is_away(browser, topic, writer, valkey):
    await asyncio.to_thread(valkey.kill)
    async with browser.socket() as socket:
        await socket.of_type("hello")
        await writer.online(topic, 1, relayed=False)
        assert (await socket.of_type("event"))["offset"] == 1


async def test_a_browser_is_told_whether_any_worker_lives(browser, writer):
    async with browser.socket() as socket:
        silent = await socket.until(lambda frame: frame.get("event") == "upstream")
        assert silent["worker"] == "silent"
        await writer.beat()
        alive = await socket.until(lambda frame: frame.get("event") == "upstream")
        assert alive["worker"] == "alive"


@pytest.mark.feature("S4.14")
async def test_a_session_ends_soon_after_its_sign_in(browser, topic, writer):
    async with browser.socket() as socket:
        await socket.next()
        await writer.database.run(lambda: Session.objects.filter(session_key=browser.session_key).delete())
        await writer.database.run(feed.revoke, [topic])
        assert await socket.ending() == 4401


async def test_a_session_of_a_deactivated_account_ends(browser, viewer, topic, writer):
    async with browser.socket() as socket:
        await socket.next()
        await writer.database.run(lambda: type(viewer).objects.filter(pk=viewer.pk).update(is_active=False))
        await writer.database.run(feed.revoke, [topic])
        assert await socket.ending() == 4403


async def test_a_change_of_access_that_leaves_the_sign_in_leaves_the_session(browser, topic, writer):
    async with browser.socket() as socket:
        await socket.next()
        await writer.online(topic, 1, gone=True)
        await writer.database.run(feed.revoke, [topic])
        await writer.online(topic, 2)
        events = await socket.events(2)
        await socket.say(id=1, type="ping")
        assert (await socket.of_type("pong"))["id"] == 1
    assert events[0]["gone"] is True


@pytest.mark.feature("S4.14")
async def test_nothing_from_before_a_revocation_is_replayed(browser, topic, writer):
    async with browser.socket() as socket:
        cursor = (await socket.next())["cursor"]
    await writer.online(topic, 1)
    await writer.database.run(feed.revoke, [topic])
    async with browser.socket(cursor) as socket:
        await socket.next()
        resync = await socket.until(lambda frame: frame.get("event") == "resync")
        await writer.online(topic, 2)
        assert resync["cause"] == "floor"
        assert (await socket.of_type("event"))["key"] == "device/org1/d2"


async def test_a_restored_database_is_noticed(browser, topic, writer):
    async with browser.socket() as socket:
        await socket.next()
        await writer.online(topic, 1)
        await socket.of_type("event")
        await writer.database.run(lambda: Topic.objects.filter(name=topic).update(epoch="f" * 16, head=0, relayed=0))
        resync = await socket.until(lambda frame: frame.get("event") == "resync")
        assert resync["cause"] == "epoch"


async def test_nonsense_is_answered_and_the_session_goes_on(browser):
    async with browser.socket() as socket:
        await socket.next()
        await socket.socket.send("nonsense")
        assert (await socket.of_type("error"))["code"] == "malformed"
        await socket.socket.send(b"\x00\xff")
        assert (await socket.of_type("error"))["code"] == "malformed"
        await socket.say(id=1, type="launch")
        assert (await socket.of_type("error"))["code"] == "unknown-type"
        await socket.say(id=2, type="ping")
        assert (await socket.of_type("pong"))["id"] == 2


async def test_a_message_beyond_the_limit_ends_the_session(browser):
    async with browser.socket() as socket:
        await socket.next()
        await socket.socket.send("x" * 70_000)
        assert await socket.ending() == 4400


async def test_an_address_without_a_door_is_refused(server, browser):
    with pytest.raises(InvalidStatus):
        async with browser.socket(path="/ws/other/"):
            pass


def test_the_frame_of_a_text_is_what_a_server_sends():
    assert frame(b"abc") == b"\x81\x03abc"
    assert frame(b"a" * 300)[:4] == b"\x81\x7e\x01\x2c"
    assert msgspec.json.decode(frame(b'{"a":1}')[2:]) == {"a": 1}
