"""Valkey is emptied, the database is an older one or another one: nothing is stuck, nothing foreign is shown."""

import sqlite3
from contextlib import contextmanager

import httpx
import pytest

from tests.demo import until
from tests.faults.stack import copy_of, swap

pytestmark = [pytest.mark.faults, pytest.mark.feature("S4.12")]


@contextmanager
def swapped(stack, other):
    """Let the product go on with another database, and the Valkey it had."""
    stack.worker.kill()
    stack.web.kill()
    swap(stack.database, other)
    yield
    stack.worker.start()
    stack.web.start()
    until(stack.web_is_ready, "the return of the web process")


def test_an_emptied_valkey_is_filled_again(stack, people, assert_nothing_lost):
    resyncs = list(people.owner.store.resyncs)
    with stack.valkey_client() as client:
        client.flushall()
        before = people.owner.store.new
        until(lambda: people.owner.store.new > before + 20, "changes")
        assert_nothing_lost(**vars(people))
        assert client.xlen(client.keys(f"fl:feed:{people.owner.topic}:*")[0]) > 0
    assert people.owner.store.resyncs == resyncs


def test_a_restored_database_begins_new_lives_of_its_topics(stack, people, assert_nothing_lost, tmp_path):
    older = copy_of(stack.database, tmp_path / "older.sqlite3")
    before = people.owner.store.new
    until(lambda: people.owner.store.new > before + 40, "changes that the older database lacks")
    resyncs = len(people.owner.store.resyncs)
    with swapped(stack, older):
        pass
    until(lambda: len(people.owner.store.resyncs) > resyncs, "the page's starting over", 30)
    assert_nothing_lost(**vars(people))


def test_another_database_shows_nothing_of_the_first_one(stack, people, assert_nothing_lost, tmp_path):
    own = copy_of(stack.database, tmp_path / "own.sqlite3")
    cursor = people.rival.store.cursor
    empty = tmp_path / "empty.sqlite3"
    sqlite3.connect(empty).close()
    with swapped(stack, empty):
        stack.make_database()
    with stack.sign_in("viewer") as viewer:
        until(lambda: stack.is_live("sub-viewer"), "the link", 30)
        shown = viewer.get("/live/snapshot/").json()["entities"]
        assert shown and not [key for key in shown if "borealis" in key]
        frames = list(_first_frames(viewer, cursor, 3))
        assert not [frame for frame in frames if "borealis" in str(frame)]
    with swapped(stack, own):
        pass
    for page in vars(people).values():
        page.come_back()
    assert_nothing_lost(**vars(people))


def _first_frames(client, cursor, count):
    with httpx.Client(base_url=client.base_url, cookies=client.cookies, timeout=30, verify=False) as stream:
        with stream.stream("GET", "/live/sse/", params={"cursor": cursor}) as answer:
            lines = (line for line in answer.iter_lines() if line.startswith("data:"))
            yield from (next(lines) for _ in range(count))
