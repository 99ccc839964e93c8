"""The embedded server as the rest of the code relies on it."""

import pytest


def test_listens_on_the_configured_address(valkey, settings):
    with valkey.client() as client:
        assert client.ping()
        assert client.config_get("unixsocket")["unixsocket"] == settings.REDIS_URL.removeprefix("unix://")


def test_opens_no_network_port(valkey):
    with valkey.client() as client:
        assert client.config_get("port")["port"] == "0"


def test_refuses_writes_rather_than_forgetting_something_else(valkey):
    with valkey.client() as client:
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"


@pytest.mark.faults
async def test_is_empty_after_a_crash(valkey):
    with valkey.client() as client:
        client.set("written", "before")
    await valkey.restart()
    with valkey.client() as client:
        assert client.get("written") is None
