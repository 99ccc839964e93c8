"""The values that ``step`` works on: the model, what happens to it, and what it asks the shell to do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from realtime.upstream.states import State, Trigger


class Health(Enum):
    HEALTHY = "healthy"
    SUSPECT = "suspect"


class Breaker(Enum):
    """``open`` means that nothing is dialled before its time; ``half-open``, that one try decides what follows."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


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
    COOL = Trigger.COOLED
    LIFETIME = Trigger.LIFETIME_DUE
    HARD_LIFETIME = Trigger.LIFETIME_OVER
    ROTATION = Trigger.ROTATION_DUE
    DRAIN = Trigger.DRAIN_OVER


MANAGER = 0
"""The session id of timers that belong to the manager itself."""

FIRINGS = frozenset(kind.value for kind in TimerKind)
"""The triggers that only the firing of a timer of the model may cause."""


class Timer(msgspec.Struct, frozen=True):
    """``token`` tells this arming from every other, so that a firing that was overtaken means nothing."""

    kind: TimerKind
    session: int
    token: int
    deadline: float


class Failure(Enum):
    """The class of a failure, by what is done about it.

    ``transient``: back off. ``throttled``: the same, but no sooner than the service asked, if it did. ``auth-expired``:
    one more try with a new token. ``auth-rejected``: wait for other credentials. ``fatal``: nothing mends it by itself,
    so the link fails. ``exhausted``: the policy's tries are used up.
    """

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    AUTH_EXPIRED = "auth-expired"
    AUTH_REJECTED = "auth-rejected"
    FATAL = "fatal"
    EXHAUSTED = "exhausted"


class Cause(msgspec.Struct, frozen=True):
    """Why a connection ended or a try failed. ``retry_after`` (seconds) is the least to wait, if the server said.

    ``status`` is that of an HTTP answer to the upgrade, ``code`` that of a close frame or of an error frame.
    """

    kind: str
    text: str = ""
    status: int | None = None
    code: int | None = None
    retry_after: float = 0.0


class Slot(msgspec.Struct, frozen=True):
    """One session: its id, when it was dialled, and what the service said of time-outs.

    ``phase`` is how far a session is that is not the active one; the active one's is the link's state.
    ``permitted`` says that it has its token and its turn, and the socket is being opened.
    ``renewed`` says that it was dialled with a token that was forced to be new, and that did not work yet.
    ``slept`` is how many seconds the machine slept since the last frame: the clock stood still, the silence did not.
    """

    id: int
    since: float
    timeout: float = 300.0
    slept: float = 0.0
    phase: State = State.CONNECTING
    permitted: bool = False
    renewed: bool = False


class Model(msgspec.Struct, frozen=True):
    """The manager's whole state.

    ``active`` is the session that speaks for the link. ``candidate`` is one on its way to replace it, for the reason
    ``rotating``; plain reconnect knows none. ``draining`` is one that was replaced and is heard out.
    ``shut`` are the gates that are closed, with the reason of each; ``unwanted`` says why nobody wants the link, if
    so, and ``grace`` that it is kept until the grace timer fires. ``authority`` is who the credentials belong to.
    ``forced_refresh`` is set from the first refusal of the credentials until a connection holds: what is refused after
    it has its time. ``refresh_due`` is set until the new token that a refusal asked for has been had.
    ``failing_since`` is when the first of the failed tries failed that ``attempt`` counts; ``causes`` are what they
    failed of, with how often each, if the policy ever gives up.
    ``failure`` is the class of ``last_error``, ``failures`` the times of those that the breaker counts, ``trips`` how
    often it opened since it was last closed; ``offline`` is what the machine thinks of its network.
    """

    wants: bool = False
    shut: Mapping[str, str] = msgspec.field(default_factory=dict)
    unwanted: str = ""
    grace: bool = False
    offline: bool = False
    authority: str = ""
    forced_refresh: bool = False
    refresh_due: bool = False
    state: State = State.STOPPED
    reason: str = ""
    since: float = 0.0
    attempt: int = 0
    failing_since: float = 0.0
    causes: tuple[tuple[str, int], ...] = ()
    next_try_at: float | None = None
    health: Health = Health.HEALTHY
    breaker: Breaker = Breaker.CLOSED
    failures: tuple[float, ...] = ()
    trips: int = 0
    cool_until: float = 0.0
    active: Slot | None = None
    candidate: Slot | None = None
    draining: Slot | None = None
    rotating: str = ""
    rotated_for: str = ""
    rotation_attempt: int = 0
    partial: bool = False
    last_error: Cause | None = None
    failure: Failure | None = None
    timers: tuple[Timer, ...] = ()
    next_session: int = 1
    next_token: int = 1
    revision: int = 0
    connects: int = 0
    drops: int = 0
    rotations: int = 0
    silences: int = 0
    stale: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """What the public may know of a link; a new one, with the next revision, whenever any of it changes.

    ``since``, ``next_try_at`` and ``rotates_at`` are monotonic seconds of the manager's clock. ``candidate`` is the
    session that is to replace the present one, with how far it is; ``rotated_for`` is why the last one was replaced.
    ``silences`` counts how often the service kept quiet for longer than it should.
    """

    revision: int
    state: State
    reason: str
    attempt: int
    session: int
    candidate: tuple[int, State] | None
    since: float
    next_try_at: float | None
    rotates_at: float | None
    waiting_for: frozenset[str]
    health: Health
    breaker: Breaker
    partial: bool
    rotated_for: str
    last_error: Cause | None
    failure: Failure | None
    connects: int
    drops: int
    rotations: int
    silences: int


# ── What happens ─────────────────────────────────────────────────────────────────────────────────────────────


class Event(msgspec.Struct, frozen=True):
    """One thing that happened. ``session`` is set on what a session tells, and on the firing of its timers.

    The other fields belong to some triggers: ``name`` (gate), ``cause``, ``text`` (reason, authority),
    ``seconds`` (grace, time-out, gap), ``heard`` (when the last frame came), ``token`` (of a timer), ``final``,
    ``keep`` (a gate that is shut for what is yet to come).
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
    keep: bool = False


# ── What is to be done ───────────────────────────────────────────────────────────────────────────────────────


class Dial(msgspec.Struct, frozen=True):
    """Open session ``session``: fetch a token (a new one if ``refresh``), open the socket, greet."""

    session: int
    refresh: bool = False


class Use(msgspec.Struct, frozen=True):
    """From now on this session speaks for the link: what is asked for is asked on it, and its states are told."""

    session: int


class Close(msgspec.Struct, frozen=True):
    """Close that session's socket, if it has one, and cancel what its dial still does."""

    session: int


class Publish(msgspec.Struct, frozen=True):
    snapshot: Snapshot


Effect = Dial | Use | Close | Publish
