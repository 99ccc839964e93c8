"""The command of the two dialects: what it wants, and what it shows."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from realtime import config, dualrun, switches
from realtime.comparing import Results, Sample, Tally
from realtime.dualrun import Findings
from realtime.linkbook import LinkBook
from realtime.models import DualRun, Link

pytestmark = [pytest.mark.feature("B6"), pytest.mark.django_db]


@pytest.fixture
def links(django_user_model, settings):
    settings.APPSYNC_EVENTS_URL = "http://127.0.0.1:9/event"
    settings.APPSYNC_GRAPHQL_URL = "http://127.0.0.1:9/graphql"
    config.load.cache_clear()
    for name in ("ada", "bob"):
        user = django_user_model.objects.create_user(name, subject=f"sub-{name}")
        Link.objects.create(user=user, subject=f"sub-{name}", protocol="events", state="open")
    yield Link.objects
    config.load.cache_clear()


def said(capsys, *arguments):
    call_command("dualrun", *arguments)
    return capsys.readouterr().out


def find(name, tally, *samples):
    (wish,) = [wish for wish in dualrun.wanted().values() if Link.objects.get(pk=wish.link_id).subject == name]
    results = Results({"roleChanged": tally}, samples=list(samples))
    Findings(wish.link_id, wish.since, "events", {}, dualrun.stored(results)).apply(1, LinkBook())


@pytest.mark.parametrize(
    ("arguments", "compared"),
    [(["ada"], ["sub-ada"]), (["ada", "sub-bob"], ["sub-ada", "sub-bob"]), (["--all"], ["sub-ada", "sub-bob"])],
)
def test_chosen_links_are_compared(links, capsys, arguments, compared):
    assert compared[0] in said(capsys, "start", *arguments, "--window", "5")
    runs = DualRun.objects.order_by("link__subject").values_list("link__subject", "window", "stopped_at")
    assert list(runs) == [(subject, 5.0, None) for subject in compared]
    assert f"{len(compared)} dual runs stopped" in said(capsys, "stop", "--all")


@pytest.mark.parametrize(
    ("arguments", "complaint", "status"),
    [
        (["start"], "--all", 2),
        (["start", "ada", "--all"], "--all", 2),
        (["start", "carol"], "links list", 1),
        (["start", "ada", "--window", "0"], "window", 2),
        (["stop"], "--all", 2),
        (["report"], "dualrun start", 1),
        (["report", "carol"], "links list", 1),
    ],
)
def test_what_cannot_be_is_an_error_with_the_next_step(links, arguments, complaint, status):
    with pytest.raises(CommandError, match=complaint) as error:
        call_command("dualrun", *arguments)
    assert error.value.returncode == status


@pytest.mark.parametrize("variable", ["APPSYNC_EVENTS_URL", "APPSYNC_GRAPHQL_URL"])
def test_a_dialect_without_an_address_is_not_compared_and_its_setting_is_named(links, settings, variable):
    setattr(settings, variable, "")
    config.load.cache_clear()
    with pytest.raises(CommandError, match=variable):
        call_command("dualrun", "start", "ada")
    assert not DualRun.objects.exists()


def test_without_any_link_there_is_nothing_to_compare(links):
    links.all().delete()
    with pytest.raises(CommandError, match="first sign-in"):
        call_command("dualrun", "start", "--all")


def test_a_report_has_a_row_for_each_channel_and_a_line_for_each_difference(links, capsys):
    said(capsys, "start", "ada")
    find(
        "sub-ada",
        Tally(matched=7, alone={"events": 1, "graphql": 0}),
        Sample("alone", "events", "roleChanged", 1, "member/o/u"),
    )
    heading, recorded, shadow, names, row, difference = said(capsys, "report", "ada").splitlines()
    assert heading.startswith("sub-ada: since ")
    assert ("recorded events" in recorded, "graphql" in shadow) == (True, True)
    shown = dict(zip(names.split(), row.split(), strict=True))
    assert (shown["channel"], shown["matched"], shown["missing"], shown["lag_p50"]) == ("roleChanged", "7", "1", "-")
    assert "missing on graphql" in difference
    assert "key=member/o/u" in difference


def test_as_json_a_report_is_one_object_a_link(links, capsys):
    said(capsys, "start", "--all")
    find("sub-bob", Tally(matched=7))
    ada, bob = (json.loads(line) for line in said(capsys, "report", "--json").splitlines())
    assert (ada["link"], ada["channels"]) == ("sub-ada", [])
    assert (bob["link"], bob["channels"][0]["matched"], bob["window"]) == ("sub-bob", 7, 30.0)
    assert [json.loads(line)["link"] for line in said(capsys, "report", "bob", "--json").splitlines()] == ["sub-bob"]


@pytest.mark.feature("S4.15")
def test_a_switch_is_desired_state_until_it_is_given_back_to_the_environment(links, capsys):
    assert "wanted: graphql (UPSTREAM_PROTOCOL is events)" in said(capsys, "switch", "graphql")
    assert switches.get(switches.PROTOCOL, "events") == "graphql"
    assert "wanted: events" in said(capsys, "switch", "default")


def test_the_status_counts_links_and_dual_runs(links, capsys):
    said(capsys, "start", "ada")
    assert said(capsys, "status").splitlines()[1:] == [
        "events: 2 links are open",
        "graphql: 0 links are open",
        "dual runs: 1",
    ]


def test_what_is_done_is_told_as_json_too(links, capsys):
    def rows(*arguments):
        return [json.loads(line) for line in said(capsys, *arguments, "--json").splitlines()]

    assert rows("start", "--all", "--window", "5") == [{"link": f"sub-{who}", "window": 5.0} for who in ("ada", "bob")]
    (status,) = rows("status")
    assert status == {
        "wanted": "events",
        "default": "events",
        "open_links": {"events": 2, "graphql": 0},
        "dual_runs": 2,
    }
    assert rows("stop", "--all") == [{"stopped": 2}]
    assert rows("switch", "graphql") == [status | {"wanted": "graphql", "dual_runs": 0}]


@pytest.mark.feature("S4.4")
def test_links_that_share_a_connection_are_not_compared(links, settings):
    settings.UPSTREAM_LINKS = "service"
    config.load.cache_clear()
    with pytest.raises(CommandError, match="UPSTREAM_LINKS is service"):
        call_command("dualrun", "start", "ada")
    assert not DualRun.objects.exists()
