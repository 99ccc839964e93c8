"""The numbers: every delay in its bounds, no overflow, presets by name, and what they cost a server."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.upstream.policy import (
    BACKOFF_FLOOR,
    PRESETS,
    Breaker,
    Exponential,
    Fixed,
    FullJitter,
    Policy,
    Power,
    Rounds,
    Steps,
    preset,
)

SCHEDULES = [
    FullJitter(),
    FullJitter(base=2.0, factor=3.0, cap=300.0, first=0.0),
    Fixed(10.0),
    Exponential(2.0),
    Exponential(0.5, factor=1.5, cap=20.0, jitter=3.0),
    Steps((5.0,), tail=60.0),
    Steps((0.01, 0.05, 1.0), tail=5.0, spread=0.5),
    Power(),
]
ROUNDS = [Rounds((0.2, 0.4), jitter=0.1, between=Steps((5.0,), tail=60.0))]


@given(st.sampled_from(SCHEDULES + ROUNDS), st.integers(1, 10**9), st.integers())
def test_b16_every_delay_lies_in_its_bounds_also_after_a_month_of_failures(schedule, attempt, seed):
    lower, upper = schedule.bounds(attempt)
    assert 0 < lower <= upper < 3_600
    assert lower <= schedule.delay(attempt, Random(seed)) <= upper


@pytest.mark.parametrize("schedule", SCHEDULES + ROUNDS)
def test_the_same_seed_gives_the_same_delays(schedule):
    first, second = ([schedule.delay(n, rng) for n in range(1, 50)] for rng in (Random(7), Random(7)))
    assert first == second


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_schedule_waits_less_the_longer_it_fails(schedule):
    bounds = [schedule.bounds(attempt) for attempt in range(1, 40)]
    assert bounds == sorted(bounds)


@pytest.mark.feature("S0.5")
def test_b16_full_jitter_draws_from_the_whole_interval():
    rng, schedule = Random(3), FullJitter()
    drawn = [schedule.delay(8, rng) for _ in range(2_000)]
    tenths = Counter(int(delay // 3) for delay in drawn)
    assert set(tenths) == set(range(10)) and min(tenths.values()) > 120
    assert min(schedule.delay(1, rng) for _ in range(2_000)) == BACKOFF_FLOOR


@pytest.mark.feature("S4.6")
def test_the_presets_have_their_names_and_numbers():
    assert set(PRESETS) == {"full-jitter", "exponential-5", "fixed-10s", "amplify", "power", "general"}
    assert PRESETS["full-jitter"] == Policy()
    five = PRESETS["exponential-5"]
    assert ([five.backoff.delay(n, Random(1)) for n in range(1, 6)], five.max_attempts) == ([2, 4, 8, 16, 32], 5)
    fixed = PRESETS["fixed-10s"]
    assert (fixed.backoff.bounds(1), fixed.backoff.bounds(99), fixed.stable_after) == ((10, 10), (10, 10), 0.0)
    amplify = [PRESETS["amplify"].backoff.bounds(attempt) for attempt in range(1, 19)]
    quick = [(delay, delay + 0.1) for delay in (0.2, 0.4, 0.8, 1.6, 3.2)]
    minute = (54.0, pytest.approx(66.0))
    assert amplify == [*quick, (4.5, 5.5), *quick, minute, *quick, minute]
    power = PRESETS["power"].backoff
    assert power.bounds(1) == (pytest.approx(0.6),) * 2 and power.bounds(50) == (8.0, 13.0)


@pytest.mark.parametrize("trips", [1, 2, 3, 1_000])
def test_a_breaker_cools_twice_as_long_each_time_up_to_its_cap(trips):
    lower, upper = Breaker(cool=30.0, cap=100.0).bounds(trips)
    middle = {1: 30.0, 2: 60.0}.get(trips, 100.0)
    assert (lower, upper) == (middle * 0.75, middle * 1.25)
    assert lower <= Breaker(cool=30.0, cap=100.0).delay(trips, Random(trips)) <= upper


def test_a_preset_can_be_had_with_single_numbers_changed():
    assert preset("power", stable_after=5.0) == Policy(backoff=Power(), stable_after=5.0)
    with pytest.raises(KeyError):
        preset("no-such-preset")


@pytest.mark.parametrize("name", ["full-jitter", "power", "amplify"])
def test_ten_thousand_clients_do_not_come_back_at_once(name):
    """They lose the server together; in no second do more than a part of them try again."""
    backoff, rng = PRESETS[name].backoff, Random(11)
    tries = Counter()
    for _ in range(10_000):
        now, attempt = 0.0, 0
        while now < 60.0:
            attempt += 1
            now += backoff.delay(attempt, rng)
            tries[int(now)] += 1
    after_a_while = [tries[second] for second in range(30, 60)]
    assert max(after_a_while) < 3_500
