"""Alive and ready are two questions."""

import asyncio

import pytest
from django.db import connection

from realtime import health
from realtime.health import Health, database_check, valkey_check
from realtime.models import Topic
from realtime.valkey import connect


async def fine():
    pass


async def broken():
    raise ConnectionRefusedError("nobody listens")


async def hangs():
    await asyncio.Event().wait()


async def test_ready_when_every_check_passes():
    assert await Health({"database": fine, "valkey": fine}).problems() == {}


async def test_each_problem_is_named_with_its_cause():
    problems = await Health({"database": fine, "valkey": broken}).problems()
    assert problems == {"valkey": "ConnectionRefusedError: nobody listens"}


async def test_a_check_that_hangs_fails_fast(monkeypatch):
    monkeypatch.setattr(health, "CHECK_DEADLINE", 0.01)
    problems = await Health({"one": hangs, "other": hangs}).problems()
    assert list(problems) == ["one", "other"]


async def test_a_draining_process_is_not_ready_and_asks_nobody():
    process = Health({"database": broken})
    process.draining = True
    assert list(await process.problems()) == ["draining"]


@pytest.mark.django_db(transaction=True)
async def test_the_database_answers():
    await database_check()()


@pytest.fixture
def renamed_topics(transactional_db):
    names = (Topic._meta.db_table, "elsewhere")
    with connection.schema_editor() as editor:
        editor.alter_db_table(Topic, *names)
    yield
    with connection.schema_editor() as editor:
        editor.alter_db_table(Topic, *reversed(names))


async def test_a_database_without_its_tables_is_not_ready(renamed_topics):
    problems = await Health({"database": database_check()}).problems()
    assert "realtime_topic" in problems["database"]


async def test_valkey_answers(valkey):
    async with connect() as client:
        await valkey_check(client)()


@pytest.mark.faults
async def test_valkey_away_is_seen_and_its_return_too(valkey):
    async with connect() as client:
        process = Health({"valkey": valkey_check(client)})
        assert await process.problems() == {}
        valkey.kill()
        assert list(await process.problems()) == ["valkey"]
        await asyncio.to_thread(valkey.start)
        assert await process.problems() == {}
