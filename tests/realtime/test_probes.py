"""The probes as a load balancer, an operator and a stranger see them."""

import httpx
import pytest

from realtime.health import Health
from realtime.probes import Probes

TOKEN = "t0ken"


async def broken():
    raise OSError("away")


async def ask(probes, path, *, client="127.0.0.1", method="GET", **headers):
    transport = httpx.ASGITransport(probes, client=(client, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as browser:
        return await browser.request(method, path, headers=headers)


async def test_a_process_that_answers_is_alive_whatever_is_away():
    answer = await ask(Probes(Health({"database": broken})), "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})


async def test_ready():
    answer = await ask(Probes(Health({})), "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "problems": {}})


@pytest.mark.feature("S1.16")
async def test_not_ready_says_why():
    answer = await ask(Probes(Health({"database": broken})), "/readyz")
    assert answer.status_code == 503
    assert answer.json()["problems"] == {"database": "OSError: away"}


async def test_answers_are_not_kept_by_anyone_on_the_way():
    assert (await ask(Probes(Health({})), "/readyz")).headers["cache-control"] == "no-store"


async def test_head_has_no_body():
    answer = await ask(Probes(Health({})), "/healthz", method="HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_nothing_can_be_posted():
    assert (await ask(Probes(Health({})), "/healthz", method="POST")).status_code == 405


async def test_metrics_are_for_this_machine():
    answer = await ask(Probes(Health({})), "/metrics")
    assert answer.status_code == 200
    assert "python_info" in answer.text


@pytest.mark.parametrize(
    "asked",
    [
        {"client": "192.0.2.7"},
        {"X-Forwarded-For": "192.0.2.7"},
        {"Forwarded": "for=192.0.2.7"},
    ],
)
async def test_a_stranger_reads_no_metrics_not_even_through_a_proxy_here(asked):
    assert (await ask(Probes(Health({})), "/metrics", **asked)).status_code == 403


async def test_with_a_token_metrics_can_be_read_from_anywhere():
    probes = Probes(Health({}), TOKEN)
    answer = await ask(probes, "/metrics", client="192.0.2.7", Authorization=f"Bearer {TOKEN}")
    assert answer.status_code == 200


@pytest.mark.parametrize("sent", ["", "Bearer ", "Bearer wrong", TOKEN])
async def test_a_wrong_token_is_refused_even_from_this_machine(sent):
    assert (await ask(Probes(Health({}), TOKEN), "/metrics", Authorization=sent)).status_code == 403
