import pytest

from realtime.delivery.limits import Limits, Occupancy


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
