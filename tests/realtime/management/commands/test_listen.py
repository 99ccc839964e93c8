"""The client of the worker, as a command, on a real socket."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from realtime.emulator.options import DEFAULT_API_KEY
from tests.certificates import Authority
from tests.demo import LOCAL

from .conftest import ROOT, manage

OWN = "/vortex-app/user/sub-owner"


def listening(appsync, *arguments):
    command = [sys.executable, str(ROOT / "manage.py"), "listen", "--url", appsync["events_url"], "--json", *arguments]
    command += ["--seconds", "30"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(process, **wanted):
    """Read lines up to the first that has these values; return all of them."""
    rows = []
    for line in process.stdout:
        rows.append(json.loads(line))
        if wanted.items() <= rows[-1].items():
            return rows
    raise AssertionError(f"{wanted} never came: {rows} {process.stderr.read()}")


def change(appsync, **fields):
    wish = {"op": "set", "key": "device/org-aurora/cam-001", "fields": fields}
    assert LOCAL.post(f"{appsync['control_url']}/world", json=wish).is_success


@pytest.mark.feature("S0.1")
@pytest.mark.feature("S0.3")
def test_it_shows_states_subscriptions_and_data(appsync, token):
    with listening(appsync, f"{OWN}/*", "--token", token("sub-owner"), "--count", "1") as process:
        before = until(process, type="state", state="open")
        assert [row["state"] for row in before if row["type"] == "state"] == [
            "connecting",
            "authenticating",
            "syncing",
            "open",
        ]
        assert {"type": "subscription", "state": "live"}.items() <= before[-2].items()
        change(appsync, online=False)
        data = until(process, type="data")[-1]
        assert json.loads(data["event"])["online"] is False
        assert process.wait(10) == 0


@pytest.mark.feature("S0.6")
def test_a_refused_channel_leaves_its_sibling_alone(appsync, token):
    with listening(appsync, f"{OWN}/*", "/vortex-app/user/sub-rival/x", "--token", token("sub-owner")) as process:
        rows = until(process, type="state", state="open")
        states = {row["channel"]: row["state"] for row in rows if row["type"] == "subscription"}
        assert states == {f"{OWN}/*": "live", "/vortex-app/user/sub-rival/x": "refused"}
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.feature("S4.12")
def test_a_drop_is_told_as_a_gap_once_the_channel_is_live_again(appsync, token):
    with listening(appsync, f"{OWN}/*", "--token", token("sub-owner")) as process:
        until(process, type="state", state="open")
        fault = {"kind": "drop", "sub": "sub-owner"}
        assert LOCAL.post(f"{appsync['control_url']}/faults", json=fault).is_success
        rows = until(process, type="gap")
        assert "backoff" in [row.get("state") for row in rows]
        assert rows[-1]["channel"] == f"{OWN}/*"
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.feature("S3.9")
def test_bad_credentials_end_it_with_the_reason(appsync):
    with listening(appsync, f"{OWN}/*", "--api-key", "da2-wrong") as process:
        assert process.wait(20) == 1
        assert "refuses the credentials" in process.stderr.read()


@pytest.fixture
def secured(tmp_path):
    """An emulator that speaks TLS, and the authority that issued its certificate."""
    authority = Authority(tmp_path)
    cert, key = authority.issue()
    command = [
        sys.executable,
        str(ROOT / "manage.py"),
        "emulator",
        "--fleet",
        "1",
        "--tls-cert",
        cert,
        "--tls-key",
        key,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline()), authority
        finally:
            process.terminate()


@contextmanager
def pinned(monkeypatch, appsync, authority):
    """Listen with this authority in the settings, and stop."""
    monkeypatch.setenv("APPSYNC_CA_FILE", str(authority.file) if authority else "")
    with listening(appsync, "/default/news", "--api-key", DEFAULT_API_KEY) as process:
        yield process
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.feature("S3.10")
def test_a_private_authority_is_trusted_once_it_is_pinned(secured, tmp_path, monkeypatch):
    appsync, authority = secured
    assert appsync["events_realtime_url"].startswith("wss:")
    with pinned(monkeypatch, appsync, authority) as process:
        until(process, type="subscription", state="live")
    for other in (Authority(tmp_path, "another"), None):
        with pinned(monkeypatch, appsync, other) as process:
            reason = until(process, type="state", state="backoff")[-1]["reason"]
            assert ("not trusted" in reason, "APPSYNC_CA_FILE" in reason) == (True, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a//b", "--api-key", "k", "--url", "http://127.0.0.1:1/event"], "empty segment"),
        (["/a/b", "--url", "http://127.0.0.1:1/event"], "--api-key"),
        (["/a/b", "--api-key", "k", "--url", "ftp://x"], "not an http"),
        (["/a/b", "--api-key", "k", "--url", "http://example.com/event"], "APPSYNC_ALLOW_PLAINTEXT"),
        (["/a/b", "--auth", "lambda", "--url", "http://127.0.0.1:1/event"], "--token"),
        (["/a/b", "--auth", "iam", "--api-key", "k", "--url", "http://127.0.0.1:1/event"], "--api-key is not for iam"),
        (["/a/b", "--api-key", "k", "--token", "t", "--url", "http://127.0.0.1:1/event"], "--token is not for api-key"),
    ],
)
def test_bad_input_is_answered_with_cause_and_next_step(arguments, says):
    done = manage("listen", *arguments)
    assert done.returncode == 2
    assert says in done.stderr


DEVICES = "subscription Devices($org: ID!) { onDeviceState(orgId: $org) { deviceId online } }"


@pytest.mark.feature("S0.7")
@pytest.mark.parametrize("carrier", ["subprotocol", "query", "headers"])
def test_graphql_is_heard_with_each_carrier(appsync, token, carrier):
    command = [sys.executable, str(ROOT / "manage.py"), "listen", "--protocol", "graphql", "--json", "--count", "1"]
    command += ["--seconds", "30", "--url", appsync["graphql_url"], "--token", token("sub-owner"), "--carrier", carrier]
    command += ["--query", DEVICES, "--variables", '{"org": "org-aurora"}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until(process, type="state", state="open")
        change(appsync, online=False)
        change(appsync, online=True)
        data = json.loads(until(process, type="data")[-1]["event"])
        assert data["onDeviceState"]["deviceId"] == "cam-001"
        assert process.wait(10) == 0


def test_graphql_needs_a_document():
    done = manage("listen", "--protocol", "graphql", "--url", "http://127.0.0.1:1/graphql", "--api-key", "k")
    assert (done.returncode, "--query" in done.stderr) == (2, True)
