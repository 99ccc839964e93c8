"""Fixtures for all tests."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from tests.demo import DemoProcess
from tests.valkey import ValkeyServer


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
