"""Runs the contestants of the worker, its links and its outages, each in a process of its own, in turns."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from project.state import socket_path
from realtime import embedded_valkey
from tests.bench.processes import Process, pinned, python
from tests.bench.recording import CORE, OTHER_CORES
from tests.bench.systems import settings
from tests.on_postgres import cluster

CONNECTIONS = 20
OUTAGE_DEADLINE = 300.0


async def measure(directory: Path, turns: int, count: int) -> dict[str, dict[str, float]]:
    """Return events a second (by the wall) and CPU time an event (µs) of each contestant: medians over the turns."""
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    for turn in range(turns):
        for name in ("ours", "orm", "floor"):
            where = directory / f"recording-{name}-{turn}"
            runs[f"memory: {name}"].append(await _alone(where, ["tests.bench.recording", name, str(count)]))
        for name in ("ours", "bare"):
            where = directory / f"reception-{name}-{turn}"
            module = ["tests.bench.reception", name]
            runs[f"sockets: {name}"].append(await _from_fountain(where, module, CONNECTIONS, count))
    return {name: _middle(found) for name, found in runs.items()}


async def measure_postgres(directory: Path, turns: int, count: int) -> dict[str, dict[str, float]]:
    """As ``measure``, from memory, on a PostgreSQL of its own for each run; it does not wait for its disk."""
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    for turn in range(turns):
        for name in ("ours", "orm"):
            where, module = directory / f"postgres-{name}-{turn}", ["tests.bench.recording", name, str(count)]
            with cluster() as address:
                runs[f"postgres: {name}"].append(await _alone(where, module, DATABASE_URL=address))
    return {name: _middle(found) for name, found in runs.items()}


async def measure_links(directory: Path, count: int) -> dict[str, dict[str, float]]:
    """Return what a link costs that nothing comes over: ours, and a bare client."""
    return {
        name: await _from_fountain(directory / f"links-{name}", ["tests.bench.links", name], count, 0)
        for name in ("ours", "bare")
    }


async def measure_outage(directory: Path, count: int, seconds: float) -> dict[str, float]:
    """Return how the links of one worker come back from an outage of so many seconds."""
    async with _upstream("tests.bench.failing", str(count), str(seconds)) as (upstream, port):
        async with _surroundings(directory / "outage") as environment:
            command = python("-m", "tests.bench.outage", port, str(count))
            worker = await Process.start("outage", pinned({CORE}, command), environment)
            try:
                async with asyncio.timeout(OUTAGE_DEADLINE + seconds):
                    figures: dict[str, float] = json.loads(await upstream.line('{"outage"'))["outage"]
                    return figures
            finally:
                await worker.stop()


async def measure_herd(directory: Path, count: int, seconds: float) -> dict[str, Any]:
    """Return how so many links come back in virtual time: at one rate, and each worker by itself."""
    return await _alone(directory / "herd", ["tests.bench.herd", str(count), str(seconds), "1"])


async def measure_rotation(directory: Path, per_second: int, seconds: float) -> dict[str, Any]:
    """Return what came through a link that was rotated for so many seconds."""
    async with _upstream("tests.bench.ticker", str(per_second)) as (_, port):
        return await _alone(directory / "rotation", ["tests.bench.rotation", port, str(seconds)])


async def _from_fountain(where: Path, module: list[str], connections: int, count: int) -> dict[str, Any]:
    async with _upstream("tests.bench.fountain", str(connections), str(count)) as (_, port):
        return await _alone(where, [*module, port, str(connections), str(count)])


@asynccontextmanager
async def _upstream(module: str, *arguments: str) -> AsyncIterator[tuple[Process, str]]:
    """Run what plays the service, beside the contestant's core; lend it and its port."""
    command = pinned(OTHER_CORES, python("-m", module, *arguments))
    upstream = await Process.start(module, command, {}, ready='{"port"')
    try:
        yield upstream, str(json.loads(upstream.lines[0])["port"])
    finally:
        await upstream.stop()


async def _alone(where: Path, module: list[str], **more: str) -> dict[str, Any]:
    """Run a contestant on its own core, with ``more`` in its environment; return what it printed."""
    async with _surroundings(where) as environment:
        command = pinned({CORE}, python("-m", *module))
        contestant = await Process.start(module[0], command, {**environment, **more})
        result: dict[str, Any] = json.loads((await contestant.end())[-1])
        return result


@asynccontextmanager
async def _surroundings(where: Path) -> AsyncIterator[dict[str, str]]:
    """Lend a fresh database and Valkey, as the environment of whoever uses them."""
    os.mkdir(where)
    valkey = await Process.start("valkey", pinned(OTHER_CORES, embedded_valkey.command(socket_path(where), where)), {})
    try:
        yield {**settings(where), "DJANGO_SETTINGS_MODULE": "project.settings", "LOG_LEVEL": "ERROR"}
    finally:
        await valkey.stop()
        shutil.rmtree(where)


def _middle(runs: list[dict[str, float]]) -> dict[str, float]:
    return {
        "events_per_second": round(median(run["events"] / run["wall"] for run in runs)),
        "cpu_us_per_event": round(median(run["cpu"] / run["events"] for run in runs) * 1e6, 1),
    }
