import pytest
from django.test import Client
from django.urls import reverse

from dashboard import demo

SIGN_IN = "/accounts/login/"


@pytest.fixture
def asked(monkeypatch):
    """Stands for the token issuer: what was asked of it; its answer is the first element of `asked.problem`."""
    calls = []

    def sign_in(user, username, password):
        calls.append((user.username, username, password))
        return sign_in.problem

    sign_in.problem = ""
    sign_in.calls = calls
    monkeypatch.setattr("dashboard.accounts.credentials.sign_in", sign_in)
    return sign_in


def sign_in(client, username="viewer", password=demo.PASSWORD, **more):
    return client.post(SIGN_IN, {"username": username, "password": password, **more})


def test_signing_in_fetches_upstream_tokens_and_opens_the_overview(people, asked):
    response = sign_in(Client())
    assert (response.status_code, response["Location"]) == (302, "/")
    assert asked.calls == [("viewer", "viewer", demo.PASSWORD)]


def test_the_name_may_come_as_login(people, asked):
    response = Client().post(SIGN_IN, {"login": "owner", "password": demo.PASSWORD})
    assert response.status_code == 302


def test_without_upstream_tokens_one_is_signed_in_and_told_why(people, asked):
    asked.problem = "the issuer refused: invalid_grant"
    client = Client()
    assert sign_in(client).status_code == 302
    assert "not upstream: the issuer refused: invalid_grant" in client.get("/").content.decode()


def test_without_an_issuer_one_is_told_which_setting_names_it(people):
    client = Client()
    sign_in(client)
    assert "OIDC_TOKEN_URL" in client.get("/").content.decode()


def test_a_wrong_password_asks_nobody_upstream(people, asked):
    response = sign_in(Client(), password="wrong")
    assert response.status_code == 200
    assert "correct username and password" in response.content.decode()
    assert asked.calls == []


def test_many_wrong_passwords_close_the_door_for_a_while(people, asked, settings):
    settings.AXES_FAILURE_LIMIT = 3
    client = Client()
    for _ in range(3):
        last = sign_in(client, password="wrong")
    assert last.status_code == 429
    assert sign_in(client).status_code == 429
    assert "Too many" in sign_in(client).content.decode()
    assert sign_in(client, username="owner").status_code == 302


def test_the_way_on_stays_on_this_site(people, asked):
    assert sign_in(Client(), next="https://elsewhere.example/")["Location"] == "/"
    assert sign_in(Client(), next="/devices/")["Location"] == "/devices/"


@pytest.mark.parametrize("demo_site", [True, False])
def test_the_accounts_are_shown_in_the_demo_only(db, settings, demo_site):
    settings.DEMO = demo_site
    assert ("Accounts of this demo" in Client().get(SIGN_IN).content.decode()) is demo_site


def test_signing_out_takes_a_post(people, asked):
    client = Client()
    sign_in(client)
    assert client.get(reverse("sign-out")).status_code == 405
    assert client.post(reverse("sign-out"))["Location"] == SIGN_IN
    assert client.get("/").status_code == 302


def test_the_admin_has_the_same_form(people):
    response = Client().get("/admin/", follow=True)
    assert response.redirect_chain[-1][0] == "/accounts/login/?next=/admin/"


def test_whoever_is_not_staff_is_told_so(people, asked):
    client = Client()
    sign_in(client)
    response = client.get("/admin/", follow=True)
    assert response.status_code == 403
    assert "You may not do this" in response.content.decode()
