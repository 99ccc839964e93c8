"""Carriers and modes of authorization, apart from any connection."""

import base64
import json

import pytest

from realtime.emulator.auth import Authorizer, Call, Identity, decode_object, of_upgrade
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


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("padded", [True, False])
def test_c01_reads_either_alphabet_padded_or_not_and_pretty_json(encode, indent, padded):
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
