"""Tokens at rest: sealed, of one generation, worth nothing once refused."""

import dataclasses

import pytest
from cryptography.fernet import Fernet, MultiFernet
from django.contrib.auth import get_user_model
from django.db import OperationalError

from realtime import config, credentials
from realtime.credentials import DatabaseVault
from realtime.models import Credential, Link
from realtime.upstream.credentials import TokenRefused, Tokens, TokenUnavailable

pytestmark = pytest.mark.feature("S4.4")
TOKENS = Tokens("id-token", "access-token", "refresh-token", 2_000_000_000.0, 1_900_000_000.0, 0)


@pytest.fixture
def user(transactional_db):
    return get_user_model().objects.create_user("viewer", subject="sub-viewer")


@pytest.fixture
def vault(user, database):
    return DatabaseVault(user.pk, database, lambda: True)


async def test_what_was_stored_is_loaded_and_no_token_can_be_read_from_the_table(user, vault, database):
    await database.run(credentials.store, user.pk, TOKENS)
    loaded = await vault.load()
    assert (loaded.id_token, loaded.refresh_token, loaded.generation) == ("id-token", "refresh-token", 1)
    sealed = bytes((await database.run(Credential.objects.get)).sealed)
    assert b"token" not in sealed


async def test_without_tokens_the_user_is_asked_to_sign_in(vault):
    with pytest.raises(TokenRefused, match="sign in"):
        await vault.load()


async def test_a_new_sign_in_voids_a_refresh_and_a_refusal_of_the_old_tokens(user, vault, database):
    await database.run(credentials.store, user.pk, TOKENS)
    old = await vault.load()
    await database.run(credentials.store, user.pk, TOKENS)
    assert not await vault.save(old)
    await vault.refuse(old.generation, "too late")
    assert (await vault.load()).generation == 2


async def test_a_worker_that_lost_the_link_writes_neither_tokens_nor_their_refusal(user, vault, database):
    await database.run(credentials.store, user.pk, TOKENS)
    tokens = await vault.load()
    late = DatabaseVault(user.pk, database, lambda: False)
    assert not await late.save(dataclasses.replace(tokens, id_token="late"))
    await late.refuse(tokens.generation, "late")
    assert await vault.load() == tokens


async def test_refused_tokens_say_why_until_the_next_sign_in(user, vault, database):
    await database.run(credentials.store, user.pk, TOKENS)
    await database.run(credentials.refuse, user.pk, "lost laptop")
    with pytest.raises(TokenRefused, match="lost laptop"):
        await vault.load()
    await database.run(credentials.store, user.pk, TOKENS)
    assert await vault.load()


async def test_a_revocation_voids_a_refresh_that_is_under_way(user, vault, database):
    await database.run(credentials.store, user.pk, TOKENS)
    tokens = await vault.load()
    await database.run(credentials.refuse, user.pk, "lost laptop")
    assert not await vault.save(tokens)
    await vault.refuse(tokens.generation, "too late")
    with pytest.raises(TokenRefused, match="lost laptop"):
        await vault.load()


async def test_a_rotated_key_opens_what_the_old_one_sealed_and_a_lost_key_asks_for_a_sign_in(
    user, vault, database, monkeypatch
):
    await database.run(credentials.store, user.pk, TOKENS)
    fresh, known = Fernet.generate_key().decode(), config.load()
    rotated = dataclasses.replace(known, token_keys=(fresh, *known.token_keys))
    monkeypatch.setattr(config, "load", lambda: rotated)
    assert await vault.load()
    monkeypatch.setattr(config, "load", lambda: dataclasses.replace(known, token_keys=(fresh,)))
    with pytest.raises(TokenRefused, match="another TOKEN_KEY"):
        await vault.load()


def test_a_sign_in_wants_the_link_at_once(user):
    credentials.want_link(user)
    first = Link.objects.get().wanted_at
    credentials.want_link(user)
    assert 0 < first <= Link.objects.get().wanted_at


async def test_a_database_that_does_not_answer_is_no_refusal(vault, monkeypatch):
    def away(user_id):
        raise OperationalError("no route")

    monkeypatch.setattr(vault, "read", away)
    with pytest.raises(TokenUnavailable, match="no route"):
        await vault.load()


# ── Rotating the key ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def keys(monkeypatch):
    """Sets the keys that are configured from now on, the newest first; gives two of them."""
    known = config.load()

    def configure(*token_keys):
        monkeypatch.setattr(config, "load", lambda: dataclasses.replace(known, token_keys=token_keys))

    configure.old, configure.new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    configure(configure.old)
    return configure


@pytest.fixture
def signed_in(transactional_db, keys, monkeypatch):
    """Five users whose tokens the old key sealed; two rows are read at a time."""
    monkeypatch.setattr(credentials, "BATCH", 2)
    users = [get_user_model().objects.create_user(f"user-{n}", subject=f"sub-{n}") for n in range(5)]
    for user in users:
        credentials.store(user.pk, TOKENS)
    return users


def test_a_key_is_rotated_without_anybody_signing_in_again(keys, signed_in):
    keys(keys.new, keys.old)
    assert credentials.seals() == {"older": 5}
    assert DatabaseVault.read(signed_in[0].pk).id_token == "id-token"
    assert credentials.reseal() == 5
    assert credentials.seals() == {"newest": 5}
    keys(keys.new)
    assert credentials.seals() == {"newest": 5}
    assert {DatabaseVault.read(user.pk) for user in signed_in} == {dataclasses.replace(TOKENS, generation=1)}


def test_what_is_sealed_with_the_newest_key_is_left_as_it_is(keys, signed_in):
    keys(keys.new, keys.old)
    credentials.store(signed_in[0].pk, TOKENS)
    before = Credential.objects.get(user=signed_in[0]).sealed
    assert credentials.reseal() == 4
    assert Credential.objects.get(user=signed_in[0]).sealed == before
    assert credentials.reseal() == 0


def test_one_key_alone_has_nothing_to_reseal(keys, signed_in, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert credentials.reseal() == 0


def test_what_no_key_opens_is_counted_and_left_for_the_key_to_come_back(keys, signed_in):
    keys(keys.new, Fernet.generate_key().decode())
    assert credentials.seals() == {"lost": 5}
    assert credentials.reseal() == 0
    keys(keys.new, keys.old)
    assert credentials.reseal() == 5


def test_a_refresh_that_comes_between_is_not_undone(keys, signed_in, monkeypatch):
    """While the first row is sealed anew, a worker stores fresh tokens there."""
    keys(keys.new, keys.old)
    rotate = MultiFernet.rotate
    fresh = dataclasses.replace(TOKENS, id_token="fresh")

    def meanwhile(multi, sealed):
        if DatabaseVault.read(signed_in[0].pk).id_token != "fresh":
            credentials.store(signed_in[0].pk, fresh)
        return rotate(multi, sealed)

    monkeypatch.setattr(MultiFernet, "rotate", meanwhile)
    assert credentials.reseal() == 4
    assert DatabaseVault.read(signed_in[0].pk).id_token == "fresh"
    assert credentials.seals() == {"newest": 5}
