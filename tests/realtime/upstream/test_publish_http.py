"""What the answers to a publish over HTTP mean, and what is known when there is none."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager

import pytest

from realtime.appsync.auth import ApiKey, Iam
from realtime.appsync.endpoint import derive
from realtime.appsync.exceptions import AuthRejected, BadRequest, NotSent, OutcomeUnknown, ServiceFault, Throttled
from realtime.appsync.publishing import Outcome
from realtime.emulator.sigv4 import verify
from realtime.upstream import http
from realtime.upstream.clock import SystemClock
from realtime.upstream.http import Answer
from realtime.upstream.pace import Pace
from realtime.upstream.publish_http import REQUEST_TIMEOUT, HttpWay, outcomes
from tests.fakes import ManualClock, settle

KEY = ApiKey("da2-key")
TAKEN = b'{"successful":[{"identifier":"x","index":0}],"failed":[]}'


def refusal(kind, message="no"):
    return json.dumps({"errors": [{"errorType": kind, "message": message}]}).encode()


def test_b77_a_200_may_have_taken_a_part():
    body = b'{"successful":[{"index":0}],"failed":[{"index":1,"code":400,"message":"no"}]}'
    assert outcomes(Answer(200, body), 2) == (Outcome("sent"), Outcome("failed", "400", "no"))


@pytest.mark.parametrize(
    ("answer", "kind", "status", "says"),
    [
        (Answer(400, refusal("BadRequestException")), BadRequest, "failed", "BadRequestException: no"),
        (Answer(401, refusal("UnauthorizedException")), AuthRejected, "failed", "UnauthorizedException: no"),
        (Answer(401, b""), AuthRejected, "failed", "HTTP 401"),
        (Answer(403, refusal("HandlerError")), ServiceFault, "failed", "HandlerError: no"),
        (Answer(403, refusal("Unauthorized")), AuthRejected, "failed", "Unauthorized: no"),
        (Answer(403, b"<html>blocked</html>"), AuthRejected, "failed", "HTTP 403: <html>blocked</html>"),
        (Answer(403, b'{"message":"Forbidden"}', "AccessDeniedException"), AuthRejected, "failed", "AccessDenied"),
        (Answer(413, b""), BadRequest, "failed", "HTTP 413"),
        (Answer(302, b""), ServiceFault, "failed", "HTTP 302"),
        (Answer(400, b'{"__type":"BadRequestException","message":"no"}'), BadRequest, "failed", "BadRequestException"),
        (Answer(429, refusal("LimitExceededError"), None, 7.0), Throttled, "failed", "LimitExceededError"),
        (Answer(429, b"slow down", None, 7.0), Throttled, "failed", "HTTP 429: slow down"),
        (Answer(500, refusal("InternalFailure")), OutcomeUnknown, "outcome unknown", "HTTP 500"),
        (Answer(503, b""), OutcomeUnknown, "outcome unknown", "HTTP 503"),
        (Answer(200, b"<html>"), OutcomeUnknown, "outcome unknown", "can't be read"),
        (Answer(200, b"[]"), OutcomeUnknown, "outcome unknown", "can't be read"),
        (Answer(200, b'{"failed":' + b"[" * 100_000), OutcomeUnknown, "outcome unknown", "can't be read"),
    ],
)
@pytest.mark.feature("S4.7")
def test_b77_every_other_answer_is_an_error_of_its_own_kind(answer, kind, status, says):
    with pytest.raises(kind) as raised:
        outcomes(answer, 1)
    assert type(raised.value) is kind
    assert raised.value.outcome == status
    assert says in str(raised.value)
    assert raised.value.retry_after == answer.retry_after


# ── With a server ────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def serving(answer):
    """A server that reads one request a connection and does ``answer(writer)``; gives its address and the requests."""
    requests, open_writers = [], []

    async def serve(reader, writer):
        open_writers.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:"))
        requests.append((head, await reader.readexactly(length)))
        await answer(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/event", requests
    finally:
        for writer in open_writers:
            writer.close()
        server.close()
        await server.wait_closed()


def answering(status, body, *headers):
    async def answer(writer):
        head = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close", *headers]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return answer


async def hang(writer):
    await writer.drain()


async def cut(writer):
    writer.close()


@asynccontextmanager
async def way(url, clock=None):
    clock = clock or SystemClock()
    opened = HttpWay(derive(url), http.Client(ssl.create_default_context()), Pace(clock), clock)
    try:
        yield opened
    finally:
        await opened.close()


async def test_a_publish_is_one_post_with_its_own_authorization():
    async with serving(answering(200, TAKEN)) as (url, requests), way(url) as over:
        assert await over.publish("/ns/a", ["1"], KEY) == (Outcome("sent"),)
    ((head, body),) = requests
    assert head.startswith("POST /event HTTP/1.1") and "x-api-key: da2-key" in head
    assert body == b'{"channel":"/ns/a","events":["1"]}'


async def test_b74_a_signature_is_of_the_very_bytes_that_are_sent():
    iam = Iam("AKIDEXAMPLE", "secret", "eu-west-1", "session")
    event = '"<>&=+ ünï\u2028"'
    async with serving(answering(200, TAKEN)) as (url, requests), way(url) as over:
        await over.publish("/ns/a", [event], iam)
    ((head, body),) = requests
    headers = dict(_header(line) for line in head.split("\r\n")[1:] if line)
    assert verify(headers, path="/event", body=body, secret_of=lambda key: "secret") == "AKIDEXAMPLE"
    assert json.loads(body)["events"] == [event]


def _header(line):
    name, _, value = line.partition(": ")
    return name.lower(), value


async def test_b77_retry_after_is_passed_on():
    async with serving(answering(429, b"", "retry-after: 7")) as (url, _), way(url) as over:
        with pytest.raises(Throttled) as raised:
            await over.publish("/ns/a", ["1"], KEY)
    assert raised.value.retry_after == 7.0


async def test_a_refused_connection_has_sent_nothing():
    async with serving(hang) as (url, _):
        pass
    async with way(url) as over:
        with pytest.raises(NotSent, match="connect"):
            await over.publish("/ns/a", ["1"], KEY)


async def test_b69_a_connection_that_is_cut_leaves_the_outcome_unknown():
    async with serving(cut) as (url, _), way(url) as over:
        with pytest.raises(OutcomeUnknown, match="no answer"):
            await over.publish("/ns/a", ["1"], KEY)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for happens on the other side of a socket
            await asyncio.sleep(0.005)


async def test_b68_b77_no_answer_in_time_leaves_the_outcome_unknown():
    clock = ManualClock()
    async with serving(hang) as (url, requests), way(url, clock) as over:
        publishing = asyncio.create_task(over.publish("/ns/a", ["1"], KEY))
        await until(lambda: requests)
        await clock.advance(REQUEST_TIMEOUT)
        with pytest.raises(OutcomeUnknown, match="no answer within 20 s"):
            await publishing


async def test_b64_a_close_lets_what_was_written_be_answered_and_takes_nothing_more():
    answered = asyncio.Event()

    async def late(writer):
        await answered.wait()
        await answering(200, TAKEN)(writer)

    async with serving(late) as (url, requests), way(url) as over:
        publishing = asyncio.create_task(over.publish("/ns/a", ["1"], KEY))
        await until(lambda: requests)
        closing = asyncio.create_task(over.close())
        await settle()
        with pytest.raises(NotSent, match="closed"):
            await over.publish("/ns/a", ["1"], KEY)
        assert not closing.done()
        answered.set()
        assert await publishing == (Outcome("sent"),)
        await closing
    assert len(requests) == 1


async def test_b64_what_has_no_answer_when_its_time_is_up_ends_as_unknown_and_the_close_with_it():
    clock = ManualClock()
    async with serving(hang) as (url, requests), way(url, clock) as over:
        publishing = asyncio.create_task(over.publish("/ns/a", ["1"], KEY))
        await until(lambda: requests)
        closing = asyncio.create_task(over.close())
        await clock.advance(REQUEST_TIMEOUT)
        await closing
        with pytest.raises(OutcomeUnknown, match="no answer within 20 s"):
            await publishing


async def test_who_gives_up_waiting_gives_the_request_up():
    clock = ManualClock()
    async with serving(hang) as (url, requests), way(url, clock) as over:
        publishing = asyncio.create_task(over.publish("/ns/a", ["1"], KEY))
        await until(lambda: requests)
        publishing.cancel()
        await asyncio.wait([publishing])
        assert clock.armed == []
        async with asyncio.timeout(5):
            await over.close()
