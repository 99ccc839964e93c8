"""Tokens at rest: sealed, of one generation, worth nothing once refused."""

import dataclasses

import pytest
from cryptography.fernet import Fernet
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
    first = Link.objects.get().signed_in_at
    credentials.want_link(user)
    assert 0 < first <= Link.objects.get().signed_in_at


async def test_a_database_that_does_not_answer_is_no_refusal(vault, monkeypatch):
    def away(user_id):
        raise OperationalError("no route")

    monkeypatch.setattr(vault, "read", away)
    with pytest.raises(TokenUnavailable, match="no route"):
        await vault.load()
