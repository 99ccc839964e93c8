"""The comparison of two dialects: it counts what was planted, and nothing else."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import comparing
from realtime.comparing import EVERYWHERE, OTHER, SIDES, Comparer, Results
from realtime.events import Fact
from realtime.feeds import FEEDS

pytestmark = pytest.mark.feature("B6")

PRESENCE = "device/presenceChanged"
FIRMWARE = "device/firmwareUpdated"
LONG_AGO = -1_000.0
WINDOW = 30.0


def fact(value, key="device/org/d1", time=None, feed=PRESENCE, name="online", **more):
    return Fact(feed, feed, key, ((name, str(value)), *more.items()), time, urgent=False)


class Run:
    """A comparer whose two sides have listened to everything for long, unless told otherwise."""

    def __init__(self, *, listening=SIDES, results=None):
        self.comparer = Comparer(WINDOW, results)
        self.in_view = lambda heard: True
        for side in listening:
            self.listen(side, LONG_AGO)

    def listen(self, side, since):
        self.comparer.listening(side, {(feed.name, EVERYWHERE): since for feed in FEEDS}, since)

    def lose(self, side, through):
        self.comparer.listening(side, {}, through)

    def hear(self, side, at, *facts):
        for one in facts:
            self.comparer.take(side, one, at, round(at * 1e6))

    def expire(self, now, through=None):
        for heard in self.comparer.expire(now, through or dict.fromkeys(SIDES, now)):
            self.comparer.judge(heard, in_view=self.in_view(heard))
        return self.comparer.results

    def end(self):
        """Return the tally of the one channel, long after everything."""
        (tally,) = self.expire(1e6).channels.values()
        return tally


def both(run, at, value, lag=0.1, **about):
    run.hear("events", at, fact(value, time=round(at * 1e6), **about))
    run.hear("graphql", at + lag, fact(value, **about))


def counts(tally):
    """The counts that are not zero."""
    flat = {name: value for name, value in msgspec.to_builtins(tally).items() if isinstance(value, int)}
    for name in ("alone", "late", "repeated", "apart"):
        flat |= {f"{name} {side}": count for side, count in getattr(tally, name).items()}
    return {name: count for name, count in flat.items() if count}


# ── One difference each ──────────────────────────────────────────────────────────────────────────────────────


def test_what_both_sides_tell_is_matched_and_its_lag_is_measured():
    run = Run()
    both(run, 1.0, "true", lag=0.25)
    tally = run.end()
    assert counts(tally) == {"matched": 1}
    assert tally.lag.quantile(0.5) == 0.25


def test_events_that_come_after_graphql_have_a_negative_lag():
    run = Run()
    both(run, 1.0, "true", lag=-0.25)
    assert run.end().lag.quantile(0.5) == -0.25


@pytest.mark.parametrize("side", SIDES)
def test_what_one_side_never_tells_is_alone_on_the_other_once_the_window_is_over(side):
    run = Run()
    run.hear(side, 1.0, fact("true", time=7 if side == "events" else None))
    assert not run.expire(1.0 + WINDOW - 0.1).channels
    assert counts(run.end()) == {f"alone {side}": 1}
    (sample,) = run.comparer.results.samples
    assert (sample.kind, sample.side, sample.key, sample.received) == ("alone", side, "device/org/d1", 1_000_000)
    assert sample.version == (7 if side == "events" else None)


@pytest.mark.parametrize("side", SIDES)
def test_a_side_that_comes_late_is_named(side):
    run = Run()
    both(run, 10.0, "true", lag=3.0 if side == "graphql" else -3.0)
    assert counts(run.end()) == {"matched": 1, f"late {side}": 1}
    (sample,) = run.comparer.results.samples
    assert (sample.kind, sample.side, sample.lag) == ("late", side, 3.0)


def test_two_changes_of_an_entity_that_change_places_are_one_reordering():
    run = Run()
    run.hear("events", 1.0, fact("true", time=1), fact("false", time=2))
    run.hear("graphql", 1.1, fact("false"), fact("true"))
    assert counts(run.end()) == {"matched": 2, "reordered": 1}


def test_the_order_of_different_entities_is_nobodys_business():
    run = Run()
    run.hear("events", 1.0, fact("true", key="device/org/a"), fact("true", key="device/org/b"))
    run.hear("graphql", 1.1, fact("true", key="device/org/b"), fact("true", key="device/org/a"))
    assert counts(run.end()) == {"matched": 2}


@pytest.mark.parametrize("slow", [True, False])
def test_a_doubled_delivery_is_a_repetition_and_takes_no_later_changes_place(slow):
    run = Run()
    run.hear("events", 1.0, fact("false", time=1))
    run.hear("graphql", 0.9 if slow else 1.1, fact("false"), fact("false"))
    both(run, 5.0, "true")
    both(run, 8.0, "false")
    assert counts(run.end()) == {"matched": 3, "repeated graphql": 1}
    assert run.comparer.results.samples == []


def test_a_double_with_a_source_time_is_known_even_after_other_news():
    run = Run()
    both(run, 1.0, "false")
    both(run, 2.0, "true")
    run.hear("events", 3.0, fact("false", time=1_000_000))
    assert counts(run.end()) == {"matched": 2, "repeated events": 1}


def test_progress_that_graphql_does_not_select_is_no_difference():
    run = Run()
    for step, progress in enumerate((0, 25, 50)):
        run.hear(
            "events", step, fact('"Downloading"', feed=FIRMWARE, name="state", time=step, fwProgress=str(progress))
        )
    run.hear("graphql", 3.0, fact('"Downloading"', feed=FIRMWARE, name="state"))
    assert counts(run.end()) == {"matched": 1, "late graphql": 1, "repeated events": 2}


def test_progress_that_both_tell_is_compared():
    run = Run()
    for step in (0, 25, 50):
        run.hear("events", step, fact('"P"', feed=FIRMWARE, name="state", time=step, progress=str(step)))
    run.hear("graphql", 50.0, fact('"P"', feed=FIRMWARE, name="state", progress="50"))
    assert counts(run.end()) == {"matched": 1, "alone events": 2}


def test_what_lies_outside_the_users_view_is_not_compared():
    run = Run()
    run.in_view = lambda heard: heard.fact.key == "device/org/mine"
    run.hear("graphql", 1.0, fact("true", key="device/org/other"))
    assert counts(run.end()) == {"outside": 1}


def test_what_lies_outside_the_view_is_neither_repeated_nor_apart():
    run = Run(listening=["graphql"])
    run.in_view = lambda heard: False
    run.hear("graphql", 1.0, fact("true"), fact("true"))
    assert counts(run.end()) == {"outside": 2}


def test_a_payload_that_cannot_be_read_is_kept_with_its_reason():
    run = Run()
    run.comparer.unreadable("graphql", "onDeviceState org", "Expected `str`", 5)
    assert run.comparer.results.unreadable["graphql"] == 1
    assert run.comparer.results.samples[0].text == "Expected `str`"


# ── A side that is down ──────────────────────────────────────────────────────────────────────────────────────


def test_what_one_side_tells_before_the_other_ever_listened_is_apart():
    run = Run(listening=["events"])
    run.hear("events", 1.0, fact("true"))
    assert counts(run.end()) == {"apart events": 1}


@pytest.mark.parametrize(
    ("at", "expected"), [(50.0, "alone"), (59.0, "apart"), (70.0, "apart"), (81.0, "apart"), (83.0, "alone")]
)
def test_an_outage_of_one_side_is_told_apart_from_a_loss(at, expected):
    run = Run()
    run.hear("events", at, fact("true")) if at < 60 else None
    run.lose("graphql", through=60.0)
    run.listen("graphql", 80.0)
    run.hear("events", at, fact("true")) if at >= 60 else None
    assert counts(run.end()) == {f"{expected} events": 1}


def test_a_subscription_that_was_begun_anew_could_not_hear_what_came_meanwhile():
    run = Run()
    run.hear("events", 60.1, fact("true"))
    run.comparer.listening("graphql", {(PRESENCE, EVERYWHERE): 60.2}, through=60.0)
    assert counts(run.end()) == {"apart events": 1}


def test_a_side_of_which_nothing_was_heard_since_is_not_accused_yet():
    run = Run()
    run.hear("events", 1.0, fact("true"))
    assert not run.expire(100.0, {"events": 100.0, "graphql": 1.5}).channels
    run.lose("graphql", through=1.5)
    assert counts(run.end()) == {"apart events": 1}


def test_a_side_that_waits_for_proof_does_not_hold_up_the_other():
    run = Run()
    run.hear("events", 1.0, fact("true"))
    run.hear("graphql", 2.0, fact("false"))
    tally = run.expire(100.0, {"events": 100.0, "graphql": 2.0}).channels[PRESENCE]
    assert counts(tally) == {"alone graphql": 1}


def test_what_waits_for_proof_holds_up_nothing_behind_it():
    run = Run()
    run.hear("events", 1.0, fact("true", key="device/org/lost"))
    both(run, 1.0, "true")
    assert counts(run.expire(100.0, {"events": 100.0, "graphql": 1.1}).channels[PRESENCE]) == {"matched": 1}
    assert counts(run.end()) == {"matched": 1, "alone events": 1}


def test_a_feed_that_is_refused_on_one_side_is_apart_and_its_siblings_are_compared():
    run = Run(listening=["events"])
    run.comparer.listening("graphql", {(PRESENCE, "org"): LONG_AGO}, LONG_AGO)
    run.hear("events", 1.0, fact("true"), fact('"Idle"', feed=FIRMWARE))
    channels = run.expire(1e6).channels
    assert (counts(channels[PRESENCE]), counts(channels[FIRMWARE])) == ({"alone events": 1}, {"apart events": 1})


def test_an_organisation_that_one_side_does_not_listen_to_is_apart():
    run = Run(listening=["events"])
    run.comparer.listening("graphql", {(PRESENCE, "org-a"): LONG_AGO}, LONG_AGO)
    run.hear("events", 1.0, fact("true", key="device/org-a/d"), fact("true", key="device/org-b/d"))
    assert counts(run.end()) == {"alone events": 1, "apart events": 1}


# ── Bounds ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_waits_is_bounded_and_what_is_shed_is_counted(monkeypatch):
    monkeypatch.setattr(comparing, "WAITING_LIMIT", 10)
    run = Run()
    for number in range(25):
        run.hear("events", 1.0, fact("true", key=f"device/org/{number}"))
    assert counts(run.end()) == {"unjudged": 15, "alone events": 10}


def test_what_waits_for_proof_is_bounded_too(monkeypatch):
    monkeypatch.setattr(comparing, "WAITING_LIMIT", 10)
    run = Run()
    for number in range(25):
        run.hear("events", 1.0 + number, fact("true", key=f"device/org/{number}"))
        run.expire(1.0 + number + WINDOW, dict.fromkeys(SIDES, 0.0))
    assert counts(run.end()) == {"unjudged": 15, "alone events": 10}


def test_the_entities_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(comparing, "ENTITIES", 10)
    run = Run()
    for number in range(100):
        both(run, number, "true", key=f"device/org/{number}")
    assert len(run.comparer._entities) == 10
    assert counts(run.end()) == {"matched": 100}


def test_only_the_newest_samples_are_kept():
    run = Run()
    for number in range(50):
        run.hear("events", 1.0, fact("true", key=f"device/org/{number}"))
    run.end()
    kept = [sample.key for sample in run.comparer.results.samples]
    assert kept == [f"device/org/{number}" for number in range(30, 50)]


def test_what_still_waits_at_the_end_is_unjudged():
    run = Run()
    run.hear("events", 1.0, fact("true"))
    run.comparer.abandon()
    assert counts(run.end()) == {"unjudged": 1}


def test_results_are_stored_as_json_and_gone_on_with():
    run = Run()
    both(run, 1.0, "true", lag=2.0)
    run.end()
    stored = msgspec.json.encode(run.comparer.results)
    again = Run(results=msgspec.json.decode(stored, type=Results))
    both(again, 1.0, "true")
    assert counts(again.end()) == {"matched": 2, "late graphql": 1}


# ── Properties ───────────────────────────────────────────────────────────────────────────────────────────────

seeds = st.integers(0, 2**32)
lengths = st.integers(1, 60)


def stream(length, rng, *, values_recur=True):
    """Changes of three devices, each to another value than before, further apart than the sides' lag: (at, fact)."""
    at, values, changes = 0.0, {}, []
    for _ in range(length):
        at += rng.uniform(0.5, 2.0)
        key = f"device/org/{rng.randrange(3)}"
        values[key] = not values.get(key, False) if values_recur else len(changes)
        changes.append((at, fact(values[key], key=key, time=round(at * 1e6))))
    return changes


def play(run, events, graphql):
    """Let both streams be heard, each at its times; GraphQL's without source times."""
    told = [("events", at, change) for at, change in events]
    told += [("graphql", at, change._replace(time=None)) for at, change in graphql]
    for side, at, change in sorted(told, key=lambda heard: heard[1]):
        run.hear(side, at, change)
        run.expire(at)
    return run.end()


@given(seeds, lengths, st.sampled_from([(False, 14.0), (True, 0.5)]))
def test_however_shuffled_within_the_window_nothing_is_missing(seed, length, case):
    """Values that recur are told apart by their times, as long as the sides are closer than the changes."""
    values_recur, delay = case
    rng = random.Random(seed)
    changes = stream(length, rng, values_recur=values_recur)
    events, graphql = ([(at + rng.uniform(0, delay), change) for at, change in changes] for _ in SIDES)
    tally = play(Run(), events, graphql)
    assert tally.matched == length
    assert not any((*tally.alone.values(), *tally.repeated.values(), *tally.apart.values()))


@given(seeds, lengths)
def test_sides_that_keep_the_order_are_never_reordered(seed, length):
    rng = random.Random(seed)
    changes = stream(length, rng)
    tally = play(Run(), changes, [(at + 0.5, change) for at, change in changes])
    assert counts(tally) == {"matched": length}


@given(seeds, lengths, st.sampled_from(SIDES))
def test_a_planted_loss_is_one_missing_change_and_no_other_count(seed, length, side):
    rng = random.Random(seed)
    changes = stream(length, rng)
    lost = rng.randrange(length)
    fewer = changes[:lost] + changes[lost + 1 :]
    later = [(at + 0.2, change) for at, change in (fewer if side == "graphql" else changes)]
    tally = play(Run(), fewer if side == "events" else changes, later)
    expected = {"matched": length - 1, f"alone {OTHER[side]}": 1}
    assert counts(tally) == {name: count for name, count in expected.items() if count}


@given(seeds, lengths, st.sampled_from(SIDES))
def test_a_planted_double_is_one_repetition_and_no_other_count(seed, length, side):
    rng = random.Random(seed)
    changes = stream(length, rng)
    doubled = rng.randrange(length)
    more = changes[: doubled + 1] + changes[doubled:]
    lag = rng.choice([-0.2, 0.2])
    later = [(at + lag, change) for at, change in (more if side == "graphql" else changes)]
    tally = play(Run(), more if side == "events" else changes, later)
    assert counts(tally) == {"matched": length, f"repeated {side}": 1}


@given(seeds, lengths, st.floats(1.1, WINDOW - 0.1))
def test_a_planted_delay_is_one_late_change_and_its_length_is_known(seed, length, delay):
    rng = random.Random(seed)
    changes = stream(length, rng, values_recur=False)
    late = rng.randrange(length)
    graphql = [(at + (delay if number == late else 0.2), change) for number, (at, change) in enumerate(changes)]
    tally = play(Run(), changes, graphql)
    overtaking = counts(tally).pop("reordered", 0)
    assert counts(tally) == {"matched": length, "late graphql": 1} | ({"reordered": overtaking} if overtaking else {})
    assert tally.lag.most == pytest.approx(delay)


@given(seeds, lengths)
def test_every_fact_is_counted_once(seed, length):
    rng = random.Random(seed)
    changes = stream(length, rng)
    sides = [[(at + rng.uniform(0, 5), c) for at, c in changes if rng.random() < 0.8] for _ in SIDES]
    run = Run()
    for side in SIDES:
        if rng.random() < 0.5:
            run.lose(side, through=0.0)
            run.listen(side, rng.uniform(0.0, length))
    if not any(sides):
        return
    tally = play(run, *sides)
    one_sided = sum(sum(getattr(tally, name).values()) for name in ("alone", "repeated", "apart"))
    assert 2 * tally.matched + one_sided == sum(map(len, sides))
