"""Every page, at two widths and in two themes: nothing serious for axe, no error in the console, nothing cut off."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import DESKTOP, PHONE

pytestmark = pytest.mark.browser

VIEWERS = ["/", "/devices/", "/devices/cam-001/", "/archives/", "/organization/", "/connection/"]
OPERATORS = ["/admin/", "/admin/realtime/link/", "/admin/realtime/gap/", "/admin/realtime/worker/"]
PAGES = [
    (None, "/accounts/login/"),
    *(("owner", page) for page in VIEWERS),
    *(("operator", page) for page in OPERATORS),
]
SIZES = {"desktop": DESKTOP, "phone": PHONE}


def serious(page):
    """What axe finds that keeps somebody from using the page."""
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['help']} at {[node['target'] for node in violation['nodes']][:5]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]


def sideways(page):
    """By how many pixels the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("who", "address"), PAGES)
def test_a_page_can_be_used_by_everybody(open_page, who, address, size, theme):
    page = open_page(address, who, SIZES[size], color_scheme=theme)
    assert serious(page) == []
    assert sideways(page) == 0


@pytest.mark.parametrize("size", SIZES)
def test_a_links_page_can_be_used_by_everybody(open_page, size):
    page = open_page("/admin/realtime/link/", "operator", SIZES[size])
    page.get_by_role("link", name="sub-operator").click()
    page.get_by_role("heading", name="Link of sub-operator").wait_for()
    assert serious(page) == []
    assert sideways(page) == 0


def test_what_is_not_there_is_said_in_the_look_of_the_site(open_page):
    page = open_page("/devices/nobody/", "viewer")
    assert page.get_by_role("heading", name="There is nothing here for you").is_visible()
    assert serious(page) == []
    open_page.errors[:] = [error for error in open_page.errors if "404" not in error]


def test_the_keyboard_reaches_the_content_first(open_page):
    page = open_page("/devices/", "owner")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_without_a_script_the_page_is_right_and_says_that_it_is_not_live(open_page):
    page = open_page("/devices/", "owner", java_script_enabled=False)
    assert re.fullmatch(r"As of \d\d:\d\d:\d\d UTC, not live", page.locator("[data-pill-text]").inner_text())
    page.get_by_label("State", exact=True).select_option("online")
    page.get_by_role("button", name="Show").click()
    rows = page.locator("[data-rows] tbody tr")
    assert rows.count() > 0
    assert set(rows.locator('[data-field="online"]').all_text_contents()) == {"Online"}


def test_without_a_script_one_can_sign_out(open_page):
    page = open_page("/accounts/login/", java_script_enabled=False)
    page.get_by_label("User name").fill("rival")
    page.get_by_label("Password").fill("fleetlight")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").click()
    assert page.get_by_role("heading", name="Sign in").is_visible()
