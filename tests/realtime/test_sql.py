"""Many rows in one parameter come back as they went in."""

import pytest
from django.db import IntegrityError, transaction

from realtime import sql
from realtime.models import Topic

COLUMNS = {"word": "text", "number": "bigint", "flag": "boolean"}
ROWS = [
    ("plain", 1, True),
    ("quote ' \" \\ %s", 2**53 + 1, False),
    ("ü\u2028\U0001f4f7", -(2**62), None),
    ('{"a": "\\u0000"}', 0, True),
]


@pytest.mark.django_db
def test_every_value_comes_back():
    found = sql.fetch(f"SELECT word, number, flag FROM {sql.rows(COLUMNS)} AS new", ROWS)
    assert [(word, number, None if flag is None else bool(flag)) for word, number, flag in found] == ROWS


@pytest.mark.django_db
def test_the_order_is_kept_and_further_parameters_follow():
    statement = f"SELECT word FROM {sql.rows(COLUMNS)} AS new WHERE number > %s"
    assert sql.fetch(statement, [("b", 5, True), ("a", 4, True), ("c", 3, True)], 3) == [("b",), ("a",)]


def test_without_rows_nothing_is_asked():
    sql.execute("this is no SQL", [])
    assert sql.fetch("this is no SQL", []) == []


TOPIC = dict.fromkeys(("head", "relayed", "floor", "access_version"), "bigint") | {"name": "text", "epoch": "text"}


def topics():
    return sorted((topic.name, topic.epoch, topic.head) for topic in Topic.objects.all())


@pytest.mark.django_db
def test_inserted_rows_are_as_they_were_given():
    words = [word for word, *_ in ROWS] + ["tab\tline\nreturn\r", "\\N", "\\.", ""]
    sql.insert("realtime_topic", TOPIC, [(2**53 + n, 0, 0, 0, word, "e") for n, word in enumerate(words)])
    assert topics() == sorted((word, "e", 2**53 + n) for n, word in enumerate(words))


@pytest.mark.django_db
def test_an_upsert_makes_and_overwrites():
    sql.insert("realtime_topic", TOPIC, [(1, 0, 0, 0, "old", "e1")])
    sql.upsert("realtime_topic", TOPIC, ["name"], [(2, 0, 0, 0, "old", "e2"), (3, 0, 0, 0, "new", "e3")])
    assert topics() == [("new", "e3", 3), ("old", "e2", 2)]


@pytest.mark.django_db
def test_rows_that_conflict_after_all_are_an_error_of_the_database():
    with pytest.raises(IntegrityError), transaction.atomic():
        sql.insert("realtime_topic", TOPIC, [(1, 0, 0, 0, "same", "e")] * 2)


def test_nothing_is_written_without_rows():
    sql.insert("no_table", TOPIC, [])
    sql.upsert("no_table", TOPIC, ["name"], [])
