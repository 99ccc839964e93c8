"""The issuer's addresses, used as a relying party uses them."""

import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

ASKED = {
    "response_type": "code",
    "client_id": "app",
    "redirect_uri": "http://app.test/callback?x=1",
    "scope": "openid",
    "state": "s t",
    "nonce": "n",
}


@pytest.fixture
def grant(http):
    async def post(**form):
        return await http.post("/oauth/token", data=form)

    return post


async def test_discovery_names_addresses_that_exist(http):
    found = (await http.get("/.well-known/openid-configuration")).json()
    assert found["issuer"] == str(http.base_url).rstrip("/")
    assert (await http.get(found["jwks_uri"])).json()["keys"]
    for name in ("authorization_endpoint", "userinfo_endpoint"):
        assert (await http.get(found[name])).status_code != 404
    for name in ("token_endpoint", "revocation_endpoint"):
        assert (await http.post(found[name])).status_code != 404


@pytest.mark.parametrize("username", ["viewer", "owner", "operator", "rival"])
async def test_a_password_gives_tokens_of_that_account(http, grant, username):
    answer = await grant(grant_type="password", username=username, password="fleetlight")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert tokens["expires_in"] == 3600
    about = await http.get("/oauth/userinfo", headers={"authorization": f"Bearer {tokens['access_token']}"})
    assert about.json() == {"sub": f"sub-{username}", "preferred_username": username}


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password", "username": "viewer", "password": "wrong"}, "invalid_grant"),
        ({"grant_type": "password", "username": "nobody", "password": "fleetlight"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "nonsense"}, "invalid_grant"),
        ({"grant_type": "authorization_code", "code": "nonsense"}, "invalid_grant"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
    ],
)
async def test_refuses_in_oauths_words(grant, form, error):
    answer = await grant(**form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_a_subject_is_enough_in_json(http):
    answer = await http.post("/oauth/token", json={"sub": "anybody", "ttl": 5})
    claims = jwt.decode(answer.json()["id_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("anybody", 5)
    for body in ({}, [], {"sub": 1}):
        assert (await http.post("/oauth/token", json=body)).json()["error"] == "invalid_request"


async def test_refreshing_works_until_the_session_is_revoked(http, grant):
    tokens = (await grant(grant_type="password", username="viewer", password="fleetlight")).json()
    refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert (await grant(**refresh)).status_code == 200
    assert (await http.post("/oauth/revoke", data={"token": tokens["refresh_token"]})).status_code == 200
    assert (await grant(**refresh)).json()["error"] == "invalid_grant"
    about = await http.get("/oauth/userinfo", headers={"authorization": tokens["access_token"]})
    assert about.status_code == 401
    assert (await http.post("/oauth/revoke", data={"token": "unknown"})).status_code == 200


async def signed_in(http, **asked):
    """Sign in as a browser does, and return where it is sent."""
    page = await http.get("/oauth/authorize", params={**ASKED, **asked})
    assert 'name="password"' in page.text
    form = {**ASKED, **asked, "username": "viewer", "password": "fleetlight"}
    answer = await http.post("/oauth/authorize", data=form)
    assert answer.status_code == 302
    return urlsplit(answer.headers["location"])


async def test_the_code_flow_ends_in_tokens_with_the_nonce(http, grant):
    location = await signed_in(http)
    assert location.hostname == "app.test"
    query = parse_qs(location.query)
    assert (query["x"], query["state"]) == (["1"], ["s t"])
    exchange = {
        "grant_type": "authorization_code",
        "code": query["code"][0],
        "redirect_uri": ASKED["redirect_uri"],
        "client_id": "app",
    }
    tokens = (await grant(**exchange)).json()
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert (claims["nonce"], claims["aud"], claims["sub"]) == ("n", "app", "sub-viewer")
    assert (await grant(**exchange)).json()["error"] == "invalid_grant", "a code works once"


@pytest.mark.parametrize("verifier", ["the right one", "another"])
async def test_pkce_binds_the_code_to_who_asked(http, grant, verifier):
    digest = hashlib.sha256(b"the right one").digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    location = await signed_in(http, code_challenge=challenge)
    answer = await grant(
        grant_type="authorization_code",
        code=parse_qs(location.query)["code"][0],
        redirect_uri=ASKED["redirect_uri"],
        client_id="app",
        code_verifier=verifier,
    )
    assert (answer.status_code == 200) == (verifier == "the right one")


async def test_a_basic_client_id_is_taken(http):
    location = await signed_in(http)
    exchange = {
        "grant_type": "authorization_code",
        "code": parse_qs(location.query)["code"][0],
        "redirect_uri": ASKED["redirect_uri"],
    }
    answer = await http.post("/oauth/token", data=exchange, auth=("app", "any secret"))
    assert answer.status_code == 200


async def test_a_wrong_password_shows_the_page_again_and_escapes_what_it_carries(http):
    form = {**ASKED, "state": '"><script>', "username": "viewer", "password": "wrong"}
    answer = await http.post("/oauth/authorize", data=form)
    assert answer.status_code == 401
    assert "<script>" not in answer.text


async def test_a_browser_is_not_sent_to_just_any_scheme(http):
    form = {**ASKED, "redirect_uri": "javascript:alert(1)", "username": "viewer", "password": "fleetlight"}
    assert (await http.post("/oauth/authorize", data=form)).status_code == 400


@pytest.mark.feature("S2.14")
async def test_an_issuer_that_is_down_gives_nothing(http, grant, fault):
    await fault("issuer-down", count=2)
    assert (await grant(grant_type="password", username="viewer", password="fleetlight")).status_code == 503
    assert (await http.post("/oauth/revoke")).status_code == 503
    assert (await grant(grant_type="password", username="viewer", password="fleetlight")).status_code == 200
