"""The rules of a publish, on both ways in."""

import json
import uuid

import httpx
import pytest

from realtime.emulator.options import Limits

from .client import Client

pytestmark = pytest.mark.feature("S0.7")


def error_type(frame):
    return frame["errors"][0].get("errorType")


async def test_c09_answers_a_publish_with_an_identifier_and_index_for_each_event(connect, key):
    client = await connect(key)
    await client.publish("/default/a", "1", "2")
    reply = await client.expect(type="publish_success", id="p1", failed=[])
    assert [item["index"] for item in reply["successful"]] == [0, 1]
    assert all(uuid.UUID(item["identifier"]) for item in reply["successful"])


async def test_c07_refuses_an_unknown_namespace_without_a_message(connect, key):
    client = await connect(key)
    await client.publish("/nowhere/a", "1")
    assert (await client.expect(type="publish_error"))["errors"] == [{"errorType": "UnauthorizedException"}]
    await client.subscribe("/nowhere/a")
    assert (await client.expect(type="subscribe_error"))["errors"] == [{"errorType": "UnauthorizedException"}]


async def test_c06_words_a_batch_that_is_too_long_differently_on_each_way_in(connect, http, key):
    client = await connect(key)
    await client.publish("/default/a", *"123456")
    over_websocket = await client.expect(type="publish_error", id="p1")
    over_http = await http.post("/event", headers=key, json={"channel": "/default/a", "events": list("123456")})
    assert over_websocket["errors"] == [{"errorType": "InvalidInputError", "message": "input exceeded 5 event limit"}]
    assert over_http.status_code == 400
    assert over_http.headers["x-amzn-errortype"] == "BadRequestException"
    assert over_http.json()["errors"][0]["message"] == "Input exceeded 5 event limit"


async def test_c06_the_limit_of_events_is_settable_and_named(started, key):
    emulator = await started(limits=Limits(events_per_publish=1))
    client = await Client.ready(emulator, key)
    await client.publish("/default/a", "1", "2")
    frame = await client.expect(type="publish_error")
    assert frame["errors"] == [{"errorType": "InvalidInputError", "message": "input exceeded 1 event limit"}]
    await client.close()


async def test_c06_a_publish_has_a_limit_of_bytes_beside_that_of_an_event(connect, http, key):
    largest = json.dumps("x" * (240 * 1024 - 2))
    small = json.dumps("x" * (1_200_000 - 4 * len(largest) - 2))
    for events, status, reply in (
        ([*[largest] * 4, small], 200, "publish_success"),
        ([*[largest] * 4, small + " "], 400, "publish_error"),
        ([largest + " "], 400, "publish_error"),
    ):
        answer = await http.post("/event", headers=key, json={"channel": "/default/a", "events": events})
        assert answer.status_code == status
        client = await connect(key)
        await client.publish("/default/a", *events)
        await client.expect(type=reply)


@pytest.mark.usefixtures("long_seconds")
async def test_published_events_a_second_are_limited_on_both_ways_in_together_if_asked_to(started, key):
    emulator = await started(limits=Limits(events_per_second=3))
    client = await Client.ready(emulator, key)
    await client.publish("/default/a", "1", "2")
    await client.expect(type="publish_success")
    async with httpx.AsyncClient(base_url=emulator.url) as http:
        for events, status in ((["3", "4"], 429), (["3"], 200)):
            answer = await http.post("/event", headers=key, json={"channel": "/default/a", "events": events})
            assert answer.status_code == status
    await client.publish("/default/a", "4")
    assert error_type(await client.expect(type="publish_error")) == "LimitExceededError"
    await client.close()


@pytest.mark.parametrize("events", [None, [], "1", [1], ["{"], ["x" * 300_000]])
async def test_refuses_events_that_are_not_strings_of_json_of_bounded_size(connect, key, events):
    client = await connect(key)
    await client.send(type="publish", id="p1", channel="/default/a", events=events, authorization=key)
    assert error_type(await client.expect(type="publish_error", id="p1")) == "BadRequestException"


async def test_c07_refuses_a_publish_to_a_wildcard(connect, key):
    client = await connect(key)
    await client.publish("/default/*", "1")
    frame = await client.expect(type="publish_error")
    assert frame["errors"] == [{"errorType": "BadRequestException", "message": "Invalid Channel Format"}]


async def test_publishes_over_http_and_tells_the_outcome(connect, http, key):
    client = await connect(key)
    await client.subscribed("/default/a")
    answer = await http.post("/event", headers=key, json={"channel": "/default/a", "events": ['{"n":1}']})
    assert answer.status_code == 200
    assert answer.json()["failed"] == []
    assert answer.json()["successful"][0]["index"] == 0
    await client.expect(type="data", event='{"n":1}')


@pytest.mark.parametrize("body", ["", "[]", "{", '{"channel":"/default/a"}', '{"events":["1"]}'])
async def test_refuses_http_bodies_that_are_no_publish(http, key, body):
    answer = await http.post("/event", headers=key, content=body)
    assert answer.status_code == 400
    assert answer.headers["x-amzn-errortype"] == "BadRequestException"


async def test_refuses_http_publishes_without_good_credentials(http):
    body = {"channel": "/default/a", "events": ["1"]}
    for headers in ({}, {"x-api-key": "da2-wrong"}, {"authorization": "nonsense"}):
        answer = await http.post("/event", headers=headers, json=body)
        assert answer.status_code == 401
        assert answer.headers["x-amzn-errortype"] == "UnauthorizedException"


async def test_c09_handlers_may_refuse_a_publish_or_one_of_its_events(connect, http, key, fault):
    client = await connect(key)
    await client.subscribed("/default/a")
    await fault("reject-event", index=1, message="not this one", count=1)
    await client.publish("/default/a", "0", "1", "2")
    reply = await client.until(type="publish_success")
    assert [item["index"] for item in reply["successful"]] == [0, 2]
    assert [(item["index"], item["code"], item["message"]) for item in reply["failed"]] == [(1, 400, "not this one")]
    assert [f["event"] for f in client.frames if f["type"] == "data"] == ["0", "2"]


async def test_c09_handlers_may_refuse_several_events_filter_and_transform_others(connect, key, fault):
    client = await connect(key)
    await client.subscribed("/default/a")
    for index in (0, 3):
        await fault("reject-event", index=index, message=f"not {index}")
    await fault("filter-event", index=1)
    await fault("transform-event", index=2, event='{"n":2}')
    await client.publish("/default/a", *"01234")
    reply = await client.until(type="publish_success")
    assert [(item["index"], item["message"]) for item in reply["failed"]] == [(0, "not 0"), (3, "not 3")]
    assert [item["index"] for item in reply["successful"]] == [1, 2, 4]
    assert [f["event"] for f in client.frames if f["type"] == "data"] == ['{"n":2}', "4"]


async def test_c09_a_handler_may_refuse_every_event_and_the_publish_succeeds_all_the_same(http, key, fault):
    await fault("reject-event", channel="/default/a")
    answer = await http.post("/event", headers=key, json={"channel": "/default/a", "events": ["1", "2"]})
    assert (answer.status_code, answer.json()["successful"]) == (200, [])
    assert [item["index"] for item in answer.json()["failed"]] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("publish-error", None),
        ("unknown-event", "The handler returned an event with an unknown id"),
        ("duplicate-event", "The handler returned an event twice"),
    ],
)
async def test_c09_what_a_handler_does_to_the_whole_publish_fails_it(connect, http, key, fault, kind, message):
    client = await connect(key)
    await client.subscribed("/default/a")
    await fault(kind, errorType="Rejected")
    error = {"errorType": "Rejected"} if message is None else {"errorType": "Rejected", "message": message}
    answer = await http.post("/event", headers=key, json={"channel": "/default/a", "events": ["1"]})
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (403, "Rejected")
    await client.publish("/default/a", "1")
    assert await client.receive() == {"id": "p1", "type": "publish_error", "errors": [error]}


async def test_c13_throttle_limits_operations(connect, http, key, fault):
    client = await connect(key)
    await fault("throttle")
    await client.subscribe("/default/a")
    assert (await client.expect(type="subscribe_error"))["errors"][0]["errorType"] == "LimitExceededError"
    answer = await http.post("/event", headers=key, json={"channel": "/default/a", "events": ["1"]})
    assert answer.status_code == 429
