"""The supervisor with small programs for parts."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager

import pytest

from realtime import supervisor
from realtime.supervisor import Part, PartFailed, Supervisor

DEADLINE = 20
WAITS = "print('up', flush=True); import signal; signal.pause()"
SAYS_BYE = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("up", flush=True)
signal.sigwait([signal.SIGTERM])
print("bye", flush=True)
"""
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"


class Said(list):
    """What the supervisor said, to be waited for."""

    def __init__(self):
        self._more = asyncio.Event()

    def __call__(self, name, line):
        self.append((name, line))
        self._more.set()

    async def times(self, name, text, count):
        """Wait until the part has said something with `text` in it so many times."""
        async with asyncio.timeout(DEADLINE):
            while sum(who == name and text in line for who, line in self) < count:
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def said():
    return Said()


@asynccontextmanager
async def supervising(said, changed=lambda: None):
    tree = Supervisor(said, changed)
    try:
        yield tree
    finally:
        await tree.stop()


def python(name, code, said, **options):
    """A part that runs `code` and is ready once it has said 'up'."""
    return Part(name, lambda: [sys.executable, "-c", code], ready=lambda: said.times(name, "up", 1), **options)


async def test_a_part_is_started_and_ready_when_it_says_so(said):
    async with supervising(said) as tree:
        part = python("web", WAITS, said)
        await tree.start(part)
        assert ("web", "up") in said
        assert part.pid


async def test_a_part_knows_its_parent_and_gets_its_environment(said):
    code = "import os; print(os.environ['FLEETLIGHT_PARENT'], os.environ['COLOUR']); " + WAITS
    async with supervising(said) as tree:
        await tree.start(python("web", code, said, environment=lambda: {"COLOUR": "green"}))
    assert ("web", f"{os.getpid()} green") in said


@pytest.mark.faults
async def test_a_part_that_dies_is_started_again_and_that_is_said(said):
    async with supervising(said) as tree:
        part = python("worker", WAITS, said)
        await tree.start(part)
        first = part.pid
        os.kill(first, signal.SIGKILL)
        await said.times("worker", "was killed by SIGKILL; it is started again", 1)
        await said.times("worker", "up", 2)
        assert part.pid not in (None, first)


@pytest.mark.faults
async def test_three_deaths_within_a_minute_are_the_end(said, monkeypatch):
    monkeypatch.setattr(supervisor, "RESTART_PAUSE", 0)
    async with supervising(said) as tree:
        with pytest.raises(PartFailed, match="worker ended 3 times within a minute"):
            await tree.start(Part("worker", lambda: [sys.executable, "-c", "raise SystemExit(3)"], ready=_never))
    assert said.count(("worker", "ended with status 3; it is started again")) == 2


@pytest.mark.faults
async def test_a_part_that_fails_later_ends_the_wait(said, monkeypatch):
    monkeypatch.setattr(supervisor, "RESTART_PAUSE", 0)
    async with supervising(said) as tree:
        part = python("worker", WAITS, said)
        await tree.start(part)
        waiting = asyncio.ensure_future(tree.wait())
        for deaths in range(1, 4):
            await said.times("worker", "up", deaths)
            os.kill(part.pid, signal.SIGKILL)
        with pytest.raises(PartFailed):
            async with asyncio.timeout(DEADLINE):
                await waiting


async def test_a_part_that_is_never_ready_is_a_failure(said, monkeypatch):
    monkeypatch.setattr(supervisor, "READY_DEADLINE", 0.1)
    async with supervising(said) as tree:
        with pytest.raises(PartFailed, match="web was not ready"):
            await tree.start(Part("web", lambda: [sys.executable, "-c", WAITS], ready=_never))


async def test_parts_are_stopped_in_the_reverse_order(said):
    async with supervising(said) as tree:
        for name in ("valkey", "worker", "web"):
            await tree.start(python(name, SAYS_BYE, said))
    assert [name for name, line in said if line == "bye"] == ["web", "worker", "valkey"]


@pytest.mark.faults
async def test_a_part_that_will_not_stop_is_killed(said, monkeypatch):
    monkeypatch.setattr(supervisor, "STOP_GRACE", 0.2)
    async with supervising(said) as tree:
        part = python("web", STUBBORN, said)
        await tree.start(part)
    assert part.pid is None
    assert any("it is killed" in line for _, line in said)


async def test_a_frozen_part_does_not_hold_up_the_stop(said, monkeypatch):
    monkeypatch.setattr(supervisor, "STOP_GRACE", 0.2)
    async with supervising(said) as tree:
        part = python("web", WAITS, said)
        await tree.start(part)
        os.kill(part.pid, signal.SIGSTOP)
    assert part.pid is None


async def test_each_start_and_end_is_told(said):
    seen = []
    async with supervising(said, lambda: seen.append(part.pid)) as tree:
        part = python("web", WAITS, said)
        await tree.start(part)
        pid = part.pid
    assert seen == [pid, None]


async def test_very_long_lines_are_passed_on(said):
    async with supervising(said) as tree:
        await tree.start(python("web", "print('x' * 300_000); " + WAITS, said))
    assert ("web", "x" * 300_000) in said


async def _never():
    await asyncio.Event().wait()
