"""Changing between Events and GraphQL on the running demo: both sides end with the same state."""

import os
import subprocess
import sys
from functools import partial

import pytest

from tests.demo import LOCAL, ROOT, until

pytestmark = pytest.mark.faults


def manage(demo, *arguments):
    record = demo.record
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    upstream = {
        "APPSYNC_EVENTS_URL": record["events_url"],
        "APPSYNC_EVENTS_REALTIME_URL": record["events_realtime_url"],
        "APPSYNC_GRAPHQL_URL": record["graphql_url"],
        "APPSYNC_GRAPHQL_REALTIME_URL": record["graphql_realtime_url"],
    }
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**inherited, **upstream, "ENV_FILE": os.devnull, "STATE_DIR": str(demo.state_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def world(demo, **wish):
    assert LOCAL.post(f"{demo.record['control_url']}/world", json=wish).is_success


def truth(demo, username):
    """What the source says that this person sees of devices."""
    view = LOCAL.get(f"{demo.record['control_url']}/world").json()["users"][f"sub-{username}"]
    return {f"device/{d['orgId']}/{d['deviceId']}": (d["online"], d["recording"]) for d in view["devices"]}


def shown(client):
    entities = client.get("/live/snapshot/").json()["entities"]
    return {
        key: (fields["online"][0], fields["recording"][0])
        for key, fields in entities.items()
        if key.startswith("device/")
    }


def link(demo, username):
    return demo.query("SELECT * FROM realtime_link WHERE subject = ?", f"sub-{username}")[0]


def is_live(client, username, protocol, demo):
    fields = client.get("/live/snapshot/").json()["entities"]["link/self"]
    is_current = fields["state"][0] == "open" and fields["gap"][0] is None
    return is_current and link(demo, username)["protocol"] == protocol


@pytest.mark.feature("S4.8")
@pytest.mark.feature("S4.15")
def test_a_switch_under_traffic_and_back_ends_with_equal_state(demo):
    with demo.sign_in("viewer") as viewer, demo.sign_in("owner") as owner:
        people = {"viewer": viewer, "owner": owner}
        for protocol in ("graphql", "events"):
            manage(demo, "dualrun", "switch", protocol)
            for username, client in people.items():
                speaks = partial(is_live, client, username, protocol, demo)
                until(speaks, f"{username}'s link to speak {protocol}")
            world(demo, op="pause")
            for username, client in people.items():
                until(lambda c=client, u=username: shown(c) == truth(demo, u), f"{username}'s state over {protocol}")
            world(demo, op="resume")
        manage(demo, "dualrun", "switch", "default")
        assert set(shown(viewer)) < set(shown(owner))


@pytest.mark.feature("S4.8")
def test_what_is_not_configured_is_not_switched_to(demo):
    done = subprocess.run(
        [sys.executable, "manage.py", "dualrun", "switch", "graphql"],
        cwd=ROOT,
        env={**os.environ, "ENV_FILE": os.devnull, "STATE_DIR": str(demo.state_dir), "APPSYNC_GRAPHQL_URL": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "APPSYNC_GRAPHQL_URL" in done.stderr
