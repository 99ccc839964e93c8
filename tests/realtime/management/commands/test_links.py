"""Operators' commands on the database: links and the ledger."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from realtime.clock import now_us
from realtime.models import Gap, Lease, Link, Worker
from realtime.wanted import note_applied

pytestmark = pytest.mark.django_db


@pytest.fixture
def links(django_user_model):
    for name, state in (("ada", "open"), ("bob", "backoff")):
        user = django_user_model.objects.create_user(name, subject=f"sub-{name}")
        Link.objects.create(user=user, subject=f"sub-{name}", state=state, reason="closed by the service: 1006")
    return Link.objects


def rows(capsys, *arguments):
    call_command(*arguments, "--json")
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("arguments", [["--state", "backoff"], ["--search", "bob"], ["--offset", "1"]])
def test_links_are_filtered_searched_and_paged(links, capsys, arguments):
    assert [row["subject"] for row in rows(capsys, "links", "list", *arguments)] == ["sub-bob"]


def test_a_link_is_shown_whole_by_any_of_its_names(links, capsys):
    ada = links.get(subject="sub-ada")
    Gap.objects.create(link=ada, cause="closed", started_at=1_000_000)
    for name in ("ada", "sub-ada", str(ada.pk)):
        (whole,) = rows(capsys, "links", "show", name)
        assert whole["subject"] == "sub-ada"
        assert whole["gaps"][0]["cause"] == "closed"


@pytest.mark.feature("S3.9")
def test_a_link_that_is_not_open_says_what_is_wrong_with_code_cause_and_next_step(links, capsys):
    links.filter(subject="sub-bob").update(error_kind="server-error", error_class="throttled")
    (whole,) = rows(capsys, "links", "show", "bob")
    trouble = whole["trouble"]
    assert (trouble["kind"], trouble["code"], trouble["scope"]) == ("server-error", "throttled", "service")
    assert trouble["cause"] == "closed by the service: 1006"
    assert "no sooner than the service asked" in trouble["next"]
    call_command("links", "show", "bob")
    shown = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert [line for line in shown if line and line[0] in trouble] == [[name, trouble[name]] for name in trouble]


@pytest.mark.feature("S3.12")
def test_b86_a_link_tells_how_often_it_was_silent_and_how_far_the_record_is_behind(links, capsys, monkeypatch):
    now = now_us()
    monkeypatch.setattr("realtime.management.commands.links.now_us", lambda: now)
    links.update(silences=3, proven_at=now - 2_500_000)
    by_name = {name: rows(capsys, "links", "show", name)[0] for name in ("ada", "bob")}
    assert [(row["silences"], row["lag"]) for row in by_name.values()] == [(3, 2.5), (3, None)]
    assert by_name["ada"]["recorded_to"]


@pytest.mark.feature("S3.9")
@pytest.mark.parametrize(
    ("state", "says"), [("suspended", "links resume"), ("waiting", "links gates"), ("connecting", "on its way")]
)
def test_a_link_that_rests_says_what_brings_it_up(links, capsys, state, says):
    links.filter(subject="sub-bob").update(state=state, reason="nobody is watching")
    (whole,) = rows(capsys, "links", "show", "bob")
    assert (whole["trouble"]["kind"], whole["trouble"]["code"]) == ("", state)
    assert (whole["trouble"]["cause"], says in whole["trouble"]["next"]) == ("nobody is watching", True)


def test_nothing_is_wrong_with_a_link_that_is_open(links, capsys):
    (whole,) = rows(capsys, "links", "show", "ada")
    assert whole["trouble"] is None


def test_an_unknown_link_is_an_error_that_says_where_to_look(links):
    with pytest.raises(CommandError, match="links list"):
        call_command("links", "show", "carol")


@pytest.mark.parametrize(
    ("operation", "column", "after"),
    [("reconnect", "reconnect_wanted", 1), ("suspend", "desire", "suspended"), ("repair", "repair_wanted", 1)],
)
def test_a_wish_is_desired_state_and_waits_for_a_worker(links, monkeypatch, operation, column, after):
    ada = links.get(subject="sub-ada")
    monkeypatch.setattr("realtime.control.wait_applied.__defaults__", (5.0, lambda _: note_applied([(ada.pk, 1)])))
    call_command("links", operation, "ada")
    ada.refresh_from_db()
    assert (getattr(ada, column), ada.desired_revision, ada.applied_revision) == (after, 1, 1)


def test_who_has_a_link_compared_is_told_so(links, monkeypatch, capsys):
    ada = links.get(subject="sub-ada")
    monkeypatch.setattr("realtime.control.wait_applied.__defaults__", (5.0, lambda _: note_applied([(ada.pk, 1)])))
    assert rows(capsys, "gaps", "repair", "ada") == [{"link": "sub-ada", "asked": "repair"}]


@pytest.mark.parametrize("command", [("links", "rotate"), ("links", "repair"), ("gaps", "repair")])
def test_what_a_resting_link_can_not_do_is_an_error_that_says_what_to_do(links, command):
    links.filter(subject="sub-ada").update(state="suspended", reason="nobody is watching")
    with pytest.raises(CommandError, match=r"suspended: nobody is watching; .*reconnect brings it up"):
        call_command(*command, "ada")


def test_without_a_worker_the_wish_stands_and_that_is_said(links, monkeypatch):
    monkeypatch.setattr("realtime.control.wait_applied.__defaults__", (5.0, lambda _: None))
    with pytest.raises(CommandError, match="upstream"):
        call_command("links", "suspend", "ada")
    assert links.get(subject="sub-ada").desire == Link.Desire.SUSPENDED


@pytest.mark.feature("S2.13")
def test_the_ledger_is_listed_newest_first_and_filtered(links, capsys):
    ada, bob = links.order_by("subject")
    Gap.objects.create(link=ada, cause="first", started_at=1, outcome="repaired", closed_at=5)
    Gap.objects.create(link=ada, cause="second", started_at=2)
    Gap.objects.create(link=bob, feed="roleChanged", cause="third", started_at=3)
    assert [row["cause"] for row in rows(capsys, "gaps", "list")] == ["third", "second", "first"]
    assert [row["cause"] for row in rows(capsys, "gaps", "list", "--outcome", "open")] == ["third", "second"]
    assert [row["cause"] for row in rows(capsys, "gaps", "list", "--link", "ada", "--limit", "1")] == ["second"]
    assert [row["cause"] for row in rows(capsys, "gaps", "list", "--feed", "roleChanged")] == ["third"]
    with pytest.raises(CommandError, match="gaps list"):
        call_command("gaps", "show", "999")


def test_gates_are_shut_listed_and_opened(db, capsys):
    rows(capsys, "links", "shut", "maintenance", "--reason", "AppSync is being moved", "--for", "60")
    (gate,) = rows(capsys, "links", "gates")
    assert (gate["gate"], gate["reason"], bool(gate["until"])) == ("maintenance", "AppSync is being moved", True)
    call_command("links", "open", "maintenance")
    assert rows(capsys, "links", "gates") == []


def test_who_moves_a_gate_is_shown_those_that_are_shut_then(db, capsys):
    (first,) = rows(capsys, "links", "shut", "maintenance", "--reason", "AppSync is being moved")
    assert first == {"gate": "maintenance", "reason": "AppSync is being moved", "until": None}
    assert rows(capsys, "links", "shut", "holiday", "--reason", "nobody is here")[0] == first
    assert [row["gate"] for row in rows(capsys, "links", "open", "maintenance")] == ["holiday"]


@pytest.mark.parametrize(("wrong", "status"), [(("shut", "auth", "--reason", "why"), 2), (("open", "maintenance"), 1)])
def test_a_gate_that_can_not_be_moved_is_an_error(db, wrong, status):
    with pytest.raises(CommandError, match="gate") as error:
        call_command("links", *wrong)
    assert error.value.returncode == status


def test_a_worker_is_drained_and_waited_for(db, monkeypatch, capsys):
    now = now_us()
    Worker.objects.bulk_create([Worker(name=name, beat=now) for name in ("a", "b")])
    Lease.objects.create(bucket=1, owner="a")
    monkeypatch.setattr("time.sleep", lambda seconds: Lease.objects.update(owner="b"))
    call_command("links", "drain", "a")
    assert "handed everything over" in capsys.readouterr().out
    assert rows(capsys, "links", "drain", "a") == [{"worker": "a", "buckets": 0}]
    assert Worker.objects.get(name="a").draining


def test_a_worker_that_can_not_be_drained_is_an_error(db):
    with pytest.raises(CommandError, match="no worker of the name 'a' is running"):
        call_command("links", "drain", "a")


@pytest.mark.feature("S4.4")
def test_each_workers_service_link_is_shown_or_that_there_is_none(db, capsys):
    call_command("links", "service")
    assert "UPSTREAM_LINKS" in capsys.readouterr().out
    told = {"state": "open", "reason": "", "links": 3, "since": 1_790_000_000_000_000}
    Worker.objects.create(name="w1", beat=now_us(), service_link=told)
    Worker.objects.create(name="w2", beat=now_us())
    (row,) = rows(capsys, "links", "service")
    assert row == {"worker": "w1", **told, "since": "2026-09-21T14:13:20.000+00:00"}
