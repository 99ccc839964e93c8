import asyncio

import pytest

from realtime.delivery.batch import Batch


class Look:
    """Answers each batch when told to."""

    def __init__(self):
        self.asked = []
        self.gate = asyncio.Semaphore(0)

    async def __call__(self, keys):
        self.asked.append(list(keys))
        await self.gate.acquire()
        if "bad" in keys:
            raise LookupError("bad")
        return {key: key.upper() for key in keys if key != "unknown"}


async def test_what_comes_during_a_look_is_answered_together_by_the_next():
    look = Look()
    batch = Batch(look)
    first = asyncio.create_task(batch.ask("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(batch.ask(key)) for key in ("b", "c", "b", "unknown")]
    look.gate.release()
    look.gate.release()
    assert await first == "A"
    assert await asyncio.gather(*others) == ["B", "C", "B", None]
    assert look.asked == [["a"], ["b", "c", "unknown"]]


async def test_a_look_is_bounded():
    look = Look()
    batch = Batch(look, size=2)
    for _ in range(3):
        look.gate.release()
    await asyncio.gather(*(batch.ask(str(n)) for n in range(5)))
    assert [len(keys) for keys in look.asked] == [2, 2, 1]


async def test_a_failure_reaches_all_who_asked_and_the_next_look_is_made():
    look = Look()
    batch = Batch(look)
    look.gate.release()
    look.gate.release()
    answers = await asyncio.gather(batch.ask("bad"), batch.ask("b"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [LookupError, LookupError]
    assert await batch.ask("b") == "B"


async def test_one_who_gives_up_takes_nothing_from_the_others():
    look = Look()
    batch = Batch(look)
    impatient = asyncio.create_task(batch.ask("a"))
    patient = asyncio.create_task(batch.ask("a"))
    await asyncio.sleep(0)
    impatient.cancel()
    look.gate.release()
    assert await patient == "A"
    with pytest.raises(asyncio.CancelledError):
        await impatient
