"""All links share an API key, and a token of the service's own asks the backend for each person's view."""

import re

import pytest

from tests.demo import until
from tests.faults.browser import LiveBrowser
from tests.faults.service_stack import TOKEN, ServiceStack

pytestmark = [pytest.mark.faults, pytest.mark.feature("S4.12")]

CAMERA = "device/org-aurora/cam-001"
DROPPED = "connection lost: it ended without a close frame"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with ServiceStack(tmp_path_factory.mktemp("service")) as stack:
        yield stack


@pytest.fixture
def viewer(service):
    with service.sign_in("viewer") as client, LiveBrowser(client) as page:
        until(lambda: service.is_live("sub-viewer"), "the link")
        yield page


def closed_gaps(stack, sub):
    return stack.query(
        "SELECT gap.* FROM realtime_gap AS gap JOIN realtime_link AS link ON link.id = gap.link_id "
        "WHERE link.subject = ? AND gap.outcome <> 'open' ORDER BY gap.closed_at",
        sub,
    )


def toggle_while_cut_off(stack):
    """Cut every link off, and change what the viewer sees meanwhile; return what it became."""
    online = not next(d["online"] for d in stack.truth("sub-viewer")["devices"] if d["deviceId"] == "cam-001")
    stack.fault("drop", **{"for": 2})
    until(lambda: stack.open_gaps("sub-viewer"), "the loss")
    stack.operate("set", key=CAMERA, fields={"online": online})
    return online


def test_a_gap_is_closed_as_repaired(service, viewer):
    with service.at_rest():
        before = len(closed_gaps(service, "sub-viewer"))
        online = toggle_while_cut_off(service)
        until(lambda: service.is_live("sub-viewer"), "the repair")
        closed = closed_gaps(service, "sub-viewer")[before:]
        assert [(gap["outcome"], gap["feed"], gap["cause"]) for gap in closed] == [("repaired", "", DROPPED)]
        assert closed[0]["differences"] >= 1
        until(lambda: viewer.value(CAMERA, "online") is online, "the page")


def test_the_doctor_finds_nothing_wrong(service, viewer):
    found = service.run_manage("doctor", "--user", "viewer")
    assert re.search(r"ok\s+snapshot", found), found


def test_a_wrong_token_leaves_the_gap_open_and_says_why(service, viewer):
    service.restart_worker("a wrong token")
    try:
        until(lambda: "snapshot: HTTP 401" in service.worker.said(), "the refusal")
        assert service.open_gaps("sub-viewer")
    finally:
        service.restart_worker(TOKEN)
    until(lambda: service.is_live("sub-viewer"), "the repair")
