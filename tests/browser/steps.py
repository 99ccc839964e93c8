"""What the tests that live on a page have in common: one camera, and the words for what a person sees."""

import re

from playwright.sync_api import expect

CAMERA = "device/org-aurora/cam-001"
SOON = 15_000  # ms; a deadline, not what it takes


def field(page, name, key=CAMERA):
    return page.locator(f'main [data-entity="{key}"] [data-field="{name}"]').first


def pill(page):
    return page.locator("[data-pill-text]")


def live(page):
    """Wait until the page says that it is live and current."""
    expect(pill(page)).to_have_text(re.compile("^Live"), timeout=SOON)
    return page


def marked(page):
    """Mark the document, to see later that it was not loaded again."""
    page.evaluate("document.body.dataset.marked = 'yes'")
    return page


def assert_not_reloaded(page):
    assert page.evaluate("document.body.dataset.marked") == "yes"
