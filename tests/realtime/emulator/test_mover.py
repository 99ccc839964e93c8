"""Nothing that the mover chooses may fail, and all that may happen does."""

import itertools
from collections import Counter
from random import Random

from realtime.emulator.mover import Mover
from realtime.emulator.options import Fleet
from realtime.emulator.seed import plant
from realtime.emulator.world import RemoveDevice, World

# The runs as they may go on; everything at rest may begin again.
FIRMWARE = {
    "Idle": {"Downloading"},
    "Downloading": {"Downloading", "Installing", "Failed"},
    "Installing": {"Installing", "Rebooting"},
    "Rebooting": {"Succeeded"},
    "Succeeded": {"Idle", "Downloading"},
    "Failed": {"Idle", "Downloading"},
}


def moved(world, count, seed=1):
    """Yield each notice of `count` changes."""
    mover, tick = Mover(world, Random(seed)), itertools.count(1).__next__
    for _ in range(count):
        yield from world.apply(mover.choose(), tick)


def test_every_feed_of_a_changing_world_is_heard_mostly_presence():
    heard = Counter(notice.feed for notice in moved(plant(Fleet()), 5000))
    assert set(heard) == {
        "device/presenceChanged",
        "device/recordingStateChanged",
        "device/firmwareUpdated",
        "archive/stateChanged",
        "organization/licensePhaseChanged",
        "organization/planChanged",
        "organization/aiSettingsChanged",
    }
    assert heard.most_common(1)[0][0] == "device/presenceChanged"


def test_firmware_goes_through_its_states_in_order():
    world = plant(Fleet(devices=30))
    before = {key: device.fw_update_state for key, device in world.devices.items()}
    for notice in moved(world, 5000):
        if notice.feed == "device/firmwareUpdated":
            key = f"device/{notice.payload['orgId']}/{notice.payload['deviceId']}"
            assert notice.payload["fwUpdateState"] in FIRMWARE[before[key]]
            before[key] = notice.payload["fwUpdateState"]
    assert set(before.values()) >= {"Idle", "Succeeded"}


def test_most_of_the_fleet_stays_online():
    world = plant(Fleet(devices=200))
    for _ in moved(world, 5000):
        pass
    offline = sum(not device.online for device in world.devices.values())
    assert 2 <= offline <= 40


def test_a_world_that_shrinks_to_nothing_is_no_trouble():
    world, tick = plant(Fleet(devices=9)), itertools.count(1).__next__
    mover = Mover(world, Random(2))
    for key in list(world.devices):
        for _ in range(100):
            world.apply(mover.choose(), tick)
        world.apply(RemoveDevice(key), tick)
    assert mover.choose() is None
    assert Mover(World(), Random(1)).choose() is None
