"""Make before break: a session on its way to replace the one that speaks for the link.

The reason may be the service's limit on a connection's life, a change of the network's route, a sleep, or an
operator. The candidate is dialled, accepted and subscribed while the present session goes on; one step then makes it
the active one, and the old one is heard out. Its failure costs nothing: the present session stays, and the next
candidate has its time.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from realtime.upstream.failures import TOKEN
from realtime.upstream.model import Breaker, Cause, Event, Failure, Health, Slot, TimerKind, Use
from realtime.upstream.states import State, Trigger
from realtime.upstream.verbs import AUTH_GATE, Step, active, drop, shut, why


def want(s: Step, reason: str) -> None:
    """Have the session replaced, as soon as that may be tried."""
    s.set(rotating=s.model.rotating or reason)
    pursue(s)


def pursue(s: Step) -> None:
    """Dial a candidate if one is wanted and nothing speaks against it.

    A breaker that is not closed does, and so does a link that is only kept for its grace, or whose credentials were
    refused: what changes that calls this again.
    """
    may = s.model.breaker is Breaker.CLOSED and not s.model.shut and not s.model.grace
    waits = s.model.candidate is not None or s.is_armed(TimerKind.ROTATION)
    if s.model.state is State.OPEN and s.model.rotating and may and not waits:
        s.set(candidate=s.dial())


def give_up(s: Step) -> None:
    """Close the candidate, if there is one; the next one is dialled once that may be tried."""
    s.close(s.model.candidate)
    s.set(candidate=None)


def limit_life(s: Step) -> None:
    """Arm what ends a session's life, counted from its dial: once open it is replaced in time, or dropped at last."""
    lifetime, slot = s.policy.lifetime, active(s)
    if lifetime is not None:
        due = s.rng.uniform(*lifetime.rotate) * lifetime.most
        s.arm_at(TimerKind.LIFETIME, slot.since + due, slot.id)
        s.arm_at(TimerKind.HARD_LIFETIME, slot.since + lifetime.most, slot.id)


# ── What the active session's timers and others ask ──────────────────────────────────────────────────────────


def rotate(s: Step, event: Event) -> None:
    """Somebody, or something, wants a new connection without losing the present one."""
    want(s, event.text or "asked for")


def lifetime_due(s: Step, event: Event) -> None:
    want(s, "its lifetime ends")


def lifetime_over(s: Step, event: Event) -> None:
    """No candidate was ready in time: break before make."""
    drop(s, Cause("lifetime over", "it could not be replaced in time"))


def rotation_due(s: Step, event: Event) -> None:
    pursue(s)


# ── What the candidate tells ─────────────────────────────────────────────────────────────────────────────────


def _permitted(s: Step, event: Event) -> None:
    s.set(candidate=replace(_candidate(s), permitted=True))
    s.arm(TimerKind.CONNECT, s.policy.connect_timeout, _candidate(s).id)


def _transport_up(s: Step, event: Event) -> None:
    slot = replace(_candidate(s), phase=State.AUTHENTICATING)
    s.set(candidate=slot, refresh_due=False)
    s.disarm(TimerKind.CONNECT, session=slot.id)
    s.arm(TimerKind.AUTH, s.policy.auth_timeout, slot.id)


def _accepted(s: Step, event: Event) -> None:
    slot = replace(_candidate(s), phase=State.SYNCING, timeout=event.seconds or _candidate(s).timeout)
    s.set(candidate=slot, refresh_due=False)
    s.disarm(TimerKind.CONNECT, TimerKind.AUTH, session=slot.id)
    s.arm(TimerKind.SYNC, s.policy.sync_timeout, slot.id)


def _synced(s: Step, event: Event) -> None:
    """It hears everything: swap. One that is refused what the present session is not is no replacement for it."""
    if not event.final and not (s.model.partial and event.text == s.model.reason):
        _discard(s, Cause("incomplete", event.text))
        return
    old, slot = active(s), _candidate(s)
    s.close(s.model.draining)
    s.disarm(*TimerKind, session=old.id)
    s.disarm(TimerKind.SYNC, session=slot.id)
    if event.final:
        slot = replace(slot, renewed=False)
    s.set(active=slot, candidate=None, draining=old, partial=not event.final, health=Health.HEALTHY)
    s.set(rotated_for=s.model.rotating, rotating="", rotation_attempt=0)
    s.set(rotations=s.model.rotations + 1, connects=s.model.connects + 1)
    s.enter(State.OPEN, "" if event.final else event.text)
    s.effects.append(Use(slot.id))
    s.arm(TimerKind.DRAIN, s.policy.drain, old.id)
    s.arm(TimerKind.HEARTBEAT, min(s.policy.suspect_after, slot.timeout), slot.id)
    s.arm(TimerKind.STABLE, s.policy.stable_after, slot.id)
    limit_life(s)


def _dropped(s: Step, event: Event) -> None:
    cause = event.cause or Cause("dropped")
    failure = s.policy.classify(cause)
    if failure is Failure.AUTH_EXPIRED:
        _auth_rejected(s, event)
    else:
        _discard(s, cause, failure)


def _timed_out(s: Step, event: Event) -> None:
    _discard(s, Cause("timeout", f"the replacement was {_candidate(s).phase.value} for too long"))


def _auth_rejected(s: Step, event: Event) -> None:
    """Try once more with a token that was forced to be new; then not before the credentials change."""
    cause = event.cause or Cause("unauthorized")
    if _candidate(s).renewed:
        s.set(forced_refresh=False, refresh_due=False)
        _wait_for_credentials(s, cause, f"the service refuses the credentials: {why(cause)}")
        return
    at_once = not s.model.forced_refresh
    s.set(forced_refresh=True, refresh_due=True)
    if at_once:
        s.close(s.model.candidate)
        s.set(candidate=s.dial())
    else:
        _discard(s, cause, Failure.AUTH_EXPIRED)


def _wait_for_credentials(s: Step, cause: Cause, reason: str) -> None:
    shut(s, AUTH_GATE, reason)
    _discard(s, cause, Failure.AUTH_REJECTED)


def _token_failed(s: Step, event: Event) -> None:
    cause = event.cause or Cause(TOKEN)
    if event.final:
        _wait_for_credentials(s, cause, f"the issuer refuses a token: {why(cause)}")
    else:
        _discard(s, cause)


def _discard(s: Step, cause: Cause, failure: Failure = Failure.TRANSIENT) -> None:
    """Close the candidate and give the next one its time, unless the credentials have to change first."""
    give_up(s)
    s.set(last_error=cause, failure=failure, rotation_attempt=s.model.rotation_attempt + 1)
    if not s.model.shut:
        s.arm(TimerKind.ROTATION, max(s.policy.backoff.delay(s.model.rotation_attempt, s.rng), cause.retry_after))


# ── What the session tells that was replaced ─────────────────────────────────────────────────────────────────


def _drained(s: Step, event: Event) -> None:
    s.close(s.model.draining)
    s.set(draining=None)


Handler = Callable[[Step, Event], None]

CANDIDATE_HANDLERS: dict[Trigger, Handler] = {
    Trigger.PERMITTED: _permitted,
    Trigger.TRANSPORT_UP: _transport_up,
    Trigger.ACCEPTED: _accepted,
    Trigger.SYNCED: _synced,
    Trigger.DROPPED: _dropped,
    Trigger.CONNECT_TIMEOUT: _timed_out,
    Trigger.AUTH_TIMEOUT: _timed_out,
    Trigger.SYNC_TIMEOUT: _timed_out,
    Trigger.AUTH_REJECTED: _auth_rejected,
    Trigger.TOKEN_FAILED: _token_failed,
}

DRAINING_HANDLERS: dict[Trigger, Handler] = {Trigger.DROPPED: _drained, Trigger.DRAIN_OVER: _drained}


def _candidate(s: Step) -> Slot:
    assert s.model.candidate is not None, s.model.state
    return s.model.candidate
