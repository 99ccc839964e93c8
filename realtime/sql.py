"""Set-based SQL: many rows in one JSON parameter, on SQLite and PostgreSQL alike.

One statement a step instead of one ORM call an event is what lets one worker core record tens of thousands of
copies a second; a VALUES list costs several times as much, because the driver binds each value by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal
from zlib import crc32

import msgspec
from django.db import connection

from realtime import clock

Kind = Literal["text", "bigint", "boolean", "jsonb"]


def rows(columns: Mapping[str, Kind]) -> str:
    """Return a subselect with these columns that reads its rows from one parameter, made by ``parameter``."""
    return _rows(connection.vendor, tuple(columns.items()))


@cache
def _rows(vendor: str, columns: tuple[tuple[str, Kind], ...]) -> str:
    if vendor == "postgresql":
        picks = ", ".join(f'(value->>{n})::{kind} AS "{name}"' for n, (name, kind) in enumerate(columns))
        return f"(SELECT {picks} FROM json_array_elements(%s::json))"
    picks = ", ".join(f"json_extract(value, '$[{n}]') AS \"{name}\"" for n, (name, _) in enumerate(columns))
    return f"(SELECT {picks} FROM json_each(%s))"


def parameter(values: Sequence[Sequence[Any]]) -> str:
    """Return the rows as the JSON text that ``rows`` reads."""
    return msgspec.json.encode(values).decode()


def text(said: str, most: int) -> str:
    """Return what somebody else said as a column of ``most`` letters can hold it: PostgreSQL takes no NUL."""
    return said.replace("\0", "\\u0000")[:most]


def execute(statement: str, values: Sequence[Sequence[Any]], *more: Any) -> None:
    """Run a statement over ``rows`` that returns nothing; without rows it is not run at all."""
    if values:
        with connection.cursor() as cursor:
            cursor.execute(statement, [parameter(values), *more])


def fetch(statement: str, values: Sequence[Sequence[Any]], *more: Any) -> list[tuple[Any, ...]]:
    """As ``execute``, returning the statement's rows."""
    if not values:
        return []
    with connection.cursor() as cursor:
        cursor.execute(statement, [parameter(values), *more])
        return list(cursor.fetchall())


def insert(table: str, columns: Mapping[str, Kind], values: Sequence[Sequence[Any]]) -> None:
    """Insert rows that can't conflict, the fastest way there is."""
    if values and connection.vendor == "postgresql":
        with connection.cursor() as cursor, connection.wrap_database_errors:
            with cursor.copy(f"COPY {table} ({_names(columns)}) FROM STDIN") as copy:
                for row in values:
                    copy.write_row(row)
    else:
        _execute_each(_insert(table, columns), values)


def upsert(table: str, columns: Mapping[str, Kind], key: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
    """Insert rows, or overwrite those with the same ``key``; no two of ``values`` may have the same."""
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
    conflict = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}"
    if connection.vendor == "postgresql":
        names = _names(columns)
        execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {rows(columns)} AS new {conflict}", values)
    else:
        _execute_each(f"{_insert(table, columns)} {conflict}", values)


def _execute_each(statement: str, values: Sequence[Sequence[Any]]) -> None:
    """Run a statement once a row: SQLite binds a value in less time than it takes to find it in a JSON text."""
    if values:
        with connection.cursor() as cursor:
            cursor.executemany(statement, values)


def _insert(table: str, columns: Mapping[str, Kind]) -> str:
    return f"INSERT INTO {table} ({_names(columns)}) VALUES ({', '.join(['%s'] * len(columns))})"


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def select(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement with plain parameters."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


NAME_LOCKS = 64
"""Locks that names share: PostgreSQL has room for some thousands in all, and a snapshot may name as many entities."""

_CLASS = 0x464C
"""Sets our locks apart from others that somebody may take in the same database."""


def lock_names(names: Iterable[str]) -> None:
    """Let no other transaction that locks one of these names go on until this one has ended.

    They need not name rows, so this holds for rows that are yet to be made. The locks are taken in one order, by one
    statement: lock all names of a transaction at once, or two can wait for each other. SQLite's transaction holds the
    whole file already.
    """
    if connection.vendor == "postgresql":
        slots = sorted({crc32(name.encode()) % NAME_LOCKS for name in names})
        select(f"SELECT pg_advisory_xact_lock({_CLASS}, slot) FROM unnest(%s::int[]) AS slot", slots)


def now_us() -> int:
    """Return the time in microseconds by the clock that all who write to the database have in common."""
    if connection.vendor != "postgresql":
        return clock.now_us()
    ((now,),) = select("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    return int(now)


def lock_rows(table: str) -> str:
    """Return the clause that locks the rows of a selected table; SQLite's transaction holds the whole file."""
    return f" FOR UPDATE OF {table}" if connection.vendor == "postgresql" else ""


def hold_rows(table: str) -> str:
    """Return the clause that keeps others from changing the rows of a selected table, and lets them read.

    SQLite's transaction holds the whole file.
    """
    return f" FOR SHARE OF {table}" if connection.vendor == "postgresql" else ""
