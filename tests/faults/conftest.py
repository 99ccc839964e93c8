"""One stack for all faults: a test that hurts it leaves it well again."""

from contextlib import ExitStack
from types import SimpleNamespace

import pytest

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


@pytest.fixture
def people(stack):
    """`viewer`, `owner` and `rival` with an open page each, and links that are live."""
    with ExitStack() as exits:
        pages = {}
        for name in ("viewer", "owner", "rival"):
            client = exits.enter_context(stack.sign_in(name))
            pages[name] = exits.enter_context(LiveBrowser(client))
        for name in pages:
            until(lambda name=name: stack.is_live(f"sub-{name}"), f"{name}'s link", REST_DEADLINE)
        yield SimpleNamespace(**pages)


@pytest.fixture
def assert_nothing_lost(stack, people):
    """Give the check that ends a test: at rest, browser = database = source, and the ledger is complete."""

    def check(**pages):
        with stack.at_rest():
            for name, page in (pages or vars(people)).items():
                until(lambda name=name: stack.is_live(f"sub-{name}"), f"the repair of {name}'s link", REST_DEADLINE)
                _agree(stack, name, page)
            subs = [f"sub-{name}" for name in (pages or vars(people))]
            until(lambda: not unaccounted(stack, subs), "a complete ledger", 5)

    return check


def _agree(stack, name, page):
    """Wait until the page, the database and the source say the same."""

    def views():
        recorded = page.client.get("/live/snapshot/").json()["entities"]
        recorded = {key: {field: fact[0] for field, fact in fields.items()} for key, fields in recorded.items()}
        return page.values(), recorded, truth_of(stack.truth(f"sub-{name}"))

    def agree():
        seen, recorded, truth = views()
        return seen == recorded and shared(recorded) == truth

    try:
        until(agree, "agreement", REST_DEADLINE)
    except AssertionError:
        seen, recorded, truth = views()
        assert seen == recorded
        assert shared(recorded) == truth
