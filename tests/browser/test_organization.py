"""A person of two organisations, in several tabs: a switch in one is a switch in all, and none is loaded again."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE
from tests.browser.steps import CAMERA, SOON, assert_not_reloaded, field, live, marked
from tests.browser.test_pages import serious, sideways
from tests.demo import look_at, until

pytestmark = [pytest.mark.browser, pytest.mark.feature("S4.5")]

QUAY = "device/org-borealis/cam-001"
PAGES = ["/", "/devices/", "/archives/", "/organization/", "/connection/"]
ENTITIES = "fleetlight.store.entities()"
SNAPSHOT = "fetch('/live/snapshot/').then((answer) => answer.json()).then(({ entities }) => entities)"
CONTENT = """() => [...document.querySelectorAll("main [data-entity] [data-field]")].map((node) =>
  [node.closest("[data-entity]").dataset.entity, node.dataset.field, node.textContent].join(" "))"""


def menu(page):
    return page.locator("[data-switcher] summary")


def choose(page, name):
    menu(page).click()
    page.get_by_role("button", name=name).click()
    shows(page, name)


def shows(page, name):
    expect(page.locator(".switcher-name")).to_have_text(name, timeout=SOON)


def values(page, entities):
    """What is so, without the versions: a snapshot that finds nothing new is no news to browsers."""
    found = page.evaluate(entities)
    return {key: {name: value[0] for name, value in fields.items()} for key, fields in found.items()}


@pytest.fixture(scope="module", autouse=True)
def aurora(demo):
    """Aurora is active to begin with."""
    with demo.sign_in("manager") as client:
        look_at(client, "org-aurora")


@pytest.fixture
def back(open_page):
    """However the test ends, Aurora is active again: the person is shared."""
    yield
    page = open_page("/", "manager")
    if page.locator(".switcher-name").inner_text() != "Aurora Logistics":
        choose(page, "Aurora Logistics")


@pytest.mark.parametrize("address", PAGES)
def test_another_tab_follows_and_equals_one_that_was_just_loaded(open_page, still, back, address):
    other = marked(live(open_page(address, "manager")))
    page = live(open_page("/devices/", "manager"))
    choose(page, "Borealis Retail")
    shows(other, "Borealis Retail")
    expect(other.get_by_text("You are looking at Borealis Retail now")).to_be_visible(timeout=SOON)
    live(other)
    fresh = live(open_page(address, "manager"))
    until(lambda: values(other, ENTITIES) == values(other, SNAPSHOT), "the state that the server tells", 15)
    if address != "/connection/":  # which tells of the tab's own connection
        until(lambda: other.evaluate(CONTENT) == fresh.evaluate(CONTENT), "the same content in both tabs", 15)
    assert not [key for key in other.evaluate(ENTITIES) if key.startswith(("device/org-aurora", "archive/org-aurora"))]
    assert_not_reloaded(other)


def test_after_a_switch_the_active_organisations_changes_are_shown_and_the_others_are_not(open_page, still, back):
    other = marked(live(open_page("/devices/", "manager")))
    still(op="set", key=QUAY, fields={"online": True})
    choose(live(open_page("/", "manager")), "Borealis Retail")
    shows(other, "Borealis Retail")
    live(other)
    expect(field(other, "online", QUAY)).to_have_text("Online", timeout=SOON)
    still(op="set", key=CAMERA, fields={"online": False})
    still(op="set", key=QUAY, fields={"online": False})
    expect(field(other, "online", QUAY)).to_have_text("Offline", timeout=SOON)
    assert CAMERA not in other.evaluate(ENTITIES)
    assert_not_reloaded(other)
    choose(other, "Aurora Logistics")
    expect(field(other, "online")).to_have_text("Offline", timeout=SOON)


def test_switches_back_and_forth_under_traffic_end_with_the_same_state_in_all_tabs(open_page, world, back):
    other = marked(live(open_page("/devices/", "manager")))
    page = live(open_page("/", "manager"))
    try:
        world(op="rate", rate=60)
        for name in ("Borealis Retail", "Aurora Logistics") * 3 + ("Borealis Retail",):
            choose(page, name)
    finally:
        world(op="rate", rate=10)
        world(op="pause")
    try:
        shows(other, "Borealis Retail")
        live(other)
        live(page)
        fresh = live(open_page("/devices/", "manager"))
        until(lambda: values(other, ENTITIES) == values(other, SNAPSHOT), "the state that the server tells", 15)
        until(lambda: other.evaluate(CONTENT) == fresh.evaluate(CONTENT), "the same content in both tabs", 15)
        assert_not_reloaded(other)
    finally:
        world(op="resume")


def test_the_switch_is_a_row_in_the_ledger_that_is_closed_before_ones_eyes(open_page, still, back, fault):
    page = live(open_page("/connection/", "manager"))
    other = marked(live(open_page("/connection/", "manager")))
    fault(kind="snapshot-down", user="manager")
    choose(page, "Borealis Retail")
    for tab in (marked(page), other):
        row = tab.locator("table[aria-label=Gaps] tbody tr").first
        expect(row).to_contain_text("Organisation switched", timeout=SOON)
        expect(row.locator("[data-outcome]")).to_have_text("Open", timeout=SOON)
    fault.clear()
    for tab in (page, other):
        outcome = tab.locator("table[aria-label=Gaps] [data-outcome]").first
        expect(outcome).to_have_text(re.compile("Repaired|Nothing missed"), timeout=40_000)
        assert_not_reloaded(tab)


def test_what_somebody_types_in_another_tab_is_kept(open_page, still, back):
    other = marked(live(open_page("/devices/", "manager")))
    other.get_by_label("Search").fill("cam-001")
    choose(live(open_page("/", "manager")), "Borealis Retail")
    shows(other, "Borealis Retail")
    expect(other.locator("[data-rows=device] tbody tr:not([hidden])")).to_have_count(1)
    expect(field(other, "name", QUAY)).to_be_visible()
    expect(other.get_by_label("Search")).to_be_focused()
    assert other.get_by_label("Search").input_value() == "cam-001"
    assert_not_reloaded(other)


@pytest.mark.parametrize("address", ["/devices/org-aurora/cam-001/", "/devices/cam-001/"])
def test_a_devices_page_says_that_it_is_another_organisations(open_page, still, back, address):
    """Borealis has a device of that id too: nobody may take it for Aurora's."""
    other = marked(live(open_page(address, "manager")))
    choose(live(open_page("/", "manager")), "Borealis Retail")
    expect(other.get_by_role("heading", name="This device belongs to Aurora Logistics")).to_be_visible(timeout=SOON)
    assert_not_reloaded(other)
    assert other.url.endswith("/devices/org-aurora/cam-001/")
    other.get_by_role("button", name="Switch to Aurora Logistics").click()
    expect(field(other, "online")).to_be_visible(timeout=SOON)
    shows(other, "Aurora Logistics")


def test_the_keyboard_opens_chooses_and_leaves(open_page, still, back):
    page = live(open_page("/", "manager"))
    menu(page).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Borealis Retail")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Borealis Retail")).to_be_hidden()
    expect(menu(page)).to_be_focused()
    for key in ("Enter", "Tab", "Tab", "Enter"):
        page.keyboard.press(key)
    shows(page, "Borealis Retail")


def test_without_a_script_one_can_switch(open_page, back):
    page = open_page("/archives/", "manager", java_script_enabled=False)
    choose(page, "Borealis Retail")
    assert page.url.endswith("/archives/")


def test_who_belongs_to_one_organisation_is_offered_no_switch(open_page):
    assert menu(open_page("/", "owner")).count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1440, 900), (900, 700), PHONE, (320, 640)])
def test_the_switcher_can_be_used_by_everybody(open_page, size, theme):
    page = open_page("/", "manager", size, color_scheme=theme)
    menu(page).click()
    assert serious(page) == []
    assert sideways(page) == 0
    box = page.locator("[data-switcher] form").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size[0]
