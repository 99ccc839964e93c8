"""Signatures made by botocore, checked by us."""

from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from realtime.emulator.auth import Authorizer, Call, normalized
from realtime.emulator.errors import ApiError
from realtime.emulator.issuer import Issuer
from realtime.emulator.options import Auth
from realtime.emulator.sigv4 import _key, verify

from .client import Client, encoded

CONNECT = Call("connect", "/event", b"{}")
SUBSCRIBE = Call("subscribe", "/event", b'{"channel":"/default/a"}')


@pytest.fixture(scope="module")
def issuer():
    return Issuer("http://issuer.test", ttl=60)


@pytest.fixture
def authorizer(issuer):
    return Authorizer(Auth(iam_keys={"AKIDEXAMPLE": "secret"}), issuer, "vortex-app")


def signed(call, *, secret="secret", token=None, at=None, method="POST", monkeypatch=None):
    """Return the authorization object that botocore's signer makes for a call."""
    headers = {
        "accept": "application/json, text/javascript",
        "content-encoding": "amz-1.0",
        "content-type": "application/json; charset=UTF-8",
    }
    request = AWSRequest(method, f"https://api.test{call.path}", headers=headers, data=call.body)
    if at is not None:
        stamp = at.strftime("%Y%m%dT%H%M%SZ")
        monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: at.replace(tzinfo=None))
        request.context["timestamp"] = stamp
    SigV4Auth(Credentials("AKIDEXAMPLE", secret, token), "appsync", "eu-west-1").add_auth(request)
    return normalized({**dict(request.headers.items()), "host": "api.test"})


@pytest.mark.parametrize("token", [None, "session-token"])
@pytest.mark.parametrize("call", [CONNECT, SUBSCRIBE])
def test_c04_takes_what_botocore_signs_with_and_without_a_session_token(authorizer, call, token):
    assert authorizer.identify(signed(call, token=token), call).mode == "iam"


def test_c04_refuses_a_signature_over_another_body_path_or_secret(authorizer):
    elsewhere = Call("connect", "/event/connect", b"{}")
    for credentials in (signed(SUBSCRIBE), signed(elsewhere), signed(CONNECT, secret="other")):
        with pytest.raises(ApiError, match="does not match"):
            authorizer.identify(credentials, CONNECT)


def test_refuses_an_unknown_access_key(issuer):
    with pytest.raises(ApiError) as error:
        Authorizer(Auth(), issuer, "vortex-app").identify(signed(CONNECT), CONNECT)
    assert error.value.error_type == "UnrecognizedClientException"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_c04_refuses_a_signature_from_another_time(authorizer, minutes, monkeypatch):
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    with pytest.raises(ApiError, match="five minutes"):
        authorizer.identify(signed(CONNECT, at=at, monkeypatch=monkeypatch), CONNECT)


@pytest.mark.parametrize("name", ["authorization", "x-amz-date"])
def test_refuses_signatures_that_are_none(authorizer, name):
    with pytest.raises(ApiError):
        authorizer.identify({**signed(CONNECT), name: "AWS4-HMAC-SHA256 nonsense"}, CONNECT)


@pytest.fixture
async def escaping(started):
    return await started(auth=Auth(iam_keys={"AKIDEXAMPLE": "secret"}, html_escapes_signed_body=True))


@pytest.mark.parametrize(("event", "reply"), [('"x"', "publish_success"), ('"<x>&"', "publish_error")])
async def test_c04_html_escaping_breaks_signed_websocket_publishes_with_angle_brackets(escaping, event, reply):
    client = await Client.ready(escaping, signed(CONNECT))
    body = msgspec.json.encode({"channel": "/default/a", "events": [event]})
    await client.publish("/default/a", event, auth=signed(Call("publish", "/event", body)))
    await client.expect(type=reply, id="p1")
    await client.close()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/event", {"channel": "/default/a", "events": ['"<x>&"']}),
        ("/graphql", {"query": "query Q($a: String) { __typename }", "variables": {"a": "<x>&"}}),
    ],
)
async def test_c04_a_signed_request_over_http_is_verified_as_it_was_sent(escaping, path, message):
    call = Call("publish", path, msgspec.json.encode(message))
    elsewhere = signed(Call("publish", f"{path}/connect", call.body))
    async with httpx.AsyncClient(base_url=escaping.url) as http:
        assert (await http.post(path, headers=signed(call), content=call.body)).status_code == 200
        for headers, body in ((signed(call), call.body + b" "), (elsewhere, call.body)):
            assert (await http.post(path, headers=headers, content=body)).status_code == 400


async def test_c04_a_signed_start_is_verified_over_the_text_that_was_sent(escaping):
    url = escaping.urls["graphql_realtime_url"]
    auth = signed(Call("connect", "/graphql/connect", b"{}"))
    client = await Client.ready(escaping, auth, url=url, subprotocols=["graphql-ws", encoded(auth)])
    data = '{ "query": "subscription { onRoleChange(orgId: \\"<x>&\\") { role } }" }'
    for path, reply in (("/graphql/connect", "error"), ("/graphql", "start_ack")):
        extensions = {"authorization": signed(Call("subscribe", path, data.encode()))}
        await client.send(type="start", id="1", payload={"data": data, "extensions": extensions})
        await client.expect(type=reply, id="1")
    await client.close()


# ── What AWS publishes ───────────────────────────────────────────────────────────────────────────────────────

VECTORS = {
    # Of the Signature Version 4 test suite: POST, no query, no body.
    "post-vanilla": ({}, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "post-header-key-sort": (
        {"my-header1": "value1"},
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-header-value-case": (
        {"my-header1": "VALUE1"},
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
}


@pytest.mark.parametrize("vector", VECTORS)
def test_the_published_vectors_pass(vector, monkeypatch):
    monkeypatch.setattr("realtime.emulator.sigv4.SERVICE", "service")
    more, signature = VECTORS[vector]
    signed = {"host": "example.amazonaws.com", **more, "x-amz-date": "20150830T123600Z"}
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={';'.join(signed)}, Signature={signature}"
    )
    secrets = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
    at = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    headers = {**signed, "authorization": authorization}
    assert verify(headers, path="/", body=b"", secret_of=secrets.get, now=at) == "AKIDEXAMPLE"


def test_the_published_derivation_of_a_key_is_ours(monkeypatch):
    monkeypatch.setattr("realtime.emulator.sigv4.SERVICE", "iam")
    key = _key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
