"""Goal: the coroutines are the calls, and a cancelled one leaves nothing held. Method: a real marud."""

from __future__ import annotations

import asyncio
import inspect
import threading

import pytest
from marud import wait_until

from maru import MaruHandler


def test_every_operation_has_its_coroutine():
    for name in "connect close alloc free store batch_store retrieve batch_retrieve exists batch_exists pin batch_pin \
                 unpin batch_unpin delete batch_delete healthcheck get_stats".split():
        blocking, coroutine = getattr(MaruHandler, name), getattr(MaruHandler, "a" + name)
        assert inspect.iscoroutinefunction(coroutine)
        assert list(inspect.signature(blocking).parameters) == list(inspect.signature(coroutine).parameters), name


def test_answers_and_errors_are_those_of_the_calls(connect, key):
    async def work(handler):
        page = await handler.aalloc(3)
        page.buf[:] = b"abc"
        assert await handler.astore(key("a"), page) is True
        assert await handler.astore(key("b"), data=b"b") is True
        assert await handler.abatch_store([key("c")], [b"c"]) == [True]
        assert bytes((await handler.aretrieve(key("a"))).view) == b"abc"
        assert [i and bytes(i.view) for i in await handler.abatch_retrieve([key("b"), key("x")])] == [b"b", None]
        assert await handler.aexists(key("a")) is True
        assert await handler.abatch_exists([key("a"), key("x")]) == [True, False]
        assert await handler.apin(key("a")) is True
        assert await handler.abatch_pin([key("b"), key("x"), key("c")]) == [True, False, False]
        assert await handler.aunpin(key("a")) is True
        assert await handler.abatch_unpin([key("b"), key("c")]) == [True, False]
        assert await handler.adelete(key("a")) is True
        assert await handler.abatch_delete([key("b"), key("x")]) == [True, False]
        assert await handler.ahealthcheck() is True
        assert (await handler.aget_stats())["kv_manager"]["total_entries"] == 1
        with pytest.raises(ValueError, match="Double free"):
            free = await handler.aalloc(1)
            await handler.afree(free)
            await handler.afree(free)
        await handler.aclose()
        with pytest.raises(RuntimeError):
            await handler.aexists(key("a"))

    asyncio.run(work(connect()))


def test_many_run_at_the_same_time(connect, key):
    async def work(handler):
        assert all(await asyncio.gather(*(handler.astore(key(i), data=b"x") for i in range(30))))
        assert all(await asyncio.gather(*(handler.aexists(key(i)) for i in range(30))))

    asyncio.run(work(connect()))


def hold_back(handler, monkeypatch, name):
    """Lets calls of a method wait, once begun, until the event `go`; `begun` tells of the first, `done` of its end."""
    call = getattr(handler, name)
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def slow(*arguments):
        begun.set()
        go.wait(20)
        answer = call(*arguments)
        done.set()
        return answer

    monkeypatch.setattr(handler, name, slow)
    return begun, go, done


async def cancelled(coroutine, begun, until=None):
    """Cancels it once its call has begun, or once `until` is set, without having let it have the answer."""
    task = asyncio.create_task(coroutine)
    if until is None:
        await asyncio.to_thread(begun.wait, 20)
    else:
        await asyncio.sleep(0)  # the call is handed to its thread
        until.wait(20)  # and the loop, which would deliver the answer, stands still
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_pin_whose_waiter_is_cancelled_is_unpinned(connect, monkeypatch, key):
    handler, other = connect(), connect()
    assert handler.store(key(), data=b"1")
    begun, go, done = hold_back(handler, monkeypatch, "batch_pin")

    async def work():
        await cancelled(handler.apin(key()), begun)
        go.set()
        await asyncio.to_thread(done.wait, 20)

    asyncio.run(work())
    assert wait_until(lambda: other.delete(key()))


def test_a_page_whose_waiter_is_cancelled_is_freed(connect, monkeypatch):
    handler = connect()
    begun, go, done = hold_back(handler, monkeypatch, "alloc")

    async def work():
        await cancelled(handler.aalloc(1), begun)
        go.set()
        await asyncio.to_thread(done.wait, 20)

    asyncio.run(work())
    assert wait_until(lambda: handler.allocator.num_allocated == 0)


def test_an_answer_that_came_and_was_not_delivered_is_undone_too(connect, monkeypatch):
    handler = connect()
    begun, go, done = hold_back(handler, monkeypatch, "alloc")
    go.set()
    asyncio.run(cancelled(handler.aalloc(1), begun, done))
    assert wait_until(lambda: handler.allocator.num_allocated == 0)
