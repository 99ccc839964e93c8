"""Compares what a link hears over its two dialects: what only one of them told, what came late, twice, or out of order.

Pure: facts go in with the time of their arrival, counts come out. The two sides are treated alike; which of them is
recorded is nothing to this module.

What is compared is a *change*, as far as both dialects tell it. GraphQL's results carry no source time and not all
fields, so two facts are the same change if they are of one feed and entity, say the same in the fields that both
dialects tell, and arrive within the window of each other; of several such the times decide (``alignment``). A change
is counted once its window is over. Nothing is called missing on a side that

- was not provably listening around that time (``apart``: the gap ledger has that loss),
- could not have shown it, because in what both dialects tell the fact repeats the one before it (``repeated``: a
  doubled delivery, or progress that GraphQL does not select),
- heard it outside the user's view, as a GraphQL subscription to an organisation does (``outside``).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Literal

import msgspec

from realtime.alignment import Seen, partner_of_first
from realtime.digest import Digest
from realtime.events import Fact
from realtime.feeds import organization_of

Side = Literal["events", "graphql"]
SIDES: tuple[Side, Side] = ("events", "graphql")
OTHER: dict[Side, Side] = {"events": "graphql", "graphql": "events"}

Scope = tuple[str, str]
"""A feed and the organisation whose changes it is heard for."""

EVERYWHERE = ""
"""The organisation of a scope that is not narrowed to one."""

WINDOW = 30.0
"""Seconds that one side waits for the other by default."""

LATE = 1.0
"""Seconds after which the slower side counts as late: people are promised changes within a second."""

MARGIN = 2.0
"""Seconds around a subscription's beginning and end in which nobody can say whether it had to hear something."""

WAITING_LIMIT = 10_000
"""Facts of one side that may wait for the other. Beyond it the oldest go unjudged, and are counted."""

ENTITIES = 10_000
"""Entities whose last facts are remembered, those longest without one are forgotten first."""

RECENT = 32
"""Pairs, and deliveries with a source time, by which an entity's order and doubles are judged."""

SAMPLES = 20
"""Differences of which the particulars are kept, the newest ones."""


def _none() -> dict[Side, int]:
    return {"events": 0, "graphql": 0}


class Tally(msgspec.Struct):
    """The counts of one channel. Those by side count what that side told, ``late`` which side was late.

    ``alone``: the other side listened and never told it. ``lag`` is GraphQL's arrival less that of Events.
    """

    matched: int = 0
    reordered: int = 0
    outside: int = 0
    unjudged: int = 0
    alone: dict[Side, int] = msgspec.field(default_factory=_none)
    late: dict[Side, int] = msgspec.field(default_factory=_none)
    repeated: dict[Side, int] = msgspec.field(default_factory=_none)
    apart: dict[Side, int] = msgspec.field(default_factory=_none)
    lag: Digest = msgspec.field(default_factory=Digest)


class Sample(msgspec.Struct):
    """One difference: ``side`` told it alone, or was late, or could not read it.

    ``version`` is the source's time and ``received`` that of the arrival, in microseconds; ``lag`` in seconds.
    """

    kind: Literal["alone", "late", "unreadable"]
    side: Side
    channel: str
    received: int
    key: str = ""
    version: int | None = None
    lag: float | None = None
    text: str = ""


class Results(msgspec.Struct):
    """What a comparison has come to so far; it can be stored and gone on with."""

    channels: dict[str, Tally] = {}
    unreadable: dict[Side, int] = msgspec.field(default_factory=_none)
    samples: list[Sample] = []

    def tally(self, channel: str) -> Tally:
        return self.channels.setdefault(channel, Tally())

    def keep(self, sample: Sample) -> None:
        self.samples.append(sample)
        del self.samples[:-SAMPLES]


@dataclass(slots=True, eq=False)
class Heard:
    """A fact as one side heard it, at ``at`` (monotonic seconds); ``previous`` is that side's last of the entity.

    ``verdict`` says what is to be counted of a fact that stayed without a partner.
    """

    side: Side
    fact: Fact
    at: float
    received: int
    number: int
    entity: _Entity
    previous: Fact | None
    done: bool = False
    verdict: Literal["alone", "repeated", "apart"] = "alone"


class _Entity:
    """What both sides told of one entity on one channel, as far as it is still of use."""

    def __init__(self) -> None:
        self.last: dict[Side, Fact] = {}
        self.waiting: dict[Side, list[Heard]] = {"events": [], "graphql": []}
        self.pairs: deque[tuple[int, int]] = deque(maxlen=RECENT)
        self._delivered: dict[Side, deque[tuple[int, tuple[tuple[str, str], ...]]]] = {
            side: deque(maxlen=RECENT) for side in SIDES
        }

    def is_double(self, side: Side, fact: Fact) -> bool:
        """Tell whether this side delivered the very same event before; only a source time can prove that."""
        if fact.time is None:
            return False
        known = (fact.time, fact.fields) in self._delivered[side]
        self._delivered[side].append((fact.time, fact.fields))
        return known

    def keeps_order(self, pair: tuple[int, int]) -> bool:
        """Tell whether a pair of arrival numbers (Events, GraphQL) crosses none of the pairs before it."""
        return all((pair[0] < events) == (pair[1] < graphql) for events, graphql in self.pairs)


class _Listening:
    """When one side provably listened, by scope: spans of [since, until], the last of them perhaps still open."""

    def __init__(self) -> None:
        self._open: dict[Scope, float] = {}
        self._closed: dict[Scope, deque[tuple[float, float]]] = {}

    def become(self, scopes: Mapping[Scope, float], through: float) -> None:
        for scope in [scope for scope, since in self._open.items() if scopes.get(scope) != since]:
            spans = self._closed.setdefault(scope, deque(maxlen=RECENT))
            spans.append((self._open.pop(scope), through))
        self._open.update(scopes)

    def around(self, scope: Scope, at: float, through: float) -> bool | None:
        """Tell whether the scope was heard around ``at``; none while that waits for proof from after it."""
        since = self._open.get(scope)
        if since is not None and since <= at - MARGIN:
            return True if through >= at + MARGIN else None
        return any(a <= at - MARGIN and at + MARGIN <= b for a, b in self._closed.get(scope, ()))


class Comparer:
    """Compares one link's sides. Times are monotonic seconds and never go back.

    Tell it what is heard (``take``) and when a side listens (``listening``); call ``expire`` every now and then, and
    give each fact that it returns to ``judge``. ``changes`` rises whenever ``results`` change.
    """

    def __init__(self, window: float = WINDOW, results: Results | None = None) -> None:
        """``window`` is in seconds; ``results`` are those of before, which this one goes on with."""
        self.results = results or Results()
        self.changes = 0
        self._window = window
        self._numbers = count()
        self._entities: OrderedDict[tuple[str, str], _Entity] = OrderedDict()
        self._waiting: dict[Side, deque[Heard]] = {side: deque() for side in SIDES}
        self._unproven: dict[Side, deque[Heard]] = {side: deque() for side in SIDES}
        self._listening: dict[Side, _Listening] = {side: _Listening() for side in SIDES}
        self._told: dict[tuple[str, Side], set[str]] = {}

    # ── What comes in ────────────────────────────────────────────────────────────────────────────────────────

    def take(self, side: Side, fact: Fact, at: float, received: int) -> None:
        """Take a fact that ``side`` hears now; ``received`` is the same moment in microseconds."""
        self.changes += 1
        entity = self._entity(fact)
        if entity.is_double(side, fact):
            self.results.tally(fact.feed).repeated[side] += 1
            return
        self._told.setdefault((fact.feed, side), set()).update(name for name, _ in fact.fields)
        heard = Heard(side, fact, at, received, next(self._numbers), entity, entity.last.get(side))
        entity.last[side] = fact
        self._wait(heard)

    def unreadable(self, side: Side, channel: str, text: str, received: int) -> None:
        """Count a payload that ``side`` heard and nobody can read."""
        self.changes += 1
        self.results.unreadable[side] += 1
        self.results.keep(Sample("unreadable", side, channel, received, text=text))

    def listening(self, side: Side, scopes: Mapping[Scope, float], through: float) -> None:
        """From now on ``side`` listens to these scopes, each since its time; to what it gave up, until ``through``."""
        self._listening[side].become(scopes, through)

    # ── What comes of it ─────────────────────────────────────────────────────────────────────────────────────

    def expire(self, now: float, through: Mapping[Side, float]) -> list[Heard]:
        """Match what the window is over for, and return what stayed without a partner, to be judged.

        It is over a little later than what it lets in: of what came last it has to be known whether it is in time.

        ``through`` says when each side last heard any frame: while nothing proves that the other side was still
        connected after a fact, that fact waits on.
        """
        unmatched: list[Heard] = []
        for side in SIDES:
            waiting, unproven, proof = self._waiting[side], self._unproven[side], through[OTHER[side]]
            while unproven and (unproven[0].done or self._expire(unproven[0], now, proof, unmatched)):
                unproven.popleft()
            while waiting and (waiting[0].done or waiting[0].at <= now - self._window - LATE):
                heard = waiting.popleft()
                if not heard.done and not self._expire(heard, now, proof, unmatched):
                    unproven.append(heard)
        return unmatched

    def judge(self, heard: Heard, *, in_view: bool) -> None:
        """Count what stayed without a partner. ``in_view``: the user may see its entity, so both sides had to tell."""
        tally = self._tally(heard)
        if not in_view:
            tally.outside += 1
            return
        getattr(tally, heard.verdict)[heard.side] += 1
        if heard.verdict == "alone":
            self.results.keep(_sample("alone", heard))

    def abandon(self, unmatched: Iterable[Heard] = ()) -> None:
        """Count as unjudged what still waits, and what was not judged: nobody will be there to hear the rest."""
        for heard in unmatched:
            self._tally(heard).unjudged += 1
        for side in SIDES:
            for heard in (*self._unproven[side], *self._waiting[side]):
                self._leave_unjudged(heard)

    def _expire(self, heard: Heard, now: float, through: float, unmatched: list[Heard]) -> bool:
        """Decide about a fact whose window is over; false if it can't be decided yet."""
        partner = self._partner(heard, now)
        if partner is not None:
            self._pair(heard, partner)
            return True
        listened = self._listened(heard, through)
        if listened is None:
            return False
        self._done(heard)
        heard.verdict = "repeated" if self._repeats(heard) else "alone" if listened else "apart"
        unmatched.append(heard)
        return True

    def _listened(self, heard: Heard, through: float) -> bool | None:
        """Tell whether the other side listened to the fact's feed, there or everywhere, when this one heard it."""
        other, feed = self._listening[OTHER[heard.side]], heard.fact.feed
        scopes = {(feed, EVERYWHERE), (feed, organization_of(heard.fact.key))}
        answers = {other.around(scope, heard.at, through) for scope in scopes}
        return True if True in answers else None if None in answers else False

    # ── Matching ─────────────────────────────────────────────────────────────────────────────────────────────

    def _partner(self, heard: Heard, now: float) -> Heard | None:
        """Return what the other side told of the same change."""
        same = {side: [h for h in heard.entity.waiting[side] if self._same(h.fact, heard.fact)] for side in SIDES}
        ours, theirs = same[heard.side], same[OTHER[heard.side]]
        if not theirs:
            return None
        seen = [self._seen(h, now) for h in ours], [self._seen(h, now) for h in theirs]
        index = partner_of_first(*seen, self._window)
        return None if index is None else theirs[index]

    def _seen(self, heard: Heard, now: float) -> Seen:
        """Return what it costs to leave a fact alone.

        Two cost more than any shift, so that they are rather paired, and one of them may be a repetition, which is no
        news. Less while a partner may be on its way.
        """
        age = min(1.0, (now - heard.at) / LATE)
        return Seen(heard.at, self._window * age * (0.25 if self._repeats(heard) else 0.75))

    def _pair(self, one: Heard, other: Heard) -> None:
        entity, tally = one.entity, self._tally(one)
        self._done(one)
        self._done(other)
        events, graphql = (one, other) if one.side == "events" else (other, one)
        pair = events.number, graphql.number
        tally.matched += 1
        tally.reordered += not entity.keeps_order(pair)
        entity.pairs.append(pair)
        lag = graphql.at - events.at
        tally.lag.add(lag)
        if abs(lag) >= LATE:
            late = graphql if lag > 0 else events
            tally.late[late.side] += 1
            self.results.keep(_sample("late", late, abs(lag), version=events.fact.time))

    def _done(self, heard: Heard) -> None:
        heard.done = True
        heard.entity.waiting[heard.side].remove(heard)
        self.changes += 1

    def _repeats(self, heard: Heard) -> bool:
        """Tell whether the fact says what the one before it said on its side."""
        return heard.previous is not None and self._same(heard.fact, heard.previous)

    def _same(self, one: Fact, other: Fact) -> bool:
        """Tell whether two facts of a feed say the same, as far as both dialects tell it."""
        told = [self._told.get((one.feed, side), set()) for side in SIDES]
        both = told[0] & told[1] if all(told) else told[0] | told[1]
        return _restricted(one, both) == _restricted(other, both)

    def _tally(self, heard: Heard) -> Tally:
        return self.results.tally(heard.fact.feed)

    # ── Bounds ───────────────────────────────────────────────────────────────────────────────────────────────

    def _entity(self, fact: Fact) -> _Entity:
        place = fact.feed, fact.key
        if place not in self._entities:
            self._entities[place] = _Entity()
        self._entities.move_to_end(place)
        if len(self._entities) > ENTITIES:
            self._entities.popitem(last=False)
        return self._entities[place]

    def _wait(self, heard: Heard) -> None:
        heard.entity.waiting[heard.side].append(heard)
        waiting, unproven = self._waiting[heard.side], self._unproven[heard.side]
        waiting.append(heard)
        while len(waiting) + len(unproven) > WAITING_LIMIT:
            self._leave_unjudged((unproven or waiting).popleft())

    def _leave_unjudged(self, heard: Heard) -> None:
        if not heard.done:
            self._done(heard)
            self._tally(heard).unjudged += 1


def _restricted(fact: Fact, names: set[str]) -> dict[str, str]:
    return {name: text for name, text in fact.fields if name in names}


def _sample(
    kind: Literal["alone", "late"], heard: Heard, lag: float | None = None, version: int | None = None
) -> Sample:
    fact = heard.fact
    return Sample(kind, heard.side, fact.feed, heard.received, fact.key, version or fact.time, lag)
