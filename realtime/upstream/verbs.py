"""What the core's functions are made of: one step under way, and the verbs that change it.

``evaluate`` (connect if everything allows it, else say what is missing), ``connect``, ``drop`` (back off, cool or give
up), ``rest`` (close, and be in a state without a session). ``step`` calls them for the session that speaks for the
link, ``rotation`` for the one that is to replace it.
"""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from realtime.upstream.model import (
    MANAGER,
    Breaker,
    Cause,
    Close,
    Dial,
    Effect,
    Failure,
    Health,
    Model,
    Slot,
    Timer,
    TimerKind,
    Use,
)
from realtime.upstream.policy import Policy
from realtime.upstream.states import State

AUTH_GATE = "auth"
"""The gate that is shut while there are no credentials, or while those there are were refused."""

MOST_CAUSES, MOST_LETTERS, MOST_REASON = 8, 60, 130
"""Causes that are kept of a series of failed tries, letters of each, and of all that are listed together."""

ACCEPTED = (State.SYNCING, State.OPEN)


class Step:
    """One step under way: the model as it becomes, and the effects so far."""

    def __init__(self, model: Model, now: float, rng: Random, policy: Policy) -> None:
        self.model = model
        self.now = now
        self.rng = rng
        self.policy = policy
        self.effects: list[Effect] = []

    def set(self, **changes: object) -> None:
        self.model = replace(self.model, **changes)

    def enter(self, state: State, reason: str = "") -> None:
        """Change the public state; the only place where it changes."""
        if state is not self.model.state:
            self.set(since=self.now)
        self.set(state=state, reason=reason)

    def arm(self, kind: TimerKind, delay: float, session: int = MANAGER) -> None:
        """Arm a session's timer in place of the one of its kind."""
        self.arm_at(kind, self.now + delay, session)

    def arm_at(self, kind: TimerKind, deadline: float, session: int = MANAGER) -> None:
        self.disarm(kind, session=session)
        timer = Timer(kind, session, self.model.next_token, deadline)
        self.set(timers=(*self.model.timers, timer), next_token=self.model.next_token + 1)

    def disarm(self, *kinds: TimerKind, session: int = MANAGER) -> None:
        kept = (timer for timer in self.model.timers if timer.session != session or timer.kind not in kinds)
        self.set(timers=tuple(kept))

    def is_armed(self, kind: TimerKind, session: int = MANAGER) -> bool:
        return any((timer.kind, timer.session) == (kind, session) for timer in self.model.timers)

    def dial(self) -> Slot:
        """Begin a session. Its timer is armed before the dial: one that hangs is timed out too."""
        slot = Slot(self.model.next_session, self.now, renewed=self.model.refresh_due)
        self.set(next_session=slot.id + 1)
        self.arm(TimerKind.CONNECT, self.policy.turn_timeout, slot.id)
        self.effects.append(Dial(slot.id, self.model.refresh_due))
        return slot

    def close(self, slot: Slot | None) -> None:
        """Close a session, if it is one, and forget its timers."""
        if slot is not None:
            self.effects.append(Close(slot.id))
            self.disarm(*TimerKind, session=slot.id)

    def close_all(self) -> None:
        """Close every session; nothing is left that would have to be replaced."""
        for slot in (self.model.draining, self.model.active, self.model.candidate):
            self.close(slot)
        self.disarm(TimerKind.ROTATION)
        self.set(active=None, candidate=None, draining=None, rotating="", rotation_attempt=0)
        self.set(partial=False, health=Health.HEALTHY)


def active(s: Step) -> Slot:
    assert s.model.active is not None, s.model.state
    return s.model.active


def evaluate(s: Step) -> None:
    """Connect if the link is wanted, every gate is open and the breaker allows it; else say what is missing."""
    if s.model.unwanted and not s.model.grace:
        rest(s, State.SUSPENDED, s.model.unwanted)
    elif s.model.shut:
        rest(s, State.WAITING, missing(s.model))
    elif s.model.breaker is Breaker.OPEN and s.now < s.model.cool_until:
        rest(s, State.COOLING, cooling(s.model))
        _wait_until(s, TimerKind.COOL, s.model.cool_until)
    else:
        connect(s)


def connect(s: Step) -> None:
    """Begin a new session in place of any other. With an open breaker it is the one try that decides."""
    s.close_all()
    s.disarm(TimerKind.BACKOFF, TimerKind.SPREAD, TimerKind.COOL)
    if s.model.breaker is Breaker.OPEN:
        s.set(breaker=Breaker.HALF_OPEN)
    s.set(active=s.dial(), next_try_at=None)
    s.effects.append(Use(active(s).id))
    s.enter(State.CONNECTING, "refreshing the token" if s.model.refresh_due else "")


def note_end(s: Step, cause: Cause, failure: Failure) -> None:
    """Note why the session ended that spoke for the link."""
    s.set(last_error=cause, failure=failure, drops=s.model.drops + (s.model.state in ACCEPTED))


def drop(s: Step, cause: Cause, failure: Failure = Failure.TRANSIENT) -> None:
    """The session that speaks for the link is lost: go on with the next one, if it is on its way; else wait.

    What is closed is closed before anything is dialled again.
    """
    note_end(s, cause, failure)
    _count_failure(s, cause)
    _count_attempt(s, cause)
    if limit := _exhausted(s):
        s.set(failure=Failure.EXHAUSTED)
        rest(s, State.FAILED, f"gave up after {limit}: {_all_causes(s.model)}")
    elif s.model.shut:
        rest(s, State.WAITING, missing(s.model))
    elif s.model.breaker is Breaker.OPEN:
        rest(s, State.COOLING, cooling(s.model))
        _wait_until(s, TimerKind.COOL, s.model.cool_until)
    elif s.model.candidate is not None:
        _promote(s, s.model.candidate)
    else:
        s.close_all()
        s.enter(State.BACKOFF, why(cause) + (" (this machine has no network)" if s.model.offline else ""))
        _wait_until(s, TimerKind.BACKOFF, s.now + _delay(s, cause))


def _count_attempt(s: Step, cause: Cause) -> None:
    """Count a failed try; what it failed of is kept only if that is to be told at the end."""
    if s.model.attempt == 0:
        s.set(failing_since=s.now, causes=())
    s.set(attempt=s.model.attempt + 1)
    if (s.policy.max_attempts, s.policy.max_elapsed) != (None, None):
        known = dict(s.model.causes)
        text = why(cause)[:MOST_LETTERS]
        times = known.pop(text, 0) + 1
        s.set(causes=(*known.items(), (text, times))[-MOST_CAUSES:])


def _exhausted(s: Step) -> str:
    """Say which of the policy's limits the tries have come to, or nothing."""
    most, longest = s.policy.max_attempts, s.policy.max_elapsed
    if most is not None and s.model.attempt > most:
        return f"{most} attempts"
    if longest is not None and s.now - s.model.failing_since >= longest:
        return f"{longest:g} s"
    return ""


def _all_causes(model: Model) -> str:
    """List the causes, the last one at the end, in as many letters as a reason may have."""
    each = MOST_LETTERS if len(model.causes) < 3 else MOST_REASON // len(model.causes)
    return "; ".join(f"{times}x {text[:each]}" if times > 1 else text[:each] for text, times in model.causes)


def _delay(s: Step, cause: Cause) -> float:
    """Return how long to wait: the policy's delay, but longer than the server asked everyone to stay away."""
    delay = s.policy.backoff.delay(s.model.attempt, s.rng)
    if cause.retry_after:
        delay = max(delay, cause.retry_after + s.rng.uniform(0, s.policy.resume_spread))
    return max(delay, s.policy.offline_every) if s.model.offline else delay


def _promote(s: Step, candidate: Slot) -> None:
    """What was to replace the session is as far as it is; the link goes on from there."""
    for slot in (s.model.draining, s.model.active):
        s.close(slot)
    s.set(active=candidate, candidate=None, draining=None, rotating="", rotation_attempt=0)
    s.set(partial=False, health=Health.HEALTHY)
    s.effects.append(Use(candidate.id))
    s.enter(candidate.phase)
    if candidate.phase is State.SYNCING:
        s.arm(TimerKind.HEARTBEAT, min(s.policy.suspect_after, candidate.timeout), candidate.id)


def _count_failure(s: Step, cause: Cause) -> None:
    """Let the breaker know, and open it at its time: a session counts if it did not hold.

    It cools no shorter than the service asked to be left alone.
    """
    breaker = s.policy.breaker
    held = s.model.state is State.OPEN and not s.is_armed(TimerKind.STABLE, active(s).id)
    if breaker is None or held:
        return
    recent = (*(at for at in s.model.failures if s.now - at < breaker.window), s.now)
    s.set(failures=recent)
    if s.model.breaker is Breaker.HALF_OPEN or len(recent) >= breaker.failures:
        trips = s.model.trips + 1
        seconds = max(breaker.delay(trips, s.rng), cause.retry_after)
        s.set(breaker=Breaker.OPEN, trips=trips, failures=(), cool_until=s.now + seconds)


def _wait_until(s: Step, kind: TimerKind, deadline: float) -> None:
    s.arm_at(kind, deadline)
    s.set(next_try_at=deadline)


def rest(s: Step, state: State, reason: str) -> None:
    """Close what there is and be in a state that has no session, with no timers but a running grace."""
    s.close_all()
    s.disarm(TimerKind.BACKOFF, TimerKind.SPREAD, TimerKind.COOL)
    if state not in (State.WAITING, State.COOLING):
        s.disarm(TimerKind.GRACE)
        s.set(grace=False)
    s.set(next_try_at=None)
    s.enter(state, reason)


def shut(s: Step, gate: str, reason: str) -> None:
    s.set(shut={**s.model.shut, gate: reason})


def unshut(s: Step, gate: str) -> None:
    s.set(shut={name: reason for name, reason in s.model.shut.items() if name != gate})


def missing(model: Model) -> str:
    """Say what the shut gates are waiting for, or nothing if none is shut."""
    return "; ".join(reason or f"waiting for {gate}" for gate, reason in sorted(model.shut.items()))


def cooling(model: Model) -> str:
    """Say why nothing is tried for a while."""
    return "paused, as tries keep failing" + (f": {why(model.last_error)}" if model.last_error else "")


def why(cause: Cause) -> str:
    return f"{cause.kind}: {cause.text}" if cause.text else cause.kind
