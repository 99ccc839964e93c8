import pytest

from realtime.delivery.limits import Limits, Occupancy, TokenBucket


def test_a_bucket_lets_a_burst_through_and_then_the_rate():
    bucket = TokenBucket(rate=2, burst=3)
    assert [bucket.take(10) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(10.5) == 0
    assert bucket.take(10.5) == 0.5


def test_a_bucket_holds_no_more_than_its_burst():
    bucket = TokenBucket(rate=2, burst=3)
    bucket.take(0)
    assert [bucket.take(1000) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_clock_that_goes_back_takes_nothing_away():
    bucket = TokenBucket(rate=2, burst=3)
    bucket.take(1000)
    assert bucket.take(10) == 0


@pytest.mark.feature("S3.11")
def test_a_user_and_a_process_have_room_for_so_many_sessions():
    occupancy = Occupancy(Limits(sessions=3, sessions_per_user=2))
    assert [occupancy.enter(1) for _ in range(3)] == [True, True, False]
    assert [occupancy.enter(2) for _ in range(2)] == [True, False]
    occupancy.leave(1)
    assert occupancy.enter(2)


def test_what_is_posted_is_limited_for_each_user():
    occupancy = Occupancy(Limits(commands_per_second=2))
    assert [occupancy.wait_to_post(1, 0) for _ in range(3)] == [0, 0, 0.5]
    assert occupancy.wait_to_post(2, 0) == 0


def test_users_who_posted_are_not_remembered_without_bound():
    occupancy = Occupancy(Limits(sessions=2, commands_per_second=1))
    for user in (1, 2, 3):
        assert occupancy.wait_to_post(user, 0) == 0
    assert occupancy.wait_to_post(1, 0) == 0
