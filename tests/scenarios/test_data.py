"""Rows 32 to 40 of the scenario matrix: what arrives, in whatever form, order and amount."""

import asyncio
import json

import pytest

from realtime.upstream.model import Health
from realtime.upstream.states import State
from tests.realtime.emulator.client import eventually
from tests.wire import EVENTS, GRAPHQL

only_events = pytest.mark.parametrize("wire", [EVENTS], ids=["events"])
only_graphql = pytest.mark.parametrize("wire", [GRAPHQL], ids=["graphql"])


@pytest.fixture
async def link(link):
    """A link that is open, with all its subscriptions live."""
    return await is_open(link)


async def is_open(link):
    await link.start()
    await link.comes_to(State.OPEN)
    return link


async def told(link, *copies):
    """Wait until exactly this has been handed on, in this order."""
    await eventually(lambda: len(link.inlet.copies) >= len(copies))
    assert link.inlet.copies == list(copies)


def is_whole(link):
    return (link.state, set(link.statuses().values())) == (State.OPEN, {"live"})


@only_events
async def test_b32_events_as_text_as_a_list_and_as_neither_are_handed_on_or_told(link, server):
    ident = link.ident("role")
    for event in ("1", ["2", "3"], 4, "not json", "5"):
        server.socket.arrive({"type": "data", "id": ident, "event": event})
    await told(link, *(("role", text) for text in ("1", "2", "3", "not json", "5")))
    assert [("unreadable frame" in text, lossy) for text, lossy in link.inlet.troubles] == [(True, True)]
    assert is_whole(link)


@only_graphql
async def test_b33_data_and_errors_of_one_result_are_both_told(link, server):
    payload = {"data": {"role": None}, "errors": [{"errorType": "Half", "message": "the resolver failed"}]}
    server.socket.arrive({"type": "data", "id": link.ident("role"), "payload": payload})
    await told(link, ("role", '{"role": null}'))
    assert link.inlet.troubles == [("partial result: Half: the resolver failed", True)]
    assert is_whole(link)


async def test_b34_data_for_unknown_ids_and_after_an_unsubscribe_is_dropped(link, wire, server):
    given_up = link.ident("role")
    link.want("presence")
    for ident in ("nobody's", given_up):
        server.socket.arrive(wire.data(ident, "{}"))
    await link.deliver("presence", "{}")
    await told(link, ("presence", "{}"))
    assert link.inlet.troubles == []


@only_events
async def test_b36_a_broadcast_error_is_told_and_the_subscription_lives(link, server):
    error = {"errorType": "MessageProcessingError", "message": "the handler failed"}
    server.socket.arrive({"type": "broadcast_error", "id": link.ident("role"), "errors": [error]})
    await link.deliver("role", "{}")
    await told(link, ("role", "{}"))
    assert link.inlet.troubles == [("broadcast error: MessageProcessingError: the handler failed", True)]
    assert is_whole(link)


async def test_b37_a_batch_in_another_order_is_handed_on_whole_in_the_order_of_its_arrival(link):
    shuffled = [("role", f'{{"n":{number}}}') for number in (3, 1, 5, 2, 4)]
    await link.deliver("role", *(payload for _, payload in shuffled))
    await told(link, *shuffled)


PAYLOADS = {
    "foreign": json.dumps({"text": "\U0001f680 ü \u2028 \\u0000"}, ensure_ascii=False),
    "large": json.dumps({"text": "x" * 240_000}),
    "deep": '{"a":' * 100 + "1" + "}" * 100,
}


@pytest.mark.parametrize("kind", PAYLOADS)
async def test_b38_foreign_large_and_deep_payloads_arrive_as_they_were_sent(link, kind):
    await link.deliver("role", PAYLOADS[kind])
    await told(link, ("role", PAYLOADS[kind]))


@pytest.mark.feature("S2.11")
async def test_b39_a_reader_without_room_loses_nothing_and_is_not_taken_for_a_dead_connection(made, server):
    """Neither by the service's time-out nor by pings, whose answers wait behind what is not read."""
    server.ping_every(0.02)
    link = await is_open(made())
    link.inlet.gate.clear()
    payloads = [f'{{"n":{number},"text":"{"x" * 10_000}"}}' for number in range(300)]
    await link.deliver("role", *payloads)
    await eventually(lambda: len(link.inlet.copies) == 1)
    await asyncio.sleep(0.2)
    await link.clock.advance(400.0)
    assert (link.state, link.manager.snapshot.health) == (State.OPEN, Health.HEALTHY)
    link.inlet.gate.set()
    await told(link, *(("role", payload) for payload in payloads))
    assert len(server.peers) == 1


async def test_b40_an_event_that_its_taker_fails_at_costs_itself_alone(link, server, caplog):
    link.inlet.chokes_on = {"2"}
    await link.deliver("role", '"1"', "2", '"3"')
    await link.deliver("presence", '"4"')
    await told(link, ("role", '"1"'), ("role", '"3"'), ("presence", '"4"'))
    assert link.inlet.not_taken_of == [("role", "2", "the inlet's own")]
    assert "an event of the feed role could not be taken" in caplog.text
    assert is_whole(link) and len(server.peers) == 1


@pytest.mark.feature("S2.7")
async def test_b39_silence_counts_again_once_there_is_room(link, server):
    link.inlet.gate.clear()
    await link.deliver("role", "{}")
    await eventually(lambda: len(link.inlet.copies) == 1)
    await link.clock.advance(400.0)
    link.inlet.gate.set()
    await link.clock.advance(65.0)
    assert link.manager.snapshot.last_error.kind == "keep-alive timeout"
