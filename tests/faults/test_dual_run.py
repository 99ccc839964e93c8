"""The dual run on real processes: what is planted on one dialect is what the report says, and nothing else."""

import json
import time

import pytest

from realtime.clock import now_us
from realtime.comparing import MARGIN
from tests.demo import LOCAL, PASSWORD, until

pytestmark = [pytest.mark.faults, pytest.mark.feature("B6"), pytest.mark.feature("S4.8")]

WINDOW = 2
DEVICE = "device/org-aurora/cam-001"
PRESENCE = "device/presenceChanged"
COUNTS = ("matched", "missing", "extra", "late", "early", "reordered", "repeated", "apart", "outside", "unjudged")
PROVE_EVERY = 1.0


class DualRun:
    """The comparison of the viewer's link, as the command reports it."""

    def __init__(self, stack):
        self.stack = stack
        self._noted = None
        self._report = None
        self._proved = time.monotonic()

    def report(self):
        """Return the report, asked for anew whenever the worker has noted something."""
        (row,) = self.stack.query("SELECT since, noted_at FROM realtime_dualrun")
        if tuple(row) != self._noted:
            self._noted, self._report = tuple(row), json.loads(self.stack.run_manage("dualrun", "report", "--json"))
        return self._report

    def counts(self):
        """The counts of all channels together that are not zero, from one report."""
        channels = self.report()["channels"]
        sums = {name: sum(channel[name] for channel in channels) for name in COUNTS}
        return {name: count for name, count in sums.items() if count}

    def finds(self, **expected):
        """Wait until the report says exactly this."""
        try:
            until(lambda: self._prove() or self.counts() == expected, "that report", 15)
        except AssertionError:
            assert self.counts() == expected, self.report()

    def is_live(self, recorded="events"):
        report = self.report()
        sides = report["recorded"], report["shadow"]
        return sides[0]["dialect"] == recorded and all(side["live"] for side in sides)

    def wait_until_live(self, recorded="events"):
        """Wait until both sides are live, and for as long as nobody can say what they had to hear."""
        until(lambda: self.is_live(recorded), "both sides to be live")
        passed = time.monotonic() + MARGIN + 0.5
        until(lambda: time.monotonic() > passed, "the margin after that")

    def _prove(self):
        """Let both sides hear a frame: a fleet at rest would leave it to the keep-alives that they are connected."""
        if time.monotonic() > self._proved + PROVE_EVERY:
            self._proved = time.monotonic()
            self.stack.fault("error-frame", user="viewer")


@pytest.fixture
def compared(stack, people):
    """The comparison of the viewer's link, begun anew. The fleet stands still."""
    with stack.at_rest():
        stack.run_manage("dualrun", "start", "viewer", "--window", str(WINDOW))
        run = DualRun(stack)
        run.wait_until_live()
        yield run
    stack.run_manage("dualrun", "stop", "--all")
    # What was planted is lost on purpose, and what GraphQL told has no time of its source to be known by.
    stack.accounted.update(dict.fromkeys(("sub-viewer", "sub-owner", "sub-rival"), now_us()))


def seen(stack, username):
    """The devices that this person sees, by id."""
    return {device["deviceId"]: device for device in stack.truth(f"sub-{username}")["devices"]}


def toggle(stack, times=1):
    """Change a device's presence so many times; both dialects tell each of them."""
    for _ in range(times):
        stack.operate("set", key=DEVICE, fields={"online": not seen(stack, "viewer")["cam-001"]["online"]})


def mutate(stack, device, **fields):
    """Tell over GraphQL alone, as a backend does that forgets the other dialect."""
    addresses = next(json.loads(line) for line in stack.emulator.said().splitlines() if "graphql_url" in line)
    grant = {"grant_type": "password", "username": "owner", "password": PASSWORD}
    token = LOCAL.post(addresses["token_url"], data=grant).json()["id_token"]
    query = "mutation M($input: DeviceStateInput!) { publishDeviceState(input: $input) { orgId deviceId online } }"
    asked = {"query": query, "variables": {"input": {"orgId": "org-aurora", "deviceId": device, **fields}}}
    answer = LOCAL.post(addresses["graphql_url"], json=asked, headers={"Authorization": token})
    assert "errors" not in answer.json(), answer.text


def shadows_connection(stack):
    """The emulator's name for the shadow's socket."""
    found = [c["id"] for c in stack.control("stats")["connections"] if c["dialect"] == "graphql-ws"]
    assert len(found) == 1
    return found[0]


def test_what_both_tell_is_matched_and_recorded_once(stack, compared):
    before = stack.link("sub-viewer")
    toggle(stack, 6)
    compared.finds(matched=6)
    until(lambda: stack.link("sub-viewer")["received"] >= before["received"] + 6, "their count")
    after = stack.link("sub-viewer")
    assert after["received"] == before["received"] + 6
    assert (after["protocol"], after["connects"]) == ("events", before["connects"])


def test_a_planted_loss_an_extra_event_a_late_one_and_a_double_are_each_reported_as_that(stack, compared):
    stack.fault("lose", user="viewer", channel="onDeviceState", count=1)
    toggle(stack, 4)
    compared.finds(matched=3, missing=1)
    mutate(stack, "cam-001", online=not seen(stack, "viewer")["cam-001"]["online"])
    compared.finds(matched=3, missing=1, extra=1)
    stack.fault("late", user="viewer", channel="onDeviceState", count=1, delay=1500)
    toggle(stack)
    compared.finds(matched=4, missing=1, extra=1, late=1)
    stack.fault("duplicate", user="viewer", channel="onDeviceState", count=1)
    toggle(stack)
    compared.finds(matched=5, missing=1, extra=1, late=1, repeated=1)
    differences = compared.report()["differences"]
    late, extra, missing = differences
    assert [difference["what"] for difference in (missing, extra, late)] == ["missing", "extra", "late"]
    for difference in differences:
        told = {name: difference[name] for name in ("on", "channel", "key")}
        assert told == {"on": "graphql", "channel": PRESENCE, "key": DEVICE}
    assert late["lag"] == pytest.approx(1500, abs=300)
    assert missing["version"] is not None


def test_what_is_outside_the_users_view_is_not_compared(stack, compared):
    hidden = next(d for name, d in seen(stack, "owner").items() if name not in seen(stack, "viewer"))
    stack.operate("set", key=f"device/org-aurora/{hidden['deviceId']}", fields={"online": not hidden["online"]})
    compared.finds(outside=1)


def test_an_outage_of_the_shadow_is_told_apart_and_leaves_the_recorded_side_alone(stack, compared):
    drops = stack.link("sub-viewer")["drops"]
    stack.fault("drop", connection=shadows_connection(stack))
    toggle(stack)
    compared.wait_until_live()
    toggle(stack, 2)
    compared.finds(matched=2, apart=1)
    assert stack.link("sub-viewer")["drops"] == drops


def test_a_killed_worker_is_followed_by_one_that_goes_on_counting(stack, compared):
    toggle(stack, 4)
    compared.finds(matched=4)
    stack.worker.kill()
    killed = now_us()
    stack.worker.start()
    until(lambda: stack.query("SELECT noted_at FROM realtime_dualrun")[0]["noted_at"] > killed, "the next worker", 40)
    compared.wait_until_live()
    toggle(stack, 2)
    compared.finds(matched=6)


@pytest.mark.feature("S4.15")
def test_switches_under_traffic_turn_the_comparison_around_and_nothing_is_missing(stack, compared):
    stack.operate("resume")
    try:
        for recorded in ("graphql", "events"):
            stack.run_manage("dualrun", "switch", recorded)
            compared.wait_until_live(recorded)
            before = compared.counts().get("matched", 0)
            until(lambda before=before: compared.counts().get("matched", 0) > before + 10, "news of both", 40)
    finally:
        stack.run_manage("dualrun", "switch", "default")
        compared.wait_until_live("events")
    assert not compared.counts().keys() & {"missing", "extra"}, compared.report()["differences"]
