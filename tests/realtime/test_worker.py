"""Who owns the links: each one a worker, whose next life, or another worker, takes over what it left."""

import asyncio
import dataclasses
from types import SimpleNamespace
from unittest.mock import Mock, call

import pytest
import pytest_asyncio
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.db.models import F

from dashboard.recording import FieldRecorder
from realtime import config, control, credentials, demand, gaps, gates, product, retention
from realtime import valkey as valkey_client
from realtime.clock import now_us
from realtime.leases import Fenced, Leases
from realtime.models import Gap, Link
from realtime.models import Worker as WorkerRow
from realtime.upstream.machine import NOTHING, Happened
from realtime.worker import Worker

pytestmark = pytest.mark.feature("S4.12")
DEADLINE = 15


@pytest.fixture
def make(valkey, layer):
    """Make workers whose AppSync is not there."""
    known = config.load()
    nowhere = dataclasses.replace(known.upstream, events_url="http://127.0.0.1:9/event", auth="oidc", grace=0.0)

    def make(name="w1", **upstream):
        site = dataclasses.replace(known, upstream=dataclasses.replace(nowhere, **upstream))
        return Worker(name, site, product.load(), valkey_client.connect(), layer)

    return make


@pytest_asyncio.fixture
async def start(make, database):
    """Start workers in this process; they are stopped at the end."""
    started = []

    def run(name="w1"):
        worker = make(name)
        started.append((worker, asyncio.create_task(worker.run())))
        return started[-1]

    yield run
    for worker, task in started:
        worker.stop()
        await asyncio.wait([task], timeout=DEADLINE)


@pytest.fixture
def link(transactional_db):
    user = get_user_model().objects.create_user("viewer", subject="sub-viewer")
    return Link.objects.create(user=user, subject=user.subject, worker="w1", state="open", live=True, proven_at=777)


async def rows(database, model, **about):
    return await database.run(lambda: list(model.objects.filter(**about)))


async def until(condition):
    async with asyncio.timeout(DEADLINE):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def fence(database):
    found = await rows(database, WorkerRow, name="w1")
    return found[0].fence if found else 0


async def reached(database, wanted):
    return await fence(database) >= wanted


async def test_what_the_last_life_left_live_has_a_window_since_its_last_proof(start, link, database):
    start()
    await until(lambda: rows(database, Gap))
    (gap,) = await rows(database, Gap)
    assert (gap.cause, gap.started_at) == ("the worker died", 777 - gaps.MARGIN)


async def test_a_worker_that_was_replaced_ends_by_itself(start, database):
    _, old = start()
    await until(lambda: reached(database, 1))
    start()
    with pytest.raises(Fenced):
        await asyncio.wait_for(asyncio.shield(old), DEADLINE)
    assert await fence(database) == 2


async def test_a_link_follows_its_user_who_comes_and_goes_and_comes_again(start, link, database, redis):
    async def is_in(state):
        return [row.state for row in await rows(database, Link)] == [state]

    start()
    for _ in range(2):
        await demand.announce(redis, [link.user_id])
        await until(lambda: is_in("waiting"))
        await redis.delete(demand.KEY)
        await until(lambda: is_in("suspended"))


async def test_an_operator_has_a_link_reconnect_that_nobody_watches_and_it_is_let_go_again(
    start, link, database, monkeypatch
):
    async def is_in(*states):
        return [row.state in states for row in await rows(database, Link)] == [True]

    monkeypatch.setattr("realtime.worker.WANTED_FOR", 1_000_000)
    start()
    await until(lambda: is_in("stopped"))
    for _ in range(2):  # a link that was never opened, then one that is kept and rests
        await database.run(control.wish, link.pk, "reconnect")
        await until(lambda: is_in("waiting"))
        await until(lambda: rows(database, Link, applied_revision=F("desired_revision")))
        await until(lambda: is_in("suspended"))


async def test_the_worker_that_has_the_first_bucket_deletes_what_is_too_old(start, link, database, monkeypatch):
    monkeypatch.setattr(retention, "LOOK_EVERY", 0.01)
    held, worker = [], start()[0]
    monkeypatch.setattr(retention, "delete_batch", lambda *limits: held.append(0 in worker._leases.held) and None)

    async def was_made():
        return held

    await until(was_made)
    assert held == [True]


async def test_a_stopped_worker_says_goodbye(start, database):
    worker, task = start()
    await until(lambda: reached(database, 1))
    worker.stop()
    await asyncio.wait_for(task, DEADLINE)
    (row,) = await rows(database, WorkerRow)
    assert row.stopped


async def test_a_worker_that_still_waits_for_its_database_stops_when_asked(start, monkeypatch):
    def away(leases):
        raise OperationalError("no route")

    monkeypatch.setattr(Leases, "join", away)
    worker, task = start()
    await asyncio.sleep(0)
    worker.stop()
    async with asyncio.timeout(DEADLINE):
        await task


async def test_a_database_that_is_away_for_a_moment_does_not_keep_a_link_from_its_organisations(start, monkeypatch):
    answers = [OperationalError("locked"), ["org"]]

    def organizations(recorder, user_id):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(FieldRecorder, "organizations", organizations)
    worker, _ = start()
    async with asyncio.timeout(DEADLINE):
        assert await worker._organizations(1) == ["org"]
    assert not answers


class FakeMachine:
    """One to which these things happen, one after the other, and then nothing."""

    def __init__(self, *happened):
        self.happened = list(happened)

    def look(self):
        return self.happened.pop(0) if self.happened else NOTHING


@pytest.mark.feature("S0.4")
@pytest.mark.feature("S2.4")
@pytest.mark.parametrize("shared", [False, True], ids=["links of their own", "a service link"])
async def test_what_happens_to_the_machine_is_told_to_whatever_has_a_connection(make, monkeypatch, shared):
    monkeypatch.setattr("realtime.worker.WATCH_EVERY", 0.0)
    worker = make(links="service", auth="api-key", api_key="da2-key") if shared else make()
    service, links, shadow = Mock(), [Mock(), Mock()], Mock()
    worker._machine = FakeMachine(Happened(slept=90.0), NOTHING, Happened(network=False), Happened(rerouted=True))
    worker.keepers.update(enumerate(SimpleNamespace(manager=manager) for manager in links))
    worker._shadows._shadows[0] = SimpleNamespace(manager=shadow)
    if shared:
        worker._roster.parts.service.manager = service
    watching = asyncio.create_task(worker._watch_machine())
    told = [service] if shared else [*links, shadow]

    async def all_were_told():
        return all(len(manager.method_calls) == 4 for manager in told)

    await until(all_were_told)
    watching.cancel()
    await worker._close()
    said = [call.woke(90.0), call.network(False), call.network(False), call.network(True)]
    assert [manager.method_calls for manager in told] == [said] * len(told)


async def test_a_gate_that_an_operator_shuts_lets_every_link_rest_and_says_why(start, link, database):
    await database.run(gates.shut_gate, "maintenance", "AppSync is being moved")
    await database.run(lambda: Link.objects.update(wanted_at=now_us()))
    start()

    async def rests():
        (found,) = await rows(database, Link)
        return "AppSync is being moved" in found.reason and found.state == "waiting"

    await until(rests)
    await database.run(gates.open_gate, "maintenance")

    async def waits_for_its_credential_alone():
        (found,) = await rows(database, Link)
        return found.reason == credentials.NO_CREDENTIAL

    await until(waits_for_its_credential_alone)
