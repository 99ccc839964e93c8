"""What a person sees happen without reloading, through every real part: emulator, worker, database, Valkey, web."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE
from tests.browser.steps import CAMERA, SOON, assert_not_reloaded, field, live, marked, pill
from tests.demo import LOCAL, PASSWORD

pytestmark = pytest.mark.browser


@pytest.mark.feature("S4.2")
@pytest.mark.parametrize("size", [None, PHONE])
def test_a_device_goes_offline_before_ones_eyes(open_page, still, size):
    page = marked(live(open_page("/devices/", "owner", **({"size": size} if size else {}))))
    expect(field(page, "online")).to_have_text("Online", timeout=SOON)
    still(op="set", key=CAMERA, fields={"online": False})
    expect(field(page, "online")).to_have_text("Offline", timeout=SOON)
    still(op="set", key=CAMERA, fields={"fwUpdateState": "Installing", "progress": 37})
    expect(field(page, "fwUpdateState")).to_have_text("Installing", timeout=SOON)
    expect(field(page, "fwProgress")).to_have_text("37 %", timeout=SOON)
    assert_not_reloaded(page)


def test_the_overview_counts_on(open_page, still):
    page = marked(live(open_page("/", "owner")))
    offline = page.locator('[data-count="offline"]')
    before = int(offline.inner_text())
    still(op="set", key=CAMERA, fields={"online": False})
    expect(offline).to_have_text(str(before + 1), timeout=SOON)
    expect(page.locator("[data-activity] li").first).to_contain_text("Presence: Offline", timeout=SOON)
    expect(page.locator("[data-pulse-latency]")).to_have_text(re.compile(r"^\d+(\.\d)? m?s$"), timeout=SOON)
    assert_not_reloaded(page)


def test_a_device_of_a_new_site_gets_its_place_on_the_map(open_page, still):
    page = marked(live(open_page("/", "owner")))
    added = {"orgId": "org-aurora", "deviceId": "cam-roof", "name": "Camera on the new roof", "siteId": "site-roof"}
    still(op="add-device", device=added)
    try:
        still(op="set", key="device/org-aurora/cam-roof", fields={"online": True})
        cell = page.locator('[data-site="site-roof"] .cell')
        expect(cell).to_have_attribute("data-entity", "device/org-aurora/cam-roof", timeout=SOON)
        still(op="set", key="device/org-aurora/cam-roof", fields={"online": False})
        expect(cell.locator('[data-field="online"]')).to_have_text("Offline", timeout=SOON)
        assert_not_reloaded(page)
    finally:
        still(op="remove-device", device="device/org-aurora/cam-roof")


@pytest.mark.feature("B7")
@pytest.mark.feature("S4.13")
def test_the_way_of_the_last_change_is_shown_hop_by_hop(open_page, still):
    page = live(open_page("/connection/", "owner"))
    shown = page.locator("[data-waterfall-what]")
    online = False
    still(op="set", key=CAMERA, fields={"online": online})
    while not _comes_to_contain(shown, "cam-001"):
        # Something else was the last change: the link itself, whose repair ended just now.
        online = not online
        still(op="set", key=CAMERA, fields={"online": online})
    durations = page.locator("[data-hop-duration]")
    for index in range(4):
        expect(durations.nth(index)).to_have_text(re.compile(r"^\d+(\.\d)? m?s$"), timeout=SOON)


def _comes_to_contain(locator, text):
    try:
        expect(locator).to_contain_text(text, timeout=SOON)
    except AssertionError:
        return False
    return True


def test_a_devices_timeline_goes_on(open_page, still):
    page = marked(live(open_page("/devices/cam-001/", "owner")))
    still(op="set", key=CAMERA, fields={"recording": True})
    expect(page.locator("[data-timeline] li").first).to_contain_text("Recording", timeout=SOON)
    expect(field(page, "recording")).to_have_text("Recording", timeout=SOON)
    assert_not_reloaded(page)


@pytest.mark.feature("S4.9")
def test_licence_plan_and_settings_change_on_the_organisation_page(open_page, still):
    key = "organization/org-aurora"
    page = marked(live(open_page("/organization/", "owner")))
    try:
        still(op="set", key=key, fields={"licensePhase": "NoticePeriod"})
        expect(field(page, "licensePhase", key)).to_have_text("Notice period", timeout=SOON)
        still(op="set", key=key, fields={"isFreePlan": True})
        expect(field(page, "isFreePlan", key)).to_have_text("Free plan", timeout=SOON)
        still(op="set", key=key, fields={"AIControlSetting": {"nightWatch": True}})
        expect(field(page, "AIControlSetting", key)).to_contain_text("Night watch Yes", timeout=SOON)
        assert_not_reloaded(page)
    finally:
        still(op="set", key=key, fields={"licensePhase": "Valid", "isFreePlan": False})


@pytest.mark.feature("S1.10")
def test_what_changed_while_the_browser_was_offline_is_there_when_it_is_back(open_page, still):
    page = marked(live(open_page("/devices/", "owner")))
    page.context.set_offline(True)
    page.evaluate("dispatchEvent(new Event('offline'))")
    expect(pill(page)).to_have_text(re.compile("Offline since|Reconnecting"), timeout=SOON)
    expect(page.locator("[data-freshness]").first).to_have_text("Browser offline", timeout=SOON)
    still(op="set", key=CAMERA, fields={"online": False})
    page.context.set_offline(False)
    live(page)
    expect(field(page, "online")).to_have_text("Offline", timeout=SOON)
    assert_not_reloaded(page)
    open_page.errors[:] = [error for error in open_page.errors if "ERR_INTERNET_DISCONNECTED" not in error]


@pytest.mark.feature("S1.3")
def test_with_websockets_blocked_the_page_is_live_all_the_same(open_page, still):
    blocked = "window.WebSocket = class { constructor() { throw new Error('blocked') } }"
    page = open_page("/connection/", "owner")
    page.context.add_init_script(blocked)
    page.goto("/devices/")
    expect(pill(page)).to_have_text("Live over SSE", timeout=30_000)
    marked(page)
    still(op="set", key=CAMERA, fields={"online": False})
    expect(field(page, "online")).to_have_text("Offline", timeout=SOON)
    assert_not_reloaded(page)


@pytest.mark.feature("S4.12")
def test_while_ones_own_link_is_cut_every_row_says_so_and_then_is_right(open_page, still, fault):
    page = marked(live(open_page("/devices/", "owner")))
    other = live(open_page("/devices/", "operator"))
    fault(kind="drop", user="owner", **{"for": 4})
    expect(pill(page)).to_have_text(re.compile("Upstream down"), timeout=SOON)
    expect(page.locator("[data-freshness]").first).to_have_text("Upstream down", timeout=SOON)
    still(op="set", key=CAMERA, fields={"online": False})
    expect(field(other, "online")).to_have_text("Offline", timeout=SOON)
    assert field(page, "online").inner_text() == "Online"
    expect(pill(page)).to_have_text("Live", timeout=40_000)
    expect(field(page, "online")).to_have_text("Offline")
    expect(page.locator("[data-freshness]").first).to_have_text("Current")
    assert_not_reloaded(page)


@pytest.mark.feature("S4.14")
def test_whose_membership_ends_sees_nothing_of_it_any_more(open_page, sign_in, still):
    page = live(open_page("/devices/", "viewer"))
    rows = page.locator('tr[data-entity^="device/org-aurora/"]')
    assert rows.count() > 0
    try:
        still(op="role", user="sub-viewer", org="org-aurora", role=None)
        expect(rows).to_have_count(0, timeout=SOON)
    finally:
        still(op="role", user="sub-viewer", org="org-aurora", role="Viewer")
        sign_in.forget("viewer")


@pytest.mark.feature("S4.14")
def test_whose_token_is_revoked_is_signed_out(open_page, demo, still):
    page = open_page("/accounts/login/")
    page.get_by_label("User name").fill("rival")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    live(page)
    LOCAL.post(f"{demo.record['control_url']}/revoke", json={"sub": "sub-rival", "reason": "laptop lost"})
    expect(page.locator("main").get_by_role("alert")).to_contain_text("Sign in", timeout=SOON)
    page.goto("/devices/")
    assert page.get_by_role("heading", name="Sign in").is_visible()


def test_the_theme_is_switched_at_once_and_kept(open_page):
    page = open_page("/", "owner", color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Switch between light and dark").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark


@pytest.mark.feature("S2.4")
def test_an_operator_reconnects_a_link_and_its_page_comes_back_by_itself(open_page, still):
    page = live(open_page("/devices/", "owner"))
    admin = open_page("/admin/realtime/link/", "operator")
    admin.get_by_role("link", name="sub-owner").click()
    admin.get_by_role("button", name="Reconnect").click()
    expect(admin.get_by_text("Asked to reconnect: sub-owner")).to_be_visible()
    still(op="set", key=CAMERA, fields={"online": False})
    expect(field(page, "online")).to_have_text("Offline", timeout=30_000)
    live(page)


@pytest.mark.feature("S2.13")
def test_an_operator_sees_a_link_fall_and_rise(open_page, still, fault):
    live(open_page("/devices/", "owner"))
    admin = open_page("/admin/realtime/link/", "operator")
    admin.get_by_role("link", name="sub-owner").click()
    lit = admin.locator(".node.lit")
    expect(lit).to_have_text("open", timeout=SOON)
    fault(kind="drop", user="owner", **{"for": 6})
    expect(lit).to_have_text("backoff", timeout=SOON)
    outcome = admin.locator("[data-refresh=gaps] [data-outcome]").first
    expect(outcome).to_have_text("open")
    expect(lit).to_have_text("open", timeout=40_000)
    expect(outcome).to_have_text(re.compile("repaired|nothing missed"), timeout=SOON)
    expect(admin.locator("[data-refresh=transitions] tbody tr").first).to_contain_text("open")
