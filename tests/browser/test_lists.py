"""Lists as one works with them: searched, filtered and sorted in the browser, by hand and by keyboard, and right
while the fleet goes on."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.steps import CAMERA, SOON, assert_not_reloaded, live, marked
from tests.demo import until

pytestmark = pytest.mark.browser

ROWS = "[data-rows=device] tbody tr:not([hidden])"


def shown(page):
    return page.locator('[data-count="shown"]')


def total(page):
    return int(page.locator('[data-count="devices"]').inner_text())


def sites(page):
    return page.locator(f'{ROWS} [data-field="siteId"]').all_text_contents()


def names(page):
    return page.locator(f'{ROWS} [data-field="name"]').all_text_contents()


def test_a_search_narrows_as_one_types_and_stands_in_the_address(open_page, still):
    page = marked(live(open_page("/devices/", "owner")))
    everything = total(page)
    page.get_by_label("Search").fill("CAM-001")
    expect(shown(page)).to_have_text("1")
    expect(page.locator(ROWS)).to_have_count(1)
    assert re.search(r"\?q=CAM-001(&|$)", page.url)
    page.get_by_label("Search").fill("")
    expect(shown(page)).to_have_text(str(everything))
    expect(page.locator(ROWS)).to_have_count(everything)
    assert_not_reloaded(page)


def test_nothing_found_is_said(open_page, still):
    page = live(open_page("/devices/", "owner"))
    page.get_by_label("Search").fill("no such thing")
    expect(page.get_by_text("Nothing you may see fits this search.")).to_be_visible()
    page.get_by_label("Search").fill("")
    expect(page.get_by_text("Nothing you may see fits this search.")).to_have_count(0)


def test_a_device_leaves_and_enters_a_filtered_list_as_it_changes(open_page, still):
    page = marked(live(open_page("/devices/?status=online", "owner")))
    row = page.locator(f'{ROWS}[data-entity="{CAMERA}"]')
    expect(row).to_have_count(1, timeout=SOON)
    still(op="set", key=CAMERA, fields={"online": False})
    expect(row).to_have_count(0, timeout=SOON)
    still(op="set", key=CAMERA, fields={"online": True})
    expect(row).to_have_count(1, timeout=SOON)
    assert_not_reloaded(page)


def test_a_page_that_the_server_filtered_shows_all_once_the_filter_is_gone(open_page, still):
    still(op="set", key=CAMERA, fields={"online": False})
    page = marked(live(open_page("/devices/?status=offline", "owner")))
    expect(page.locator(ROWS).first).to_be_visible()
    everything = total(page)
    page.get_by_label("State", exact=True).select_option("")
    expect(page.locator(ROWS)).to_have_count(everything, timeout=SOON)
    assert set(page.locator(f'{ROWS} [data-field="name"]').all_text_contents()).isdisjoint({"—", ""})
    assert_not_reloaded(page)


def test_the_list_is_sorted_at_once_and_the_order_stands_in_the_address(open_page, still):
    page = marked(live(open_page("/devices/", "owner")))
    by_name = names(page)
    page.get_by_label("Sort by").select_option("site")
    expect(page).to_have_url(re.compile("sort=site"))
    until(lambda: sites(page) == sorted(sites(page)) and names(page) != by_name, "the order by site")
    page.get_by_label("Sort by").select_option("name")
    expect(page.locator(f'{ROWS} [data-field="name"]').first).to_have_text(by_name[0])
    assert names(page) == by_name
    assert_not_reloaded(page)


def test_a_new_device_gets_its_row_and_a_revoked_one_loses_it(open_page, still):
    page = marked(live(open_page("/devices/", "owner")))
    before = total(page)
    added = {"orgId": "org-aurora", "deviceId": "cam-new", "name": "Brand new camera", "siteId": "site-1"}
    row = page.locator(f'{ROWS}[data-entity="device/org-aurora/cam-new"]')
    still(op="add-device", device=added)
    try:
        still(op="set", key="device/org-aurora/cam-new", fields={"online": True})
        expect(row).to_contain_text("Brand new camera", timeout=SOON)
        expect(row).to_contain_text("Online", timeout=SOON)
        expect(row.locator("[data-freshness]")).to_have_text("Current", timeout=SOON)
        expect(page.locator('[data-count="devices"]')).to_have_text(str(before + 1))
        assert row.get_by_role("link").get_attribute("href") == "/devices/org-aurora/cam-new/"
        assert_not_reloaded(page)
    finally:
        still(op="remove-device", device="device/org-aurora/cam-new")


def test_the_keyboard_searches_walks_opens_and_goes(open_page, still):
    page = live(open_page("/devices/", "owner"))
    page.keyboard.press("/")
    page.keyboard.type("camera")
    assert page.get_by_label("Search").input_value() == "camera"
    page.keyboard.press("Tab")
    page.get_by_label("Search").evaluate("field => field.blur()")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    first = page.locator(f"{ROWS} [data-link]").first
    expect(first).to_be_focused()
    address = first.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{address}")
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/devices/")


def test_the_keyboards_help_keeps_the_focus_and_gives_it_back(open_page, still):
    page = live(open_page("/devices/", "owner"))
    page.keyboard.press("j")
    before = page.evaluate("document.activeElement.getAttribute('href')")
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="Keyboard")
    expect(help_).to_be_visible()
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    expect(help_).to_have_count(0)
    assert page.evaluate("document.activeElement.getAttribute('href')") == before
