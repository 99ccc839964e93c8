"""Each fault as a client meets it."""

import asyncio
import contextlib
import json
import time

import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.emulator.events import EventsSession
from realtime.emulator.faults import Fault
from realtime.emulator.graphql import GraphQLSession
from realtime.emulator.options import DEFAULT_API_KEY, Limits

from .client import Client, encoded

pytestmark = pytest.mark.feature("S3.14")
FAST_KEEP_ALIVE = Limits(keep_alive=20)
INTERNAL = {"errorType": "InternalFailure"}


async def open_in(dialect, emulator, auth):
    """Upgrade in a dialect, and say nothing yet."""
    url = emulator.urls["graphql_realtime_url" if dialect == "graphql-ws" else "events_realtime_url"]
    return await Client.open(emulator, auth, url=url, subprotocols=[dialect, encoded(auth)])


async def nothing_comes(client, seconds=0.15):
    """Show that the socket stays silent for as long as several keep-alives would take."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await client.socket.recv()


async def status_of_upgrade(emulator, auth):
    with pytest.raises(websockets.InvalidStatus) as error:
        await Client.open(emulator, auth)
    return error.value.response.status_code


@pytest.mark.parametrize("status", [401, 403, 429, 503, 599])
async def test_c13_refuse_answers_the_upgrade_with_a_status_as_often_as_told(emulator, key, fault, status):
    await fault("refuse", status=status, count=2)
    assert await status_of_upgrade(emulator, key) == status
    assert await status_of_upgrade(emulator, key) == status
    await (await Client.ready(emulator, key)).close()


async def test_refuse_with_status_0_resets_the_connection(emulator, key, fault):
    await fault("refuse", status=0)
    with pytest.raises((websockets.InvalidHandshake, OSError, EOFError)):
        await Client.open(emulator, key)


async def test_refuse_can_mean_one_person_only(emulator, key, token_of, fault):
    await fault("refuse", user="viewer")
    assert await status_of_upgrade(emulator, token_of("viewer")) == 503
    for auth in (key, token_of("owner")):
        await (await Client.ready(emulator, auth)).close()


async def test_c13_drop_ends_one_persons_socket_without_a_close_frame_and_keeps_it_out(
    connect, emulator, token_of, fault
):
    viewer, owner = await connect(token_of("viewer")), await connect(token_of("owner"))
    assert len((await fault("drop", user="viewer", **{"for": 60}))["hit"]) == 1
    assert await viewer.closed() == 1006
    await owner.quiet()
    assert await status_of_upgrade(emulator, token_of("viewer")) == 503


async def test_c13_drop_with_a_code_ends_with_it_and_lets_the_client_back_in(connect, key, fault):
    client = await connect(key)
    await fault("drop", code=1011, reason="so it goes")
    assert await client.closed() == 1011
    assert client.socket.close_reason == "so it goes"
    await (await connect(key)).quiet()


async def test_drop_can_mean_one_connection_or_a_number_of_them(connect, emulator, key, fault):
    clients = [await connect(key) for _ in range(3)]
    last = list(emulator.api.sessions)[-1]
    assert (await fault("drop", connection=last))["hit"] == [last]
    assert await clients[2].closed() == 1006
    assert len((await fault("drop", count=1))["hit"]) == 1


async def test_c13_half_open_reads_and_writes_nothing_until_it_is_cleared(started, http, key):
    emulator = await started(limits=FAST_KEEP_ALIVE)
    client = await Client.ready(emulator, key, ping_interval=None)
    emulator.api.sessions["c1"].socket.freeze()
    while True:  # what was on its way
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.socket.recv()
                continue
        break
    await client.subscribe("/default/a")
    await nothing_comes(client)
    assert emulator.api.sessions["c1"].subscriptions() == []


async def test_half_open_for_a_time_meets_new_connections_too(emulator, connect, http, key, fault):
    first = await connect(key, ping_interval=None)
    await fault("half-open", **{"for": 60})
    second = await connect(key, ping_interval=None)
    for client in (first, second):
        await client.subscribe("/default/a")
        await nothing_comes(client)
    assert (await http.delete("/control/faults")).json() == {"faults": []}
    assert await first.closed() == 1006
    assert await second.closed() == 1006


async def test_c13_stall_takes_the_upgrade_and_never_answers(emulator, key, fault):
    await fault("stall", count=1)
    client = await Client.open(emulator, key)
    await client.send(type="connection_init")
    await nothing_comes(client)
    await client.close()
    await (await Client.ready(emulator, key)).close()


async def test_c13_late_ack_keeps_the_client_waiting(emulator, key, fault):
    await fault("late-ack", delay=120)
    client = await Client.open(emulator, key)
    started = time.monotonic()
    await client.send(type="connection_init")
    await client.expect(type="connection_ack")
    assert time.monotonic() - started >= 0.12
    await client.close()


@pytest.mark.parametrize("dialect", ["aws-appsync-event-ws", "graphql-ws"])
async def test_c02_no_keep_alive_comes_before_the_acknowledgement(started, key, dialect):
    emulator = await started(limits=FAST_KEEP_ALIVE)
    client = await open_in(dialect, emulator, key)
    await nothing_comes(client)
    await client.send(type="connection_init")
    ack = await client.expect(type="connection_ack")
    assert ack.get("payload", ack)["connectionTimeoutMs"] == 300_000
    for _ in range(3):
        assert await client.receive() == {"type": "ka"}
    await client.close()


@pytest.mark.parametrize("dialect", ["aws-appsync-event-ws", "graphql-ws"])
async def test_c02_keep_alives_begin_with_the_upgrade_if_asked_to(started, key, dialect):
    emulator = await started(limits=Limits(keep_alive=20, early_keep_alive=True))
    client = await open_in(dialect, emulator, key)
    for _ in range(3):
        await client.expect(type="ka")
    await client.send(type="connection_init")
    await client.until(type="connection_ack")
    await client.expect(type="ka")
    await client.close()
    client = await open_in(dialect, emulator, {"x-api-key": "da2-wrong"})
    await client.expect(type="connection_error")
    await client.closed()


async def test_silence_sends_neither_keep_alives_nor_data_and_loses_them(started, key):
    emulator = await started(limits=FAST_KEEP_ALIVE)
    client = await Client.ready(emulator, key)
    await client.subscribe("/default/a")
    await client.until(type="subscribe_success")
    emulator.api.faults.add(Fault("silence"))
    emulator.api.broker.publish("/default/a", "1")
    emulator.api.faults.clear()
    emulator.api.broker.publish("/default/a", "2")
    frame = await client.until(type="data")
    assert frame["event"] == "2"
    await client.close()


async def test_c13_silence_stops_the_keep_alives(started, key):
    emulator = await started(limits=FAST_KEEP_ALIVE)
    emulator.api.faults.add(Fault("silence"))
    client = await Client.open(emulator, key)
    await client.send(type="connection_init")
    await client.expect(type="connection_ack")
    await nothing_comes(client)
    await client.close()


async def test_c13_malformed_sends_what_no_parser_takes(connect, key, fault):
    client = await connect(key)
    await fault("malformed")
    with pytest.raises(json.JSONDecodeError):
        await client.receive()
    await fault("malformed", frame='{"type":"a-new-one"}')
    await client.expect(type="a-new-one")


async def test_c13_error_frame_comes_without_an_id(connect, key, fault):
    client = await connect(key)
    await fault("error-frame", errorType="InternalFailure", message="so it goes")
    assert await client.receive() == {
        "type": "error",
        "errors": [{"errorType": "InternalFailure", "message": "so it goes"}],
    }


LEGACY = "com.amazonaws.deepdish.graphql.auth#UnauthorizedException"


@pytest.mark.parametrize("dialect", ["aws-appsync-event-ws", "graphql-ws"])
@pytest.mark.parametrize(
    ("about", "error"),
    [
        ({"errorType": "RequestTimeout", "status": 408}, {"errorType": "RequestTimeout", "errorCode": 408}),
        ({"status": 500, "message": "so it goes"}, {**INTERNAL, "message": "so it goes", "errorCode": 500}),
        ({"errorType": "LimitExceededError", "status": 0}, {"errorType": "LimitExceededError"}),
        ({"errorType": LEGACY, "status": 400}, {"errorType": LEGACY, "errorCode": 400}),
        (
            {"errorType": None, "message": "NoProtocolError", "status": 400},
            {"message": "NoProtocolError", "errorCode": 400},
        ),
    ],
)
async def test_c13_connection_error_is_worded_as_asked_for_and_ends_the_socket(
    emulator, key, fault, dialect, about, error
):
    await fault("connection-error", count=1, **about)
    client = await open_in(dialect, emulator, key)
    await client.send(type="connection_init")
    frame = await client.expect(type="connection_error")
    assert frame.get("payload", frame)["errors"] == [error]
    assert ("payload" in frame) is (dialect == "graphql-ws")
    assert await client.closed() == 1000
    client = await open_in(dialect, emulator, key)
    await client.send(type="connection_init")
    await client.expect(type="connection_ack")
    await client.close()


async def test_connection_error_can_mean_one_person_only_and_hold_an_object(emulator, token_of, fault):
    await fault("connection-error", user="viewer", message="so it goes")
    await fault("error-object")
    client = await open_in("graphql-ws", emulator, token_of("viewer"))
    await client.send(type="connection_init")
    errors = {**INTERNAL, "message": "so it goes", "errorCode": 503}
    assert await client.receive() == {"type": "connection_error", "payload": {"errors": errors}}
    await client.closed()
    await (await Client.ready(emulator, token_of("owner"))).close()


async def test_c13_broadcast_error_is_told_by_subscription_and_ends_none(connect, emulator, key, fault):
    client = await connect(key)
    for ident, channel in (("s1", "/default/a"), ("s2", "/default/b")):
        await client.subscribed(channel, ident)
    graphql = await open_in("graphql-ws", emulator, key)
    error = {"errorType": "MessageProcessingError", "message": "so it goes"}
    assert (await fault("broadcast-error", channel="/default/b", **error))["hit"] == ["c1"]
    assert await client.receive() == {"id": "s2", "type": "broadcast_error", "errors": [error]}
    assert (await fault("broadcast-error"))["hit"] == ["c1"]
    assert [(await client.expect(type="broadcast_error"))["id"] for _ in range(2)] == ["s1", "s2"]
    await client.publish("/default/b", "1")
    await client.expect(type="data", id="s2", event="1")
    await graphql.close()


async def test_broadcast_error_for_a_time_comes_instead_of_each_event(connect, http, key, fault):
    client = await connect(key)
    await client.subscribed("/default/a")
    await fault("broadcast-error", **{"for": 60})
    await client.expect(type="broadcast_error", id="s1")
    await client.publish("/default/a", "1")
    await client.expect(type="broadcast_error", id="s1")
    await client.expect(type="publish_success")
    await http.delete("/control/faults")
    await client.publish("/default/a", "2")
    await client.expect(type="data", id="s1", event="2")


async def test_what_acts_at_once_meets_later_sockets_for_a_time(emulator, key, fault):
    for kind in ("malformed", "error-frame"):
        assert (await fault(kind, frame='{"type":"a-new-one"}', **{"for": 60}))["hit"] == []
    client = await Client.ready(emulator, key)
    await client.expect(type="a-new-one")
    await client.expect(type="error")
    await client.close()


async def test_a_channel_means_the_sockets_that_subscribe_to_it(connect, key, fault):
    clients = [await connect(key) for _ in range(2)]
    await clients[1].subscribed("/default/presence")
    assert (await fault("drop", channel="presence"))["hit"] == ["c2"]
    assert await clients[1].closed() == 1006
    await clients[0].quiet()


@pytest.mark.feature("S0.2")
async def test_c13_drop_reply_carries_an_operation_out_and_leaves_it_unanswered(connect, emulator, key, fault):
    client = await connect(key)
    await fault("drop-reply", operation="subscribe", count=1)
    await client.subscribe("/default/a")
    await client.quiet()
    await fault("drop-reply", operation="publish", count=1)
    await client.publish("/default/a", "1")
    await client.expect(type="data", id="s1", event="1")
    await client.quiet()


@pytest.mark.feature("S0.2")
async def test_ignore_neither_carries_out_nor_answers(connect, key, fault):
    client = await connect(key)
    await client.subscribed("/default/a")
    await fault("ignore", operation="unsubscribe", count=1)
    await client.send(type="unsubscribe", id="s1")
    await fault("ignore", operation="publish", count=1)
    await client.publish("/default/a", "1")
    await client.quiet()
    await client.publish("/default/a", "2")
    await client.expect(type="data", id="s1", event="2")


@pytest.mark.parametrize(("delay", "heard"), [(60_000, []), (0, ["1"])])
async def test_c10_events_within_the_settle_delay_after_a_success_are_lost(connect, key, fault, delay, heard):
    client = await connect(key)
    await fault("settle", delay=delay)
    await client.subscribed("/default/a")
    await client.publish("/default/a", "1")
    await client.until(type="publish_success")
    assert [frame["event"] for frame in client.frames if frame["type"] == "data"] == heard


@pytest.mark.parametrize(("delay", "heard"), [(60_000, True), (0, False)])
async def test_c11_an_unsubscribe_right_after_its_subscribe_is_ignored_if_asked_to(connect, key, fault, delay, heard):
    client = await connect(key)
    await fault("early-unsubscribe", delay=delay)
    await client.subscribe("/default/a")
    await client.send(type="unsubscribe", id="s1")
    await client.expect(type="subscribe_success")
    await client.publish("/default/a", "1")
    await client.until(type="publish_success")
    kinds = [frame["type"] for frame in client.frames]
    assert ("data" in kinds, "unsubscribe_success" in kinds) == (heard, not heard)


async def test_c11_a_stop_right_after_its_start_is_ignored_if_asked_to(emulator, key, fault):
    await fault("early-unsubscribe", delay=60_000)
    client = await open_in("graphql-ws", emulator, key)
    await client.send(type="connection_init")
    data = json.dumps({"query": 'subscription { onRoleChange(orgId: "org-aurora") { role } }'})
    await client.send(type="start", id="1", payload={"data": data, "extensions": {"authorization": key}})
    await client.send(type="stop", id="1")
    await client.until(type="start_ack", id="1")
    assert len(emulator.api.sessions["c1"].subscriptions()) == 1
    await client.close()


@pytest.mark.feature("S0.6")
async def test_subscribe_error_meets_the_chosen_channel_only(connect, key, fault):
    client = await connect(key)
    await fault("subscribe-error", channel="presence", errorType="Unauthorized", message="not you")
    await client.subscribe("/default/presence")
    frame = await client.expect(type="subscribe_error", id="s1")
    assert frame["errors"] == [{"errorType": "Unauthorized", "message": "not you"}]
    await client.subscribed("/default/b", "s2")


async def test_c14_credentials_are_not_in_the_transcript(connect, emulator, token_of):
    auth = token_of("viewer")
    client = await connect(auth)
    extra = {"extensions": {"authorization": auth}}
    await client.send(type="subscribe", id="s1", channel="/default/a", authorization=auth, payload=extra)
    await client.expect(type="subscribe_success")
    (received,) = [r for r in emulator.api.transcript.since(0)[0] if r.kind == "received" and "id" in r.frame]
    assert received.frame["authorization"] == received.frame["payload"]["extensions"]["authorization"]
    assert received.frame["authorization"] == ["Authorization", "host"]
    for oddly in ({"Authorization": auth["Authorization"]}, {"list": [{"authorization": auth["Authorization"]}]}):
        await client.send(type="nothing", **oddly)
        await client.expect(type="error")
    await client.socket.send(auth["Authorization"])
    await client.expect(type="error")
    records, _ = emulator.api.transcript.since(0)
    assert auth["Authorization"] not in str(records)
    assert encoded(auth) not in str(records)


async def test_c14_frames_are_told_as_they_were_sent_malformed_ones_too(connect, http, key, fault):
    client = await connect(key)
    await client.subscribed("/default/a")
    await fault("malformed", frame='{"type":')
    with pytest.raises(json.JSONDecodeError):
        await client.receive()
    await fault("array-event")
    await client.publish("/default/a", "1")
    await client.until(type="publish_success")
    records = (await http.get("/control/transcript")).json()["records"]
    told = [record["frame"] for record in records if record["kind"] in ("sent", "delivered")]
    assert '{"type":' in told
    told.remove('{"type":')
    assert told == client.frames
    assert client.frames[-2] == {"id": "s1", "type": "data", "event": ["1"]}


async def test_c14_refused_upgrades_are_told_without_their_credentials(emulator, http, key, fault):
    await fault("refuse", status=429, message="so it goes", count=1)
    assert await status_of_upgrade(emulator, key) == 429
    answer = {
        "path": "/event/realtime",
        "answer": '{"errors":[{"errorType":"LimitExceededError","message":"so it goes"}]}',
    }
    (record,) = (await http.get("/control/transcript")).json()["records"]
    assert (record["kind"], record["code"], record["frame"]) == ("refused", 429, answer)
    assert (await http.get("/control/stats")).json()["refused"] == 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["connection_init", "subscribe", "unsubscribe", "publish", "start", "stop"]) | JUNK,
        "id": st.sampled_from(["s1", "s2"]) | JUNK,
        "channel": st.sampled_from(["/default/a", "/default/*"]) | JUNK,
        "events": st.lists(st.sampled_from(["1", "{"]) | JUNK, max_size=6) | JUNK,
        "authorization": st.just({"x-api-key": DEFAULT_API_KEY}) | JUNK,
        "payload": st.fixed_dictionaries({}, optional={"data": JUNK, "extensions": JUNK}) | JUNK,
    },
)


@pytest.mark.parametrize("session_class", [EventsSession, GraphQLSession])
async def test_no_message_whatsoever_breaks_a_session(emulator, session_class):
    socket = Sink()

    @settings(max_examples=300, database=None)
    @given(st.lists(MESSAGE | JUNK, max_size=8), st.binary(max_size=20))
    def check(messages, noise):
        session = session_class(emulator.api, socket, None)
        session.received(b'{"type":"connection_init"}')
        for message in messages:
            session.received(json.dumps(message).encode())
        session.received(noise)
        session.closed(None)
        assert emulator.api.sessions == {}

    check()
    written = len(socket.texts)
    emulator.api.broker.publish("/default/a", "1")
    assert len(socket.texts) == written, "no subscription outlives its session"


class Sink:
    """A socket that keeps what is written to it."""

    open = True
    frozen = False

    def __init__(self):
        self.texts = []

    def send(self, message):
        self.texts.append(json.dumps(message).encode())

    def send_text(self, text):
        self.texts.append(text)

    def close(self, *_):
        pass
