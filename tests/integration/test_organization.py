"""A switch of the active organisation through the real worker and emulator, in both dialects."""

import json

import pytest

from tests.demo import look_at, until
from tests.integration.test_dialects import is_live, link, manage, shown, truth, world

pytestmark = [pytest.mark.faults, pytest.mark.feature("S4.5")]

QUAY = "device/org-borealis/cam-001"
AURORA, BOREALIS = "org-aurora", "org-borealis"
PROTOCOLS = ["events", "graphql"]


def active(client):
    return client.get("/live/snapshot/").json()["entities"]["view/self"]["organization"][0]


def heard(demo):
    """The organisations that the link's GraphQL subscriptions are to."""
    return {row["feed"].partition(" ")[2] for row in json.loads(link(demo, "manager")["subscriptions"])}


def of(org_id, devices):
    return {key: values for key, values in devices.items() if key.split("/")[1] == org_id}


def switched(demo):
    """The outcomes of the ledger's rows of switches, the newest first."""
    rows = demo.query(
        "SELECT outcome FROM realtime_gap WHERE link_id = ? AND cause = ? ORDER BY started_at DESC",
        *(link(demo, "manager")["id"], "organisation switched"),
    )
    return [row["outcome"] for row in rows]


@pytest.fixture
def manager(demo):
    with demo.sign_in("manager") as client:
        look_at(client, AURORA)
        yield client
        look_at(client, AURORA)
        world(demo, op="resume")
        manage(demo, "dualrun", "switch", "default")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_switch_ends_with_the_other_organisations_true_state_and_a_closed_row(demo, manager, protocol):
    manage(demo, "dualrun", "switch", protocol)
    until(lambda: is_live(manager, "manager", protocol, demo), f"the link to speak {protocol}")
    world(demo, op="pause")
    before = len(switched(demo))
    world(demo, op="set", key=QUAY, fields={"online": not truth(demo, "manager")[QUAY][0]})
    until(lambda: shown(manager) == of(AURORA, truth(demo, "manager")), "Aurora's state alone")
    look_at(manager, BOREALIS)
    assert active(manager) == BOREALIS
    until(lambda: len(switched(demo)) > before, "a row in the ledger")
    until(lambda: is_live(manager, "manager", protocol, demo), "the row to be closed")
    assert switched(demo)[0] in ("repaired", "nothing-missed")
    assert shown(manager) == of(BOREALIS, truth(demo, "manager"))


def test_over_graphql_the_active_organisation_alone_is_subscribed_to(demo, manager):
    manage(demo, "dualrun", "switch", "graphql")
    until(lambda: is_live(manager, "manager", "graphql", demo), "the link to speak graphql")
    assert heard(demo) == {AURORA}
    look_at(manager, BOREALIS)
    until(lambda: heard(demo) == {BOREALIS}, "Borealis's subscriptions alone")


def test_what_comes_for_the_other_organisation_is_recorded_and_not_shown(demo, manager):
    until(lambda: is_live(manager, "manager", "events", demo), "the link to be current")
    world(demo, op="pause")
    online = not truth(demo, "manager")[QUAY][0]
    until(lambda: shown(manager) == of(AURORA, truth(demo, "manager")), "all that moved to be recorded")
    received = link(demo, "manager")["received"]
    world(demo, op="set", key=QUAY, fields={"online": online})
    until(lambda: link(demo, "manager")["received"] > received, "the change to be recorded")
    assert QUAY not in shown(manager)
    look_at(manager, BOREALIS)
    assert shown(manager)[QUAY][0] is online
