"""The GraphQL dialect as a client meets it, and with a public client."""

import asyncio
import base64
import json

import gql
import httpx
import pytest
from botocore.credentials import Credentials
from gql.transport.appsync_auth import (
    AppSyncApiKeyAuthentication,
    AppSyncIAMAuthentication,
    AppSyncJWTAuthentication,
)
from gql.transport.appsync_websockets import AppSyncWebsocketsTransport
from gql.transport.exceptions import TransportQueryError, TransportServerError

from realtime.emulator.options import Auth, Limits
from realtime.emulator.world import Set, SetRole

from .client import Client, encoded, eventually

pytestmark = pytest.mark.feature("S4.8")
LOBBY = "device/org-aurora/cam-001"
ON_DEVICE = (
    "subscription On($org: ID!) { onDeviceState(orgId: $org) { orgId deviceId online recording fwUpdateState } }"
)


def start(document=ON_DEVICE, variables=None, auth=None, ident="1"):
    """Return a start message as clients send it."""
    data = json.dumps({"query": document, "variables": variables or {"org": "org-aurora"}})
    return {"type": "start", "id": ident, "payload": {"data": data, "extensions": {"authorization": auth}}}


@pytest.fixture
async def connect(emulator):
    clients = []

    async def connect(auth, path="/graphql/realtime", **options):
        client = await Client.open(
            emulator,
            auth,
            url=f"ws://127.0.0.1:{emulator.port}{path}",
            **{"subprotocols": ["graphql-ws", encoded(auth)], **options},
        )
        clients.append(client)
        await client.send(type="connection_init")
        assert await client.receive() == {"type": "connection_ack", "payload": {"connectionTimeoutMs": 300_000}}
        assert await client.receive() == {"type": "ka"}
        return client

    yield connect
    for client in clients:
        await client.close()


@pytest.mark.parametrize("path", ["/graphql/realtime", "/graphql"])
@pytest.mark.parametrize("carrier", ["subprotocol", "query", "headers"])
async def test_c01_takes_three_carriers_on_both_paths(connect, key, path, carrier):
    options = {"subprotocols": ["graphql-ws"]}
    if carrier == "subprotocol":
        options = {}
    elif carrier == "query":
        path += "?header=" + base64.b64encode(json.dumps(key).encode()).decode() + "&payload=e30="
    else:
        options["additional_headers"] = {"x-api-key": key["x-api-key"]}
    client = await connect(key, path, **options)
    assert client.socket.subprotocol == "graphql-ws"


async def test_a_mutations_result_reaches_the_subscribers_it_concerns(connect, http, key):
    client = await connect(key)
    await client.send(**start(auth=key))
    await client.expect(type="start_ack", id="1")
    document = """mutation M($o: ID!) {
      publishDeviceState(input: {orgId: $o, deviceId: "d", online: false}) { orgId deviceId online } }"""
    for org in ("org-borealis", "org-aurora"):
        answer = await http.post("/graphql", headers=key, json={"query": document, "variables": {"o": org}})
        assert answer.json()["data"]["publishDeviceState"]["online"] is False
    frame = await client.receive()
    assert frame == {
        "id": "1",
        "type": "data",
        "payload": {
            "data": {
                "onDeviceState": {
                    "orgId": "org-aurora",
                    "deviceId": "d",
                    "online": False,
                    "recording": None,
                    "fwUpdateState": None,
                }
            }
        },
    }


@pytest.mark.feature("S4.9")
@pytest.mark.parametrize(
    ("operation", "field", "selection", "data"),
    [
        (Set(LOBBY, {"online": False}), "onDeviceState", "deviceId online recording", ("cam-001", False, None)),
        (
            Set(LOBBY, {"fwUpdateState": "Failed", "progress": 5}),
            "onDeviceState",
            "deviceId fwUpdateState online",
            ("cam-001", "Failed", None),
        ),
        (
            Set("archive/org-aurora/arc-001", {"state": "Failed"}),
            "onArchiveState",
            "archiveId deviceId state",
            ("arc-001", "cam-001", "Failed"),
        ),
        (
            Set("organization/org-aurora", {"licensePhase": "NoticePeriod"}),
            "onOrganizationState",
            "orgId licensePhase isFreePlan",
            ("org-aurora", "NoticePeriod", None),
        ),
        (
            Set("organization/org-aurora", {"AIControlSetting": {"a": 1}}),
            "onOrganizationState",
            "AIControlSetting",
            ('{"a":1}',),
        ),
        (
            SetRole("sub-viewer", "org-aurora", "Admin"),
            "onRoleChange",
            "orgId userId role",
            ("org-aurora", "sub-viewer", "Admin"),
        ),
    ],
)
async def test_the_fleet_is_told_on_five_subscriptions(emulator, connect, key, operation, field, selection, data):
    client = await connect(key)
    document = f'subscription {{ {field}(orgId: "org-aurora") {{ {selection} }} }}'
    await client.send(**start(document, auth=key))
    await client.expect(type="start_ack")
    emulator.fleet.carry_out(operation)
    frame = await client.expect(type="data", id="1")
    assert tuple(frame["payload"]["data"][field].values()) == data


async def test_revoked_tokens_are_told_in_each_of_the_persons_organisations(connect, http, key):
    client = await connect(key)
    await client.send(**start('subscription { onTokenRevoke(orgId: "org-aurora") { userId } }', auth=key))
    await client.expect(type="start_ack")
    await http.post("/control/revoke", json={"sub": "sub-viewer"})
    await http.post("/control/revoke", json={"sub": "stranger"})
    frame = await client.expect(type="data")
    assert frame["payload"]["data"]["onTokenRevoke"] == {"userId": "sub-viewer"}


async def test_a_person_hears_the_own_organisations_only(connect, token_of):
    auth = token_of("rival")
    client = await connect(auth)
    await client.send(**start(auth=auth))
    frame = await client.expect(type="error", id="1")
    assert frame["payload"]["errors"][0]["errorType"] == "Unauthorized"
    await client.send(**start(auth=auth, variables={"org": "org-borealis"}))
    await client.expect(type="start_ack")


async def test_stop_completes_one_subscription_and_no_other(emulator, connect, key):
    client = await connect(key)
    for ident in ("1", "2"):
        await client.send(**start(auth=key, ident=ident))
        await client.expect(type="start_ack", id=ident)
    await client.send(type="stop", id="1")
    await client.expect(type="complete", id="1")
    emulator.fleet.carry_out(Set(LOBBY, {"online": False}))
    await client.expect(type="data", id="2")
    await client.send(type="stop", id="1")
    assert (await client.expect(type="error", id="1"))["payload"]["errors"][0]["errorType"] == "UnknownOperationError"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"payload": {"query": ON_DEVICE}}, "UnsupportedOperation"),
        ({"payload": {"data": "{}", "authorization": {}}}, "UnsupportedOperation"),
        ({"type": "subscribe"}, "UnsupportedOperation"),
        ({"id": "a b"}, "BadRequestException"),
        ({"payload": {"data": "{", "extensions": {"authorization": "KEY"}}}, "BadRequestException"),
        ({"payload": {"data": "{}", "extensions": {"authorization": {"x-api-key": "no"}}}}, "UnauthorizedException"),
    ],
)
async def test_refuses_what_is_no_start(connect, key, change, error):
    if change.get("payload", {}).get("extensions", {}).get("authorization") == "KEY":
        change["payload"]["extensions"]["authorization"] = key
    client = await connect(key)
    await client.send(**{**start(auth=key), **change})
    frame = await client.expect(type="error")
    assert frame["payload"]["errors"][0]["errorType"] == error


async def test_c06_refuses_a_second_use_of_an_id_and_too_many_subscriptions(connect, key):
    client = await connect(key)
    for i in range(200):
        await client.send(**start(auth=key, ident=str(i)))
        await client.expect(type="start_ack")
    for ident, error in (("0", "DuplicatedOperationError"), ("200", "MaxSubscriptionsReachedError")):
        await client.send(**start(auth=key, ident=ident))
        assert (await client.expect(type="error"))["payload"]["errors"][0]["errorType"] == error


async def test_c06_a_taken_id_may_be_given_to_another_subscription_if_asked_to(started, key):
    emulator = await started(limits=Limits(subscriptions=1, replaces_duplicates=True))
    url = emulator.urls["graphql_realtime_url"]
    client = await Client.ready(emulator, key, url=url, subprotocols=["graphql-ws", encoded(key)])
    for org in ("org-borealis", "org-aurora"):
        await client.send(**start(auth=key, variables={"org": org}))
        await client.expect(type="start_ack", id="1")
    emulator.fleet.carry_out(Set(LOBBY, {"online": False}))
    await client.expect(type="data", id="1")
    (session,) = emulator.api.sessions.values()
    assert session.subscriptions() == ["onDeviceState({'orgId': 'org-aurora'})"]
    await client.close()


async def test_c03_ignores_what_comes_before_the_acknowledgement(emulator, key):
    url = f"ws://127.0.0.1:{emulator.port}/graphql/realtime"
    client = await Client.open(emulator, key, url=url, subprotocols=["graphql-ws", encoded(key)])
    await client.send(**start(auth=key))
    await client.send(type="connection_init")
    await client.expect(type="connection_ack")
    await client.expect(type="ka")
    await client.send(type="nothing")
    await client.expect(type="error")
    await client.close()


async def test_c05_modes_are_those_of_the_operation(started, key):
    """A subscription is a subscribe, and a request over HTTP a publish."""
    modes = {"subscribe": frozenset({"api-key"}), "publish": frozenset({"lambda"})}
    emulator = await started(auth=Auth(lambda_token="open sesame", modes=modes))
    other = {"Authorization": "open sesame"}
    url = emulator.urls["graphql_realtime_url"]
    client = await Client.ready(emulator, other, url=url, subprotocols=["graphql-ws", encoded(other)])
    for auth, reply in ((other, "error"), (key, "start_ack")):
        await client.send(**start(auth=auth))
        await client.expect(type=reply, id="1")
    async with httpx.AsyncClient(base_url=emulator.url) as http:
        for auth, status in ((key, 401), (other, 200)):
            answer = await http.post("/graphql", headers=auth, json={"query": "{ __typename }"})
            assert answer.status_code == status
    await client.close()


async def test_c12_subscriptions_die_with_the_socket_and_nothing_is_replayed(emulator, connect, key):
    first = await connect(key)
    await first.send(**start(auth=key))
    await first.expect(type="start_ack")
    await first.close()
    await eventually(lambda: not emulator.api.sessions)
    emulator.fleet.carry_out(Set(LOBBY, {"online": False}))
    second = await connect(key)
    await second.send(type="nothing")
    await second.expect(type="error")
    await second.send(**start(auth=key))
    await second.expect(type="start_ack")
    emulator.fleet.carry_out(Set(LOBBY, {"online": True}))
    frame = await second.expect(type="data", id="1")
    assert frame["payload"]["data"]["onDeviceState"]["online"] is True


async def test_tells_bad_credentials_below_payload(emulator):
    auth = {"x-api-key": "da2-wrong"}
    url = f"ws://127.0.0.1:{emulator.port}/graphql/realtime"
    client = await Client.open(emulator, auth, url=url, subprotocols=["graphql-ws", encoded(auth)])
    await client.send(type="connection_init")
    frame = await client.expect(type="connection_error")
    assert frame["payload"]["errors"][0]["errorType"] == "UnauthorizedException"
    assert frame["payload"]["errors"][0]["errorCode"] == 401
    await client.closed()


async def test_faults_meet_this_dialect_too(emulator, connect, key, fault):
    client = await connect(key)
    await fault("subscribe-error", channel="onDevice", errorType="LimitExceededError", count=1)
    await client.send(**start(auth=key))
    await client.expect(type="error", id="1")
    await fault("drop-reply", operation="subscribe", count=1)
    await client.send(**start(auth=key))
    await fault("lose", channel="onDeviceState", count=1)
    emulator.fleet.carry_out(Set(LOBBY, {"online": False}))
    emulator.fleet.carry_out(Set(LOBBY, {"online": True}))
    frame = await client.expect(type="data")
    assert frame["payload"]["data"]["onDeviceState"]["online"] is True
    await fault("error-object", count=1)
    await client.send(type="nothing")
    assert isinstance((await client.expect(type="error"))["payload"]["errors"], dict)


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "da2-wrong"}])
async def test_refuses_http_without_good_credentials(http, headers):
    answer = await http.post("/graphql", headers=headers, json={"query": "{ a }"})
    assert answer.status_code == 401
    assert answer.headers["x-amzn-errortype"] == "UnauthorizedException"


async def test_a_documents_errors_answer_with_status_200(http, key):
    answer = await http.post("/graphql", headers=key, json={"query": "{ nothing }"})
    assert answer.status_code == 200
    assert "Validation error" in answer.json()["errors"][0]["message"]


# gql is a public client of the service; nothing of ours is in it.


def gql_transport(emulator, auth):
    return AppSyncWebsocketsTransport(url=f"ws://127.0.0.1:{emulator.port}/graphql", auth=auth)


async def first_answer(emulator, auth, variables):
    document = gql.gql(ON_DEVICE)
    document.variable_values = variables
    async with gql.Client(transport=gql_transport(emulator, auth)) as session, asyncio.timeout(5):
        stream = session.subscribe(document)
        task = asyncio.ensure_future(anext(stream))
        # gql does not tell when a subscription was accepted
        await eventually(lambda: task.done() or any(s.subscriptions() for s in emulator.api.sessions.values()))
        emulator.fleet.carry_out(Set(LOBBY, {"online": False}))
        answer = await task
        await stream.aclose()
        return answer


async def test_c15_gql_subscribes_with_an_api_key(emulator, key):
    auth = AppSyncApiKeyAuthentication(host="127.0.0.1", api_key=key["x-api-key"])
    answer = await first_answer(emulator, auth, {"org": "org-aurora"})
    assert answer["onDeviceState"]["deviceId"] == "cam-001"


async def test_c15_gql_subscribes_with_a_token_and_is_refused_another_organisation(emulator, token_of):
    auth = AppSyncJWTAuthentication(host="127.0.0.1", jwt=token_of("owner")["Authorization"])
    assert (await first_answer(emulator, auth, {"org": "org-aurora"}))["onDeviceState"]["online"] is False
    with pytest.raises(TransportQueryError, match="Not Authorized"):
        await first_answer(emulator, auth, {"org": "org-borealis"})


async def test_c15_gql_subscribes_with_a_signature(started):
    emulator = await started(auth=Auth(iam_keys={"AKIDEXAMPLE": "secret"}))
    auth = AppSyncIAMAuthentication(
        host=f"127.0.0.1:{emulator.port}",
        region_name="eu-west-1",
        credentials=Credentials("AKIDEXAMPLE", "secret", "session-token"),
    )
    answer = await first_answer(emulator, auth, {"org": "org-aurora"})
    assert answer["onDeviceState"]["deviceId"] == "cam-001"


async def test_c15_gql_learns_that_its_key_is_wrong(emulator):
    auth = AppSyncApiKeyAuthentication(host="127.0.0.1", api_key="da2-wrong")
    with pytest.raises(TransportServerError, match="not authorized"):
        await first_answer(emulator, auth, {"org": "org-aurora"})
