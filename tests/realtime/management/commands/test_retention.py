"""The round of a worker, made now."""

import io
import json

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth import get_user_model
from django.core.management import call_command

from realtime import config, credentials
from realtime.upstream.credentials import Tokens

pytestmark = pytest.mark.django_db


@pytest.fixture
def rotated(settings):
    """A user's tokens that the old one of two keys sealed."""
    user = get_user_model().objects.create_user("viewer", subject="sub-viewer")
    credentials.store(user.pk, Tokens("id", "access", "refresh", 2.0, 1.0))
    settings.TOKEN_KEY = [Fernet.generate_key().decode(), *settings.TOKEN_KEY]
    config.load.cache_clear()
    yield
    config.load.cache_clear()


def retention(*arguments):
    out = io.StringIO()
    call_command("retention", *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_tokens_are_sealed_with_the_newest_key_and_that_is_told(rotated):
    assert "1 users' tokens sealed with the newest TOKEN_KEY" in retention()
    assert credentials.seals() == {"newest": 1}


def test_programs_are_told_as_json(rotated):
    assert json.loads(retention("--json"))["tokens sealed anew"] == 1
    assert json.loads(retention("--json"))["tokens sealed anew"] == 0
