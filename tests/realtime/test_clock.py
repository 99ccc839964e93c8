from datetime import UTC, datetime, timedelta, timezone

import pytest
import time_machine

from realtime import clock

NOON = datetime(2026, 5, 4, 12, 0, 0, 123_457, tzinfo=UTC)


def test_now_is_the_wall_clock_in_microseconds():
    with time_machine.travel(NOON, tick=False):
        assert clock.now_us() == clock.to_us(NOON)


@pytest.mark.parametrize("moment", [NOON, NOON.astimezone(timezone(timedelta(hours=5))), NOON.replace(tzinfo=None)])
def test_a_moment_keeps_every_microsecond_there_and_back_whatever_its_zone(moment):
    assert clock.from_us(clock.to_us(moment)) == NOON


@pytest.mark.parametrize("hours", [-14, 0, 14])
@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
def test_the_edges_of_the_calendar_can_be_shown_in_any_zone(moment, hours):
    edge = clock.to_us(moment.replace(tzinfo=timezone(timedelta(hours=hours))))
    assert abs(clock.from_us(edge) - moment.replace(tzinfo=UTC)) <= timedelta(hours=14, seconds=1)
    assert str(moment.year) in clock.brief(edge)


def test_tables_name_the_day_of_all_but_today():
    with time_machine.travel(NOON, tick=False):
        assert clock.brief(clock.to_us(NOON - timedelta(hours=11))) == "01:00:00 UTC"
        assert clock.brief(clock.to_us(NOON - timedelta(hours=13))) == "03 May 2026 23:00 UTC"
