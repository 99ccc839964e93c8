"""Carriers and modes of authorization, apart from any connection."""

import base64
import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from realtime.emulator.auth import Authorizer, Call, Identity, decode_object, normalized, of_upgrade
from realtime.emulator.errors import ApiError
from realtime.emulator.issuer import Issuer
from realtime.emulator.options import Auth

CONNECT = Call("connect", "/event", b"{}")
SUBSCRIBE = Call("subscribe", "/event", b'{"channel":"/default/a"}')


@pytest.fixture(scope="module")
def issuer():
    return Issuer("http://issuer.test", ttl=60)


@pytest.fixture
def authorizer(issuer):
    auth = Auth(lambda_token="open sesame", iam_keys={"AKIDEXAMPLE": "secret"})
    return Authorizer(auth, issuer, "vortex-app")


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


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("padded", [True, False])
def test_reads_either_alphabet_padded_or_not_and_pretty_json(encode, indent, padded):
    text = encode(json.dumps({"X-Api-Key": "??>>~~ü"}, indent=indent, ensure_ascii=False).encode()).decode()
    assert decode_object(text if padded else text.rstrip("=")) == {"x-api-key": "??>>~~ü"}


def test_reads_a_plus_that_became_a_space_in_a_query():
    text = base64.b64encode(json.dumps({"a": "~~~>>>"}).encode()).decode()
    assert "+" in text
    assert decode_object(text.replace("+", " ")) == {"a": "~~~>>>"}


@pytest.mark.parametrize("text", ["!", "bm9uc2Vuc2U", "W10"])
def test_refuses_what_is_not_base64_of_an_object(text):
    with pytest.raises(ApiError):
        decode_object(text)


def test_prefers_the_subprotocol_to_the_query_and_that_to_headers():
    def encoded(value):
        return base64.b64encode(json.dumps({"x-api-key": value}).encode()).decode()

    headers, query, offered = {"x-api-key": "h"}, {"header": encoded("q")}, ["header-" + encoded("s").rstrip("=")]
    assert of_upgrade(headers, query, offered)["x-api-key"] == "s"
    assert of_upgrade(headers, query, [])["x-api-key"] == "q"
    assert of_upgrade(headers, {}, [])["x-api-key"] == "h"
    assert of_upgrade({}, {}, []) is None


def test_knows_a_jwt_with_and_without_bearer_and_its_subject(authorizer, issuer):
    grant = issuer.grant("sub-viewer")
    for token in (grant.access_token, grant.id_token, f"Bearer {grant.access_token}"):
        assert authorizer.identify({"authorization": token}, CONNECT) == Identity("jwt", "sub-viewer")
    with pytest.raises(ApiError):
        authorizer.identify({"authorization": grant.refresh_token}, CONNECT)


def test_knows_the_lambda_token_only_if_there_is_one(authorizer, issuer):
    assert authorizer.identify({"authorization": "open sesame"}, CONNECT).mode == "lambda"
    with pytest.raises(ApiError):
        Authorizer(Auth(), issuer, "vortex-app").identify({"authorization": "open sesame"}, CONNECT)


@pytest.mark.parametrize("token", [None, "session-token"])
@pytest.mark.parametrize("call", [CONNECT, SUBSCRIBE])
def test_takes_what_botocore_signs_with_and_without_a_session_token(authorizer, call, token):
    assert authorizer.identify(signed(call, token=token), call).mode == "iam"


def test_refuses_a_signature_over_another_body_path_or_secret(authorizer):
    elsewhere = Call("connect", "/event/connect", b"{}")
    for credentials in (signed(SUBSCRIBE), signed(elsewhere), signed(CONNECT, secret="other")):
        with pytest.raises(ApiError, match="does not match"):
            authorizer.identify(credentials, CONNECT)


def test_refuses_an_unknown_access_key(issuer):
    with pytest.raises(ApiError) as error:
        Authorizer(Auth(), issuer, "vortex-app").identify(signed(CONNECT), CONNECT)
    assert error.value.error_type == "UnrecognizedClientException"


@pytest.mark.parametrize("minutes", [-6, 6])
def test_refuses_a_signature_from_another_time(authorizer, minutes, monkeypatch):
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    with pytest.raises(ApiError, match="five minutes"):
        authorizer.identify(signed(CONNECT, at=at, monkeypatch=monkeypatch), CONNECT)


@pytest.mark.parametrize("name", ["authorization", "x-amz-date"])
def test_refuses_signatures_that_are_none(authorizer, name):
    with pytest.raises(ApiError):
        authorizer.identify({**signed(CONNECT), name: "AWS4-HMAC-SHA256 nonsense"}, CONNECT)


def test_html_escaping_breaks_signatures_of_bodies_with_angle_brackets_only(issuer):
    auth = Auth(iam_keys={"AKIDEXAMPLE": "secret"}, html_escapes_signed_body=True)
    authorizer = Authorizer(auth, issuer, "vortex-app")
    plain, angled = (
        Call("publish", "/event", msgspec.json.encode({"channel": "/default/a", "events": [event]}))
        for event in ('"x"', '"<x>"')
    )
    assert authorizer.identify(signed(plain), plain).mode == "iam"
    with pytest.raises(ApiError):
        authorizer.identify(signed(angled), angled)


@pytest.mark.feature("S4.4")
@pytest.mark.parametrize(
    ("channel", "allowed"),
    [
        ("/vortex-app/user/sub-1/roleChanged", True),
        ("/vortex-app/user/sub-1/*", True),
        ("/vortex-app/user/sub-10/roleChanged", False),
        ("/vortex-app/user/sub-1", False),
        ("/vortex-app/other/sub-1/x", False),
        ("/vortex-app/*", False),
        ("/default/anything", True),
    ],
)
def test_a_jwt_reaches_its_own_channels_below_the_root(authorizer, channel, allowed):
    authorizer.check_channel(Identity("api-key"), channel)
    if allowed:
        authorizer.check_channel(Identity("jwt", "sub-1"), channel)
    else:
        with pytest.raises(ApiError):
            authorizer.check_channel(Identity("jwt", "sub-1"), channel)
