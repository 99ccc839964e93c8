"""Chromium, people who are signed in, and the world behind the emulator, for tests that look at the pages."""

import pytest
from playwright.sync_api import sync_playwright

from tests import chromium as installed
from tests.browser.steps import CAMERA
from tests.demo import LOCAL, PASSWORD

DESKTOP, PHONE = (1440, 900), (390, 844)


@pytest.fixture(scope="package")
def chromium():
    """The system's Chromium. It is closed with this package, as its event loop would be in the way of others."""
    path = installed.path()
    if path is None:
        pytest.fail("The browser tests need Chromium: `sudo apt-get install chromium`, or `make chromium` as root.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=installed.ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def sign_in(chromium, demo):
    """Sign somebody in through the form, once; returns what a new browser context needs to be that person.

    A test that ends somebody's sessions calls ``sign_in.forget(username)``.
    """
    states = {}

    def state_of(username):
        if username not in states:
            context = chromium.new_context(base_url=demo.address)
            page = context.new_page()
            page.goto("/")
            page.get_by_label("User name").fill(username)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url("**/")
            # What this person may see comes from upstream; a page that was empty renders itself anew.
            page.locator('.cell[data-entity^="device/"]').first.wait_for(state="attached", timeout=30_000)
            states[username] = context.storage_state()
            context.close()
        return states[username]

    state_of.forget = states.pop
    return state_of


@pytest.fixture
def open_page(chromium, demo, sign_in):
    """Open an address as somebody; whatever the page logged as an error fails the test at its end."""
    contexts, errors = [], []

    def opened(address, username=None, size=DESKTOP, **options):
        context = chromium.new_context(
            base_url=demo.address,
            viewport={"width": size[0], "height": size[1]},
            storage_state=sign_in(username) if username else None,
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: errors.append(f"{page.url}: {error}"))
        page.on("console", lambda said: said.type == "error" and errors.append(f"{page.url}: {said.text}"))
        page.goto(address)
        return page

    opened.errors = errors
    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def world(demo):
    """Change the world behind the emulator, as the devices would."""

    def change(**operation):
        answer = LOCAL.post(f"{demo.record['control_url']}/world", json=operation)
        assert answer.is_success, answer.text

    return change


@pytest.fixture
def still(world):
    """The fleet stands still, so that only what the test does happens; it moves on afterwards."""
    world(op="pause")
    world(op="set", key=CAMERA, fields={"online": True, "recording": False, "fwUpdateState": "Idle"})
    yield world
    world(op="resume")


@pytest.fixture
def fault(demo):
    """Let the emulator misbehave until the end of the test, or until it calls ``fault.clear()``."""
    address = f"{demo.record['control_url']}/faults"

    def begin(**fault):
        LOCAL.post(address, json=fault).raise_for_status()

    begin.clear = lambda: LOCAL.delete(address).raise_for_status()
    yield begin
    begin.clear()
