"""Measures everything, prints a table and writes ``bench.json`` into the state folder (``make bench``)."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import clone, live, report, worker
from tests.bench.processes import ROOT
from tests.bench.systems import SYSTEMS, Fleetlight
from tests.on_postgres import absent

PARTS = ("live", "worker", "postgres", "links", "outage", "herd", "rotation", "clone")
CHANGES = 200
"""Changes a second; each is published to five people."""

EVENTS, ROTATING = 1_000, 20.0
"""Events a second that a link hears while it is rotated, and for how many seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part only; repeatable")
    parser.add_argument("--turns", type=int, default=3, help="times that each contestant is measured (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="seconds under load in a turn (%(default)s)")
    parser.add_argument("--events", type=int, default=20_000, help="events in a turn of a worker (%(default)s)")
    parser.add_argument("--links", type=int, default=2_000, help="links of one worker (%(default)s)")
    parser.add_argument("--outage", type=float, default=60, help="seconds without the service (%(default)s)")
    parser.add_argument("--outage-links", type=int, default=1_000, help="real links that lose it (%(default)s)")
    parser.add_argument("--herd", type=int, default=10_000, help="links that lose it in virtual time (%(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "var" / "bench.json", help="JSON file (%(default)s)")
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="fleetlight-bench-"))
    try:
        results = asyncio.run(_measure(directory, given))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    results["ratios"] = report.ratios(results)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    print(report.table(results))


async def _measure(directory: Path, given: argparse.Namespace) -> dict[str, Any]:
    parts = given.only or PARTS
    load_before = os.getloadavg()[0]
    results: dict[str, Any] = {}
    if "worker" in parts:
        _say("the worker, from memory and from sockets")
        results["worker"] = await worker.measure(directory, given.turns, given.events)
    if "postgres" in parts and (missing := absent()):
        _say(f"nothing on PostgreSQL: {missing}")
    elif "postgres" in parts:
        _say("the worker on PostgreSQL")
        results["postgres"] = await worker.measure_postgres(directory, given.turns, given.events)
    if "links" in parts:
        _say("links that nothing comes over")
        results["links"] = await worker.measure_links(directory, given.links)
    if "outage" in parts:
        _say("the return from an outage")
        results["outage"] = await worker.measure_outage(directory, given.outage_links, given.outage)
    if "herd" in parts:
        _say("the return from an outage, in virtual time")
        results["herd"] = await worker.measure_herd(directory, given.herd, given.outage)
    if "rotation" in parts:
        _say("a link that is rotated under load")
        results["rotation"] = await worker.measure_rotation(directory, EVENTS, ROTATING)
    if "live" in parts:
        _say("from the emulator to the browser")
        results["live"] = await _live(directory, given)
    if "clone" in parts:
        _say("a fresh clone")
        results["clone"] = await asyncio.to_thread(clone.measure, directory)
    results["machine"] = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cores": os.cpu_count(),
        "load": [load_before, os.getloadavg()[0]],
        "fsync_ms": _fsync_ms(directory),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    return results


async def _live(directory: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    loads = [*((system, CHANGES) for system in SYSTEMS), (Fleetlight, 2 * CHANGES)]
    outcomes = await live.measure(directory, loads, given.turns, given.seconds)
    return [
        {"system": kind.name, "about": kind.about, "changes_per_second": changes, **outcome.figures()}
        for (kind, changes), outcome in zip(loads, outcomes, strict=True)
    ]


def _fsync_ms(directory: Path) -> float:
    """Return how long the disk takes to keep a page, by the median: every batch waits for that once."""
    times = []
    with (directory / "page").open("wb") as file:
        for _ in range(50):
            file.write(bytes(8192))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return round(median(times) * 1000, 2)


def _say(what: str) -> None:
    print(f"measuring {what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
