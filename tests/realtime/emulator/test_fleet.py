"""The fleet at work."""

import asyncio
import json

import pytest

from realtime.emulator.broker import Broker
from realtime.emulator.clock import SourceClock
from realtime.emulator.faults import Faults
from realtime.emulator.fleet import Fleet
from realtime.emulator.options import Fleet as Size
from realtime.emulator.seed import plant
from realtime.emulator.transcript import Transcript
from realtime.emulator.world import Set, World, WorldError

from .client import eventually

LOBBY = "device/org-aurora/cam-001"


@pytest.fixture
def transcript():
    return Transcript()


@pytest.fixture
async def fleet(transcript):
    return Fleet(plant(Size(devices=12)), SourceClock(), broker=Broker(transcript), faults=Faults(), root="vortex-app")


@pytest.fixture
async def moving(fleet):
    task = asyncio.create_task(fleet.move())
    yield fleet
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def told(transcript):
    return [record for record in transcript.since(0)[0] if record.kind == "published"]


@pytest.mark.feature("S4.1")
async def test_a_change_goes_to_each_watchers_own_channel(fleet, transcript):
    fleet.carry_out(Set(LOBBY, {"online": False}))
    assert [(r.channel, r.sub) for r in told(transcript)] == [
        (f"/vortex-app/user/{sub}/device/presenceChanged", sub)
        for sub in ("sub-viewer", "sub-owner", "sub-operator", "sub-manager")
    ]
    assert len({r.event for r in told(transcript)}) == 1


async def test_a_change_that_is_refused_is_not_told(fleet, transcript):
    with pytest.raises(WorldError):
        fleet.carry_out(Set(LOBBY, {"online": "perhaps"}))
    assert told(transcript) == []


@pytest.mark.feature("S4.11")
async def test_times_are_strictly_increasing_in_the_order_of_telling(moving, transcript):
    moving.set_pace(rate=2000)
    await eventually(lambda: len(told(transcript)) > 200)
    times = [json.loads(r.event)["timestamp"] for r in told(transcript) if r.sub == "sub-owner"]
    assert times == sorted(set(times))


async def test_a_slow_loop_is_made_up_for(moving):
    loop, done = asyncio.get_running_loop(), []
    moving.listeners.append(lambda *_: done.append(loop.time()))
    moving.set_pace(rate=200)
    await eventually(lambda: done)
    began = loop.time()
    while loop.time() < began + 0.1:
        pass  # nobody else gets a turn
    before = len(done)
    await eventually(lambda: len(done) > before)
    assert len(done) - before >= 15, "what fell due meanwhile comes at once"


async def test_an_empty_world_does_not_move_and_does_no_harm(transcript):
    fleet = Fleet(World(), SourceClock(), broker=Broker(transcript), faults=Faults(), root="vortex-app", rate=1000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await fleet.move()
    assert told(transcript) == []
