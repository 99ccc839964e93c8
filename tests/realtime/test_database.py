"""One thread, one connection, and a fresh one after an error."""

import asyncio
import threading

import pytest
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections

from realtime.database import DatabaseThread


async def test_work_is_done_in_one_thread_in_order(database):
    threads, order = set(), []

    def work(number):
        threads.add(threading.get_ident())
        order.append(number)
        return number

    results = await asyncio.gather(*(database.run(work, number) for number in range(20)))
    assert results == order == list(range(20))
    assert len(threads) == 1 and threading.get_ident() not in threads


async def test_the_connection_is_kept_between_calls(database):
    def opened():
        connection.ensure_connection()
        return id(connection.connection)

    assert await database.run(opened) == await database.run(opened)


async def test_a_database_error_is_raised_and_drops_the_connection(database):
    def fail():
        connection.ensure_connection()
        raise DatabaseError("gone")

    with pytest.raises(DatabaseError, match="gone"):
        await database.run(fail)
    assert await database.run(lambda: connection.connection) is None


async def test_other_errors_keep_the_connection(database):
    def fail():
        connection.ensure_connection()
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await database.run(fail)
    assert await database.run(lambda: connection.connection) is not None


async def test_closing_finishes_what_was_handed_in(transactional_db):
    database, done = DatabaseThread("test"), []
    running = asyncio.ensure_future(database.run(done.append, 1))
    await asyncio.sleep(0)
    database.close()
    await running
    assert done == [1]


async def test_closing_closes_the_connection_of_that_thread_and_no_other(transactional_db):
    database = DatabaseThread("test")

    def opened():
        connection.ensure_connection()
        return connections[DEFAULT_DB_ALIAS]

    theirs = await database.run(opened)
    database.close()
    assert theirs.connection is None
