"""Fixtures for all tests."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from tests.demo import DemoProcess
from tests.valkey import ValkeyServer

PRODUCTS = {"tests/browser": "demo", "tests/integration": "demo", "tests/faults": "stack"}
"""Folders, and the running product that their tests share: they take longest, and mostly wait."""


def product_of(nodeid):
    return PRODUCTS.get("/".join(nodeid.split("/")[:2]))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with what takes longest."""
    items.sort(key=lambda item: product_of(item.nodeid) is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share the tests, those of one product stay together, and those of one file."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return product_of(nodeid) or nodeid.partition("::")[0]

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def valkey_server():
    """The server at the address that the settings name."""
    server = ValkeyServer(Path(urlsplit(settings.REDIS_URL).path))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(valkey_server):
    """A running, empty Valkey at the configured address. A test may kill and restart it."""
    if valkey_server.process.poll() is not None:
        valkey_server.start()
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The whole product, running; shared, so a test that hurts it must leave it well again."""
    process = DemoProcess(tmp_path_factory.mktemp("demo") / "var", "--devices", "60", "--rate", "10")
    process.start_and_wait()
    yield process
    process.stop()
