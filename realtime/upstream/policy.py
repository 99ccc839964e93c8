"""The numbers of a connection: how long to wait, how often to try, when to believe that it holds.

Presets exist by name. Every delay is drawn with an injected generator, so a run can be repeated. Of 10 000 clients
after an outage, jitter matters far more than the curve: unjittered schedules arrive all at once, time after time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

from realtime.upstream.failures import Classify, appsync, general

BACKOFF_FLOOR = 0.1
"""No retry comes sooner than this, whatever a jitter draws."""


PING_EVERY = 20.0
"""Seconds between WebSocket pings, and for which one may stay unanswered while nothing else comes.

They find a half-open connection long before the service's 300 s do.
"""

MOST_RETRY_AFTER = 300.0
"""Seconds that a server may ask us to stay away at most: a nonsensical hint must not end a link for a day."""


class Backoff(Protocol):
    """A schedule of delays."""

    def delay(self, attempt: int, rng: Random) -> float:
        """Return the seconds to wait before try number ``attempt`` (1 = the first one after a failure)."""

    def bounds(self, attempt: int) -> tuple[float, float]:
        """Return the interval in which ``delay`` lies."""


@dataclass(frozen=True, slots=True)
class FullJitter:
    """U(0, min(cap, base · factor^(attempt - 1))), never below the floor; the first wait is U(0, ``first``)."""

    base: float = 0.5
    factor: float = 2.0
    cap: float = 30.0
    first: float = 1.0

    def bounds(self, attempt: int) -> tuple[float, float]:
        # The exponent is bounded, or a month of failures would overflow.
        upper = self.first if attempt <= 1 else self.base * self.factor ** min(attempt - 1, 64)
        return BACKOFF_FLOOR, max(min(upper, self.cap), BACKOFF_FLOOR)

    def delay(self, attempt: int, rng: Random) -> float:
        lower, upper = self.bounds(attempt)
        return max(lower, rng.uniform(0, upper))


@dataclass(frozen=True, slots=True)
class Fixed:
    seconds: float

    def bounds(self, attempt: int) -> tuple[float, float]:
        return self.seconds, self.seconds

    def delay(self, attempt: int, rng: Random) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class Exponential:
    """min(cap, base · factor^(attempt - 1)) seconds, plus up to ``jitter`` of them."""

    base: float
    factor: float = 2.0
    cap: float = 60.0
    jitter: float = 0.0

    def bounds(self, attempt: int) -> tuple[float, float]:
        delay = min(self.cap, self.base * self.factor ** min(attempt - 1, 64))
        return delay, delay + self.jitter

    def delay(self, attempt: int, rng: Random) -> float:
        lower, upper = self.bounds(attempt)
        return rng.uniform(lower, upper)


@dataclass(frozen=True, slots=True)
class Steps:
    """A list of delays, then the tail's; each varied by up to ``spread`` of itself, or clients would march in step."""

    delays: tuple[float, ...]
    tail: float
    spread: float = 0.1

    def bounds(self, attempt: int) -> tuple[float, float]:
        delay = self.delays[attempt - 1] if attempt <= len(self.delays) else self.tail
        return delay * (1 - self.spread), delay * (1 + self.spread)

    def delay(self, attempt: int, rng: Random) -> float:
        return rng.uniform(*self.bounds(attempt))


@dataclass(frozen=True, slots=True)
class Rounds:
    """Some quick tries, each with up to ``jitter`` seconds more, then a wait of ``between``; again and again."""

    quick: tuple[float, ...]
    jitter: float
    between: Steps

    def bounds(self, attempt: int) -> tuple[float, float]:
        number, place = divmod(attempt - 1, len(self.quick) + 1)
        if place == len(self.quick):
            return self.between.bounds(number + 1)
        return self.quick[place], self.quick[place] + self.jitter

    def delay(self, attempt: int, rng: Random) -> float:
        return rng.uniform(*self.bounds(attempt))


@dataclass(frozen=True, slots=True)
class Power:
    """min(cap, base + slope · attempt^1.5), then cap + U(0, tail)."""

    base: float = 0.2
    slope: float = 0.4
    cap: float = 8.0
    tail: float = 5.0

    def bounds(self, attempt: int) -> tuple[float, float]:
        delay = self.base + self.slope * float(attempt) ** 1.5
        return (delay, delay) if delay < self.cap else (self.cap, self.cap + self.tail)

    def delay(self, attempt: int, rng: Random) -> float:
        return rng.uniform(*self.bounds(attempt))


@dataclass(frozen=True, slots=True)
class Breaker:
    """When to stop trying for a while: after ``failures`` within ``window`` seconds.

    A connection that opened and did not hold is a failure too. The breaker cools for ``cool`` seconds, twice as long
    each time that the one try after it fails too, at most ``cap``; varied by a quarter, or links that failed together
    would try together. The cap is short because people look at a dead page for as long.
    """

    failures: int = 8
    window: float = 60.0
    cool: float = 30.0
    cap: float = 60.0
    spread: float = 0.25

    def bounds(self, trips: int) -> tuple[float, float]:
        """Return the interval in which the cooling number ``trips`` (1 = the first) lies."""
        seconds = min(self.cap, self.cool * 2.0 ** min(trips - 1, 64))
        return seconds * (1 - self.spread), seconds * (1 + self.spread)

    def delay(self, trips: int, rng: Random) -> float:
        """Return the seconds to cool."""
        return rng.uniform(*self.bounds(trips))


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long the service lets a connection live, in seconds; it is replaced at a random time before that.

    Both bounds of ``rotate`` are shares of ``most``. AppSync ends a connection after 24 hours.
    """

    most: float = 24 * 3600.0
    rotate: tuple[float, float] = (0.80, 0.95)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that may be set about one connection; times in seconds.

    ``stable_after`` is the gate: only a connection that stayed open this long resets the count of attempts, or a
    server that accepts and drops would be dialled without pause. ``suspect_after`` and the service's own time-out
    judge by any frame; ``ping_every`` is the socket's own (see ``PING_EVERY``). ``max_attempts`` is how many failed
    tries are followed by another, ``max_elapsed`` for how long; none means for ever, ``breaker`` none that nothing but
    the back-off holds tries back, ``lifetime`` none that the service sets no end. ``turn_timeout`` bounds the wait for
    a token and for the turn to dial, ``connect_timeout`` what comes after it. ``drain`` is how long a connection that
    was replaced is heard out; it has to be longer than a new subscription takes to be really live. While the machine
    has no network a try is made every ``offline_every`` seconds all the same: a wrong hint must not stop a link for
    ever.
    """

    backoff: Backoff = field(default_factory=FullJitter)
    max_attempts: int | None = None
    max_elapsed: float | None = None
    breaker: Breaker | None = field(default_factory=Breaker)
    lifetime: Lifetime | None = field(default_factory=Lifetime)
    classify: Classify = appsync
    stable_after: float = 30.0
    turn_timeout: float = 60.0
    connect_timeout: float = 10.0
    auth_timeout: float = 10.0
    sync_timeout: float = 15.0
    suspect_after: float = 65.0
    ping_every: float = PING_EVERY
    drain: float = 5.0
    offline_every: float = 60.0
    resume_spread: float = 1.0
    slept_for: float = 2.0


# Amplify JS: 0.1 · 2^n and a bit for as long as that is at most 5 s; after 5 s, then each minute, the same again.
AMPLIFY = Rounds((0.2, 0.4, 0.8, 1.6, 3.2), jitter=0.1, between=Steps((5.0,), tail=60.0))

PRESETS: dict[str, Policy] = {
    "full-jitter": Policy(),
    "exponential-5": Policy(backoff=Exponential(2.0), max_attempts=5, breaker=None),
    "fixed-10s": Policy(backoff=Fixed(10.0), stable_after=0.0, breaker=None),
    "amplify": Policy(backoff=AMPLIFY, breaker=None),
    "power": Policy(backoff=Power()),
    "general": Policy(classify=general),
}


def preset(name: str, **changes: object) -> Policy:
    """Return a preset with single values changed. Raises KeyError for an unknown name."""
    return replace(PRESETS[name], **changes)  # type: ignore[arg-type]


def retry_after(header: str | None) -> float:
    """Return the seconds a server asks to wait (RFC 9110, 10.2.3), or 0; a date gets the policy's own delay."""
    return min(float(header), MOST_RETRY_AFTER) if header and header.isdecimal() else 0.0
