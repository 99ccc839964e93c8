"""The Chromium that tests and bench drive: the system's own."""

import shutil

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The shell is first: without windows of a desktop around each page it takes a third less of the machine."""

ARGUMENTS = ["--no-sandbox", "--disable-gpu"]


def path() -> str | None:
    """Return where it is, if it is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)
