"""The world on disk."""

import contextlib
from random import Random

import pytest

from realtime.emulator import journal
from realtime.emulator.clock import SourceClock
from realtime.emulator.journal import Journal, JournalError, load
from realtime.emulator.mover import Mover
from realtime.emulator.options import Fleet
from realtime.emulator.seed import plant
from realtime.emulator.world import AddDevice, Device, SetRole

PEOPLE_AND_DEVICES = [
    SetRole("sub-viewer", "org-aurora", "Admin"),
    AddDevice(Device("org-aurora", "cam-900", "New")),
    SetRole("sub-owner", "org-aurora", None),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def written(path):
    """Make a world, change it and keep it; give it and its clock. The journal is closed after the test only."""
    with contextlib.ExitStack() as stack:

        def write(changes):
            world, clock = plant(Fleet(devices=12)), SourceClock()
            kept, mover = Journal(path, world, clock), Mover(world, Random(1))
            stack.callback(kept.close)
            for operation in [*PEOPLE_AND_DEVICES, *(mover.choose() for _ in range(changes))]:
                world.apply(operation, clock.tick)
                kept.append(operation)
            return world, clock

        yield write


def test_there_is_nothing_where_nothing_was_kept(path):
    assert load(path) is None


def test_a_world_that_was_never_closed_is_found_as_it_was(path, written):
    world, clock = written(200)
    assert load(path) == (world, clock.last)


def test_the_file_is_made_short_again_now_and_then(path, monkeypatch, written):
    monkeypatch.setattr(journal, "COMPACT_AFTER", 50)
    world, clock = written(175)
    assert load(path) == (world, clock.last)
    assert len(path.read_bytes().splitlines()) < 55


def test_a_line_that_a_kill_cut_off_never_happened(path, written):
    world, clock = written(20)
    with path.open("ab") as file:
        file.write(b'{"us":99,"do":{"op":"set","key":"device/org-')
    assert load(path) == (world, clock.last)


@pytest.mark.parametrize("text", [b"", b"nonsense\n", b'{"us":1}\n'])
def test_a_foreign_file_is_refused_in_words(path, text):
    path.write_bytes(text)
    with pytest.raises(JournalError, match="remove the file"):
        load(path)


def test_a_damaged_line_is_refused_in_words(path, written):
    written(3)
    path.write_bytes(path.read_bytes() + b'{"us":1,"do":{"op":"nonsense"}}\n')
    with pytest.raises(JournalError, match="remove the file"):
        load(path)
