"""The connection manager's core: ``step(model, event, now, rng, policy) -> (model, effects)``.

Pure: no I/O, no waiting, no clock, and randomness only from ``rng``. Timers are data in the model; the shell arms
exactly those, and a firing is checked against the model when it is consumed, not when it fires. Every property the
tests demand is a property of this function.

How it reads: ``step`` drops what is stale or means nothing in this state, hands the event to the function of its
trigger, and publishes a snapshot if anything public changed. Those functions use four verbs: ``_evaluate`` (connect if
everything allows it, else say what is missing), ``_connect``, ``_drop`` (back off, or give up), ``_rest`` (close, and
be in a state without a session).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from realtime.upstream.model import (
    FIRINGS,
    MANAGER,
    Cause,
    Close,
    Dial,
    Effect,
    Event,
    Health,
    Model,
    Publish,
    Slot,
    Snapshot,
    Timer,
    TimerKind,
)
from realtime.upstream.policy import Policy
from realtime.upstream.states import HAS_SESSION, TABLE, State, Trigger

AUTH_GATE = "auth"
"""The gate that is shut while there are no credentials, or while those there are were refused."""

SESSION_TIMERS = frozenset({TimerKind.CONNECT, TimerKind.AUTH, TimerKind.SYNC, TimerKind.HEARTBEAT, TimerKind.STABLE})


class _Step:
    """One step under way: the model as it becomes, and the effects so far."""

    def __init__(self, model: Model, now: float, rng: Random, policy: Policy) -> None:
        self.model = model
        self.now = now
        self.rng = rng
        self.policy = policy
        self.effects: list[Effect] = []

    def set(self, **changes: object) -> None:
        self.model = replace(self.model, **changes)  # type: ignore[arg-type]

    def enter(self, state: State, reason: str = "") -> None:
        """Change the public state; the only place where it changes."""
        if state is not self.model.state:
            self.set(since=self.now)
        self.set(state=state, reason=reason)

    def arm(self, kind: TimerKind, delay: float, session: int = MANAGER) -> None:
        """Arm a timer in place of the one of its kind."""
        self.arm_at(kind, self.now + delay, session)

    def arm_at(self, kind: TimerKind, deadline: float, session: int = MANAGER) -> None:
        self.disarm(kind)
        timer = Timer(kind, session, self.model.next_token, deadline)
        self.set(timers=(*self.model.timers, timer), next_token=self.model.next_token + 1)

    def disarm(self, *kinds: TimerKind) -> None:
        self.set(timers=tuple(timer for timer in self.model.timers if timer.kind not in kinds))

    def close_session(self) -> None:
        """Close the active session, if there is one, and forget its timers."""
        if self.model.active is not None:
            self.effects.append(Close(self.model.active.id))
        self.disarm(*SESSION_TIMERS)
        self.set(active=None, partial=False, health=Health.HEALTHY)


def step(model: Model, event: Event, now: float, rng: Random, policy: Policy) -> tuple[Model, tuple[Effect, ...]]:
    """Return the model after ``event`` and what the shell has to do for it, in order.

    Args:
        now: monotonic seconds; never smaller than at the step before.
    """
    if _is_stale(model, event):
        return replace(model, stale=model.stale + 1), ()
    if event.trigger not in TABLE[model.state]:
        return _without_fired(model, event), ()
    under_way = _Step(_without_fired(model, event), now, rng, policy)
    HANDLERS[event.trigger](under_way, event)
    before, after = snapshot(model), snapshot(under_way.model)
    if replace(after, revision=before.revision) != before:
        under_way.set(revision=model.revision + 1)
        under_way.effects.append(Publish(snapshot(under_way.model)))
    return under_way.model, tuple(under_way.effects)


def snapshot(model: Model) -> Snapshot:
    """Return what the public may know of the model."""
    return Snapshot(
        revision=model.revision,
        state=model.state,
        reason=model.reason,
        attempt=model.attempt,
        session=model.active.id if model.active else 0,
        since=model.since,
        next_try_at=model.next_try_at,
        waiting_for=frozenset(model.shut),
        health=model.health,
        partial=model.partial,
        last_error=model.last_error,
        connects=model.connects,
        drops=model.drops,
    )


def _is_stale(model: Model, event: Event) -> bool:
    """Tell whether the event is of a session that is over, or of a timer that was disarmed or armed anew."""
    if event.trigger in FIRINGS or event.token is not None:
        fired = (event.trigger, event.session or MANAGER, event.token)
        return all((timer.kind.value, timer.session, timer.token) != fired for timer in model.timers)
    live = {slot.id for slot in (model.active, model.candidate) if slot is not None}
    return event.session is not None and event.session not in live


def _without_fired(model: Model, event: Event) -> Model:
    if event.token is None:
        return model
    return replace(model, timers=tuple(timer for timer in model.timers if timer.token != event.token))


# ── The four verbs ───────────────────────────────────────────────────────────────────────────────────────────


def _evaluate(s: _Step) -> None:
    """Connect if the link is wanted and every gate is open; else say what is missing."""
    if s.model.unwanted and not s.model.grace:
        _rest(s, State.SUSPENDED, s.model.unwanted)
    elif s.model.shut:
        _rest(s, State.WAITING, _missing(s.model))
    else:
        _connect(s)


def _connect(s: _Step) -> None:
    """Begin a new session. Its timer is armed before the dial: a dial that hangs is timed out too."""
    s.close_session()
    s.disarm(TimerKind.BACKOFF, TimerKind.SPREAD)
    session = s.model.next_session
    s.set(active=Slot(session, s.now), next_session=session + 1, next_try_at=None)
    s.enter(State.CONNECTING, "refreshing the token" if s.model.refresh_due else "")
    s.arm(TimerKind.CONNECT, s.policy.connect_timeout, session)
    s.effects.append(Dial(session, s.model.refresh_due))


def _note_end(s: _Step, cause: Cause) -> None:
    """Note why a session ended that nobody wanted to end."""
    was_accepted = s.model.state in (State.SYNCING, State.OPEN)
    s.set(last_error=cause, drops=s.model.drops + was_accepted)


def _drop(s: _Step, cause: Cause) -> None:
    """Close first, then back off; or fail, if the policy has no tries left."""
    _note_end(s, cause)
    s.close_session()
    s.set(attempt=s.model.attempt + 1)
    limit = s.policy.max_attempts
    if limit is not None and s.model.attempt > limit:
        _rest(s, State.FAILED, f"gave up after {limit} attempts: {_why(cause)}")
        return
    delay = max(s.policy.backoff.delay(s.model.attempt, s.rng), cause.retry_after)
    s.set(next_try_at=s.now + delay)
    s.enter(State.BACKOFF, _why(cause))
    s.arm(TimerKind.BACKOFF, delay)


def _rest(s: _Step, state: State, reason: str) -> None:
    """Close the session and be in a state that has none, with no timers but a running grace."""
    s.close_session()
    s.disarm(TimerKind.BACKOFF, TimerKind.SPREAD)
    if state is not State.WAITING:
        s.disarm(TimerKind.GRACE)
        s.set(grace=False)
    s.set(next_try_at=None)
    s.enter(state, reason)


# ── One function a trigger ───────────────────────────────────────────────────────────────────────────────────


def _start(s: _Step, event: Event) -> None:
    s.set(wants=True, attempt=0)
    _evaluate(s)


def _connect_now(s: _Step, event: Event) -> None:
    """Somebody wants it this instant: forget what was counted, and that nobody was watching.

    What is not forgotten is that the credentials were refused: insisting does not make them better.
    """
    s.disarm(TimerKind.GRACE)
    s.set(wants=True, attempt=0, unwanted="", grace=False)
    _evaluate(s)


def _stop(s: _Step, event: Event) -> None:
    s.set(wants=False)
    _rest(s, State.STOPPED, event.text or "stopped")


def _gate_lost(s: _Step, event: Event) -> None:
    """A gate is shut, or shut for another reason than before."""
    known = s.model.shut.get(event.name)
    if known is not None and event.text in ("", known):
        return
    _shut(s, event.name, event.text)
    if s.model.state not in (State.STOPPED, State.SUSPENDED, State.FAILED):
        _rest(s, State.WAITING, _missing(s.model))


def _gate_gained(s: _Step, event: Event) -> None:
    """Go on after a short random wait: a gate that opens for all links at once must not make them dial at once."""
    if event.name not in s.model.shut:
        return
    _unshut(s, event.name)
    if s.model.state is not State.WAITING:
        return
    s.set(attempt=0, reason=_missing(s.model))
    if not s.model.shut:
        delay = s.rng.uniform(0, s.policy.resume_spread)
        s.set(next_try_at=s.now + delay)
        s.arm(TimerKind.SPREAD, delay)


def _spread_over(s: _Step, event: Event) -> None:
    _evaluate(s)


def _suspend(s: _Step, event: Event) -> None:
    """Nobody wants the link: let it go now, or keep it as it is until the grace ends."""
    s.set(unwanted=event.text or "suspended")
    if s.model.state in (State.STOPPED, State.FAILED):
        return
    if s.model.state is State.SUSPENDED:
        s.enter(State.SUSPENDED, s.model.unwanted)
    elif event.seconds > 0 and s.model.state in HAS_SESSION | {State.BACKOFF}:
        s.set(grace=True)
        s.arm(TimerKind.GRACE, event.seconds)
    else:
        s.set(grace=False)
        _rest(s, State.SUSPENDED, s.model.unwanted)


def _resume(s: _Step, event: Event) -> None:
    """Somebody wants it again; within the grace nothing has happened and the session goes on."""
    s.disarm(TimerKind.GRACE)
    s.set(unwanted="", grace=False)
    if s.model.state is State.SUSPENDED:
        s.set(attempt=0)
        _evaluate(s)


def _grace_expired(s: _Step, event: Event) -> None:
    _rest(s, State.SUSPENDED, s.model.unwanted)


def _transport_up(s: _Step, event: Event) -> None:
    s.disarm(TimerKind.CONNECT)
    s.set(refresh_due=False)
    s.enter(State.AUTHENTICATING)
    s.arm(TimerKind.AUTH, s.policy.auth_timeout, _active(s).id)


def _accepted(s: _Step, event: Event) -> None:
    """The service took us; ``seconds`` is how long it may be silent before it counts as gone."""
    s.disarm(TimerKind.CONNECT, TimerKind.AUTH)
    slot = replace(_active(s), timeout=event.seconds or _active(s).timeout)
    s.set(active=slot, connects=s.model.connects + 1, refresh_due=False)
    s.enter(State.SYNCING)
    s.arm(TimerKind.SYNC, s.policy.sync_timeout, slot.id)
    s.arm(TimerKind.HEARTBEAT, min(s.policy.suspect_after, slot.timeout), slot.id)


def _synced(s: _Step, event: Event) -> None:
    """Every wanted subscription has its answer; ``final`` false says that some are refused or still retried."""
    s.disarm(TimerKind.SYNC)
    if s.model.state is State.SYNCING:
        s.arm(TimerKind.STABLE, s.policy.stable_after, _active(s).id)
    s.set(partial=not event.final)
    s.enter(State.OPEN, "" if event.final else event.text)


def _sync_timeout(s: _Step, event: Event) -> None:
    """Open all the same: one subscription that is not answered must not keep its siblings from being used."""
    s.arm(TimerKind.STABLE, s.policy.stable_after, _active(s).id)
    s.set(partial=True)
    s.enter(State.OPEN, "some subscriptions are not answered yet")


def _stable(s: _Step, event: Event) -> None:
    """Only now is it believed: a server that accepts and then drops, or then refuses, gets no fresh start."""
    s.set(attempt=0, forced_refresh=False)


def _dropped(s: _Step, event: Event) -> None:
    _drop(s, event.cause or Cause("dropped"))


def _connect_timeout(s: _Step, event: Event) -> None:
    _drop(s, Cause("connect timeout", f"no connection within {s.policy.connect_timeout:g} s"))


def _auth_timeout(s: _Step, event: Event) -> None:
    _drop(s, Cause("handshake timeout", f"no connection_ack within {s.policy.auth_timeout:g} s"))


def _heartbeat(s: _Step, event: Event) -> None:
    """Judge by when the last frame of any kind came: suspect first, dead at the service's own time-out.

    Only a frame makes a suspect link healthy again. Deadlines are counted from the frame, not from now, so that a
    rounded difference can't fall short of them for ever.
    """
    slot = _active(s)
    heard = (slot.since if event.heard is None else event.heard) - slot.slept
    dead_at, suspect_at = heard + slot.timeout, heard + s.policy.suspect_after
    if s.now >= dead_at:
        asleep = f", this machine slept for {slot.slept:.0f} s of them" if slot.slept else ""
        _drop(s, Cause("keep-alive timeout", f"no frame for {s.now - heard:.0f} s{asleep}"))
        return
    if s.now >= suspect_at:
        s.set(health=Health.SUSPECT)
    suspect = s.model.health is Health.SUSPECT
    s.arm_at(TimerKind.HEARTBEAT, dead_at if suspect else min(suspect_at, dead_at), slot.id)


def _heard(s: _Step, event: Event) -> None:
    """A frame came while the link was suspect."""
    if s.model.health is Health.SUSPECT:
        s.set(health=Health.HEALTHY, active=replace(_active(s), slept=0.0))
        s.arm(TimerKind.HEARTBEAT, min(s.policy.suspect_after, _active(s).timeout), _active(s).id)


def _woke(s: _Step, event: Event) -> None:
    """The machine slept for ``seconds``, which count as silence; the session is suspect until a frame proves it."""
    if s.model.state is State.BACKOFF:
        s.set(attempt=0)
        _evaluate(s)
    else:
        slot = _active(s)
        s.set(active=replace(slot, slept=slot.slept + event.seconds), health=Health.SUSPECT)
        _heartbeat(s, event)


def _auth_rejected(s: _Step, event: Event) -> None:
    """Try once more with a token that was forced to be new; then wait until the credentials change."""
    cause = event.cause or Cause("unauthorized")
    _note_end(s, cause)
    if s.model.forced_refresh:
        s.set(forced_refresh=False, refresh_due=False)
        _shut(s, AUTH_GATE, f"the service refuses the credentials: {_why(cause)}")
        _rest(s, State.WAITING, _missing(s.model))
    else:
        s.set(forced_refresh=True, refresh_due=True)
        _connect(s)


def _token_failed(s: _Step, event: Event) -> None:
    """No token to be had: back off, visibly so; ``final`` says that the issuer will never give one again."""
    cause = event.cause or Cause("token")
    if event.final:
        s.set(last_error=cause)
        _shut(s, AUTH_GATE, f"the issuer refuses a token: {_why(cause)}")
        _rest(s, State.WAITING, _missing(s.model))
    else:
        _drop(s, cause)


def _auth_changed(s: _Step, event: Event) -> None:
    """New credentials, of the authority ``text``. Of the same one they are used from the next operation on."""
    changed = event.text != s.model.authority
    was_shut = AUTH_GATE in s.model.shut
    _unshut(s, AUTH_GATE)
    s.set(authority=event.text, forced_refresh=False, refresh_due=False)
    if s.model.state in (State.STOPPED, State.SUSPENDED):
        return
    if changed or (was_shut and s.model.state is State.WAITING):
        s.set(attempt=0)
        _evaluate(s)


def _backoff_fired(s: _Step, event: Event) -> None:
    _evaluate(s)


HANDLERS: dict[Trigger, Callable[[_Step, Event], None]] = {
    Trigger.START: _start,
    Trigger.CONNECT_NOW: _connect_now,
    Trigger.STOP: _stop,
    Trigger.GATE_LOST: _gate_lost,
    Trigger.GATE_GAINED: _gate_gained,
    Trigger.SPREAD_OVER: _spread_over,
    Trigger.SUSPEND: _suspend,
    Trigger.RESUME: _resume,
    Trigger.GRACE_EXPIRED: _grace_expired,
    Trigger.TRANSPORT_UP: _transport_up,
    Trigger.ACCEPTED: _accepted,
    Trigger.SYNCED: _synced,
    Trigger.SYNC_TIMEOUT: _sync_timeout,
    Trigger.STABLE: _stable,
    Trigger.DROPPED: _dropped,
    Trigger.CONNECT_TIMEOUT: _connect_timeout,
    Trigger.AUTH_TIMEOUT: _auth_timeout,
    Trigger.HEARTBEAT: _heartbeat,
    Trigger.HEARD: _heard,
    Trigger.WOKE: _woke,
    Trigger.AUTH_REJECTED: _auth_rejected,
    Trigger.TOKEN_FAILED: _token_failed,
    Trigger.AUTH_CHANGED: _auth_changed,
    Trigger.BACKOFF_FIRED: _backoff_fired,
}


def _active(s: _Step) -> Slot:
    assert s.model.active is not None, s.model.state
    return s.model.active


def _shut(s: _Step, gate: str, reason: str) -> None:
    s.set(shut={**s.model.shut, gate: reason})


def _unshut(s: _Step, gate: str) -> None:
    s.set(shut={name: reason for name, reason in s.model.shut.items() if name != gate})


def _missing(model: Model) -> str:
    """Say what the shut gates are waiting for, or nothing if none is shut."""
    return "; ".join(reason or f"waiting for {gate}" for gate, reason in sorted(model.shut.items()))


def _why(cause: Cause) -> str:
    return f"{cause.kind}: {cause.text}" if cause.text else cause.kind
