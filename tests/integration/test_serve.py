"""The web process as an operator runs it: its probes, its static files, its trust in a proxy."""

import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

from tests.demo import LOCAL, ROOT, free_port, until

FORWARDED = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}


@pytest.fixture
def serving(tmp_path):
    """Start a web process without a database or Valkey, and return its address."""
    started = []

    def start(**variables):
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", str(port)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, "STATE_DIR": str(tmp_path), **variables},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{address}/healthz"), "the start of the web process")
        return address

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def answers(url):
    try:
        return LOCAL.get(url)
    except httpx.TransportError:
        return None


def test_starts_without_its_stores_and_says_what_is_away(serving):
    address = serving()
    assert LOCAL.get(f"{address}/healthz").status_code == 200
    answer = LOCAL.get(f"{address}/readyz")
    assert answer.status_code == 503
    assert list(answer.json()["problems"]) == ["database", "valkey"]  # the database has no tables yet


def test_a_probe_needs_no_allowed_host_and_a_page_does(serving):
    address = serving()
    stranger = {"Host": "203.0.113.5"}
    assert LOCAL.get(f"{address}/healthz", headers=stranger).status_code == 200
    assert LOCAL.get(f"{address}/accounts/login/", headers=stranger).status_code == 400


@pytest.mark.parametrize(("trust", "location"), [("true", None), ("false", "https")])
def test_a_proxy_is_believed_only_when_told_so(serving, trust, location):
    address = serving(TRUST_PROXY=trust, HTTPS="true")
    answer = LOCAL.get(f"{address}/accounts/login/", headers=FORWARDED)
    redirected = answer.headers.get("location", "").partition(":")[0] or None
    assert redirected == location


def test_metrics_are_not_for_those_behind_the_proxy(serving):
    address = serving()
    assert LOCAL.get(f"{address}/metrics").status_code == 200
    assert LOCAL.get(f"{address}/metrics", headers=FORWARDED).status_code == 403


def test_static_files_have_hashed_names_down_to_the_imports_of_modules(demo):
    page = LOCAL.get(f"{demo.address}/accounts/login/").text
    paths = re.findall(r'(?:src|href)="(/static/[^"]+\.(?:js|css))"', page)
    assert paths
    for path in paths:
        answer = LOCAL.get(f"{demo.address}{path}")
        assert answer.status_code == 200
        assert re.search(r"\.[0-9a-f]{12}\.(js|css)$", path)
        assert "immutable" in answer.headers["cache-control"]
        for imported in re.findall(r"""\bfrom\s*["'](\.[^"']+)["']""", answer.text):
            assert re.search(r"\.[0-9a-f]{12}\.js$", imported), f"{path} imports {imported}"


def test_pages_are_sent_with_headers_that_protect_them(demo):
    headers = LOCAL.get(f"{demo.address}/accounts/login/").headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
