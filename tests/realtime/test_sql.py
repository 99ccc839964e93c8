"""Many rows in one parameter come back as they went in."""

import pytest

from realtime import sql

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
