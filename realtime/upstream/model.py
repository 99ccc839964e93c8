"""The values that ``step`` works on: the model, what happens to it, and what it asks the shell to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from realtime.upstream.states import State, Trigger


class Health(Enum):
    HEALTHY = "healthy"
    SUSPECT = "suspect"


class TimerKind(Enum):
    """A timer's name is the event that its firing is."""

    CONNECT = Trigger.CONNECT_TIMEOUT
    AUTH = Trigger.AUTH_TIMEOUT
    SYNC = Trigger.SYNC_TIMEOUT
    HEARTBEAT = Trigger.HEARTBEAT
    STABLE = Trigger.STABLE
    BACKOFF = Trigger.BACKOFF_FIRED
    GRACE = Trigger.GRACE_EXPIRED
    SPREAD = Trigger.SPREAD_OVER


MANAGER = 0
"""The session id of timers that belong to the manager itself."""

FIRINGS = frozenset(kind.value for kind in TimerKind)
"""The triggers that only the firing of a timer of the model may cause."""


@dataclass(frozen=True, slots=True)
class Timer:
    """``token`` tells this arming from every other, so that a firing that was overtaken means nothing."""

    kind: TimerKind
    session: int
    token: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a connection ended or a try failed. ``retry_after`` (seconds) is the least to wait, if the server said."""

    kind: str
    text: str = ""
    code: int | None = None
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Slot:
    """One session: its id, when it was dialled, and what the service said of time-outs.

    ``slept`` is how many seconds the machine slept since the last frame: the clock stood still, the silence did not.
    """

    id: int
    since: float
    timeout: float = 300.0
    slept: float = 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """The manager's whole state. ``active`` and ``candidate`` are sessions; plain reconnect knows no candidate.

    ``shut`` are the gates that are closed, with the reason of each; ``unwanted`` says why nobody wants the link, if
    so, and ``grace`` that it is kept until the grace timer fires. ``authority`` is who the credentials belong to.
    ``forced_refresh`` is set from the first refusal of the credentials until a connection holds, ``refresh_due``
    until the new token that it asked for has been had.
    """

    wants: bool = False
    shut: Mapping[str, str] = field(default_factory=dict)
    unwanted: str = ""
    grace: bool = False
    authority: str = ""
    forced_refresh: bool = False
    refresh_due: bool = False
    state: State = State.STOPPED
    reason: str = ""
    since: float = 0.0
    attempt: int = 0
    next_try_at: float | None = None
    health: Health = Health.HEALTHY
    active: Slot | None = None
    candidate: Slot | None = None
    partial: bool = False
    last_error: Cause | None = None
    timers: tuple[Timer, ...] = ()
    next_session: int = 1
    next_token: int = 1
    revision: int = 0
    connects: int = 0
    drops: int = 0
    stale: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the public may know of a link; a new one, with the next revision, whenever any of it changes.

    ``since`` and ``next_try_at`` are monotonic seconds of the manager's clock.
    """

    revision: int
    state: State
    reason: str
    attempt: int
    session: int
    since: float
    next_try_at: float | None
    waiting_for: frozenset[str]
    health: Health
    partial: bool
    last_error: Cause | None
    connects: int
    drops: int


# ── What happens ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. ``session`` is set on what a session tells, and on the firing of its timers.

    The other fields belong to some triggers: ``name`` (gate), ``cause``, ``text`` (reason, authority),
    ``seconds`` (grace, time-out, gap), ``heard`` (when the last frame came), ``token`` (of a timer), ``final``.
    """

    trigger: Trigger
    session: int | None = None
    name: str = ""
    text: str = ""
    cause: Cause | None = None
    seconds: float = 0.0
    heard: float | None = None
    token: int | None = None
    final: bool = False


# ── What is to be done ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Dial:
    """Open session ``session``: fetch a token (a new one if ``refresh``), open the socket, greet."""

    session: int
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """Close that session's socket, if it has one, and cancel what its dial still does."""

    session: int


@dataclass(frozen=True, slots=True)
class Publish:
    snapshot: Snapshot


Effect = Dial | Close | Publish
