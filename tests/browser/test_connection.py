"""The page's connection as a person lives with it: restarts, other transports, other tabs, an hour away."""

import os
import re
import signal

import pytest
from playwright.sync_api import expect

from tests.browser.steps import CAMERA, SOON, assert_not_reloaded, field, live, marked, pill
from tests.demo import PASSWORD, until

pytestmark = pytest.mark.browser

CURSOR = "fleetlight.store.cursor()"


def forgive(open_page, *expected):
    """What the browser itself logs of a network that fails is no fault of the page."""
    open_page.errors[:] = [error for error in open_page.errors if not any(word in error for word in expected)]


@pytest.mark.feature("S1.3")
def test_another_transport_goes_on_from_the_same_cursor(open_page, still):
    page = marked(live(open_page("/connection/", "owner")))
    before = page.evaluate(CURSOR)
    page.get_by_role("button", name="Use another transport").click()
    expect(pill(page)).to_have_text("Live over SSE", timeout=SOON)
    assert page.evaluate(CURSOR) == before
    assert page.evaluate("fleetlight.connection.status().resyncs") == {}
    page.get_by_role("button", name="Use another transport").click()
    expect(pill(page)).to_have_text("Live", timeout=SOON)
    assert page.evaluate("fleetlight.connection.status().resyncs") == {}
    assert_not_reloaded(page)


@pytest.mark.feature("S1.3")
def test_a_page_climbs_back_to_the_websocket_when_that_works_again(open_page, still):
    page = open_page("/connection/", "owner")
    page.context.add_init_script("""
        const Real = window.WebSocket;
        window.WebSocket = class extends Real {
          constructor(url) {
            if (!window.unblocked) throw new Error("blocked");
            super(url);
          }
        };
    """)
    page.goto("/devices/")
    expect(pill(page)).to_have_text("Live over SSE", timeout=SOON)
    marked(page)
    page.evaluate("window.unblocked = true")
    expect(pill(page)).to_have_text("Live", timeout=40_000)
    still(op="set", key=CAMERA, fields={"online": False})
    expect(field(page, "online")).to_have_text("Offline", timeout=SOON)
    assert page.evaluate("fleetlight.connection.status().connection.reconnects") == 1
    assert_not_reloaded(page)


@pytest.mark.feature("S1.9")
@pytest.mark.faults
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_restart_of_the_web_process_is_survived_without_a_reload(open_page, demo, still, how):
    page = marked(live(open_page("/devices/", "owner")))
    before = demo.parts["web"]
    os.kill(before, how)
    still(op="set", key=CAMERA, fields={"online": False})
    until(lambda: demo.parts["web"] not in (None, before), "the restart of web")
    live(page)
    expect(field(page, "online")).to_have_text("Offline", timeout=SOON)
    assert page.evaluate("fleetlight.connection.status().resyncs") == {}
    assert_not_reloaded(page)
    forgive(open_page, "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE")


def test_my_connection_says_which_transport_and_why(open_page, still):
    page = live(open_page("/connection/", "owner"))
    card = page.locator("[data-connection]")
    expect(card.locator("[data-connection-state]")).to_have_text("Connected")
    expect(card.locator("[data-connection-transport]")).to_have_text("WebSocket")
    expect(card.locator("[data-connection-cursor]")).to_have_text(re.compile(r"user\.\d+:[0-9a-f]{16}:\d+"))


def test_signing_out_in_one_tab_ends_what_the_others_show(open_page):
    page = open_page("/accounts/login/")
    page.get_by_label("User name").fill("rival")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    live(page)
    other = page.context.new_page()
    other.goto("/devices/")
    live(other)
    other.get_by_role("button", name="Sign out").click()
    expect(page.locator("main").get_by_role("alert")).to_contain_text("You signed out in another tab", timeout=SOON)
    expect(page.locator("main [data-entity]")).to_have_count(0)


def hide(page, hidden):
    """Put another window over the page, or take it away."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


@pytest.mark.feature("S3.8")
def test_a_hidden_page_is_right_within_a_moment_of_being_shown(open_page, still):
    page = marked(live(open_page("/devices/", "owner")))
    hide(page, True)
    still(op="set", key=CAMERA, fields={"online": False})
    hide(page, False)
    expect(field(page, "online")).to_have_text("Offline", timeout=SOON)
    assert_not_reloaded(page)


def test_a_hidden_stream_gives_its_connection_back_and_goes_on_when_it_is_looked_at(open_page, still):
    page = live(open_page("/connection/", "owner"))
    page.get_by_role("button", name="Use another transport").click()
    expect(pill(page)).to_have_text("Live over SSE", timeout=SOON)
    expect(page.locator("[data-connection-state]")).to_have_text("Connected")
    remembered = "(localStorage.getItem('fleetlight.transport') ?? '').startsWith('sse@')"
    until(lambda: page.evaluate(remembered), "the memory of what worked")
    page.clock.install()
    page.goto("/devices/")
    expect(pill(page)).to_have_text("Live over SSE", timeout=SOON)
    hide(page, True)
    page.clock.fast_forward(31_000)
    assert page.evaluate("fleetlight.connection.state()") == "closed"
    still(op="set", key=CAMERA, fields={"online": False})
    hide(page, False)
    expect(field(page, "online")).to_have_text("Offline", timeout=SOON)
    assert page.evaluate("fleetlight.connection.status().resyncs") == {}
