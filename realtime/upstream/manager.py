"""The actor around ``step``: one mailbox, one model, one timer; it does what the core asks, and nothing else.

Events are handled in the order of their arrival, each to its end, by whoever posts first: the core never waits, so no
task is needed to drain the mailbox. What takes time is the session's own task, which the manager starts, cancels and
joins; everything it tells carries its session's id and means nothing once another one has begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Protocol

from realtime.upstream.clock import Clock, Handle, monotonic_at
from realtime.upstream.model import Cause, Close, Dial, Event, Health, Model, Publish, Snapshot, Use
from realtime.upstream.policy import Policy
from realtime.upstream.states import Trigger
from realtime.upstream.step import snapshot, step

logger = logging.getLogger("realtime.upstream")


class Sink:
    """What a session's task has of its manager: a way to tell, under its own id.

    ``held_up`` is set while the session does not read because we have no room: until then the silence is our own.
    """

    def __init__(self, manager: Manager, session: int) -> None:
        self._manager = manager
        self.session = session
        self.heard_at: float | None = None
        self.held_up = False

    def post(
        self, trigger: Trigger, *, cause: Cause | None = None, text: str = "", seconds: float = 0.0, final: bool = False
    ) -> None:
        """Tell the manager; ignored once this session is over."""
        self._manager.post(Event(trigger, self.session, text=text, cause=cause, seconds=seconds, final=final))

    def heard(self, at: float) -> None:
        """A frame came, ``at`` in boot time. Cheap, because it is called for each one."""
        self.heard_at = at
        manager = self._manager
        if manager.using == self.session:
            manager.heard_at = at
            if manager.suspect:
                self.post(Trigger.HEARD)


class Connector(Protocol):
    """Runs sessions, each from token to end; there may be two at a time, and a third that is heard out."""

    async def run(self, dial: Dial, sink: Sink) -> None:
        """Fetch the token, dial, greet, subscribe and read until the connection ends, telling ``sink``.

        Cancelling it closes the socket. It raises nothing but what is a fault of ours.
        """

    def use(self, session: int) -> None:
        """Let this session speak for the link from now on, whether or not it is open yet."""


class Manager:
    """Keeps one link alive. All methods but ``stop`` return at once; call them in the loop.

    ``name`` is who the link speaks for, the authority of its first credentials. ``using`` is the session that speaks
    for the link, and ``heard_at`` when the last frame came to it or, before it heard any, to the one before it; in
    seconds of boot time.
    """

    def __init__(self, connector: Connector, policy: Policy, clock: Clock, rng: Random, name: str = "") -> None:
        self._connector = connector
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._log = logging.LoggerAdapter(logger, {"link": name})
        self.name = name
        self._model = Model(since=clock.monotonic(), authority=name)
        self._snapshot = snapshot(self._model)
        self._mailbox: list[Event] = []
        self._draining = False
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._sinks: dict[int, Sink] = {}
        self.using = 0
        self.heard_at: float | None = None
        self._timer: Handle | None = None
        self._timer_at: float | None = None
        self._listeners: list[Callable[[Snapshot], None]] = []

    # ── What may be asked ────────────────────────────────────────────────────────────────────────────────────

    @property
    def snapshot(self) -> Snapshot:
        """What the public may know now: what was published last."""
        return self._snapshot

    @property
    def suspect(self) -> bool:
        return self._model.health is Health.SUSPECT

    def listen(self, listener: Callable[[Snapshot], None]) -> None:
        """Call ``listener`` with every snapshot, in order, none left out. It must return at once."""
        self._listeners.append(listener)

    def watch(self) -> Watcher:
        """Return a slot of its own that holds the newest snapshot: a slow reader misses edges, never the truth."""
        watcher = Watcher(self.snapshot)
        self._listeners.append(watcher.put)
        return watcher

    # ── What may be wanted ───────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self.post(Event(Trigger.START))

    def connect_now(self) -> None:
        """Begin a new connection this instant, whatever the state."""
        self.post(Event(Trigger.CONNECT_NOW))

    def suspend(self, reason: str, grace: float = 0.0) -> None:
        """Nobody wants the link: keep it for ``grace`` seconds, then let it go."""
        self.post(Event(Trigger.SUSPEND, text=reason, seconds=grace))

    def resume(self) -> None:
        self.post(Event(Trigger.RESUME))

    def shut_gate(self, name: str, reason: str = "", *, keep: bool = False) -> None:
        """Dial no more until the gate is open, and close what there is, or ``keep`` what is open."""
        self.post(Event(Trigger.GATE_LOST, name=name, text=reason, keep=keep))

    def open_gate(self, name: str) -> None:
        self.post(Event(Trigger.GATE_GAINED, name=name))

    def auth_changed(self, authority: str) -> None:
        """There are new credentials, of this authority (who they speak for)."""
        self.post(Event(Trigger.AUTH_CHANGED, text=authority))

    def rotate(self, reason: str) -> None:
        """Replace the connection by a new one, without being deaf in between; nothing to do while none is open."""
        self.post(Event(Trigger.ROTATE, text=reason))

    def woke(self, gap: float) -> None:
        """The machine slept for ``gap`` seconds."""
        self.post(Event(Trigger.WOKE, seconds=gap, heard=self._heard_by(self.using)))

    def network(self, there: bool) -> None:
        """The machine has, or has no, way out: a hint that makes tries sooner or rarer, and no more than that."""
        self.post(Event(Trigger.ONLINE if there else Trigger.OFFLINE))

    async def stop(self, reason: str = "stopped") -> None:
        """Stop for good, until ``start``; returns when no task, timer or socket of before is left."""
        self.post(Event(Trigger.STOP, text=reason))
        ending = set(self._ending)
        if ending:
            await asyncio.wait(ending)

    # ── The mailbox ──────────────────────────────────────────────────────────────────────────────────────────

    def post(self, event: Event) -> None:
        """Take one event. Posting while another is handled only queues it, so the order holds."""
        self._mailbox.append(event)
        if self._draining:
            return
        self._draining = True
        try:
            while self._mailbox:
                self._handle(self._mailbox.pop(0))
        finally:
            self._draining = False
            self._arm()

    def _handle(self, event: Event) -> None:
        now = self._clock.monotonic()
        self._model, effects = step(self._model, event, now, self._rng, self._policy)
        if effects and isinstance(effects[-1], Publish):
            self._snapshot = effects[-1].snapshot
        for effect in effects:
            if isinstance(effect, Dial):
                self._dial(effect)
            elif isinstance(effect, Use):
                self._use(effect.session)
            elif isinstance(effect, Close):
                self._close(effect.session)
            elif isinstance(effect, Publish):
                self._publish(effect.snapshot)

    def _publish(self, current: Snapshot) -> None:
        self._log.debug("= %s %s %s", self.name, current.state.value, current.reason)
        for listener in self._listeners:
            try:
                listener(current)
            except Exception:
                self._log.exception("a listener of link %s failed: the link goes on", self.name)

    # ── Sessions ─────────────────────────────────────────────────────────────────────────────────────────────

    def _dial(self, dial: Dial) -> None:
        sink = self._sinks[dial.session] = Sink(self, dial.session)
        task = asyncio.get_running_loop().create_task(
            self._connector.run(dial, sink), name=f"link {self.name} session {dial.session}"
        )
        self._tasks[dial.session] = task
        self._ending.add(task)
        task.add_done_callback(lambda done: self._ended(dial.session, done))

    def _use(self, session: int) -> None:
        self.using = session
        self._connector.use(session)

    def _close(self, session: int) -> None:
        self._sinks.pop(session, None)
        task = self._tasks.pop(session, None)
        if task is not None:
            task.cancel()

    def _ended(self, session: int, task: asyncio.Task[None]) -> None:
        """A session's task is over: if it did not say why, say that it dropped."""
        self._ending.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._log.error("session %d of link %s failed", session, self.name, exc_info=fault)
        cause = Cause("internal error", repr(fault)) if fault else Cause("connection ended")
        self.post(Event(Trigger.DROPPED, session, cause=cause))

    # ── The one timer ────────────────────────────────────────────────────────────────────────────────────────

    def _arm(self) -> None:
        deadline = min((timer.deadline for timer in self._model.timers), default=None)
        if deadline == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = None if deadline is None else self._clock.call_at(deadline, self._fire)

    def _fire(self) -> None:
        """Post the firing of each timer that is due, in the order of their deadlines."""
        self._timer, self._timer_at = None, None
        now = self._clock.monotonic()
        due = sorted((t for t in self._model.timers if t.deadline <= now), key=lambda t: (t.deadline, t.token))
        for timer in due:
            heard = self._heard_by(timer.session)
            self.post(Event(timer.kind.value, timer.session or None, token=timer.token, heard=heard))
        self._arm()

    def _heard_by(self, session: int) -> float | None:
        """Return when the last frame came to this session, in monotonic seconds; while we do not read, that is now."""
        sink = self._sinks.get(session)
        if sink is None:
            return None
        if sink.held_up:
            return self._clock.monotonic()
        return None if sink.heard_at is None else monotonic_at(self._clock, sink.heard_at)


class Watcher:
    """A conflating slot: ``next`` gives the newest snapshot that was not given yet."""

    def __init__(self, current: Snapshot) -> None:
        self._current = current
        self._changed = asyncio.Event()
        self._changed.set()

    def put(self, current: Snapshot) -> None:
        self._current = current
        self._changed.set()

    async def next(self) -> Snapshot:
        """Wait for a snapshot that is news to this reader, and return it."""
        await self._changed.wait()
        self._changed.clear()
        return self._current
