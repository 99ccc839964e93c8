"""Strict reading of variables: each mistake is named, with the next step."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from project.environment import Environment, read_dotenv
from realtime import valkey_address


def problem(read, **variables):
    """Return what `finish` says after `read` has read from an environment of these variables."""
    env = Environment(variables, {})
    read(env)
    with pytest.raises(ImproperlyConfigured) as raised:
        env.finish()
    return str(raised.value)


def value(read, **variables):
    env = Environment(variables, {})
    result = read(env)
    env.finish()
    return result


@pytest.mark.parametrize("word", ["true", "Yes", "ON", "1"])
def test_a_flag_can_be_set_in_several_words(word):
    assert value(lambda env: env.flag("DEBUG", False), DEBUG=word) is True


@pytest.mark.parametrize("word", ["false", "No", "OFF", "0"])
def test_a_flag_can_be_cleared_in_several_words(word):
    assert value(lambda env: env.flag("DEBUG", True), DEBUG=word) is False


def test_a_flag_that_is_neither_is_refused_by_name():
    said = problem(lambda env: env.flag("DEBUG", True), DEBUG="maybe")
    assert 'DEBUG="maybe" is neither yes nor no. Write true or false.' in said


def test_what_is_not_set_has_its_default():
    assert value(lambda env: env.integer("PORT", 8000)) == 8000


def test_an_empty_value_counts_as_not_set():
    assert value(lambda env: env.integer("PORT", 8000), PORT="") == 8000


@pytest.mark.parametrize(("given", "meant"), [({}, None), ({"TRIES": "5"}, 5), ({"TRIES": ""}, None)])
def test_a_whole_number_may_have_no_default(given, meant):
    assert value(lambda env: env.optional_integer("TRIES"), **given) == meant
    assert 'TRIES="2.5"' in problem(lambda env: env.optional_integer("TRIES"), TRIES="2.5")


@pytest.mark.parametrize("word", ["eight", "8.5", "-1", "1" + "0" * 30])
def test_a_bad_integer_is_refused_by_name(word):
    assert f'PORT="{word}"' in problem(lambda env: env.integer("PORT", 8000), PORT=word)


@pytest.mark.parametrize("word", ["soon", "nan", "0.5", "inf", "1e400", "1e308"])
def test_a_bad_number_is_refused_by_name(word):
    assert f'GRACE="{word}"' in problem(lambda env: env.number("GRACE", 30, minimum=1), GRACE=word)


def test_a_choice_names_what_there_is_to_choose():
    said = problem(lambda env: env.choice("KIND", ("events", "graphql"), "events"), KIND="evnets")
    assert "Choose from: events, graphql." in said


@pytest.mark.feature("S1.4")
def test_choices_keep_the_order_given():
    read = lambda env: env.choices("ORDER", ("websocket", "sse"), default=("websocket", "sse"))  # noqa: E731
    assert value(read, ORDER="sse, websocket") == ["sse", "websocket"]


def test_one_bad_word_of_several_is_refused():
    said = problem(lambda env: env.choices("ORDER", ("websocket", "sse"), ()), ORDER="sse,pigeon")
    assert "ORDER" in said


@pytest.mark.parametrize("chosen", [",", "sse,sse"])
def test_a_choice_of_nothing_or_of_one_twice_is_refused(chosen):
    assert "ORDER" in problem(lambda env: env.choices("ORDER", ("websocket", "sse"), ()), ORDER=chosen)


def test_hosts_are_names():
    names = "a.example,.b.example,*,127.0.0.1,[::1],under_score"
    assert value(lambda env: env.hosts("HOSTS"), HOSTS=names) == names.split(",")


@pytest.mark.parametrize("name", ["http://a.example", "a.example:8000", "a.example/x", "a b", "::1"])
def test_a_host_is_nothing_but_its_name(name):
    assert f'HOSTS="{name}"' in problem(lambda env: env.hosts("HOSTS"), HOSTS=name)


@pytest.mark.parametrize(
    "address",
    ["ftp://host", "host:80", "https://", "https:///path", "https://h:port", "https://h:99999/", "https://[::1"],
)
def test_an_address_of_another_kind_is_refused(address):
    assert "URL" in problem(lambda env: env.url("URL", ("https",)), URL=address)


@pytest.mark.parametrize(
    "address", ["https://h", "https://h:8443/path", "https://[::1]:1/", "unix:///run/v.sock", "a://h:1,i:2/m"]
)
def test_an_address_is_handed_on_as_it_is(address):
    assert value(lambda env: env.url("URL", ("https", "unix", "a")), URL=address) == address


def test_an_address_that_is_shown_holds_no_password():
    said = problem(lambda env: env.url("URL", ("https",)), URL="https://u:hunter2@host/")
    assert "URL holds a login" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("address", ["pg://u:hunter2@h", "postgres://u:hunter2/3@h/db", "postgres://u:hunter2@h:x/"])
def test_an_address_that_may_hold_a_password_is_not_repeated(address):
    said = problem(lambda env: env.secret_url("DATABASE_URL", ("postgres",), ""), DATABASE_URL=address)
    assert "DATABASE_URL" in said
    assert "hunter2" not in said


def test_an_address_can_be_looked_at_more_closely():
    def read(env):
        env.secret_url("REDIS_URL", ("sentinel",), "", check=valkey_address.parse)

    assert "REDIS_URL names no sentinel" in problem(read, REDIS_URL="sentinel://host")


def test_a_file_must_be_there(tmp_path):
    (tmp_path / "ca.pem").write_text("")
    assert value(lambda env: env.file("CA"), CA=str(tmp_path / "ca.pem")) == tmp_path / "ca.pem"
    for none in (tmp_path, tmp_path / "other.pem"):
        assert "CA=" in problem(lambda env: env.file("CA"), CA=str(none))


def test_all_problems_are_told_at_once():
    def read(env):
        env.flag("DEBUG", True)
        env.integer("PORT", 1)

    said = problem(read, DEBUG="perhaps", PORT="high")
    assert "DEBUG" in said
    assert "PORT" in said


def test_a_secret_can_stand_in_a_file(tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    assert value(lambda env: env.secret("KEY"), KEY_FILE=str(tmp_path / "key")) == "s3cret"


def test_a_secret_file_that_is_missing_is_an_error(tmp_path):
    said = problem(lambda env: env.secret("KEY"), KEY_FILE=str(tmp_path / "none"))
    assert "KEY_FILE" in said
    assert "No such file" in said


def test_a_secret_given_twice_is_an_error(tmp_path):
    (tmp_path / "key").write_text("one")
    said = problem(lambda env: env.secret("KEY"), KEY="two", KEY_FILE=str(tmp_path / "key"))
    assert "KEY and KEY_FILE are both set" in said


def test_several_secrets_are_for_rotation():
    assert value(lambda env: env.secrets("KEYS"), KEYS="new, old") == ["new", "old"]


def test_a_demand_that_is_not_met_is_a_problem():
    assert "HOSTS is not set." in problem(lambda env: env.demand([], "HOSTS is not set."))


def test_an_unknown_name_in_the_file_is_an_error(tmp_path):
    (tmp_path / ".env").write_text("# a comment\nDEBUG=false\nDEBGU=true\n")
    env = Environment({}, read_dotenv(tmp_path / ".env"))
    assert env.flag("DEBUG", True) is False
    with pytest.raises(ImproperlyConfigured, match="DEBGU in"):
        env.finish()


def test_the_process_environment_wins_over_the_file(tmp_path):
    (tmp_path / ".env").write_text("PORT=1\n")
    assert Environment({"PORT": "2"}, read_dotenv(tmp_path / ".env")).integer("PORT", 3) == 2


def test_no_file_is_no_error(tmp_path):
    assert read_dotenv(tmp_path / ".env") == {}


def test_reading_a_file_leaves_the_process_environment_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("COLOUR", raising=False)
    (tmp_path / ".env").write_text("COLOUR=green\n")
    import os

    assert read_dotenv(tmp_path / ".env") == {"COLOUR": "green"}
    assert "COLOUR" not in os.environ
