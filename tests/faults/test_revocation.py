"""What may no longer be seen is gone from open pages within two seconds, and is not replayed to an old cursor."""

import time

import pytest

from tests.demo import LOCAL, until
from tests.faults.browser import LiveBrowser

pytestmark = [pytest.mark.faults, pytest.mark.feature("S4.14")]
AT_ONCE = 2


@pytest.fixture
def viewer(open_page):
    return open_page("viewer")


def devices(page, org="org-aurora"):
    return sorted(key for key in page.values() if key.startswith(f"device/{org}/"))


def test_an_ended_membership_narrows_the_open_page(stack, viewer, assert_nothing_lost):
    stack.operate("role", user="sub-viewer", org="org-borealis", role="Viewer")
    until(lambda: devices(viewer, "org-borealis"), "the other organisation's devices", 10)
    stack.operate("role", user="sub-viewer", org="org-borealis", role=None)
    until(lambda: not devices(viewer, "org-borealis"), "their end", AT_ONCE)
    assert viewer.closed_for_good is None
    assert_nothing_lost(viewer=viewer)


def test_an_ended_last_membership_ends_the_session(stack, viewer, open_page, assert_nothing_lost):
    stack.operate("role", user="sub-viewer", org="org-aurora", role=None)
    until(lambda: viewer.closed_for_good, "the end of the session", AT_ONCE)
    assert viewer.client.get("/live/snapshot/").status_code == 401
    stack.operate("role", user="sub-viewer", org="org-aurora", role="Viewer")
    assert_nothing_lost(viewer=open_page("viewer"))


def test_a_revoked_token_ends_the_session(stack, viewer, open_page, assert_nothing_lost):
    stack.control("revoke", {"sub": "sub-viewer", "reason": "lost laptop"})
    until(lambda: viewer.closed_for_good, "the end of the session", AT_ONCE)
    until(lambda: stack.link("sub-viewer")["state"] == "waiting", "the end of the link", AT_ONCE)
    assert viewer.client.get("/live/snapshot/").status_code == 401
    assert_nothing_lost(viewer=open_page("viewer"))


REFRESH_TOKEN = """
from dashboard.models import User
from realtime.credentials import DatabaseVault
print(DatabaseVault.read(User.objects.get(username="viewer").pk).refresh_token)
"""


def test_a_sign_in_that_the_issuer_ended_in_silence_costs_no_connection(stack, viewer, open_page, assert_nothing_lost):
    drops = stack.link("sub-viewer")["drops"]
    ended = {"token": stack.run_manage("shell", "-v", "0", "-c", REFRESH_TOKEN).strip()}
    assert LOCAL.post(stack.urls["revoke_url"], data=ended).is_success
    stack.run_manage("links", "rotate", "viewer")
    until(lambda: "the issuer refuses a token" in stack.link("sub-viewer")["reason"], "the reason", 15)
    before = viewer.store.new
    until(lambda: viewer.store.new > before + 10, "changes that come all the same")
    link = stack.link("sub-viewer")
    assert (link["state"], link["drops"]) == ("open", drops)
    stack.fault("drop", user="viewer")
    until(lambda: stack.link("sub-viewer")["state"] == "waiting", "the end", 10)
    assert_nothing_lost(viewer=open_page("viewer"))


def test_what_a_revoked_device_did_is_not_replayed_to_an_old_cursor(stack, viewer, assert_nothing_lost):
    with stack.at_rest():
        device = devices(viewer)[0]
        with viewer.lock:
            old = viewer.store.cursor
        stack.operate("set", key=device, fields={"fwUpdateState": "Failed", "progress": 41})
        until(lambda: viewer.value(device, "fwProgress") == 41, "the change")
        stack.operate("revoke", user="sub-viewer", device=device)
        stack.fault("drop", user="viewer")  # no channel tells of it: the next comparison does
        until(lambda: device not in viewer.values(), "its end", 10)
        late = LiveBrowser(viewer.client)
        with late.from_cursor(old):
            until(lambda: late.store.resyncs, "the resync")
            stack.operate("set", key=devices(viewer)[0], fields={"fwUpdateState": "Idle", "progress": 7})
            until(lambda: late.value(devices(viewer)[0], "fwProgress") == 7, "a later change")
            assert device not in late.keys_shown
    stack.operate("grant", user="sub-viewer", device=device)
    stack.fault("drop", user="viewer")
    until(lambda: device in viewer.values(), "its return", 10)
    assert_nothing_lost(viewer=viewer)


def test_a_page_of_another_organization_never_hears_of_any_of_it(stack, open_page):
    rival = open_page("rival")
    before, end = rival.store.new, time.monotonic() + 10
    until(lambda: rival.store.new > before + 10 or time.monotonic() > end, "changes", 20)
    assert rival.keys_shown
    assert not [key for key in rival.keys_shown | rival.values().keys() if "aurora" in key]
