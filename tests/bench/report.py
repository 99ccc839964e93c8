"""The figures as a short table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

AIMS = {
    "p50_of_naive": "≤ 0.33",
    "p50_of_naive_saving": "≤ 0.33",
    "recording_of_orm": "≥ 3",
    "recording_of_orm_on_postgres": "≥ 2.5",
    "reception_of_bare": "≥ 0.09",
    "p99_at_2000_ms": "≤ 40",
    "link_cpu_ms": "≤ 3",
    "dials_after_outage": "≤ 3",
    "p99_recovered_s": "≤ 60",
    "rotation_lost": "0",
    "rotation_repeated": "0",
    "first_change_s": "≤ 60",
}
"""What the figures should come to."""


def table(results: dict[str, Any]) -> str:
    """Return the report's text."""
    lines = [_machine(results["machine"])]
    if "live" in results:
        lines += ["", *_live(results["live"])]
    if "worker" in results or "postgres" in results:
        lines += ["", *_worker({**results.get("worker", {}), **results.get("postgres", {})})]
    if "links" in results:
        lines += ["", *_links(results["links"])]
    if "outage" in results or "herd" in results:
        lines += ["", *_outages(results)]
    if "rotation" in results:
        lines += ["", *_rotation(results["rotation"])]
    if "clone" in results:
        lines += ["", *_clone(results["clone"])]
    lines += ["", *_aims(results["ratios"])]
    return "\n".join(lines)


def ratios(results: dict[str, Any]) -> dict[str, float]:
    """Return what the aims are about, as far as it was measured."""
    found: dict[str, float] = {}
    live = {(run["system"], run["changes_per_second"]): run for run in results.get("live", ())}
    ours = live.get(("fleetlight", 200))
    for name, key in (("naive", "p50_of_naive"), ("naive, saving", "p50_of_naive_saving")):
        peer = live.get((name, 200))
        if ours and peer:
            found[key] = ours["source_to_client_ms"]["p50"] / peer["source_to_client_ms"]["p50"]
    if fast := live.get(("fleetlight", 400)):
        found["p99_at_2000_ms"] = fast["received_to_client_ms"]["p99"]
    if worker := results.get("worker"):
        found["recording_of_orm"] = _rate(worker["memory: ours"]) / _rate(worker["memory: orm"])
        found["reception_of_bare"] = _rate(worker["sockets: ours"]) / _rate(worker["sockets: bare"])
    if postgres := results.get("postgres"):
        found["recording_of_orm_on_postgres"] = _rate(postgres["postgres: ours"]) / _rate(postgres["postgres: orm"])
    if links := results.get("links"):
        found["link_cpu_ms"] = links["ours"]["cpu_ms"]
    if outage := results.get("outage"):
        found |= {"dials_after_outage": outage["dials"], "p99_recovered_s": outage["p99"]}
    if rotation := results.get("rotation"):
        found |= {"rotation_lost": rotation["lost"], "rotation_repeated": rotation["repeated"]}
    if clone := results.get("clone"):
        found["first_change_s"] = clone["first_change"]
    return {name: round(value, 3) for name, value in found.items()}


def _rate(run: dict[str, float]) -> float:
    return run["events_per_second"]


def _machine(machine: dict[str, Any]) -> str:
    loads = " → ".join(f"{value:.1f}" for value in machine["load"])
    versions = f"Python {machine['python']} · SQLite {machine['sqlite']}"
    return f"{machine['at']} · {machine['cores']} cores · load {loads} · fsync {machine['fsync_ms']} ms · {versions}"


def _live(runs: list[dict[str, Any]]) -> Iterator[str]:
    yield "Emulator → client; 100 WebSocket clients, one of them Chromium; milliseconds"
    yield f"  {'':<14} {'copies/s':>8} {'p50':>8} {'p99':>8} {'lost':>6}   {'Chromium p50, p99':>18}   cores used"
    for run in runs:
        plain, chromium = run["source_to_client_ms"], run["source_to_chromium_ms"]
        cores = ", ".join(f"{name} {share:.2f}" for name, share in run["cores"].items())
        yield (
            f"  {run['system']:<14} {run['deliveries_per_second']:>8} {plain['p50']:>8.1f} {plain['p99']:>8.1f}"
            f" {run['lost']:>6}   {chromium['p50']:>8.1f} {chromium['p99']:>9.1f}   {cores}"
        )
    for run in runs:
        if "received_to_client_ms" in run:
            parts = {"worker → client": run["received_to_client_ms"], **run["hops_ms"]}
            spread = ", ".join(f"{name} {times['p50']:.1f}/{times['p99']:.1f}" for name, times in parts.items())
            yield f"  {run['system']} at {run['deliveries_per_second']} copies/s, p50/p99: {spread}"


def _links(runs: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "Links that nothing comes over, nine subscriptions each, in one process"
    for name, run in runs.items():
        yield (
            f"  {name:<14} {run['cpu_ms']:>6.1f} ms CPU to set one up {run['kb']:>6.0f} kB each"
            f" {run['process_mb']:>6.0f} MB in all {100 * run['idle']:>6.1f} % of a core while idle"
        )


def _outages(results: dict[str, Any]) -> Iterator[str]:
    yield "Links that lost the service together, from when it is back and admits 200 upgrades a second"
    runs = {"one worker": results["outage"]} if "outage" in results else {}
    if herd := results.get("herd"):
        runs |= {"simulated, at one rate": herd["together"], "simulated, each worker by itself": herd["apart"]}
    for name, run in runs.items():
        yield (
            f"  {name:<34} {run['links']:>6} links {run['dials']:>5.2f} dials each,"
            f" back after p50 {run['p50']} s, p99 {run['p99']} s, last {run['last']} s"
        )


def _rotation(run: dict[str, Any]) -> Iterator[str]:
    yield (
        f"One link, rotated {run['rotations']} times within {run['events']} events: lost {run['lost']},"
        f" repeated {run['repeated']}, states {', '.join(run['states'])}"
    )


def _worker(runs: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "One worker core, full batches; events a second by the wall, CPU µs an event"
    for name, run in runs.items():
        yield f"  {name:<16} {run['events_per_second']:>9,.0f} {run['cpu_us_per_event']:>8.1f}"


def _clone(run: dict[str, float]) -> Iterator[str]:
    yield (
        f"Fresh clone, make demo: installed after {run['installed']} s, ready {run['ready']} s, "
        f"first live change {run['first_change']} s"
    )


def _aims(found: dict[str, float]) -> Iterator[str]:
    yield "Aims"
    for name, value in found.items():
        yield f"  {name:<28} {value:>8.3g}   aim {AIMS[name]}"
