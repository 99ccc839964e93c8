"""What stands in for the world in tests of the upstream engine: time, sockets, tokens, and whoever gets the events."""

import asyncio
import heapq
import itertools
import json
from contextlib import suppress

from realtime.appsync.auth import Token
from realtime.upstream.transport import TransportError
from tests.wire import EVENTS


class ManualClock:
    """Time that moves only when a test moves it. Timers fire in the order of (deadline, arming)."""

    def __init__(self, start=1_000.0):
        self._now = start
        self._slept = 86_400.0  # before the test: who takes one clock for the other is found out
        self._armed = []
        self._sequence = itertools.count()

    def monotonic(self):
        return self._now

    def boottime(self):
        return self._now + self._slept

    def call_at(self, deadline, callback):
        armed = Armed(deadline, next(self._sequence), callback)
        heapq.heappush(self._armed, armed)
        return armed

    @property
    def armed(self):
        """The timers that wait, soonest first."""
        return sorted(timer for timer in self._armed if not timer.cancelled)

    def sleep(self, seconds):
        """Let the machine sleep: only ``boottime`` goes on."""
        self._slept += seconds

    async def advance(self, seconds):
        """Move on, firing what is due; everything runs to quiescence before and after each firing."""
        until = self._now + seconds
        await settle()
        while self._armed and self._armed[0].deadline <= until:
            timer = heapq.heappop(self._armed)
            if not timer.cancelled:
                self._now = max(self._now, timer.deadline)
                timer.callback()
                await settle()
        self._now = until


class Armed:
    """A timer of the manual clock; also the handle that disarms it."""

    def __init__(self, deadline, sequence, callback):
        self.deadline = deadline
        self.sequence = sequence
        self.callback = callback
        self.cancelled = False

    def cancel(self):
        self.cancelled = True

    def __lt__(self, other):
        return (self.deadline, self.sequence) < (other.deadline, other.sequence)


async def settle():
    """Let every task run until all of them wait for something."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:  # noqa: ASYNC110 - there is no event for "nothing is left to run"
        await asyncio.sleep(0)


class FakeSocket:
    """One end of a connection whose other end is the test, or a ``FakeService``."""

    def __init__(self, service=None):
        self.sent = []
        self.closed = 0
        self.close_gate = None
        self.send_error = None
        self._service = service
        self._arriving = asyncio.Queue()

    async def send(self, text):
        if self.send_error is not None:
            raise self.send_error
        frame = json.loads(text)
        self.sent.append(frame)
        for answer in self._service.answers(frame) if self._service else ():
            self.end(answer) if isinstance(answer, Exception) else self.arrive(answer)

    def arrive(self, frame):
        """Let a frame arrive, given as text or as what is to be encoded."""
        self._arriving.put_nowait(frame if isinstance(frame, str) else json.dumps(frame))

    def end(self, error=None):
        """Let the connection end; with no error, as one that was lost."""
        self._arriving.put_nowait(error or TransportError("connection lost", "it ended without a close frame"))

    async def __aiter__(self):
        while True:
            item = await self._arriving.get()
            if isinstance(item, Exception):
                raise item
            yield item

    async def close(self):
        if self.close_gate is not None:
            await self.close_gate.wait()
        self.closed += 1

    def sent_of(self, kind):
        return [frame for frame in self.sent if frame["type"] == kind]


HANGS = object()


class FakeService:
    """An API as far as a link needs one: it answers every frame at once, unless told otherwise.

    ``refuses`` says with which error it answers whom, and ``keeps_quiet`` whom it does not answer, by target.
    """

    def __init__(self, wire=EVENTS):
        self.wire = wire
        self.acks = True
        self.timeout_ms = 300_000
        self.refuses = {}
        self.keeps_quiet = set()
        self.publish_script = []

    def answers(self, frame):
        """Return the frames that answer this one; an error ends the connection."""
        kind = frame["type"]
        if kind == "connection_init" and self.acks:
            return [self.wire.ack(self.timeout_ms)]
        if kind == self.wire.subscribes:
            return self._subscribed(frame["id"], self.wire.target(frame))
        if kind == self.wire.unsubscribes:
            return [self.wire.ended(frame["id"])]
        if kind == "publish":
            return self._published(frame["id"], len(frame["events"]))
        return []

    def _subscribed(self, ident, target):
        if target in self.refuses:
            return [self.wire.refused(ident, self.refuses[target])]
        return [] if target in self.keeps_quiet else [self.wire.accepted(ident)]

    def _published(self, ident, count):
        """Answer as the script says: ``HANGS`` for nothing, an error to end with, its type to refuse, or members."""
        answer = self.publish_script.pop(0) if self.publish_script else None
        if answer is HANGS:
            return []
        if isinstance(answer, Exception):
            return [answer]
        if isinstance(answer, str):
            return [{"type": "publish_error", "id": ident, "errors": [{"errorType": answer}]}]
        members = answer or {"successful": [{"index": index} for index in range(count)]}
        return [{"type": "publish_success", "id": ident, **members}]


class ScriptedTransport:
    """Opens as its script says, try by try: an error to raise, ``HANGS``, or a socket of ``service`` by default."""

    def __init__(self, *script, service=None):
        self.script = list(script)
        self.service = service or FakeService()
        self.openings = []
        self.sockets = []
        self.given_up = 0

    @property
    def socket(self):
        """The newest socket."""
        return self.sockets[-1]

    async def open(self, opening):
        self.openings.append(opening)
        outcome = self.script.pop(0) if self.script else None
        if outcome is HANGS:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.given_up += 1
        if isinstance(outcome, Exception):
            raise outcome
        self.sockets.append(outcome or self.make_socket())
        return self.sockets[-1]

    def make_socket(self):
        return FakeSocket(self.service)


class FakeCredentials:
    """Tokens ``token-1``, ``token-2``, …: a new one with each forced refresh. ``script`` gives errors, or ``HANGS``."""

    def __init__(self, *script):
        self.script = list(script)
        self.asked = []
        self.issued = 1

    async def get(self, *, refresh=False):
        self.asked.append(refresh)
        outcome = self.script.pop(0) if self.script else None
        if outcome is HANGS:
            await asyncio.get_running_loop().create_future()
        if outcome is not None:
            raise outcome
        self.issued += refresh
        return Token(f"token-{self.issued}")

    async def close(self):
        pass


class RecordingInlet:
    """Keeps what a link tells. ``gate`` is shut while there is no room for more; ``chokes_on`` payloads it fails."""

    def __init__(self):
        self.chokes_on = set()
        self.not_taken_of = []
        self.copies = []
        self.changes = []
        self.troubles = []
        self.gate = asyncio.Event()
        self.gate.set()

    def data(self, feed, payload):
        if payload in self.chokes_on:
            raise ZeroDivisionError("the inlet's own")
        self.copies.append((feed, payload))

    def not_taken(self, feed, payload, fault):
        self.not_taken_of.append((feed, payload, str(fault)))

    def subscription(self, subscription):
        self.changes.append((subscription.feed, subscription.status))

    def trouble(self, text, lossy):
        self.troubles.append((text, lossy))

    async def room(self):
        await self.gate.wait()


class FakeConnector:
    """Sessions that do nothing by themselves: a test tells through their sinks, also long after they are over."""

    def __init__(self):
        self.dials = []
        self.sinks = []
        self.used = []
        self.running = set()
        self.slow_to_end = None
        self.fault = None

    def use(self, session):
        self.used.append(session)

    async def run(self, dial, sink):
        self.dials.append(dial)
        self.sinks.append(sink)
        self.running.add(dial.session)
        try:
            if self.fault is not None:
                raise self.fault
            await asyncio.get_running_loop().create_future()
        finally:
            if self.slow_to_end is not None:
                with suppress(asyncio.CancelledError):
                    await self.slow_to_end.wait()
            self.running.discard(dial.session)


def tasks_but_mine():
    """The tasks that are left besides the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}
