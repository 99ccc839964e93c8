"""One browser's session, whatever carries it: pure, without asyncio, Django or a clock.

What goes in: where the topics stand, runs as the hub hears them, answers to repairs, the client's messages, and whether
the transport can take more. What comes out: ``take``, the frames to send now, and ``asks``, what only its owner can do.
After any call the owner looks at both.

A session begins with ``open`` and says hello once all that its client missed is at hand, so that ``recovered`` in the
hello is a fact and not a hope.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from realtime import metrics
from realtime.cursor import MAX_TOPICS, Cursor, cursor_text
from realtime.delivery import envelope
from realtime.delivery.continuity import Continuity, Repair
from realtime.delivery.envelope import Close, Frame, RequestId, ResyncCause
from realtime.delivery.limits import Limits
from realtime.delivery.outbox import Due, Outbox
from realtime.delivery.run import Run
from realtime.events import PRIORITY_LOW, PRIORITY_URGENT, Entry, Head
from realtime.token_bucket import TokenBucket

CAPABILITIES = ("sync", "ping", "subscribe", "unsubscribe", "visibility")
BURST_SECONDS = 4
"""A page that has just loaded sends several messages at once."""

DIRECT_BYTES = 65_536
"""What may be on its way to the transport before entries take the way through the outbox, where they are merged."""


@dataclass(frozen=True, slots=True)
class WantTime:
    """The client asked for a sign of life; ``answer`` with the time of day, which a session does not know."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class WantState:
    """The client asked for the whole state; ``answer`` with the frame."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class WantTopics:
    """The client asked for topics; ``add_topics`` those it may have, or ``answer`` with the refusal."""

    id: RequestId
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropTopics:
    """The client left topics."""

    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EndSession:
    """The session is over."""

    close: Close


Ask = Repair | WantTime | WantState | WantTopics | DropTopics | EndSession
Outgoing = Run | bytes
"""A run, whose frames are shared, or the JSON text of one frame of this session's own."""


class Session:
    """The feed of one client. ``blocked`` is its owner's to set: the transport takes nothing now."""

    def __init__(self, ident: str, user_id: int, cursor: Cursor, limits: Limits) -> None:
        self.id = ident
        self.user_id = user_id
        self.asks: list[Ask] = []
        self.blocked = False
        self.sent = 0
        self._cursor = cursor
        self._limits = limits
        self._feeds: dict[str, Continuity] = {}
        self._starts: dict[str, envelope.TopicPlace] = {}
        self._early: list[Run] = []
        self._live = False
        self._ready: list[Outgoing] = []
        self._ready_bytes = 0
        self._outbox = Outbox(limits.outbox_entries, limits.outbox_bytes)
        self._bucket = TokenBucket(limits.commands_per_second, limits.commands_per_second * BURST_SECONDS)
        self._malformed = 0
        self._hidden = False
        self._gathered_at = 0.0
        self._lowest = PRIORITY_LOW

    @property
    def topics(self) -> Collection[str]:
        """The topics of this session."""
        return self._feeds.keys()

    # ── Opening ───────────────────────────────────────────────────────────────────────────────────────────

    def open(self, heads: Mapping[str, Head]) -> None:
        """Begin in these topics, which the owner has joined before it read where they stand."""
        for topic, head in heads.items():
            self._begin(topic, head)
        early, self._early = self._early, []
        for run in early:
            self.deliver(run)

    @property
    def recovering(self) -> bool:
        """Whether something that the client missed is still asked for; ``greet`` waits for it."""
        return not self._live and any(not feed.complete for feed in self._feeds.values())

    def greet(self, now: datetime) -> None:
        """Say hello, then all that was missed. Call it once, after ``open``, when nothing is ``recovering``."""
        places = {topic: (place.epoch, place.offset) for topic, place in self._starts.items()}
        hello = envelope.Hello(
            session=self.id,
            time=now.astimezone(UTC).isoformat(timespec="milliseconds"),
            t=int(now.timestamp() * 1_000_000),
            capabilities=CAPABILITIES,
            topics=self._starts,
            cursor=cursor_text(places),
            heartbeat=self._limits.heartbeat_seconds,
            user=self.user_id,
        )
        missed, self._ready, self._ready_bytes = self._ready, [], 0
        self._live = True
        self.answer(hello)
        for item in missed:
            self._emit(item) if isinstance(item, Run) else self._send(item)

    def _begin(self, topic: str, head: Head) -> None:
        """Begin at the client's cursor if what follows it can be had, else at the head."""
        cause, offset = _judge(self._cursor.get(topic), head, self._limits.recovery_entries)
        self._feeds[topic] = Continuity(topic, head, offset, self._limits.held_entries)
        self._start(topic, recovered=topic in self._cursor and cause is None)
        if cause is not None:
            self._say_resync(topic, cause)
        self._ask_repair(self._feeds[topic])

    def _start(self, topic: str, *, recovered: bool) -> None:
        feed = self._feeds[topic]
        self._starts[topic] = envelope.TopicPlace(epoch=feed.epoch, offset=feed.last, recovered=recovered)

    # ── Entries ───────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, run: Run) -> None:
        """Take a run that the hub heard."""
        feed = self._feeds.get(run.topic)
        if feed is None:
            if not self._live and len(self._early) < self._limits.held_entries:
                self._early.append(run)
            return
        if feed.is_next(run):
            feed.advance(run)
            self._emit(run)
            return
        for ready in feed.accept(run):
            self._emit(ready)
        self._ask_repair(feed)

    def repaired(self, repair: Repair, entries: Sequence[Entry]) -> None:
        """Take the answer to a repair: what could be had of it from its beginning on."""
        feed = self._feeds.get(repair.topic)
        if feed is None or feed.epoch != repair.epoch:
            return
        before = feed.last
        for ready in feed.repaired(entries):
            self._emit(ready)
        if self._live:
            metrics.LOST_BY_LAYER.inc(max(0, min(feed.last, repair.upto) - before))
        if feed.last > before:
            self._ask_repair(feed)

    def repair_failed(self, repair: Repair) -> None:
        """Note that nobody could answer a repair; the next ``look`` asks again."""
        feed = self._feeds.get(repair.topic)
        if feed is not None and feed.epoch == repair.epoch:
            feed.repair_failed()

    def lost(self, topic: str, cause: ResyncCause, head: Head) -> None:
        """Note that what the client needs can't be had any more: go on from ``head`` and have it start over."""
        feed = self._feeds.get(topic)
        if feed is None:
            return
        self._outbox.forget(topic)
        self._ready = [item for item in self._ready if not isinstance(item, Run) or item.topic != topic]
        feed.restart(head, head.head)
        if not self._live:
            self._start(topic, recovered=False)
        self._say_resync(topic, cause)

    def look(self, heads: Mapping[str, Head], *, trusted: bool) -> None:
        """Compare with where the database says the topics stand: every second, the layer ``trusted`` or not."""
        for topic, feed in self._feeds.items():
            head = heads.get(topic)
            if head is not None:
                self._look_at(feed, head, trusted=trusted)

    def tick(self, now: float) -> None:
        """See to what is due by ``now``, on the same clock as ``receive``: every second."""
        if self._hidden and now - self._gathered_at >= self._limits.hidden_seconds:
            self._gathered_at = now
            self._lowest = PRIORITY_LOW

    def _look_at(self, feed: Continuity, head: Head, *, trusted: bool) -> None:
        cause = feed.look(head, trusted=trusted)
        if cause is None and head.floor > feed.floor:
            feed.floor = head.floor
            oldest = self._outbox.oldest(feed.topic)
            cause = "floor" if oldest is not None and oldest <= head.floor else None
        if cause is not None:
            self.lost(feed.topic, cause, head)
        self._ask_repair(feed)

    def _ask_repair(self, feed: Continuity) -> None:
        repair = feed.repair_due()
        if repair is not None:
            self.asks.append(repair)

    # ── The client's messages ─────────────────────────────────────────────────────────────────────────────

    def receive(self, text: bytes | str, now: float) -> None:
        """Take a message of the client; ``now`` is in seconds, of a clock that never goes back."""
        wait = self._bucket.take(now)
        if wait:
            self._complain(envelope.TOO_FAST.error(retry_after=round(wait, 3)), Close.TOO_MANY)
            return
        try:
            command = envelope.decode_command(text)
        except envelope.Refused as refused:
            self._complain(refused.error, Close.MALFORMED)
            return
        self._malformed = 0
        self._obey(command, now)

    def _complain(self, error: envelope.Error, close: Close) -> None:
        self.answer(error)
        self._malformed += 1
        if self._malformed >= self._limits.malformed:
            self.asks.append(EndSession(close))

    def _obey(self, command: envelope.Command, now: float) -> None:
        match command:
            case envelope.Ping(id=ident):
                self.asks.append(WantTime(ident))
            case envelope.Sync(id=ident):
                self.asks.append(WantState(ident))
            case envelope.Subscribe(id=ident, topics=topics):
                self._subscribe(ident, topics)
            case envelope.Unsubscribe(id=ident, topics=topics):
                self._unsubscribe(ident, topics)
            case envelope.Visibility(id=ident, hidden=hidden):
                self._hidden = hidden
                self._lowest = PRIORITY_URGENT if hidden else PRIORITY_LOW
                self._gathered_at = now
                self.answer(envelope.Reply(id=ident))

    def _subscribe(self, ident: RequestId, topics: tuple[str, ...]) -> None:
        missing = tuple(topic for topic in dict.fromkeys(topics) if topic not in self._feeds)
        if len(self._feeds) + len(missing) > MAX_TOPICS:
            self.answer(envelope.TOO_MANY_TOPICS.error(ident))
        elif missing:
            self.asks.append(WantTopics(ident, missing))
        else:
            self.answer(envelope.Reply(id=ident, topics=tuple(self._feeds)))

    def add_topics(self, ident: RequestId, heads: Mapping[str, Head]) -> None:
        """Go on in these topics too, from now on: the owner has joined them and found that the client may."""
        for topic, head in heads.items():
            if topic not in self._feeds:
                self._begin(topic, head)
        self.answer(envelope.Reply(id=ident, topics=tuple(self._feeds)))

    def _unsubscribe(self, ident: RequestId, topics: tuple[str, ...]) -> None:
        left = tuple(topic for topic in topics if self._feeds.pop(topic, None) is not None)
        for topic in left:
            self._outbox.forget(topic)
        self.asks.append(DropTopics(left))
        self.answer(envelope.Reply(id=ident, topics=tuple(self._feeds)))

    # ── Sending ───────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, frame: Frame, key: object = None) -> None:
        """Send a frame that is no entry. While it waits, another one with the same ``key`` replaces it."""
        self._send(envelope.encode(frame), key)

    def take(self, room: int) -> list[Outgoing]:
        """Return what to send now, in order; of what waits in the outbox about ``room`` bytes.

        It counts as sent: whoever takes it and can't send it must end the session. Before the hello there is nothing.
        """
        if not self._live:
            return []
        taken, self._ready, self._ready_bytes = self._ready, [], 0
        if self._outbox and not self.blocked:
            taken += self._outbox.take_frames()
            taken += [self._positioned(due) for due in self._outbox.take(room, lowest=self._lowest)]
            if self._hidden:
                self._lowest = PRIORITY_URGENT
        return taken

    @property
    def waiting(self) -> int:
        """How many frames wait in the outbox."""
        return len(self._outbox)

    def cursor(self) -> str:
        """Return the cursor of a client that has got everything taken so far."""
        places = {}
        for topic, feed in self._feeds.items():
            oldest = self._outbox.oldest(topic)
            places[topic] = (feed.epoch, feed.last if oldest is None else oldest - 1)
        return cursor_text(places)

    def _emit(self, run: Run) -> None:
        """Send a run at once if nothing waits, else let it wait its turn."""
        if not self._live or (not (self.blocked or self._hidden or self._outbox) and self._ready_bytes < DIRECT_BYTES):
            self.sent += len(run.entries)
            self._ready.append(run)
            self._ready_bytes += run.size
            return
        for entry in run.entries:
            if not self._outbox.put(entry):
                self._overflow()

    def _overflow(self) -> None:
        for topic in self._outbox.topics():
            self._outbox.forget(topic)
            self._say_resync(topic, "overflow")

    def _say_resync(self, topic: str, cause: ResyncCause) -> None:
        metrics.RESYNCS.labels(cause).inc()
        feed = self._feeds[topic]
        frame = envelope.Resync(topic=topic, cause=cause, epoch=feed.epoch, offset=feed.last)
        self.answer(frame, ("resync", topic))

    def _send(self, frame: bytes, key: object = None) -> None:
        if self.blocked or self._outbox:
            self._outbox.put_frame(frame, key)
        else:
            self._ready.append(frame)

    def _positioned(self, due: Due) -> bytes:
        self.sent += 1
        entry = due.entry
        position = self._feeds[entry.topic].last if due.waiting is None else due.waiting - 1
        return entry.body if position == entry.offset else envelope.with_position(entry.body, position)


def _judge(place: tuple[str, int] | None, head: Head, recovery_entries: int) -> tuple[ResyncCause | None, int]:
    """Return from which offset a client with this place goes on, and why it must start over if it must."""
    if place is None:
        return None, head.head
    epoch, offset = place
    if epoch != head.epoch:
        return "epoch", head.head
    if offset > head.head:
        return "above-head", head.head
    if offset < head.floor:
        return "floor", head.head
    if head.head - offset > recovery_entries:
        return "retention", head.head
    return None, offset
