"""Authorization objects and how they travel."""

import json
from base64 import b64decode, urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from realtime.appsync.auth import ApiKey, Iam, Request, Token, query, subprotocol
from realtime.appsync.endpoint import derive
from realtime.appsync.events_session import EventsSession
from realtime.appsync.graphql_session import GraphQLSession
from realtime.appsync.session import Rejected
from realtime.emulator.errors import ApiError
from realtime.emulator.sigv4 import verify
from tests.realtime.appsync.talking import Talk

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


def by_botocore(path, body, session_token):
    """The authorization object as botocore's own signer makes it for the request that AWS documents."""
    request = AWSRequest(
        method="POST",
        url=f"https://{HOST}{path}",
        data=body,
        headers={
            "accept": "application/json, text/javascript",
            "content-encoding": "amz-1.0",
            "content-type": "application/json; charset=UTF-8",
            "host": HOST,
        },
    )
    SigV4Auth(Credentials("AKIDEXAMPLE", "secret", session_token), "appsync", "eu-west-1").add_auth(request)
    return dict(request.headers.items())


def events_frames(session_token):
    """Give what an Events session authorises with: its upgrade, a subscribe and a publish."""
    iam = Iam("AKIDEXAMPLE", "secret", "eu-west-1", session_token)
    session = EventsSession(derive(f"https://{HOST}/event"))
    yield carried(session.opening(iam))
    session.opened()
    session.receive('{"type":"connection_ack"}', 0.0)
    session.data_to_send()
    session.subscribe("ns/a", iam, 0.0)
    session.publish("ns/a", ['{"n":"é <b>"}', "2"], iam, 0.0)
    for text in session.data_to_send():
        yield json.loads(text)["authorization"]


def graphql_frames(session_token):
    """Give what a GraphQL session authorises with: its upgrade and a start."""
    iam = Iam("AKIDEXAMPLE", "secret", "eu-west-1", session_token)
    session = GraphQLSession(derive(f"https://{HOST}/graphql", dialect="graphql"))
    yield carried(session.opening(iam))
    session.opened()
    session.receive('{"type":"connection_ack"}', 0.0)
    session.data_to_send()
    session.subscribe(DOCUMENT, iam, 0.0)
    yield json.loads(session.data_to_send()[0])["payload"]["extensions"]["authorization"]


def carried(opening):
    token = opening.subprotocols[1].removeprefix("header-")
    return json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))


DOCUMENT = '{"query":"subscription s { s { a } }","variables":{"orgId":"é <1>"}}'
SIGNED = {
    events_frames: [
        ("/event", "{}"),
        ("/event", '{"channel":"/ns/a"}'),
        ("/event", '{"channel":"/ns/a","events":["{\\"n\\":\\"é <b>\\"}","2"]}'),
    ],
    graphql_frames: [("/graphql/connect", "{}"), ("/graphql", DOCUMENT)],
}


@pytest.mark.parametrize("session_token", [None, "session+word/="])
@pytest.mark.parametrize("frames", SIGNED)
@pytest.mark.feature("S0.7")
def test_b04_each_operation_is_signed_as_the_documented_request(frames, session_token, monkeypatch):
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: datetime(2026, 11, 21, 9, 0, 0))
    signed = list(frames(session_token))
    assert signed == [by_botocore(path, body, session_token) for path, body in SIGNED[frames]]


@pytest.mark.parametrize("session_token", [None, "session+word/="])
@pytest.mark.parametrize("frames", SIGNED)
def test_b04_each_signature_passes_a_check_that_shares_no_code_with_the_signer(frames, session_token):
    for (path, body), headers in zip(SIGNED[frames], frames(session_token), strict=True):
        lowered = {name.lower(): value for name, value in headers.items()}
        check = partial(verify, lowered, secret_of=lambda key: "secret")
        assert check(path=path, body=body.encode()) == "AKIDEXAMPLE"
        for wrong in ({"path": "/event/connect", "body": body.encode()}, {"path": path, "body": b"{ }"}):
            with pytest.raises(ApiError, match="signature"):
                check(**wrong)


@pytest.mark.parametrize("minutes", [-10, 10])
@pytest.mark.feature("S3.9")
def test_b82_a_clock_that_is_wrong_is_named_and_not_taken_for_a_wrong_key(minutes, monkeypatch):
    theirs = datetime(2026, 11, 21, 9, 0, 0, tzinfo=UTC)
    ours = theirs.replace(tzinfo=None) + timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: ours)
    headers = Iam("AKIDEXAMPLE", "secret", "eu-west-1").headers(REQUEST)
    lowered = {name.lower(): value for name, value in headers.items()}
    with pytest.raises(ApiError) as refusal:
        verify(lowered, path="/event", body=b"{}", secret_of=lambda key: "secret", now=theirs)
    talk = Talk()
    talk.hear(type="connection_error", errors=[refusal.value.as_dict(with_code=True)])
    (rejected,) = talk.told(Rejected)
    assert "set this machine's clock" in str(rejected.error)
    assert rejected.error.retryable, "it is right again as soon as the clock is"


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
