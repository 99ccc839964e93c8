"""One stack for all faults: a test that hurts it leaves it well again."""

from contextlib import ExitStack, suppress
from types import SimpleNamespace

import pytest

from realtime.clock import now_us
from tests.demo import until
from tests.faults.browser import LiveBrowser
from tests.faults.stack import Stack, unaccounted
from tests.integration.fleet_model import shared, truth_of

REST_DEADLINE = 30


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture
def stack(shared_stack):
    yield shared_stack
    shared_stack.clear_faults()
    shared_stack.operate("resume")


@pytest.fixture(scope="module")
def people(shared_stack):
    """`viewer`, `owner` and `rival` with an open page each, and links that are live."""
    with ExitStack() as exits:
        pages = {name: exits.enter_context(page_of(shared_stack, name, exits)) for name in ("viewer", "owner", "rival")}
        for name in pages:
            until(lambda name=name: shared_stack.is_live(f"sub-{name}"), f"{name}'s link", REST_DEADLINE)
        yield SimpleNamespace(**pages)


def page_of(stack, username, exits, transport="ws"):
    """Return an open page of a person who has just signed in; ``exits`` ends the sign-in."""
    return LiveBrowser(exits.enter_context(stack.sign_in(username)), transport)


@pytest.fixture
def open_page(stack):
    """Sign somebody in, open a page, and wait until the link is live."""
    with ExitStack() as exits:

        def opened(username, transport="ws"):
            page = exits.enter_context(page_of(stack, username, exits, transport))
            until(lambda: page.connects and stack.is_live(f"sub-{username}"), f"{username}'s link", REST_DEADLINE)
            return page

        yield opened


@pytest.fixture
def assert_nothing_lost(stack):
    """Give the check that ends a test: at rest, page = database = source, and the ledger is complete."""

    def check(**pages):
        with stack.at_rest():
            for name, page in pages.items():
                until(lambda name=name: stack.is_live(f"sub-{name}"), f"the repair of {name}'s link", REST_DEADLINE)
                _agree(stack, name, page)
            subs = [f"sub-{name}" for name in pages]
            with suppress(AssertionError):
                until(lambda: not unaccounted(stack, subs), "a complete ledger", 5)
            lost = unaccounted(stack, subs)
            stack.accounted.update(dict.fromkeys(subs, now_us()))
            assert lost == []

    return check


def _agree(stack, name, page):
    """Wait until the page, the database and the source say the same."""

    def views():
        recorded = page.client.get("/live/snapshot/").json()["entities"]
        recorded = {key: {field: fact[0] for field, fact in fields.items()} for key, fields in recorded.items()}
        return page.values(), recorded, truth_of(stack.truth(f"sub-{name}"))

    def agree():
        seen, recorded, truth = views()
        return seen == recorded and _current(recorded) == truth

    try:
        until(agree, "agreement", REST_DEADLINE)
    except AssertionError:
        seen, recorded, truth = views()
        assert seen == recorded
        assert _current(recorded) == truth


def _current(recorded):
    """Leave out the word of memberships that ended: the source's snapshot does not have them any more."""
    return {key: fields for key, fields in shared(recorded).items() if fields != {"role": None}}
