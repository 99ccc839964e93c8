import pytest

from realtime.delivery.http import EventStream, event
from realtime.delivery.run import Run
from tests.realtime.delivery.serving import Browser
from tests.realtime.delivery.world import Client, Line, Truth, make_entry


@pytest.fixture
def topic(viewer):
    return f"user.{viewer.pk}"


# ── The stream ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.feature("S1.2")
async def test_a_stream_is_greeted_and_hears_what_happens(browser, topic, writer):
    async with browser.stream() as stream:
        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["cache-control"] == "no-store"
        hello = await stream.next()
        await writer.online(topic, 1)
        heard = await stream.of_type("event")
    assert hello["type"] == "hello"
    assert heard["offset"] == hello["topics"][topic]["offset"] + 1


@pytest.mark.feature("S1.3")
async def test_the_last_event_id_is_the_cursor_and_wins_over_the_address(browser, topic, writer):
    async with browser.stream() as stream:
        beginning = (await stream.next())["cursor"]
        await writer.online(topic, 1)
        await stream.of_type("event")
        await writer.online(topic, 2)
        await stream.of_type("event")
        last_seen = stream.last_event_id  # of the first event: the second one's id follows it
    await writer.online(topic, 3)
    async with browser.stream(beginning, **{"Last-Event-ID": last_seen}) as stream:
        hello = await stream.next()
        events = await stream.events(2)
    assert hello["topics"][topic]["recovered"] is True
    assert [heard["offset"] for heard in events] == [2, 3]


@pytest.mark.feature("B2")
@pytest.mark.feature("S1.3")
async def test_a_cursor_goes_from_one_transport_to_the_other_and_back(browser, topic, writer):
    async with browser.socket() as socket:
        await socket.next()
        await writer.online(topic, 1)
        first = await socket.of_type("event")
    await writer.online(topic, 2)
    async with browser.stream(f"{topic}:{first['epoch']}:{first['offset']}") as stream:
        second = await stream.of_type("event")
    await writer.online(topic, 3)
    async with browser.socket(f"{topic}:{first['epoch']}:{second['offset']}") as socket:
        third = await socket.of_type("event")
    assert [heard["offset"] for heard in (first, second, third)] == [1, 2, 3]


@pytest.mark.parametrize("path", ["/live/sse/", "/live/snapshot/"])
async def test_a_stranger_is_told_in_json_to_sign_in(server, path):
    answer = await Browser(server).get(path)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json()["code"], answer.json()["next"]) == ("not-signed-in", "Sign in.")


@pytest.mark.parametrize("path", ["/live/sse/", "/live/snapshot/"])
@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_a_page_of_another_site_gets_nothing(browser, path, headers):
    assert (await browser.get(path, **headers)).json()["code"] == "bad-origin"


async def test_the_stream_takes_no_other_method(browser):
    assert (await browser.request("POST", "/live/sse/")).status_code == 405


async def test_a_silent_stream_shows_that_it_is_alive(viewers_session, started):
    async with Browser(started(LIVE_HEARTBEAT_SECONDS="1"), viewers_session).stream() as stream:
        await stream.next()
        assert await stream.comment() == ": alive"


async def test_a_user_has_so_many_live_sessions_and_no_more(viewers_session, started):
    browser = Browser(started(LIVE_SESSIONS_PER_USER="2"), viewers_session)
    async with browser.stream() as stream, browser.socket() as socket:
        await stream.next()
        await socket.next()
        async with browser.socket() as third:
            assert await third.ending() == 4429
        answer = await browser.get("/live/sse/")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
    async with browser.socket() as again:
        assert (await again.next())["type"] == "hello"


# ── The snapshot and what is posted ───────────────────────────────────────────────────────────────────────────


@pytest.mark.feature("S3.7")
async def test_the_snapshot_continues_in_the_feed(browser, topic, writer):
    await writer.online(topic, 1)
    state = (await browser.get("/live/snapshot/")).json()
    assert (state["type"], state["full"]) == ("state", True)
    assert set(state) == {"v", "type", "full", "cursor", "entities", "meta"}
    await writer.online(topic, 2)
    async with browser.stream(state["cursor"]) as stream:
        assert (await stream.of_type("event"))["offset"] == 2


async def test_the_snapshot_is_kept_by_no_cache(browser):
    assert (await browser.get("/live/snapshot/")).headers["cache-control"] == "no-store"


@pytest.mark.feature("S3.4")
async def test_a_ping_and_a_sync_can_be_posted(browser):
    pong = await browser.post('{"id":1,"type":"ping"}')
    assert (pong.status_code, pong.json()["type"], pong.json()["id"]) == (200, "pong", 1)
    state = await browser.post('{"id":2,"type":"sync"}')
    assert (state.json()["type"], state.json()["id"]) == ("state", 2)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        ('{"id":1,"type":"subscribe","topics":["broadcast"]}', 409, "needs-stream"),
        ("nonsense", 400, "malformed"),
        ('{"id":1,"type":"launch"}', 400, "unknown-type"),
        ("x" * 70_000, 413, "too-large"),
    ],
)
@pytest.mark.feature("S3.10")
async def test_what_cannot_be_posted_is_answered_with_why(browser, content, status, code):
    answer = await browser.post(content)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("origin", ["https://evil.example", None])
async def test_a_post_shows_its_origin(browser, origin):
    answer = await browser.request("POST", "/live/send/", content="{}", headers={"Origin": origin} if origin else {})
    assert (answer.status_code, answer.json()["code"]) == (403, "bad-origin")


async def test_posts_are_limited(viewers_session, started):
    browser = Browser(started(LIVE_COMMANDS_PER_SECOND="1"), viewers_session)
    assert (await browser.post('{"id":1,"type":"ping"}')).status_code == 200
    answer = await browser.post('{"id":1,"type":"ping"}')
    assert (answer.status_code, answer.json()["code"]) == (429, "too-fast")
    assert answer.headers["retry-after"]


# ── The encoding ──────────────────────────────────────────────────────────────────────────────────────────────


def test_events_are_shared_and_the_cursor_follows_them():
    truth = Truth()
    line = Line(truth, Client(truth))
    run = Run([make_entry(1), make_entry(2)])
    data = EventStream().data([run, b'{"type":"pong"}'], line.session)
    assert data == run.encoded(event) + b'data: {"type":"pong"}\n\n' + b"id: user.1:e1:0\n\n"
