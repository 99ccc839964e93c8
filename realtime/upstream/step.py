"""The connection manager's core: ``step(model, event, now, rng, policy) -> (model, effects)``.

Pure: no I/O, no waiting, no clock, and randomness only from ``rng``. Timers are data in the model; the shell arms
exactly those, and a firing is checked against the model when it is consumed, not when it fires. Every property the
tests demand is a property of this function.

How it reads: ``step`` drops what is stale or means nothing in this state, hands the event to the function of its
trigger, and publishes a snapshot if anything public changed. Those functions are made of the verbs in ``verbs``; what
a session tells that does not speak for the link goes to those in ``rotation``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from random import Random

from msgspec.structs import replace

from realtime.upstream import rotation
from realtime.upstream.failures import TOKEN
from realtime.upstream.model import (
    FIRINGS,
    MANAGER,
    Breaker,
    Cause,
    Effect,
    Event,
    Failure,
    Health,
    Model,
    Publish,
    Snapshot,
    TimerKind,
)
from realtime.upstream.policy import Policy
from realtime.upstream.rotation import CANDIDATE_HANDLERS, DRAINING_HANDLERS, Handler
from realtime.upstream.states import CANDIDATE, DRAINING, HAS_SESSION, TABLE, State, Trigger
from realtime.upstream.verbs import (
    AUTH_GATE,
    Step,
    active,
    connect,
    drop,
    evaluate,
    missing,
    note_end,
    rest,
    shut,
    unshut,
    why,
)


def step(model: Model, event: Event, now: float, rng: Random, policy: Policy) -> tuple[Model, tuple[Effect, ...]]:
    """Return the model after ``event`` and what the shell has to do for it, in order.

    Args:
        now: monotonic seconds; never smaller than at the step before.
    """
    if _is_stale(model, event):
        return replace(model, stale=model.stale + 1), ()
    meant, handlers = _reading(model, event)
    if event.trigger not in meant:
        return _without_fired(model, event), ()
    under_way = Step(_without_fired(model, event), now, rng, policy)
    handlers[event.trigger](under_way, event)
    before, after = snapshot(model), snapshot(under_way.model)
    if after != before:
        revision = model.revision + 1
        under_way.set(revision=revision)
        under_way.effects.append(Publish(replace(after, revision=revision)))
    return under_way.model, tuple(under_way.effects)


def snapshot(model: Model) -> Snapshot:
    """Return what the public may know of the model."""
    candidate = model.candidate
    rotates_at = next((timer.deadline for timer in model.timers if timer.kind is TimerKind.LIFETIME), None)
    return Snapshot(
        revision=model.revision,
        state=model.state,
        reason=_reason(model),
        attempt=model.attempt,
        session=model.active.id if model.active else 0,
        candidate=(candidate.id, candidate.phase) if candidate else None,
        since=model.since,
        next_try_at=model.next_try_at,
        rotates_at=rotates_at,
        waiting_for=frozenset(model.shut),
        health=model.health,
        breaker=model.breaker,
        partial=model.partial,
        rotated_for=model.rotated_for,
        last_error=model.last_error,
        failure=model.failure,
        connects=model.connects,
        drops=model.drops,
        rotations=model.rotations,
        silences=model.silences,
    )


def _reason(model: Model) -> str:
    """Return why the state is what it is; of a connection that stays though a gate is shut, also what it lacks."""
    if not model.shut or model.state is not State.OPEN:
        return model.reason
    kept = f"{missing(model)}; what is open stays until it ends"
    return f"{model.reason}; {kept}" if model.reason else kept


def _is_stale(model: Model, event: Event) -> bool:
    """Tell whether the event is of a session that is over, or of a timer that was disarmed or armed anew."""
    if event.trigger in FIRINGS or event.token is not None:
        fired = (event.trigger, event.session or MANAGER, event.token)
        return all((timer.kind.value, timer.session, timer.token) != fired for timer in model.timers)
    live = {slot.id for slot in (model.active, model.candidate, model.draining) if slot is not None}
    return event.session is not None and event.session not in live


def _reading(model: Model, event: Event) -> tuple[Collection[Trigger], Mapping[Trigger, Handler]]:
    """Return which events mean something to the session that this one is of, and what they do."""
    if model.candidate is not None and event.session == model.candidate.id:
        return CANDIDATE[model.candidate.phase], CANDIDATE_HANDLERS
    if model.draining is not None and event.session == model.draining.id:
        return DRAINING, DRAINING_HANDLERS
    return TABLE[model.state], HANDLERS


def _without_fired(model: Model, event: Event) -> Model:
    if event.token is None:
        return model
    return replace(model, timers=tuple(timer for timer in model.timers if timer.token != event.token))


# ── One function a trigger ───────────────────────────────────────────────────────────────────────────────────


def _start(s: Step, event: Event) -> None:
    s.set(wants=True, attempt=0)
    evaluate(s)


def _connect_now(s: Step, event: Event) -> None:
    """Somebody wants it this instant: forget what was counted, and that nobody was watching.

    What is not forgotten is that the credentials were refused: insisting does not make them better.
    """
    s.disarm(TimerKind.GRACE)
    s.set(wants=True, attempt=0, unwanted="", grace=False, cool_until=0.0)
    evaluate(s)


def _stop(s: Step, event: Event) -> None:
    s.set(wants=False)
    rest(s, State.STOPPED, event.text or "stopped")


def _gate_lost(s: Step, event: Event) -> None:
    """A gate is shut, or shut for another reason than before; with ``keep``, what is open stays."""
    known = s.model.shut.get(event.name)
    reason = event.text or known or ""
    if known == reason and s.model.state not in HAS_SESSION:
        return
    shut(s, event.name, reason)
    if event.keep and s.model.state is State.OPEN:
        rotation.give_up(s)
    elif s.model.state not in (State.STOPPED, State.SUSPENDED, State.FAILED):
        rest(s, State.WAITING, missing(s.model))


def _gate_gained(s: Step, event: Event) -> None:
    """Go on after a short random wait: a gate that opens for all links at once must not make them dial at once."""
    if event.name not in s.model.shut:
        return
    unshut(s, event.name)
    if s.model.state is not State.WAITING:
        return
    s.set(attempt=0, reason=missing(s.model))
    if not s.model.shut:
        delay = s.rng.uniform(0, s.policy.resume_spread)
        s.set(next_try_at=s.now + delay)
        s.arm(TimerKind.SPREAD, delay)


def _suspend(s: Step, event: Event) -> None:
    """Nobody wants the link: let it go now, or keep it as it is until the grace ends."""
    s.set(unwanted=event.text or "suspended")
    if s.model.state in (State.STOPPED, State.FAILED):
        return
    if s.model.state is State.SUSPENDED:
        s.enter(State.SUSPENDED, s.model.unwanted)
    elif event.seconds > 0 and s.model.state in HAS_SESSION | {State.BACKOFF, State.COOLING}:
        s.set(grace=True)
        s.arm(TimerKind.GRACE, event.seconds)
    else:
        s.set(grace=False)
        rest(s, State.SUSPENDED, s.model.unwanted)


def _resume(s: Step, event: Event) -> None:
    """Somebody wants it again; within the grace nothing has happened and the session goes on."""
    s.disarm(TimerKind.GRACE)
    s.set(unwanted="", grace=False)
    if s.model.state is State.SUSPENDED:
        s.set(attempt=0)
        evaluate(s)
    rotation.pursue(s)


def _grace_expired(s: Step, event: Event) -> None:
    rest(s, State.SUSPENDED, s.model.unwanted)


# ── What the machine's network seems to be ───────────────────────────────────────────────────────────────────


def _offline(s: Step, event: Event) -> None:
    """Only a hint: what is open stays, and tries go on, but seldom."""
    s.set(offline=True)


def _online(s: Step, event: Event) -> None:
    """The network is back: what waits tries again, and what seems open has to prove itself and is replaced."""
    if not s.model.offline:
        return
    s.set(offline=False)
    soon = s.now + s.rng.uniform(0, s.policy.resume_spread)
    if s.model.state is State.BACKOFF:
        s.set(attempt=0, next_try_at=soon)
        s.arm_at(TimerKind.BACKOFF, soon)
    elif s.model.state is State.COOLING:
        s.set(cool_until=soon, next_try_at=soon)
        s.arm_at(TimerKind.COOL, soon)
    elif s.model.state is State.OPEN:
        s.set(health=Health.SUSPECT)
        rotation.want(s, "the network changed")


# ── What the session tells that speaks for the link ──────────────────────────────────────────────────────────


def _permitted(s: Step, event: Event) -> None:
    """It has its token and its turn; from now on the service is what it waits for."""
    slot = replace(active(s), permitted=True)
    s.set(active=slot)
    s.arm(TimerKind.CONNECT, s.policy.connect_timeout, slot.id)


def _transport_up(s: Step, event: Event) -> None:
    s.disarm(TimerKind.CONNECT, session=active(s).id)
    s.set(refresh_due=False)
    s.enter(State.AUTHENTICATING)
    s.arm(TimerKind.AUTH, s.policy.auth_timeout, active(s).id)


def _accepted(s: Step, event: Event) -> None:
    """The service took us; ``seconds`` is how long it may be silent before it counts as gone."""
    slot = replace(active(s), timeout=event.seconds or active(s).timeout)
    s.disarm(TimerKind.CONNECT, TimerKind.AUTH, session=slot.id)
    s.set(active=slot, connects=s.model.connects + 1, refresh_due=False)
    s.enter(State.SYNCING)
    s.arm(TimerKind.SYNC, s.policy.sync_timeout, slot.id)
    s.arm(TimerKind.HEARTBEAT, min(s.policy.suspect_after, slot.timeout), slot.id)


def _synced(s: Step, event: Event) -> None:
    """Every wanted subscription has its answer; ``final`` false says that some are refused or still retried."""
    s.disarm(TimerKind.SYNC, session=active(s).id)
    s.set(partial=not event.final)
    if event.final:
        s.set(active=replace(active(s), renewed=False))
    _open(s, "" if event.final else event.text)


def _sync_timeout(s: Step, event: Event) -> None:
    """Open all the same: one subscription that is not answered must not keep its siblings from being used."""
    s.set(partial=True)
    _open(s, "some subscriptions are not answered yet")


def _open(s: Step, reason: str) -> None:
    if s.model.state is State.SYNCING:
        s.arm(TimerKind.STABLE, s.policy.stable_after, active(s).id)
        rotation.limit_life(s)
    s.enter(State.OPEN, reason)


def _stable(s: Step, event: Event) -> None:
    """Only now is it believed: a server that accepts and then drops, or then refuses, gets no fresh start."""
    s.set(active=replace(active(s), renewed=False))
    s.set(attempt=0, forced_refresh=False, breaker=Breaker.CLOSED, failures=(), trips=0)
    rotation.pursue(s)


def _dropped(s: Step, event: Event) -> None:
    cause = event.cause or Cause("dropped")
    failure = s.policy.classify(cause)
    if failure is Failure.AUTH_EXPIRED:
        _auth_rejected(s, event)
    elif failure is Failure.FATAL:
        note_end(s, cause, failure)
        rest(s, State.FAILED, f"will not mend by itself: {why(cause)}")
    else:
        drop(s, cause, failure)


def _connect_timeout(s: Step, event: Event) -> None:
    if active(s).permitted:
        drop(s, Cause("connect timeout", f"no connection within {s.policy.connect_timeout:g} s"))
    else:
        drop(s, Cause("connect timeout", f"no token, or no turn to dial, within {s.policy.turn_timeout:g} s"))


def _auth_timeout(s: Step, event: Event) -> None:
    drop(s, Cause("handshake timeout", f"no connection_ack within {s.policy.auth_timeout:g} s"))


def _heartbeat(s: Step, event: Event) -> None:
    """Judge by when the last frame of any kind came: suspect first, dead at the service's own time-out.

    Only a frame makes a suspect link healthy again. Deadlines are counted from the frame, not from now, so that a
    rounded difference can't fall short of them for ever.
    """
    slot = active(s)
    heard = slot.since - slot.slept if event.heard is None else event.heard
    dead_at, suspect_at = heard + slot.timeout, heard + s.policy.suspect_after
    if s.now >= min(dead_at, suspect_at) and s.model.health is Health.HEALTHY:
        s.set(silences=s.model.silences + 1)
    if s.now >= dead_at:
        asleep = f", asleep for {slot.slept:.0f} s" if slot.slept else ""
        drop(s, Cause("keep-alive timeout", f"no frame for {s.now - heard:.0f} s{asleep}"))
        return
    if s.now >= suspect_at:
        s.set(health=Health.SUSPECT)
    suspect = s.model.health is Health.SUSPECT
    s.arm_at(TimerKind.HEARTBEAT, dead_at if suspect else min(suspect_at, dead_at), slot.id)


def _heard(s: Step, event: Event) -> None:
    """A frame came while the link was suspect."""
    if s.model.health is Health.SUSPECT:
        s.set(health=Health.HEALTHY, active=replace(active(s), slept=0.0))
        s.arm(TimerKind.HEARTBEAT, min(s.policy.suspect_after, active(s).timeout), active(s).id)


def _woke(s: Step, event: Event) -> None:
    """The machine slept for ``seconds``, which count as silence.

    What waited for its time tries now. What is still open is suspect, and replaced: a half-open connection would be
    found out only after the service's time-out.
    """
    if s.model.state in (State.BACKOFF, State.COOLING):
        s.set(attempt=0, cool_until=s.now)
        evaluate(s)
        return
    slot = active(s)
    s.set(active=replace(slot, slept=slot.slept + event.seconds), health=Health.SUSPECT)
    _heartbeat(s, event)
    if s.model.state is State.OPEN:
        rotation.want(s, "the machine slept")


# ── Credentials ──────────────────────────────────────────────────────────────────────────────────────────────


def _auth_rejected(s: Step, event: Event) -> None:
    """Try once more with a token that was forced to be new; if that never works, wait until the credentials change.

    One that worked may be refused later, as it expires: it is renewed too. At once only if a connection held since the
    last time, or a service that accepts and then refuses would be dialled without pause. The one try that a half-open
    breaker allows is not made two: the new token waits for the next one.
    """
    cause = event.cause or Cause("unauthorized")
    if active(s).renewed:
        s.set(forced_refresh=False, refresh_due=False)
        _wait_for_credentials(s, cause, f"the service refuses the credentials: {why(cause)}")
        return
    at_once = not s.model.forced_refresh and s.model.breaker is not Breaker.HALF_OPEN and not s.model.shut
    s.set(forced_refresh=True, refresh_due=True)
    if at_once:
        note_end(s, cause, Failure.AUTH_EXPIRED)
        connect(s)
    else:
        drop(s, cause, Failure.AUTH_EXPIRED)


def _wait_for_credentials(s: Step, cause: Cause, reason: str) -> None:
    """No token of these credentials would do: wait until they change."""
    note_end(s, cause, Failure.AUTH_REJECTED)
    shut(s, AUTH_GATE, reason)
    rest(s, State.WAITING, missing(s.model))


def _token_failed(s: Step, event: Event) -> None:
    """No token to be had: back off, visibly so; ``final`` says that the issuer will never give one again."""
    cause = event.cause or Cause(TOKEN)
    if event.final:
        _wait_for_credentials(s, cause, f"the issuer refuses a token: {why(cause)}")
    else:
        drop(s, cause)


def _auth_changed(s: Step, event: Event) -> None:
    """New credentials, of the authority ``text``. Of the same one they are used from the next operation on."""
    changed = event.text != s.model.authority
    was_shut = AUTH_GATE in s.model.shut
    unshut(s, AUTH_GATE)
    s.set(authority=event.text, forced_refresh=False, refresh_due=False)
    if s.model.active is not None:
        s.set(active=replace(active(s), renewed=False))
    if s.model.candidate is not None:
        s.set(candidate=replace(s.model.candidate, renewed=False))
    if s.model.state in (State.STOPPED, State.SUSPENDED):
        return
    if changed or (was_shut and s.model.state is State.WAITING):
        s.set(attempt=0)
        evaluate(s)
    rotation.pursue(s)


def _time_has_come(s: Step, event: Event) -> None:
    evaluate(s)


def _cooled(s: Step, event: Event) -> None:
    s.set(cool_until=s.now)
    evaluate(s)


HANDLERS: dict[Trigger, Handler] = {
    Trigger.START: _start,
    Trigger.CONNECT_NOW: _connect_now,
    Trigger.STOP: _stop,
    Trigger.GATE_LOST: _gate_lost,
    Trigger.GATE_GAINED: _gate_gained,
    Trigger.SPREAD_OVER: _time_has_come,
    Trigger.SUSPEND: _suspend,
    Trigger.RESUME: _resume,
    Trigger.GRACE_EXPIRED: _grace_expired,
    Trigger.OFFLINE: _offline,
    Trigger.ONLINE: _online,
    Trigger.PERMITTED: _permitted,
    Trigger.TRANSPORT_UP: _transport_up,
    Trigger.ACCEPTED: _accepted,
    Trigger.SYNCED: _synced,
    Trigger.SYNC_TIMEOUT: _sync_timeout,
    Trigger.STABLE: _stable,
    Trigger.DROPPED: _dropped,
    Trigger.AUTH_REJECTED: _auth_rejected,
    Trigger.TOKEN_FAILED: _token_failed,
    Trigger.AUTH_CHANGED: _auth_changed,
    Trigger.CONNECT_TIMEOUT: _connect_timeout,
    Trigger.AUTH_TIMEOUT: _auth_timeout,
    Trigger.HEARTBEAT: _heartbeat,
    Trigger.HEARD: _heard,
    Trigger.WOKE: _woke,
    Trigger.BACKOFF_FIRED: _time_has_come,
    Trigger.COOLED: _cooled,
    Trigger.ROTATE: rotation.rotate,
    Trigger.ROTATION_DUE: rotation.rotation_due,
    Trigger.LIFETIME_DUE: rotation.lifetime_due,
    Trigger.LIFETIME_OVER: rotation.lifetime_over,
}
