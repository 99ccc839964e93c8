from realtime.emulator.clock import SourceClock, iso


def test_time_never_repeats_or_runs_back_though_the_wall_clock_does():
    wall = iter([50, 50, 40, 60])
    clock = SourceClock(lambda: next(wall))
    assert [clock.tick() for _ in range(4)] == [50, 51, 52, 60]


def test_a_restarted_clock_goes_on_after_the_last_time():
    assert SourceClock(lambda: 10, last=99).tick() == 100


def test_text_has_all_six_digits_so_that_its_order_is_that_of_time():
    assert iso(0) == "1970-01-01T00:00:00.000000Z"
    assert iso(1_795_241_798_000_001) == "2026-11-21T06:16:38.000001Z"
