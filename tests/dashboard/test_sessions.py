"""A sign-in is found by its key, and the key can't be read where it is kept."""

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.test import Client

from dashboard.models import Digest, Session, User
from dashboard.sessions import SessionStore

pytestmark = [pytest.mark.django_db, pytest.mark.feature("S3.10")]


@pytest.fixture
def client():
    client = Client()
    client.force_login(User.objects.create_user("viewer", subject="sub-viewer"))
    return client


def cookie(client):
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def stored():
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_key FROM dashboard_session")
        return [key for (key,) in cursor.fetchall()]


def test_the_key_of_a_sign_in_is_not_in_the_table(client):
    assert client.get("/").status_code == 200
    assert stored() == [Digest.of(cookie(client))]
    assert cookie(client) not in stored()


def test_what_is_in_the_table_signs_nobody_in(client):
    thief = Client()
    thief.cookies[settings.SESSION_COOKIE_NAME] = stored()[0]
    assert thief.get("/").status_code == 302


def test_a_session_is_changed_renewed_and_ended_under_its_key():
    session = SessionStore()
    session["a"] = 1
    session.create()
    session["a"] = 2
    session.save()
    assert SessionStore(session.session_key)["a"] == 2
    before = session.session_key
    session.cycle_key()
    assert not SessionStore().exists(before) and SessionStore(session.session_key)["a"] == 2
    session.flush()
    assert stored() == []


async def test_it_is_so_for_code_that_waits(transactional_db):
    session = SessionStore()
    await session.aset("a", 1)
    await session.acreate()
    assert await SessionStore(session.session_key).aget("a") == 1
    assert await SessionStore().aexists(session.session_key)
    await session.adelete()
    assert not await Session.objects.aexists()
    await sync_to_async(lambda: connection.close())()  # of that thread, or the database could not be dropped


def test_rows_that_were_read_can_be_ended(client):
    for row in Session.objects.all():
        row.delete()
    assert client.get("/").status_code == 302
