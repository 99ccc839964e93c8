"""Fixtures for all tests."""

from pathlib import Path
from urllib.parse import urlsplit

import hypothesis
import pytest
from django.conf import settings

from tests.demo import DemoProcess
from tests.valkey import ValkeyServer

PRODUCTS = ("tests/browser", "tests/faults", "tests/integration")
"""Folders whose tests run whole products, which take longest and can't do with much less than a machine."""

# Speed is measured by the bench: an example that takes long on a busy machine is no failure.
hypothesis.settings.register_profile(
    "fleetlight", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("fleetlight")


def needs_product(nodeid):
    return nodeid.startswith(PRODUCTS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with what takes longest."""
    items.sort(key=lambda item: not needs_product(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where several processes share the tests, one of them runs all products, and those of a file stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "products" if needs_product(nodeid) else nodeid.partition("::")[0]

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
