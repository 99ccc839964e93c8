import contextlib

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from realtime.emulator.options import DEFAULT_API_KEY, Fleet, Options
from realtime.emulator.server import Emulator

from .client import Client


@pytest.fixture(scope="session")
def signing_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
async def started(monkeypatch, signing_key):
    """Start emulators with options; all are stopped at the end. Making a key for each would take longest."""
    monkeypatch.setattr(rsa, "generate_private_key", lambda **_: signing_key)
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options):
            options = {"fleet": Fleet(devices=12), **options}
            emulator = Emulator(Options(**options))
            await emulator.start()
            stack.push_async_callback(emulator.stop)
            return emulator

        yield start


@pytest.fixture
def long_seconds(monkeypatch):
    """Let a second last as long as a test, for what is limited by the second."""
    monkeypatch.setattr("realtime.emulator.rate.WINDOW", 3600)


@pytest.fixture
async def emulator(started):
    return await started()


@pytest.fixture
async def http(emulator):
    async with httpx.AsyncClient(base_url=emulator.url, verify=False) as client:
        yield client


@pytest.fixture
def key():
    """The authorization that may do anything."""
    return {"host": "api.test", "x-api-key": DEFAULT_API_KEY}


@pytest.fixture
def token_of(emulator):
    """Give the authorization of a person of the fleet."""

    def give(username, **grant):
        tokens = emulator.api.issuer.grant(f"sub-{username}", username=username, **grant)
        return {"host": "api.test", "Authorization": tokens.access_token}

    return give


@pytest.fixture
async def connect(emulator):
    """Open acknowledged sockets; all are closed at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(auth, **options):
            client = await Client.ready(emulator, auth, **options)
            stack.push_async_callback(client.close)
            return client

        yield connect


@pytest.fixture
def fault(http):
    """Post a fault to the control address."""

    async def post(kind, **about):
        answer = await http.post("/control/faults", json={"kind": kind, **about})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return post
