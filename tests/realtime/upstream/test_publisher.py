"""When a publish is made again, when it must not be, and that every event ends exactly once."""

import asyncio
import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.appsync.auth import ApiKey, Token
from realtime.appsync.endpoint import derive
from realtime.appsync.exceptions import (
    AuthRejected,
    BadRequest,
    ChannelError,
    ConnectionLost,
    NotSent,
    OutcomeUnknown,
    RequestTimeout,
    ServiceFault,
    Throttled,
)
from realtime.appsync.publishing import MAX_PER_SECOND, Outcome
from realtime.upstream.credentials import StaticCredentials, TokenRefused, TokenUnavailable
from realtime.upstream.pace import Pace
from realtime.upstream.publish_socket import SocketWay
from realtime.upstream.publisher import ATTEMPTS, PATIENCE, RETRY, Publisher
from realtime.upstream.transport import TransportError
from tests.fakes import FakeCredentials, FakeSocket, ManualClock, settle, tasks_but_mine

SENT = Outcome("sent")


class ScriptedWay:
    """Ends each request as its script says: an error to raise, or ``None`` for success, which also follows its end."""

    def __init__(self, clock, script):
        self.clock = clock
        self.script = list(script)
        self.requests = []
        self.closed = False

    async def publish(self, channel, events, authorization):
        self.requests.append((self.clock.monotonic(), channel, events, authorization))
        end = self.script.pop(0) if self.script else None
        if end is not None:
            raise end
        return (SENT,) * len(events)

    async def close(self):
        self.closed = True


class Publishing:
    def __init__(self, *script, credentials=None):
        self.clock = ManualClock()
        self.way = ScriptedWay(self.clock, script)
        self.pace = Pace(self.clock)
        self.credentials = credentials or FakeCredentials()
        self.publisher = Publisher(self.way, self.pace, self.credentials, self.clock, Random(1))

    async def run(self, *events, within=300.0, **kwargs):
        task = asyncio.create_task(self.publisher.publish("ns/a", list(events), **kwargs))
        await self.clock.advance(within)
        return await task

    @property
    def times(self):
        return [at for at, *_ in self.way.requests]


async def test_b70_events_go_in_requests_of_five_and_each_has_its_outcome():
    publishing = Publishing(None, ServiceFault("HandlerError", "no"))
    assert await publishing.run(*"1234567") == [SENT] * 5 + [Outcome("failed", "HandlerError", "no")] * 2
    assert [(channel, events) for _, channel, events, _ in publishing.way.requests] == [
        ("/ns/a", ["1", "2", "3", "4", "5"]),
        ("/ns/a", ["6", "7"]),
    ]


async def test_no_events_make_no_request():
    publishing = Publishing()
    assert await publishing.run() == []
    assert publishing.way.requests == []


@pytest.mark.parametrize(
    ("channel", "event", "error"),
    [("/ns/*", "1", ChannelError), ("/ns/a", "nonsense", BadRequest), ("/ns/a", '"' + "x" * 250_000 + '"', BadRequest)],
)
async def test_b72_b76_what_can_not_be_taken_is_refused_before_anything_is_sent(channel, event, error):
    publishing = Publishing()
    with pytest.raises(error):
        await publishing.publisher.publish(channel, ["1", "2", "3", "4", "5", event])
    assert publishing.way.requests == []


# ── Another try ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [Throttled("LimitExceededError"), NotSent("connection refused")])
@pytest.mark.feature("S0.6")
async def test_b73_what_can_not_have_been_taken_is_tried_again_with_jitter(error):
    publishing = Publishing(*[error] * 3)
    assert await publishing.run("1") == [SENT]
    delays = [later - earlier for earlier, later in zip(publishing.times, publishing.times[1:], strict=False)]
    assert len(delays) == 3
    for attempt, delay in enumerate(delays, 1):
        lower, upper = RETRY.bounds(attempt)
        assert lower <= delay <= upper + 1e-9


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Throttled("LimitExceededError"), Outcome("failed", "LimitExceededError")),
        (NotSent("connection refused"), Outcome("not sent", text="connection refused")),
    ],
)
async def test_tries_are_bounded(error, outcome):
    publishing = Publishing(*[error] * 100)
    assert await publishing.run("1") == [outcome]
    assert len(publishing.way.requests) == ATTEMPTS


@pytest.mark.parametrize(
    "error",
    [
        RequestTimeout("no answer"),
        ConnectionLost("gone"),
        OutcomeUnknown("HTTP 502"),
    ],
)
async def test_b69_what_may_have_been_taken_is_never_tried_again(error):
    publishing = Publishing(error)
    assert await publishing.run("1") == [Outcome("outcome unknown", text=str(error))]
    assert len(publishing.way.requests) == 1


@pytest.mark.parametrize("error", [ServiceFault("InternalFailure"), BadRequest("BadRequestException")])
async def test_what_the_service_refuses_is_not_asked_again(error):
    publishing = Publishing(error)
    assert await publishing.run("1") == [Outcome("failed", error.kind)]
    assert len(publishing.way.requests) == 1


async def test_the_service_says_how_long_to_wait():
    busy = Throttled("HTTP 429")
    busy.retry_after = 30.0
    publishing = Publishing(busy)
    assert await publishing.run("1") == [SENT]
    assert publishing.times[1] - publishing.times[0] == 30.0


async def test_a_wait_beyond_all_patience_is_not_begun():
    busy = Throttled("HTTP 429")
    busy.retry_after = PATIENCE + 1
    publishing = Publishing(busy)
    assert await publishing.run("1", within=0.0) == [Outcome("failed", "HTTP 429")]


async def test_a_throttled_publish_whose_next_try_could_not_be_written_has_failed():
    """It was written once: to call it not sent would be wrong."""
    publishing = Publishing(Throttled("LimitExceededError"), *[NotSent("connection refused")] * 100)
    assert await publishing.run("1") == [Outcome("failed", "LimitExceededError")]


async def test_after_what_could_not_be_sent_the_rest_is_not_tried():
    publishing = Publishing(None, *[NotSent("connection refused")] * 100)
    outcomes = await publishing.run(*map(str, range(20)))
    assert outcomes == [SENT] * 5 + [Outcome("not sent", text="connection refused")] * 15
    assert len(publishing.way.requests) == 1 + ATTEMPTS


# ── Credentials ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_request_is_authorised_anew():
    publishing = Publishing()
    await publishing.run(*"1234567")
    assert publishing.credentials.asked == [False, False]


async def test_b78_credentials_of_a_call_are_used_for_it_alone():
    publishing = Publishing()
    await publishing.run("1", credentials=StaticCredentials(ApiKey("other")))
    await publishing.run("1")
    assert [request[3] for request in publishing.way.requests] == [ApiKey("other"), Token("token-1")]


async def test_b79_a_publish_refused_for_its_token_is_made_once_more_with_a_new_one():
    publishing = Publishing(AuthRejected("UnauthorizedException"))
    assert await publishing.run("1") == [SENT]
    assert [request[3] for request in publishing.way.requests] == [Token("token-1"), Token("token-2")]


async def test_b81_a_publish_that_stays_refused_has_failed():
    publishing = Publishing(*[AuthRejected("UnauthorizedException")] * 100)
    assert await publishing.run("1") == [Outcome("failed", "UnauthorizedException")]
    assert len(publishing.way.requests) == 2


async def test_a_key_that_can_not_be_renewed_is_not_tried_again():
    publishing = Publishing(AuthRejected("UnauthorizedException"), credentials=StaticCredentials(ApiKey("key")))
    assert await publishing.run("1") == [Outcome("failed", "UnauthorizedException")]
    assert len(publishing.way.requests) == 1


@pytest.mark.parametrize("error", [TokenRefused("sign in again"), TokenUnavailable("issuer down")])
async def test_a_publish_refused_for_a_token_that_can_not_be_renewed_has_failed(error):
    publishing = Publishing(AuthRejected("UnauthorizedException"), credentials=FakeCredentials(None, error))
    assert await publishing.run("1") == [Outcome("failed", "UnauthorizedException")]


async def test_b06_without_credentials_nothing_is_sent():
    publishing = Publishing(credentials=FakeCredentials(TokenRefused("sign in again")))
    assert await publishing.run("1") == [Outcome("not sent", "TokenRefused", "sign in again")]
    publishing = Publishing(credentials=FakeCredentials(TokenUnavailable("issuer down")))
    assert await publishing.run("1") == [SENT]


# ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_b63_a_close_waits_for_no_further_try():
    publishing = Publishing(*[Throttled("LimitExceededError")] * 100)
    task = asyncio.create_task(publishing.publisher.publish("/ns/a", ["1"]))
    await settle()
    await publishing.publisher.close()
    await settle()
    assert task.done() and await task == [Outcome("failed", "LimitExceededError")]
    assert publishing.way.closed


# ── Anything ─────────────────────────────────────────────────────────────────────────────────────────────────

REFUSALS = ("LimitExceededError", "UnauthorizedException", "HandlerError")
SAFE = ("LimitExceededError", "UnauthorizedException")
ACTS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 12)),
    st.tuples(st.just("answer"), st.sampled_from(["all", "some", "none", *REFUSALS])),
    st.tuples(st.just("answer again"), st.just(None)),
    st.tuples(st.sampled_from(["end", "reject", "stop writing", "cancel", "close"]), st.just(None)),
    st.tuples(st.just("advance"), st.sampled_from([0.01, 0.04, 1.0, 10.0, 15.0, 300.0])),
)
OPENINGS = st.sampled_from(["well", "well", "well", "refused", "busy", "unauthorised", "hangs", "no ack"])


class WatchedSocket(FakeSocket):
    """Acknowledges, and gives the world account of what is written."""

    def __init__(self, world, acks):
        super().__init__()
        self.world = world
        self.acks = acks

    async def send(self, text):
        frame = json.loads(text)
        if frame["type"] == "publish":
            self.world.frames.append((self, self.world.clock.monotonic(), frame))
        elif self.acks:
            self.arrive({"type": "connection_ack"})
        if self.send_error is not None:  # how much of it has left by then, nobody knows
            raise self.send_error


class World:
    """A service that keeps account of what it took, and a publisher that is told of it or not."""

    def __init__(self, openings):
        self.clock = ManualClock()
        self.openings = list(openings)
        self.sockets = []
        self.frames = []
        self.answers = {}
        self.tasks = []
        self.closing = []
        self.cancelled = set()
        pace = Pace(self.clock)
        way = SocketWay(derive("http://localhost:4000/event"), self, pace, self.clock)
        self.publisher = Publisher(way, pace, FakeCredentials(), self.clock, Random(1))

    # As a transport

    async def open(self, opening):
        how = self.openings.pop(0) if self.openings else "well"
        if how == "hangs":
            await asyncio.get_running_loop().create_future()
        if how not in ("well", "no ack"):
            status = {"busy": 503, "unauthorised": 401}.get(how)
            raise TransportError("connect failed", how, status=status)
        self.sockets.append(WatchedSocket(self, how == "well"))
        return self.sockets[-1]

    # What may happen

    async def act(self, kind, detail):
        if kind == "publish":
            first = sum(len(events) for events, _ in self.tasks)
            events = [str(first + number) for number in range(detail)]
            self.tasks.append((events, asyncio.create_task(self.publisher.publish("/ns/a", events))))
        elif kind == "answer":
            self.answer(detail)
        elif kind == "answer again" and self.answers:
            ident = next(iter(self.answers))
            socket, _, frame = next(entry for entry in self.frames if entry[2]["id"] == ident)
            self.tell(socket, frame, self.answers[ident])
        elif kind == "end" and self.sockets:
            self.sockets[-1].end()
        elif kind == "reject" and self.sockets:
            self.sockets[-1].arrive({"type": "connection_error", "errors": [{"errorType": "InternalFailure"}]})
        elif kind == "stop writing" and self.sockets:
            self.sockets[-1].send_error = TransportError("connection lost")
        elif kind == "cancel" and self.tasks:
            self.cancelled.add(len(self.tasks) - 1)
            self.tasks[-1][1].cancel()
        elif kind == "close":
            self.closing.append(asyncio.create_task(self.publisher.close()))
        elif kind == "advance":
            await self.clock.advance(detail)
        await settle()

    def answer(self, how):
        waiting = [entry for entry in self.frames if entry[2]["id"] not in self.answers]
        if waiting:
            socket, _, frame = waiting[0]
            self.answers[frame["id"]] = how
            self.tell(socket, frame, how)

    def tell(self, socket, frame, how):
        if how in REFUSALS:
            socket.arrive({"type": "publish_error", "id": frame["id"], "errors": [{"errorType": how}]})
            return
        count = {"all": len(frame["events"]), "some": 1, "none": 0}[how]
        taken = [{"index": index} for index in range(count)]
        failed = [{"index": index, "code": 400} for index in range(count, len(frame["events"]))]
        socket.arrive({"type": "publish_success", "id": frame["id"], "successful": taken, "failed": failed})

    # What must hold

    def judge(self):
        for number, (events, task) in enumerate(self.tasks):
            if number not in self.cancelled:
                outcomes = task.result()
                assert len(outcomes) == len(events), "20: each event has one outcome"
                for event, outcome in zip(events, outcomes, strict=True):
                    self.judge_event(event, outcome.status)
        self.judge_rate()

    def judge_event(self, event, status):
        told = [(frame["events"].index(event), self.answers.get(frame["id"])) for *_, frame in self.frames_with(event)]
        assert all(answer in SAFE for _, answer in told[:-1]), "written again only after a refusal of the whole"
        index, last = told[-1] if told else (0, "never written")
        taken = last == "all" or (last == "some" and index == 0)
        if status == "sent":
            assert taken
        elif status == "failed":
            assert last is None or not taken
            assert told
        elif status == "not sent":
            assert last == "never written"
        else:
            assert status == "outcome unknown"
            assert told, "only what was written can be unknown"

    def frames_with(self, event):
        return [entry for entry in self.frames if event in entry[2]["events"]]

    def judge_rate(self):
        times = [at for _, at, _ in self.frames]
        for earlier, later in zip(times, times[MAX_PER_SECOND:], strict=False):
            assert later - earlier >= 1.0 - 1e-6


async def play(openings, acts):
    world = World(openings)
    for kind, detail in acts:
        await world.act(kind, detail)
    closing = asyncio.create_task(world.publisher.close())
    await world.clock.advance(10.0)
    assert closing.done(), "a close takes no longer than a publish may"
    assert not tasks_but_mine(), "a publish never ended"
    world.judge()
    assert world.clock.armed == []
    assert all(socket.closed == 1 for socket in world.sockets)


@settings(max_examples=300)
@given(st.lists(OPENINGS, max_size=6), st.lists(ACTS, max_size=30))
@pytest.mark.feature("S3.14")
def test_20_every_publish_ends_exactly_once_and_as_it_is(openings, acts):
    asyncio.run(play(openings, acts))


@pytest.mark.soak
@settings(max_examples=10_000)
@given(st.lists(OPENINGS, max_size=12), st.lists(ACTS, max_size=80))
def test_20_every_publish_ends_exactly_once_and_as_it_is_at_length(openings, acts):
    asyncio.run(play(openings, acts))
