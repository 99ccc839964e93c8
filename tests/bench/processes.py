"""The processes of a measured system: started in order, tied to the bench's own life, their CPU time read."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from realtime import tether

ROOT = Path(__file__).resolve().parent.parent.parent
START_DEADLINE, END_DEADLINE, STOP_DEADLINE = 60.0, 300.0, 10.0
TICKS = os.sysconf("SC_CLK_TCK")
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


class Process:
    """One running process. What it prints is kept, for the message if it fails."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.lines: list[str] = []
        self._process = process
        self._said = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, name: str, command: list[str], environment: Mapping[str, str], *, ready: str = "") -> Process:
        """Start a program and wait for a line that contains ``ready``; raises RuntimeError if it ends first."""
        inherited = {key: os.environ[key] for key in INHERITED if key in os.environ}
        running = await asyncio.create_subprocess_exec(
            *tether.command(os.getpid(), command),
            cwd=ROOT,
            env={**inherited, **environment, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,
        )
        process = cls(name, running)
        if ready:
            async with asyncio.timeout(START_DEADLINE):
                await process.line(ready)
        return process

    async def line(self, part: str) -> str:
        """Return the first line that contains ``part``, waiting for it."""
        while True:
            for line in self.lines:
                if part in line:
                    return line
            if self._reader.done():
                raise RuntimeError(f"{self.name} ended:\n" + "\n".join(self.lines[-30:]))
            self._said.clear()
            await self._said.wait()

    async def end(self) -> list[str]:
        """Wait for its own end and return what it printed; raises RuntimeError if it failed, or takes too long."""
        try:
            async with asyncio.timeout(END_DEADLINE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        await self._reader
        if await self._process.wait():
            raise RuntimeError(f"{self.name} failed:\n" + "\n".join(self.lines[-30:]))
        return self.lines

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_DEADLINE):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        await self._reader

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the process so far, its threads included; raises RuntimeError if it has ended."""
        if self._process.returncode is not None:
            raise RuntimeError(f"{self.name} ended:\n" + "\n".join(self.lines[-30:]))
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())
            self._said.set()
        self._said.set()


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; it is about counters, of which nobody tells when they change."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def python(*arguments: str) -> list[str]:
    """Return the command line of a Python program of this environment."""
    return [sys.executable, *arguments]


def pinned(cores: set[int], command: list[str]) -> list[str]:
    """Return the command line that runs ``command`` on these cores only."""
    program = "import os,sys; os.sched_setaffinity(0,eval(sys.argv[1])); os.execvp(sys.argv[2],sys.argv[2:])"
    return python("-c", program, repr(cores), *command)
