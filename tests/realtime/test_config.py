"""The configuration is one frozen object, and shows no secrets."""

import dataclasses

import pytest

from realtime import config
from realtime.config import Secret


def test_is_read_once():
    assert config.load() is config.load()


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.load().upstream.grace = 1


def test_shows_no_secret(settings):
    settings.APPSYNC_API_KEY = "da2-hunter2"
    config.load.cache_clear()
    try:
        shown = repr(config.load())
    finally:
        config.load.cache_clear()
    assert "da2-hunter2" not in shown
    assert settings.TOKEN_KEY[0] not in shown


def test_a_secret_is_still_the_string_it_is():
    assert Secret("s3cret") == "s3cret"
    assert repr(Secret("")) == "''"


def test_the_address_is_that_of_the_protocol_in_use():
    upstream = dataclasses.replace(config.load().upstream, events_url="https://e", graphql_url="https://g")
    assert upstream.url == "https://e"
    assert dataclasses.replace(upstream, protocol="graphql").url == "https://g"
