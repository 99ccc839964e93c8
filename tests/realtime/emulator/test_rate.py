"""What goes through within a second."""

import pytest

from realtime.emulator.rate import Rate


@pytest.fixture
def passes():
    """Tell, for moments and numbers, what a rate of 3 lets through."""

    def passes(*tries):
        moments = iter([at for at, _ in tries])
        rate = Rate(3, lambda: next(moments))
        return [rate.takes(number) for _, number in tries]

    return passes


def test_the_limit_holds_within_any_second(passes):
    assert passes((0.0, 1), (0.9, 1), (0.9, 1), (0.99, 1), (1.0, 1), (1.1, 1)) == [True, True, True, False, True, False]


def test_several_go_through_together_or_not_at_all(passes):
    assert passes((0.0, 2), (0.1, 2), (0.2, 1), (1.0, 2)) == [True, False, True, True]


def test_more_than_the_limit_never_goes_through(passes):
    assert passes((0.0, 4), (5.0, 4)) == [False, False]


def test_no_limit_lets_everything_through():
    rate = Rate(0)
    assert all(rate.takes(1_000) for _ in range(1_000))
