"""Upgrades: who gets in, by which carrier, and what those who don't are told."""

import asyncio
import contextlib
import ssl

import httpx
import pytest
import websockets

from realtime.emulator.faults import FaultError
from realtime.emulator.options import Auth, Fleet, Limits, Options
from realtime.emulator.server import Emulator
from realtime.emulator.world import Set
from tests.certificates import Authority

from .client import Client, encoded


async def refused(emulator, path="/event/realtime", **options):
    """Return the HTTP response that an upgrade got instead of a socket."""
    with pytest.raises(websockets.InvalidStatus) as error:
        await websockets.connect(f"ws://127.0.0.1:{emulator.port}{path}", **options)
    return error.value.response


DIALECTS = {"aws-appsync-event-ws": "/event/realtime", "graphql-ws": "/graphql/realtime"}
in_both_dialects = pytest.mark.parametrize("dialect", DIALECTS)


def url_of(emulator, dialect):
    return f"ws://127.0.0.1:{emulator.port}{DIALECTS[dialect]}"


@in_both_dialects
@pytest.mark.parametrize("order", [1, -1])
async def test_c01_takes_the_two_subprotocols_in_either_order_and_never_selects_the_header(
    emulator, key, dialect, order
):
    subprotocols = [dialect, encoded(key)][::order]
    client = await Client.ready(emulator, key, url=url_of(emulator, dialect), subprotocols=subprotocols)
    assert client.socket.subprotocol == dialect
    await client.close()


async def test_c01_takes_credentials_as_plain_headers_and_in_any_case(emulator, key):
    client = await Client.ready(
        emulator, key, subprotocols=["aws-appsync-event-ws"], additional_headers={"X-Api-Key": key["x-api-key"]}
    )
    await client.close()
    shouting = {name.upper(): value for name, value in key.items()}
    client = await Client.ready(emulator, shouting)
    await client.close()


async def test_takes_a_header_as_long_as_an_identity_provider_makes_it(emulator, key):
    client = await Client.ready(emulator, {**key, "padding": "x" * 5000})
    await client.close()


async def test_refuses_an_upgrade_without_credentials_over_http(emulator):
    response = await refused(emulator, subprotocols=["aws-appsync-event-ws"])
    assert response.status_code == 401
    assert response.headers["x-amzn-errortype"] == "UnauthorizedException"


@pytest.mark.parametrize("path", ["/event", "/", "/event/realtime/more"])
async def test_refuses_an_upgrade_elsewhere_over_http(emulator, key, path):
    response = await refused(emulator, path, subprotocols=["aws-appsync-event-ws", encoded(key)])
    assert response.status_code == 400


@pytest.mark.parametrize("auth", [{"x-api-key": "da2-wrong"}, {"Authorization": "nonsense"}, {"host": "api.test"}])
async def test_tells_bad_credentials_in_a_frame_and_then_closes(emulator, auth):
    client = await Client.open(emulator, auth)
    await client.send(type="connection_init")
    frame = await client.expect(type="connection_error")
    assert frame["errors"][0]["errorType"] == "UnauthorizedException"
    assert frame["errors"][0]["errorCode"] == 401
    assert await client.closed() == 1000


@in_both_dialects
async def test_bad_credentials_and_no_good_ones_can_be_refused_over_http(started, key, dialect):
    emulator = await started(auth=Auth(refuses_upgrade=True))
    offered = [dialect, encoded({"x-api-key": "da2-wrong"})]
    response = await refused(emulator, DIALECTS[dialect], subprotocols=offered)
    assert (response.status_code, response.headers["x-amzn-errortype"]) == (401, "UnauthorizedException")
    url = url_of(emulator, dialect)
    await (await Client.ready(emulator, key, url=url, subprotocols=[dialect, encoded(key)])).close()


async def test_tells_bad_credentials_also_to_a_client_that_never_speaks(emulator):
    client = await Client.open(emulator, {"x-api-key": "da2-wrong"})
    await client.expect(type="connection_error")
    assert await client.closed() == 1000


@in_both_dialects
@pytest.mark.parametrize(
    ("offered", "word"), [(["graphql-transport-ws"], "SubProtocolNotSupportedError"), (None, "NoProtocolError")]
)
async def test_c01_names_a_missing_or_unknown_subprotocol_in_a_frame(emulator, key, dialect, offered, word):
    headers = {"x-api-key": key["x-api-key"]}
    url = url_of(emulator, dialect)
    client = await Client.open(emulator, key, url=url, subprotocols=offered, additional_headers=headers)
    assert client.socket.subprotocol is None
    await client.send(type="connection_init")
    errors = {"errors": [{"message": word, "errorCode": 400}]}
    nested = {"payload": errors} if dialect == "graphql-ws" else errors
    assert await client.receive() == {"type": "connection_error", **nested}
    await client.closed()


async def test_c01_the_subprotocol_of_one_dialect_is_none_of_the_other(emulator, key):
    for dialect, other in zip(DIALECTS, reversed(DIALECTS), strict=True):
        client = await Client.open(emulator, key, url=url_of(emulator, dialect), subprotocols=[other, encoded(key)])
        assert client.socket.subprotocol is None
        await client.send(type="connection_init")
        await client.expect(type="connection_error")
        await client.closed()


async def test_refuses_a_header_that_is_no_json_object(emulator):
    response = await refused(emulator, subprotocols=["aws-appsync-event-ws", "header-bm9uc2Vuc2U"])
    assert response.status_code == 400


@in_both_dialects
async def test_c05_a_connect_takes_only_the_modes_it_is_given(started, key, dialect):
    emulator = await started(auth=Auth(lambda_token="open sesame", modes={"connect": frozenset({"lambda"})}))
    url = url_of(emulator, dialect)
    client = await Client.open(emulator, key, url=url, subprotocols=[dialect, encoded(key)])
    await client.send(type="connection_init")
    await client.expect(type="connection_error")
    await client.closed()
    auth = {"Authorization": "open sesame"}
    await (await Client.ready(emulator, auth, url=url, subprotocols=[dialect, encoded(auth)])).close()


async def test_c05_an_operation_takes_only_the_modes_it_is_given(started, key):
    emulator = await started(auth=Auth(lambda_token="open sesame", modes={"publish": frozenset({"lambda"})}))
    client = await Client.ready(emulator, key)
    await client.publish("/default/a", "1")
    await client.expect(type="publish_error")
    await client.publish("/default/a", "1", auth={"Authorization": "open sesame"})
    await client.expect(type="publish_success")
    await client.close()


async def test_c05_a_namespace_may_take_other_modes_than_the_rest_of_the_api(started, key):
    modes = {"publish": frozenset({"lambda"}), "publish@rooms": frozenset({"api-key"}), "subscribe@rooms": frozenset()}
    emulator = await started(auth=Auth(lambda_token="open sesame", modes=modes), namespaces=("rooms",))
    client = await Client.ready(emulator, key)
    await client.publish("/default/a", "1")
    await client.expect(type="publish_error")
    await client.publish("rooms/a", "1")
    await client.expect(type="publish_success")
    await client.subscribe("/rooms/a")
    await client.expect(type="subscribe_error")
    await client.subscribed("/default/a")
    await client.close()
    async with httpx.AsyncClient(base_url=emulator.url) as http:
        for channel, status in (("/default/a", 401), ("/rooms/a", 200)):
            body = {"channel": channel, "events": ["1"]}
            assert (await http.post("/event", headers=key, json=body)).status_code == status


async def test_c04_the_host_in_the_authorization_is_checked_on_request_only(started, key):
    emulator = await started(auth=Auth(checks_host=True))
    client = await Client.open(emulator, key)
    await client.send(type="connection_init")
    frame = await client.expect(type="connection_error")
    assert frame["errors"][0]["errorType"] == "BadRequestException"
    await client.closed()
    client = await Client.ready(emulator, {**key, "host": f"127.0.0.1:{emulator.port}"})
    await client.close()


async def test_c13_ends_a_socket_at_the_end_of_its_life(started, key):
    emulator = await started(limits=Limits(lifetime_seconds=0.05, lifetime_close_code=1001))
    client = await Client.ready(emulator, key)
    assert await client.closed() == 1001


@pytest.mark.usefixtures("long_seconds")
async def test_new_connections_a_second_are_limited_if_asked_to(started, key):
    emulator = await started(limits=Limits(connections_per_second=1))
    first = await Client.ready(emulator, key)
    second = await Client.open(emulator, key)
    await second.send(type="connection_init")
    error = {"errorType": "LimitExceededError", "message": "Rate limit exceeded", "errorCode": 429}
    assert await second.receive() == {"type": "connection_error", "errors": [error]}
    assert await second.closed() == 1000
    await first.quiet()
    await first.close()


async def test_serves_tls(started, key, tmp_path):
    authority = Authority(tmp_path)
    cert, private = authority.issue()
    emulator = await started(tls_cert=cert, tls_key=private)
    assert emulator.urls["events_realtime_url"].startswith("wss://")
    context = ssl.create_default_context(cafile=authority.file)
    client = await Client.ready(emulator, key, ssl=context)
    await client.close()
    async with httpx.AsyncClient(base_url=emulator.url, verify=context) as http:
        assert (await http.get("/control/stats")).status_code == 200


async def test_stop_closes_every_connection(started, key):
    emulator = await started()
    client = await Client.ready(emulator, key)
    await emulator.stop()
    assert await client.closed() == 1001
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", emulator.port)


async def test_a_taken_port_leaves_the_state_untouched(emulator, tmp_path):
    state = tmp_path / "state"
    other = Emulator(Options(port=emulator.port, state=state, fleet=Fleet(devices=1)))
    with pytest.raises(OSError):
        await other.start()
    await other.stop()
    assert not state.exists()


async def test_a_faults_file_is_read_at_the_start_or_refused(started, tmp_path, key):
    path = tmp_path / "faults.json"
    path.write_text('[{"kind":"refuse","status":429}]')
    emulator = await started(faults=path)
    assert (await refused(emulator, subprotocols=["aws-appsync-event-ws", encoded(key)])).status_code == 429
    path.write_text('[{"kind":"nonsense"}]')
    with pytest.raises(FaultError, match="half-open"), contextlib.suppress(OSError):
        await started(faults=path)


async def test_goes_on_after_a_restart_with_the_same_world_tokens_and_later_times(started, tmp_path):
    state = tmp_path / "state"
    first = await started(state=state, fleet=Fleet(devices=6))
    token = first.api.issuer.grant("sub-viewer").access_token
    for i in range(20):
        first.fleet.carry_out(Set("device/org-aurora/cam-001", {"online": bool(i % 2)}))
    world, last = first.fleet.world, first.fleet.clock.last
    second = await started(state=state)  # the first one was never told to stop
    assert second.fleet.world == world
    assert second.fleet.clock.tick() > last
    assert second.api.issuer.check(token, "access")["sub"] == "sub-viewer"
