"""From a fresh clone to the first live change: what somebody waits who has just found the project."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from websockets.sync.client import connect

from realtime.emulator.options import PASSWORD
from tests.bench.processes import ROOT

DEADLINE, CHANGE_DEADLINE = 600.0, 60.0


def measure(directory: Path) -> dict[str, float]:
    """Clone what is committed, run ``make demo``, sign in, and wait for a change; return the seconds until each.

    Wheels come from pip's cache as far as it has them.
    """
    clone, log, port = directory / "clone", directory / "demo.log", _free_port()
    started = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    with log.open("wb") as output:
        environment = {**os.environ, "PORT": str(port), "ENV_FILE": os.devnull}
        command = ["make", "demo"]
        demo = subprocess.Popen(
            command, cwd=clone, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def seconds(condition: Callable[[], bool]) -> float:
        while not condition():
            if demo.poll() is not None or time.monotonic() - started > DEADLINE:
                raise RuntimeError(f"the demo did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        return round(time.monotonic() - started, 1)

    try:
        return {
            "installed": seconds((clone / ".venv" / "ready").exists),
            "ready": seconds(lambda: "Fleetlight is ready" in log.read_text()),
            "first_change": seconds(lambda: _first_change(f"http://127.0.0.1:{port}")),
        }
    finally:
        os.killpg(demo.pid, signal.SIGINT)  # as Ctrl-C does: to make and what it runs
        demo.wait()


def _first_change(address: str) -> bool:
    """Sign in through the form and return when the first change from upstream has come over the WebSocket."""
    with httpx.Client(base_url=address, follow_redirects=True, trust_env=False, timeout=30) as client:
        form = client.get("/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
        assert token, "there is no sign-in form"
        fields = {"csrfmiddlewaretoken": token.group(1), "username": "owner", "password": PASSWORD}
        client.post(str(form.url), data=fields, headers={"Referer": str(form.url)})
        cookie = f"sessionid={client.cookies['sessionid']}"
    url = f"{address.replace('http', 'ws', 1)}/ws/live/"
    with connect(url, origin=address, additional_headers={"Cookie": cookie}, proxy=None) as live:  # type: ignore[arg-type]
        deadline = time.monotonic() + CHANGE_DEADLINE
        while '"source":"events"' not in str(live.recv(timeout=deadline - time.monotonic())):
            continue
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
