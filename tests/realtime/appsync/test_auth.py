"""Authorization objects and how they travel."""

import json
from base64 import b64decode, urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.appsync.auth import ApiKey, Iam, Request, Token, query, subprotocol

HOST = "abcdefghijklmnopqrstuvwx12.appsync-api.eu-west-1.amazonaws.com"
REQUEST = Request(HOST, "/event", "{}")


@pytest.mark.feature("S4.4")
def test_b03_each_mode_has_its_own_keys():
    assert ApiKey("da2-key").headers(REQUEST) == {"host": HOST, "x-api-key": "da2-key"}
    assert Token("jwt").headers(REQUEST) == {"host": HOST, "Authorization": "jwt"}


def test_b03_aws_credentials_sign_each_request():
    headers = Iam("AKIDEXAMPLE", "secret", "eu-west-1", "session").headers(REQUEST)
    lowered = {name.lower(): value for name, value in headers.items()}
    expected = {"accept", "content-encoding", "content-type", "host", "x-amz-date", "x-amz-security-token"}
    assert set(lowered) == expected | {"authorization"}
    assert "Credential=AKIDEXAMPLE/" in lowered["authorization"]
    assert "/eu-west-1/appsync/aws4_request" in lowered["authorization"]
    assert "secret" not in lowered["authorization"].lower()


def test_b03_what_is_signed_is_the_path_and_the_body():
    iam = Iam("AKIDEXAMPLE", "secret", "eu-west-1")
    signatures = {
        iam.headers(Request(HOST, path, body))["Authorization"]
        for path, body in (("/event", "{}"), ("/event", '{"channel":"/a"}'), ("/graphql/connect", "{}"))
    }
    assert len(signatures) == 3


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=40), max_size=4))
def test_b02_the_subprotocol_carries_any_object_in_characters_that_a_header_may_hold(headers):
    carried = subprotocol(headers)
    encoded = carried.removeprefix("header-")
    assert carried.startswith("header-") and not set(encoded) & set("+/=")
    assert json.loads(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))) == headers


def test_b02_content_that_plain_base64_would_spell_with_plus_slash_and_padding():
    assert subprotocol({"host": "h", "Authorization": "ûï¾>>>???"}).startswith("header-eyJ")
    spelt = {subprotocol({"a": "\xff" * n + "?>"}) for n in range(1, 12)}
    assert any("-" in s[7:] or "_" in s for s in spelt) and not any("=" in s or "/" in s for s in spelt)


def test_the_query_carries_the_object_and_an_empty_payload():
    parameters = query({"host": "h", "x-api-key": "k"})
    assert json.loads(b64decode(parameters["header"])) == {"host": "h", "x-api-key": "k"}
    assert parameters["payload"] == "e30="


def test_b83_no_mode_shows_its_secret():
    modes = [ApiKey("secret"), Token("secret"), Iam("AKID", "secret", "eu-west-1", "secret")]
    assert "secret" not in repr(modes) + str(modes) + repr(Request(HOST, "/event", "secret"))
