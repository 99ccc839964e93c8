"""The world at its beginning."""

import pytest

from realtime.emulator.options import Fleet
from realtime.emulator.seed import plant


@pytest.fixture
def world():
    return plant(Fleet(devices=12))


def test_the_demo_has_two_organisations_whose_people_see_different_devices(world):
    seen = {person.username: len(person.visible) for person in world.people.values()}
    assert seen == {"viewer": 3, "owner": 8, "operator": 8, "manager": 12, "rival": 4}
    rivals = world.people["sub-rival"].visible
    assert all(key.startswith("device/org-borealis/") for key in rivals)
    assert world.people["sub-viewer"].visible < world.people["sub-owner"].visible


def test_a_bench_has_equal_organisations_whose_people_all_see_everything():
    world = plant(Fleet(devices=43, organizations=20, people=5))
    assert len(world.people) == 100
    assert world.account("user-3-2").sub == "sub-3-2"
    assert {len(world.watchers(key)) for key in world.devices} == {5}
    assert len(world.devices) == 43


def test_planting_twice_gives_the_same_world():
    assert plant(Fleet()) == plant(Fleet())
