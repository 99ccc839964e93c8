import asyncio

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.models import Session
from realtime.delivery import envelope
from realtime.delivery.admission import Admission, NotAdmitted, Visitor, visitors
from tests.realtime.delivery.conftest import sign_in


class Database:
    """Answers in the test's own thread, and counts."""

    def __init__(self, failing=False):
        self.failing = failing
        self.asked = []

    async def run(self, function, keys):
        self.asked.append(list(keys))
        await asyncio.sleep(0)
        if self.failing:
            raise OperationalError("gone")
        return {key: Visitor(user=object(), session_key=key) for key in keys if key != "bad"}


def scope(session="s1", **headers):
    cookie = {"cookie": f"other=1; sessionid={session}"} if session else {}
    given = {"host": "localhost:8000", **cookie, **headers}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    return {"headers": pairs}


async def refusal(admission, scope, *, shows_origin=False):
    with pytest.raises(NotAdmitted) as refused:
        await admission.admit(scope, shows_origin=shows_origin)
    return refused.value.fault


# ── Which site ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "shows_origin"),
    [
        ({"origin": "http://localhost:8000"}, True),
        ({"origin": "https://trusted.example"}, True),
        ({"origin": "https://sub.wild.example"}, True),
        ({}, False),
        ({"sec_fetch_site": "same-origin"}, False),
        ({"sec_fetch_site": "none"}, False),
    ],
)
@pytest.mark.feature("S3.10")
async def test_a_page_of_this_site_comes_in(settings, headers, shows_origin):
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example", "https://*.wild.example"]
    visitor = await Admission(Database()).admit(scope(**headers), shows_origin=shows_origin)
    assert visitor.session_key == "s1"


@pytest.mark.parametrize(
    ("headers", "shows_origin"),
    [
        ({}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://localhost:8001"}, True),
        ({"origin": "http://[::1"}, True),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://trusted.example"}, True),
        ({"origin": "https://wild.example"}, True),
        ({"origin": "https://notwild.example"}, True),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
    ],
)
@pytest.mark.feature("S3.10")
async def test_a_page_of_another_site_does_not(settings, headers, shows_origin):
    settings.CSRF_TRUSTED_ORIGINS = ["https://trusted.example", "https://*.wild.example"]
    database = Database()
    assert await refusal(Admission(database), scope(**headers), shows_origin=shows_origin) == envelope.BAD_ORIGIN
    assert database.asked == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "", "[::1", "a b", "localhost@evil.example"])
@pytest.mark.feature("S3.10")
async def test_a_name_that_this_site_does_not_answer_for_is_refused_at_every_door(host):
    database = Database()
    for origin in ({}, {"origin": f"http://{host}"}):
        asked = scope(host=host, **origin)
        assert await refusal(Admission(database), asked, shows_origin=bool(origin)) == envelope.BAD_HOST
    assert database.asked == []


# ── Who ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cookie", ["", "sessionid=", "sessionid=bad", "\x00=;;=", "a b c"])
async def test_without_a_valid_session_nobody_comes_in(cookie):
    assert await refusal(Admission(Database()), scope(None, cookie=cookie)) == envelope.NOT_SIGNED_IN


@pytest.mark.parametrize("value", ['"a\\000b"', "a-b", "x" * 41, "\xe9"])
async def test_a_session_key_that_nobody_made_never_reaches_the_database(value):
    database = Database()
    assert await refusal(Admission(database), scope(value)) == envelope.NOT_SIGNED_IN
    assert database.asked == []


async def test_a_database_that_does_not_answer_is_said_so():
    assert await refusal(Admission(Database(failing=True)), scope()) == envelope.UNAVAILABLE


async def test_a_storm_of_sign_ins_is_answered_in_few_looks():
    database = Database()
    admission = Admission(database)
    await asyncio.gather(*(admission.admit(scope(f"s{n}"), shows_origin=False) for n in range(100)))
    assert len(database.asked) <= 2


@pytest.fixture
def user(db):
    return get_user_model().objects.create_user("viewer", password="a long password")


def test_any_number_of_sessions_takes_two_queries(db):
    keys = [sign_in(get_user_model().objects.create_user(f"u{n}")) for n in range(5)]
    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = visitors([*keys, "unknown"])
    assert len(queries) == 2
    assert {visitor.user.username for visitor in found.values()} == {f"u{n}" for n in range(5)}


def test_an_expired_session_lets_nobody_in(user):
    key = sign_in(user)
    Session.objects.update(expire_date=timezone.now())
    assert visitors([key]) == {}


@pytest.mark.feature("S4.14")
def test_a_changed_password_ends_the_session(user):
    key = sign_in(user)
    user.set_password("another long password")
    user.save()
    assert visitors([key]) == {}


@pytest.mark.feature("S4.14")
def test_a_raised_session_epoch_ends_the_session(user):
    key = sign_in(user)
    user.session_epoch += 1
    user.save()
    assert visitors([key]) == {}


def test_a_rotated_secret_key_does_not_end_the_session(user, settings):
    key = sign_in(user)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "x" * 50
    assert list(visitors([key])) == [key]


def test_an_account_that_is_not_active_is_told_so(user):
    key = sign_in(user)
    user.is_active = False
    user.save()
    assert visitors([key]) == {key: envelope.ACCESS_ENDED}


def test_an_authentication_backend_that_was_removed_ends_its_sessions(user, settings):
    key = sign_in(user)
    settings.AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend"]
    assert visitors([key]) == {}


def test_a_deleted_user_comes_in_no_more(user):
    key = sign_in(user)
    user.delete()
    assert visitors([key]) == {}
