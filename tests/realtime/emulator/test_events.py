"""The Events dialect as a client meets it."""

import json

import pytest

from realtime.emulator.options import Limits

from .client import Client

pytestmark = pytest.mark.feature("S0.7")


def error_type(frame):
    return frame["errors"][0].get("errorType")


async def test_c02_acknowledges_with_the_timeout_at_the_top_and_sends_a_keep_alive_at_once(emulator, key):
    client = await Client.open(emulator, key)
    assert client.socket.subprotocol == "aws-appsync-event-ws"
    await client.send(type="connection_init")
    assert await client.receive() == {"type": "connection_ack", "connectionTimeoutMs": 300_000}
    assert await client.receive() == {"type": "ka"}
    await client.close()


async def test_c02_goes_on_sending_keep_alives(started, key):
    emulator = await started(limits=Limits(keep_alive=20))
    client = await Client.ready(emulator, key)
    for _ in range(3):
        await client.expect(type="ka")
    await client.close()


async def test_c08_delivers_each_event_of_a_batch_as_one_frame_holding_a_json_string(connect, key):
    subscriber, publisher = await connect(key), await connect(key)
    await subscriber.subscribed("/default/a")
    await publisher.publish("default/a/", '{"n":1}', '"hi"')
    frames = [await subscriber.receive(), await subscriber.receive()]
    assert frames == [
        {"id": "s1", "type": "data", "event": '{"n":1}'},
        {"id": "s1", "type": "data", "event": '"hi"'},
    ]


async def test_c08_a_publisher_gets_its_own_events(connect, key):
    client = await connect(key)
    await client.subscribed("/default/a")
    await client.publish("/default/a", "1")
    await client.until(type="data", event="1")


async def test_c07_a_wildcard_takes_in_every_depth_but_not_the_channel_itself(connect, key):
    client = await connect(key)
    await client.subscribed("/default/a/*")
    for i, channel in enumerate(("/default/a", "/default/b/a", "/default/a/b", "/default/a/b/c/d")):
        await client.publish(channel, str(i), ident=f"p{i}")
        await client.until(type="publish_success", id=f"p{i}")
    assert [f["event"] for f in client.frames if f["type"] == "data"] == ["2", "3"]


async def test_long_and_non_ascii_events_arrive_whole(connect, key):
    client = await connect(key, max_size=None)
    await client.subscribed("/default/a")
    for text in ("ä" * 60, "€\u2028" * 20_000, "x" * 200_000):
        await client.publish("/default/a", json.dumps(text, ensure_ascii=False))
        frame = await client.until(type="data")
        assert json.loads(frame["event"]) == text


async def test_ends_a_subscription_on_request_and_no_other(connect, key):
    client = await connect(key)
    await client.subscribed("/default/a", "one")
    await client.subscribed("/default/a", "two")
    await client.send(type="unsubscribe", id="one")
    await client.expect(type="unsubscribe_success", id="one")
    await client.publish("/default/a", "1")
    await client.expect(type="data", id="two")
    await client.expect(type="publish_success")
    await client.quiet()


async def test_c06_an_id_may_be_used_again_after_its_end_but_not_before(connect, key):
    client = await connect(key)
    await client.subscribed("/default/a")
    await client.subscribe("/default/b")
    assert error_type(await client.expect(type="subscribe_error", id="s1")) == "DuplicatedOperationError"
    await client.send(type="unsubscribe", id="s1")
    await client.expect(type="unsubscribe_success")
    await client.subscribed("/default/b")


async def test_c06_a_taken_id_may_be_given_to_another_subscription_if_asked_to(started, key):
    emulator = await started(limits=Limits(subscriptions=1, replaces_duplicates=True))
    client = await Client.ready(emulator, key)
    await client.subscribed("/default/a")
    await client.subscribed("/default/b")
    for channel, event in (("/default/a", "1"), ("/default/b", "2")):
        await client.publish(channel, event)
        await client.until(type="publish_success")
    assert [frame["event"] for frame in client.frames if frame["type"] == "data"] == ["2"]
    await client.close()


async def test_c06_names_the_unknown_id_of_an_unsubscribe(connect, key):
    client = await connect(key)
    await client.send(type="unsubscribe", id="nobody")
    frame = await client.expect(type="unsubscribe_error", id="nobody")
    assert frame["errors"] == [{"errorType": "UnknownOperationError", "message": "Unknown operation id nobody"}]


async def test_c06_refuses_one_subscription_more_than_the_limit_until_another_ends(connect, key):
    client = await connect(key)
    for i in range(200):
        await client.subscribed(f"/default/c{i}", f"s{i}")
    await client.subscribe("/default/more", "more")
    assert error_type(await client.expect(type="subscribe_error")) == "MaxSubscriptionsReachedError"
    await client.send(type="unsubscribe", id="s0")
    await client.expect(type="unsubscribe_success")
    await client.subscribed("/default/more", "more")


@pytest.mark.parametrize("ident", ["", "a b", "x" * 129, 7, None])
async def test_c06_refuses_ids_outside_the_documented_form(connect, key, ident):
    client = await connect(key)
    await client.subscribe("/default/a", ident)
    assert error_type(await client.expect(type="error")) == "BadRequestException"


@pytest.mark.parametrize(
    "channel", ["", "/", "/a/b/c/d/e/f", "/default/" + "x" * 51, "/default/a_b", "/default/*/a", "/*", "/**", 1]
)
async def test_c07_refuses_bad_channels_for_that_subscription_alone(connect, key, channel):
    client = await connect(key)
    await client.subscribe(channel)
    frame = await client.expect(type="subscribe_error", id="s1")
    assert frame["errors"] == [{"errorType": "BadRequestException", "message": "Invalid Channel Format"}]
    await client.subscribed("/default/a", "s2")


async def test_c07_what_an_unknown_namespace_is_answered_can_be_chosen(connect, key, fault):
    client = await connect(key)
    for kind in ("subscribe-error", "publish-error"):
        await fault(kind, channel="/nowhere", errorType="BadRequestException", message="no such namespace")
    await client.subscribe("/nowhere/a")
    assert error_type(await client.expect(type="subscribe_error")) == "BadRequestException"
    await client.publish("/nowhere/a", "1")
    assert error_type(await client.expect(type="publish_error")) == "BadRequestException"


async def test_a_further_namespace_can_be_given(started, key):
    emulator = await started(namespaces=("rooms",))
    client = await Client.ready(emulator, key)
    await client.subscribed("/rooms/a")
    await client.close()


@pytest.mark.usefixtures("long_seconds")
async def test_limits_publishes_a_second_if_asked_to(started, key):
    emulator = await started(limits=Limits(publishes_per_second=2))
    client = await Client.ready(emulator, key)
    for i in range(3):
        await client.publish("/default/a", "1", ident=f"p{i}")
    await client.expect(type="publish_success", id="p0")
    await client.expect(type="publish_success", id="p1")
    assert error_type(await client.expect(type="publish_error", id="p2")) == "LimitExceededError"
    await client.close()


@pytest.mark.feature("S4.4")
async def test_a_person_gets_the_own_channels_only(connect, token_of):
    client = await connect(token_of("viewer"))
    for channel in ("/vortex-app/user/sub-owner/roleChanged", "/vortex-app/user/*", "/vortex-app/*"):
        await client.subscribe(channel)
        assert error_type(await client.expect(type="subscribe_error", id="s1")) == "UnauthorizedException"
    await client.subscribed("/vortex-app/user/sub-viewer/device/presenceChanged")
    await client.publish("/vortex-app/user/sub-owner/roleChanged", "1")
    assert error_type(await client.expect(type="publish_error")) == "UnauthorizedException"


@pytest.mark.feature("S4.4")
async def test_c05_one_socket_may_carry_operations_in_different_modes(connect, token_of, key):
    client = await connect(key)
    await client.subscribe("/vortex-app/user/sub-viewer/*", auth=token_of("viewer"))
    await client.expect(type="subscribe_success")
    await client.subscribe("/vortex-app/user/sub-viewer/*", "s2", auth={"x-api-key": "da2-wrong"})
    await client.expect(type="subscribe_error", id="s2")


async def test_an_operation_without_authorization_is_refused_alone(connect, key):
    client = await connect(key)
    await client.send(type="subscribe", id="s1", channel="/default/a")
    assert error_type(await client.expect(type="subscribe_error", id="s1")) == "UnauthorizedException"
    await client.subscribed("/default/a")


async def test_c13_an_expired_token_stops_new_operations_but_not_live_subscriptions(connect, token_of, fault, key):
    auth = token_of("viewer")
    client = await connect(auth)
    await client.subscribed("/vortex-app/user/sub-viewer/*")
    await fault("expire-token", user="viewer")
    await client.subscribe("/vortex-app/user/sub-viewer/roleChanged", "s2")
    frame = await client.expect(type="subscribe_error", id="s2")
    assert frame["errors"] == [{"errorType": "UnauthorizedException", "message": "Token has expired."}]
    publisher = await connect(key)
    await publisher.publish("/vortex-app/user/sub-viewer/roleChanged", "1")
    await client.expect(type="data", id="s1")


async def test_takes_the_extra_members_that_amplify_sends(connect, key):
    client = await connect(key)
    extra = {"channel": "default/a", "extensions": {"authorization": key}}
    await client.send(type="subscribe", id="s1", channel="default/a", authorization=key, payload=extra)
    await client.expect(type="subscribe_success", id="s1")


async def test_answers_what_is_no_message_without_closing(connect, key):
    client = await connect(key)
    for text in ("{", "[]", '"x"', '{"no":"type"}', '{"type":7}'):
        await client.socket.send(text)
        await client.expect(type="error")
    await client.quiet()


async def test_c03_init_is_optional_unless_required(started, emulator, key):
    client = await Client.open(emulator, key)
    await client.subscribed("/default/a")
    await client.close()
    strict = await started(limits=Limits(requires_init=True))
    client = await Client.open(strict, key)
    await client.subscribe("/default/a")
    await client.send(type="connection_init")
    await client.expect(type="connection_ack")
    await client.close()


async def test_c12_subscriptions_die_with_the_socket_and_nothing_is_replayed(connect, emulator, key):
    first, publisher = await connect(key), await connect(key)
    await first.subscribed("/default/a")
    await first.close()
    await publisher.publish("/default/a", "1")
    await publisher.expect(type="publish_success")
    second = await connect(key)
    await second.subscribed("/default/a")
    await publisher.publish("/default/a", "2")
    await second.expect(type="data", event="2")
    assert sum(len(s.subscriptions()) for s in emulator.api.sessions.values()) == 1
