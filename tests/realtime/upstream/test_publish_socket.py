"""Publishing over a socket that is there for nothing else."""

import asyncio
import json

import pytest

from realtime.appsync.auth import ApiKey
from realtime.appsync.endpoint import derive
from realtime.appsync.exceptions import AuthRejected, ConnectionLost, NotSent, RequestTimeout, Throttled
from realtime.appsync.publishing import Outcome
from realtime.upstream.pace import Pace
from realtime.upstream.publish_socket import CONNECT_TIMEOUT, SocketWay
from realtime.upstream.transport import TransportError
from tests.fakes import HANGS, FakeSocket, ManualClock, ScriptedTransport, settle, tasks_but_mine

KEY = ApiKey("da2-key")
SENT = Outcome("sent")


class Sending:
    """A way over sockets whose other end is scripted."""

    def __init__(self):
        self.clock = ManualClock()
        self.transport = ScriptedTransport()
        self.service = self.transport.service
        self.way = SocketWay(derive("http://localhost:4000/event"), self.transport, Pace(self.clock), self.clock)

    def start(self, *events):
        return asyncio.create_task(self.way.publish("/ns/a", list(events or ("1",)), KEY))

    async def publish(self, *events):
        return await self.way.publish("/ns/a", list(events or ("1",)), KEY)

    async def publish_in_time(self, *events):
        """Publish while the clock gives it its turn."""
        publishing = self.start(*events)
        await self.clock.advance(0.1)
        return await publishing


def takes_one_more(socket):
    """Let a socket take one frame and no more, as one does whose other side reads nothing."""

    async def send(text):
        socket.sent.append(json.loads(text))
        await asyncio.get_running_loop().create_future()

    socket.send = send
    return socket


@pytest.fixture
async def sending():
    sending = Sending()
    yield sending
    closing = asyncio.create_task(sending.way.close())
    await sending.clock.advance(10.0)
    await closing
    assert not tasks_but_mine()
    assert sending.clock.armed == []
    assert all(socket.closed == 1 for socket in sending.transport.sockets)


async def test_b75_the_first_publish_opens_the_socket_and_subscribes_to_nothing(sending):
    assert await sending.publish("1", "2") == (SENT, SENT)
    assert [frame["type"] for frame in sending.transport.socket.sent] == ["connection_init", "publish"]


async def test_b14_publishes_at_once_share_one_socket(sending):
    publishing = [sending.start(str(number)) for number in range(20)]
    await sending.clock.advance(2.0)
    assert await asyncio.gather(*publishing) == [(SENT,)] * 20
    assert len(sending.transport.sockets) == 1


async def test_b75_after_the_connection_ended_the_next_publish_opens_another(sending):
    await sending.publish()
    sending.transport.socket.end()
    await settle()
    assert await sending.publish_in_time("2") == (SENT,)
    assert len(sending.transport.sockets) == 2


async def test_b78_each_publish_carries_its_own_authorization(sending):
    await sending.publish()
    publishing = asyncio.create_task(sending.way.publish("/ns/a", ["1"], ApiKey("other")))
    await sending.clock.advance(0.1)
    await publishing
    keys = [frame["authorization"]["x-api-key"] for frame in sending.transport.socket.sent_of("publish")]
    assert keys == ["da2-key", "other"]


async def test_b69_a_publish_that_was_written_when_the_connection_ended_has_an_unknown_outcome(sending):
    sending.service.publish_script = [TransportError("connection lost")]
    with pytest.raises(ConnectionLost) as raised:
        await sending.publish()
    assert raised.value.outcome == "outcome unknown"


async def test_a_publish_that_was_not_written_when_the_connection_ended_is_not_sent(sending):
    await sending.publish()
    socket = takes_one_more(sending.transport.socket)
    written, unwritten = sending.start("2"), sending.start("3")
    await sending.clock.advance(1.0)
    socket.end()
    with pytest.raises(ConnectionLost):
        await written
    with pytest.raises(NotSent) as raised:
        await unwritten
    assert raised.value.outcome == "not sent" and raised.value.retryable
    assert [frame["events"] for frame in socket.sent_of("publish")] == [["1"], ["2"]]


async def test_a_socket_that_can_not_be_written_to_leaves_the_outcome_unknown(sending):
    await sending.publish()
    sending.transport.socket.send_error = TransportError("connection lost")
    publishing = sending.start("2")
    await sending.clock.advance(0.1)
    sending.transport.socket.end()
    with pytest.raises(ConnectionLost):
        await publishing


async def test_b68_no_answer_in_time_leaves_the_outcome_unknown_and_the_socket_to_those_who_wait(sending):
    sending.service.publish_script = [HANGS, HANGS]
    silent, later = sending.start("1"), sending.start("2")
    await sending.clock.advance(9.99)
    assert not silent.done()
    await sending.clock.advance(0.01)
    with pytest.raises(RequestTimeout):
        await silent
    assert not later.done()
    assert await sending.publish("3") == (SENT,)
    first, second = sending.transport.sockets
    assert (first.closed, second.sent_of("publish")[0]["events"]) == (0, ["3"])
    first.arrive({"type": "publish_success", "id": first.sent_of("publish")[1]["id"], "successful": [{"index": 0}]})
    assert await later == (SENT,)
    await settle()
    assert first.closed == 1


async def test_b66_what_the_service_refuses_is_raised_as_what_it_is(sending):
    sending.service.publish_script = ["LimitExceededError", "UnauthorizedException"]
    with pytest.raises(Throttled):
        await sending.publish()
    publishing = sending.start()
    await sending.clock.advance(0.1)
    with pytest.raises(AuthRejected) as raised:
        await publishing
    assert raised.value.outcome == "failed"
    assert len(sending.transport.sockets) == 1


@pytest.mark.parametrize("about", [{}, {"id": "somebody-elses"}], ids=["no id", "another id"])
async def test_b22_b66_an_error_that_names_another_request_or_none_leaves_a_publish_waiting(sending, about):
    sending.service.publish_script = [HANGS]
    publishing = sending.start("1")
    await settle()
    socket = sending.transport.socket
    for kind in ("error", "publish_error"):
        socket.arrive({"type": kind, "errors": [{"errorType": "LimitExceededError"}], **about})
    await settle()
    assert not publishing.done()
    (frame,) = socket.sent_of("publish")
    socket.arrive({"type": "publish_success", "id": frame["id"], "successful": [{"index": 0}]})
    assert await publishing == (SENT,)
    assert len(sending.transport.sockets) == 1


async def test_a_socket_on_which_the_service_was_silent_too_long_is_not_used_again(sending):
    await sending.publish()
    await sending.clock.advance(299.0)
    assert await sending.publish() == (SENT,)
    await sending.clock.advance(300.0)
    assert await sending.publish() == (SENT,)
    assert [socket.closed for socket in sending.transport.sockets] == [1, 0]


@pytest.mark.feature("S2.12")
async def test_19_after_a_sleep_of_the_machine_a_publish_is_sent_only_once_the_service_says_so(sending):
    """A shorter sleep may leave a dead socket, too: then nobody knows what became of it."""
    await sending.publish()
    sending.clock.sleep(301.0)
    assert await sending.publish_in_time() == (SENT,)
    assert [socket.closed for socket in sending.transport.sockets] == [1, 0]
    sending.clock.sleep(100.0)
    sending.service.publish_script = [HANGS]
    publishing = sending.start()
    await sending.clock.advance(100.0)
    with pytest.raises(RequestTimeout) as raised:
        await publishing
    assert raised.value.outcome == "outcome unknown"


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (TransportError("connect failed", "refused"), NotSent, True),
        (TransportError("HTTP 503", "busy", status=503, retry_after=7.0), None, True),
        (TransportError("HTTP 429", "busy", status=429, retry_after=7.0), Throttled, True),
        (TransportError("HTTP 401", "no", status=401), AuthRejected, False),
        (TransportError("HTTP 404", "no", status=404), None, False),
    ],
)
async def test_a_connection_that_can_not_be_had_has_sent_nothing(sending, error, kind, retryable):
    sending.transport.script = [error]
    with pytest.raises(kind or Exception, match=error.kind) as raised:
        await sending.publish()
    assert raised.value.outcome == "not sent"
    assert raised.value.retryable is retryable
    assert raised.value.retry_after == error.retry_after
    assert await sending.publish_in_time() == (SENT,)


async def test_a_connection_that_the_service_refuses_has_sent_nothing(sending):
    sending.service.acks = False
    publishing = sending.start()
    await settle()
    refusal = {"type": "connection_error", "errors": [{"errorType": "UnauthorizedException", "errorCode": 401}]}
    sending.transport.socket.arrive(refusal)
    with pytest.raises(AuthRejected) as raised:
        await publishing
    assert raised.value.outcome == "not sent"
    await settle()
    assert sending.transport.socket.closed == 1


@pytest.mark.parametrize("silent", ["dial", "ack"])
async def test_b07_a_connection_that_is_never_accepted_is_given_up(sending, silent):
    sending.transport.script = [HANGS if silent == "dial" else FakeSocket()]
    publishing = sending.start()
    await sending.clock.advance(CONNECT_TIMEOUT)
    with pytest.raises(NotSent, match="not accepted within 15 s"):
        await publishing
    assert await sending.publish() == (SENT,)


async def test_a_connection_that_ends_with_its_acceptance_has_sent_nothing(sending):
    sending.transport.script = [FakeSocket()]
    publishing = sending.start()
    await settle()
    sending.transport.socket.arrive({"type": "connection_ack"})
    sending.transport.socket.arrive({"type": "connection_error"})
    with pytest.raises(NotSent, match="as soon as it was accepted"):
        await publishing


async def test_a_connection_that_ends_before_a_publish_has_its_turn_has_not_sent_it(sending):
    await sending.publish()
    waiting = sending.start("2")
    await settle()
    sending.transport.socket.end()
    await sending.clock.advance(1.0)
    with pytest.raises(NotSent, match="turn"):
        await waiting


async def test_who_gives_up_waiting_writes_nothing_later_and_disturbs_nobody(sending):
    await sending.publish()
    sending.service.publish_script = [HANGS]
    given_up = sending.start("2")
    await sending.clock.advance(0.1)
    given_up.cancel()
    (frame,) = sending.transport.socket.sent_of("publish")[1:]
    sending.transport.socket.arrive({"type": "publish_success", "id": frame["id"], "successful": [{"index": 0}]})
    assert await sending.publish_in_time("3") == (SENT,)
    assert len(sending.transport.sockets) == 1


async def test_b64_a_close_lets_what_was_written_be_answered_and_writes_nothing_more(sending):
    await sending.publish()
    sending.service.publish_script = [HANGS]
    written, waiting = sending.start("2"), sending.start("3")
    await sending.clock.advance(0.05)
    closing = asyncio.create_task(sending.way.close())
    await sending.clock.advance(1.0)
    with pytest.raises(NotSent, match="the publisher is closed"):
        await waiting
    with pytest.raises(NotSent, match="the publisher is closed"):
        await sending.publish()
    assert not written.done() and not closing.done()
    socket = sending.transport.socket
    _, frame = socket.sent_of("publish")
    socket.arrive({"type": "publish_success", "id": frame["id"], "successful": [{"index": 0}]})
    assert await written == (SENT,)
    await closing
    assert socket.closed == 1


async def test_b64_what_has_no_answer_when_its_time_is_up_ends_as_unknown_and_the_close_with_it(sending):
    await sending.publish()
    sending.service.publish_script = [HANGS]
    written = sending.start("2")
    await sending.clock.advance(0.05)
    closing = asyncio.create_task(sending.way.close())
    await sending.clock.advance(9.9)
    assert not closing.done()
    await sending.clock.advance(0.1)
    await closing
    with pytest.raises(RequestTimeout) as raised:
        await written
    assert raised.value.outcome == "outcome unknown"


async def test_b63_b64_a_close_sends_nothing_of_what_a_socket_has_not_taken_yet(sending):
    await sending.publish()
    socket = takes_one_more(sending.transport.socket)
    written, unwritten = sending.start("2"), sending.start("3")
    await sending.clock.advance(0.1)
    closing = asyncio.create_task(sending.way.close())
    await sending.clock.advance(0.0)
    assert unwritten.done() and not written.done()
    with pytest.raises(NotSent, match="the publisher is closed"):
        await unwritten
    socket.end()
    with pytest.raises(ConnectionLost):
        await written
    await closing
    assert [frame["events"] for frame in socket.sent_of("publish")] == [["1"], ["2"]]


async def test_b63_a_close_waits_for_no_connection(sending):
    sending.transport.script = [HANGS]
    publishing = sending.start()
    await settle()
    async with asyncio.timeout(1):
        await sending.way.close()
        with pytest.raises(NotSent, match="closed"):
            await publishing
    assert sending.transport.given_up == 1


@pytest.mark.parametrize("ended", ["by the service", "by the publisher"])
async def test_b63_no_socket_is_left_open_by_what_comes_while_it_closes(sending, ended):
    await sending.publish()
    first = sending.transport.socket
    first.close_gate = asyncio.Event()
    if ended == "by the service":
        first.end()
        await settle()
        assert await sending.publish_in_time("2") == (SENT,)
    closing = [asyncio.create_task(sending.way.close()) for _ in range(2)]
    await settle()
    assert first.closed == 0 and not any(task.done() for task in closing)
    first.close_gate.set()
    await asyncio.gather(*closing)
    assert [socket.closed for socket in sending.transport.sockets] == [1] * len(sending.transport.sockets)


async def test_b63_a_close_ends_a_dial_that_has_not_begun(sending):
    publishing = sending.start()
    await asyncio.sleep(0)
    assert sending.transport.openings == []
    async with asyncio.timeout(1):
        await sending.way.close()
        with pytest.raises(NotSent, match="closed"):
            await publishing
