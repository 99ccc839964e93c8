"""Tokens as values."""

import jwt
import pytest

from realtime.emulator.issuer import Issuer, TokenError

pytestmark = pytest.mark.feature("S2.3")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A state file with a key, so that not every test makes one."""
    path = tmp_path_factory.mktemp("issuer") / "kept"
    Issuer("http://issuer.test", ttl=60, path=path)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path, kept):
    path = tmp_path / "kept"
    path.write_bytes(kept)
    return path


@pytest.fixture
def issuer(path):
    return Issuer("http://issuer.test", ttl=60, path=path)


def why(issuer, token, *uses):
    with pytest.raises(TokenError) as error:
        issuer.check(token, *uses)
    return str(error.value)


def test_tokens_verify_against_the_published_keys(issuer):
    (key,) = issuer.jwks()["keys"]
    token = issuer.grant("sub-1", username="one", client="app", nonce="n").id_token
    assert jwt.get_unverified_header(token)["kid"] == key["kid"]
    claims = jwt.decode(token, jwt.PyJWK(key), ["RS256"], audience="app", issuer="http://issuer.test")
    assert (claims["sub"], claims["nonce"], claims["username"]) == ("sub-1", "n", "one")
    assert claims["exp"] - claims["iat"] == 60


def test_a_token_is_good_for_its_own_use_only(issuer):
    grant = issuer.grant("sub-1")
    assert issuer.check(grant.access_token, "access", "id")["sub"] == "sub-1"
    assert "id" in why(issuer, grant.id_token, "access")
    assert "refresh" in why(issuer, grant.refresh_token, "access", "id")


def test_a_token_of_yesterday_or_of_others_is_refused(issuer):
    assert why(issuer, issuer.grant("sub-1", ttl=-1).access_token, "access") == "Token has expired."
    stranger = Issuer("http://issuer.test", ttl=60).grant("sub-1").access_token
    for token in (stranger, "a.b.c", ""):
        assert "Unable to parse" in why(issuer, token, "access")


def test_refreshing_goes_on_in_the_same_session(issuer):
    first = issuer.grant("sub-1", username="one")
    second = issuer.refresh(first.refresh_token)
    assert issuer.session_of(second.access_token) == issuer.session_of(first.access_token)
    assert issuer.check(second.access_token, "access")["username"] == "one"
    with pytest.raises(TokenError):
        issuer.refresh(first.access_token)


@pytest.mark.feature("S4.14")
def test_a_revoked_session_is_over_and_stays_over_after_a_restart(issuer, path):
    revoked, other = issuer.grant("sub-1"), issuer.grant("sub-1")
    issuer.revoke_session(issuer.session_of(revoked.refresh_token))
    for who in (issuer, Issuer("http://issuer.test", ttl=60, path=path)):
        assert why(who, revoked.access_token, "access") == "Token has been revoked."
        with pytest.raises(TokenError):
            who.refresh(revoked.refresh_token)
        assert who.check(other.access_token, "access")


@pytest.mark.feature("S4.14")
def test_revoking_a_person_ends_what_they_have_but_not_what_they_get_next(issuer):
    before, other = issuer.grant("sub-1"), issuer.grant("sub-2")
    issuer.revoke_subject("sub-1")
    assert "revoked" in why(issuer, before.access_token, "access")
    assert "revoked" in why(issuer, before.refresh_token, "refresh")
    assert issuer.check(issuer.grant("sub-1").access_token, "access")
    assert issuer.check(other.access_token, "access")


def test_expiring_a_persons_tokens_leaves_them_the_refresh(issuer):
    before = issuer.grant("sub-1")
    issuer.expire("sub-1")
    assert why(issuer, before.access_token, "access") == "Token has expired."
    assert issuer.check(issuer.refresh(before.refresh_token).access_token, "access")


def test_the_key_is_kept_where_only_its_owner_can_read_it(tmp_path):
    path = tmp_path / "new"
    Issuer("http://issuer.test", ttl=60, path=path)
    assert path.stat().st_mode & 0o777 == 0o600
