"""Goal: a chunk that was read is right for as long as anybody looks at it, both paths by which LMCache reads leave no
pin and no page behind, and the event loop never waits. Method: an engine that does what LMCache does, over a pool in
memory that counts pins and views, evicts in the middle, and holds calls up."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import threading
import time

import pytest
import torch
from backend_rig import name_of, rig  # noqa: F401
from fake_lmcache import CHUNK, SHAPE, key_of, keys_of

from maru_lmcache import lookups


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def engine(rig):
    engine = rig.engine()
    engine.put_numbers(0, 1, 2)
    rig.pool.messages.clear()
    return engine


class TestBlocking:
    def test_a_chunk_is_read_in_place(self, rig, engine):
        memory_obj = engine.backend.get_blocking(key_of(1))
        assert (memory_obj.get_ref_count(), memory_obj.is_pinned) == (2, False)
        assert (memory_obj.tensor.shape, memory_obj.tensor.dtype) == (SHAPE, torch.float16)
        page, _ = rig.pool.entries[name_of(key_of(1))]
        assert memory_obj.data_ptr == torch.from_numpy(rig.pool.memory)[page * rig.pool.slot :].data_ptr()
        assert rig.pool.messages == [("retrieve", 1)]

    def test_a_miss_is_none(self, engine):
        assert engine.backend.get_blocking(key_of(9)) is None

    def test_a_batch_has_an_entry_for_each_key_and_is_one_message(self, rig, engine):
        assert engine.retrieve([key_of(0), key_of(9), key_of(2), key_of(0)]) == [0.0, None, 2.0, 0.0]
        assert rig.pool.messages == [("batch_retrieve", 4)]
        assert engine.backend.batched_get_blocking([]) == []

    def test_bytes_that_are_no_chunk_of_this_model_are_a_miss(self, rig, engine):
        rig.pool.put(name_of(key_of(5)), b"x" * 33)
        rig.pool.put(name_of(key_of(6)), b"x" * (CHUNK + 1))
        assert engine.retrieve([key_of(5), key_of(6)]) == [None, None]

    def test_a_chunk_stays_what_it_is_when_its_key_is_evicted(self, rig, engine):
        memory_obj = engine.backend.get_blocking(key_of(1))
        tensor = memory_obj.tensor
        memory_obj.ref_count_down()
        del memory_obj
        assert rig.pool.evict(name_of(key_of(1)))
        while (page := engine.backend.allocate(SHAPE, torch.float16)) is not None:
            page.tensor.fill_(99)
        assert set(tensor.flatten().tolist()) == {1.0}
        assert rig.pool.states()["leaving"] == 1
        del tensor
        gc.collect()
        assert rig.pool.states()["leaving"] == 0

    def test_two_reads_are_two_objects(self, engine):
        first, second = engine.backend.batched_get_blocking([key_of(1)] * 2)
        first.pin()
        assert not second.is_pinned
        first.ref_count_down()
        assert second.get_ref_count() == 2

    def test_a_get_takes_no_pin(self, rig, engine):
        memory_obj = engine.backend.get_blocking(key_of(1))
        engine.backend.pin(key_of(1))
        memory_obj.unpin()
        assert rig.pool.total_pins() == 1


class TestSynchronousPath:
    def test_it_leaves_no_pin(self, rig, engine):
        assert engine.lookup("request", [*keys_of(3), key_of(9)]) == 3
        assert rig.pool.total_pins() == 3
        assert engine.retrieve(keys_of(3)) == [0.0, 1.0, 2.0]
        assert rig.pool.total_pins() == 3
        engine.lookup_unpin("request")
        assert rig.pool.total_pins() == 0

    def test_what_it_pinned_stays_until_the_end(self, rig, engine):
        engine.lookup("request", keys_of(2))
        assert not rig.pool.evict(name_of(key_of(0)))
        engine.lookup_unpin("request")
        assert rig.pool.evict(name_of(key_of(0)))


class TestAsynchronousPath:
    def test_contains_asks_without_pins(self, rig, engine):
        ask = engine.backend.batched_async_contains("request", [key_of(0), key_of(9), key_of(1)])
        assert engine.events.run(ask) == 1
        assert (rig.pool.total_pins(), rig.pool.messages) == (0, [("batch_exists", 3)])

    def test_contains_pins_in_one_step_up_to_the_first_miss(self, rig, engine):
        ask = engine.backend.batched_async_contains("request", [key_of(0), key_of(1), key_of(9), key_of(2)], pin=True)
        assert engine.events.run(ask) == 2
        assert [rig.pool.pins_of(name_of(key)) for key in keys_of(3)] == [1, 1, 0]
        assert rig.pool.messages == [("batch_pin", 4)]

    def test_a_lookup_and_its_get_are_two_messages(self, rig, engine):
        assert engine.lookup_async("request", keys_of(3)) == 3
        assert rig.pool.messages == [("batch_pin", 3), ("batch_retrieve", 3)]
        engine.lookup_unpin("request")
        assert rig.pool.messages == [("batch_pin", 3), ("batch_retrieve", 3)]

    def test_each_object_has_a_reference_and_a_pin_here_and_at_the_service(self, rig, engine):
        engine.lookup_async("request", keys_of(2))
        for memory_obj in engine.loading["request"]:
            assert (memory_obj.get_ref_count(), memory_obj.metadata.pin_count) == (2, 1)
        assert rig.pool.total_pins() == 2
        engine.lookup_unpin("request")

    @pytest.mark.parametrize("used", [0, 1, 3])
    def test_it_leaves_no_pin(self, rig, engine, caplog, used):
        with caplog.at_level(logging.WARNING):
            engine.lookup_async("request", keys_of(3))
            assert engine.retrieve_async("request", used) == [0.0, 1.0, 2.0][:used]
            assert rig.pool.total_pins() == 3 - used
            engine.lookup_unpin("request")
        assert rig.pool.total_pins() == 0
        assert "negative" not in caplog.text

    def test_an_aborted_request_leaves_no_pin(self, rig, engine):
        engine.lookup_async("request", keys_of(3))
        engine.lookup_unpin("request")
        assert rig.pool.total_pins() == 0
        assert rig.backend().batched_remove(keys_of(3)) == 3

    def test_requests_over_the_same_chunks_keep_their_own_pins(self, rig, engine):
        engine.lookup_async("first", keys_of(3))
        engine.lookup_async("second", keys_of(3))
        engine.lookup("third", keys_of(3))
        engine.retrieve_async("first", 3)
        engine.lookup_unpin("first")
        assert [rig.pool.pins_of(name_of(key)) for key in keys_of(3)] == [2, 2, 2]
        engine.lookup_unpin("third")
        assert [rig.pool.pins_of(name_of(key)) for key in keys_of(3)] == [1, 1, 1]
        engine.lookup_unpin("second")
        assert rig.pool.total_pins() == 0

    def test_a_get_stops_at_the_first_miss_and_ends_the_pins_behind_it(self, rig, engine):
        asked = engine.backend.batched_async_contains("request", keys_of(3), pin=True)
        assert engine.events.run(asked) == 3
        rig.pool.entries[name_of(key_of(1))] = (rig.pool.entries[name_of(key_of(1))][0], 33)  # damaged: not a chunk
        (memory_obj,) = engine.events.run(engine.backend.batched_get_non_blocking("request", keys_of(3)))
        assert rig.pool.total_pins() == 1
        memory_obj.unpin()
        assert rig.pool.total_pins() == 0

    def test_a_get_without_a_lookup_pins_by_itself(self, rig, engine):
        keys = [key_of(0), key_of(1), key_of(9), key_of(2)]
        memory_objs = engine.events.run(engine.backend.batched_get_non_blocking("request", keys, None))
        assert len(memory_objs) == rig.pool.total_pins() == 2
        lookups.release(memory_objs)
        assert rig.pool.total_pins() == 0

    def test_the_pins_of_a_lookup_are_handed_on_once(self, rig, engine):
        engine.backend.batched_contains(keys_of(3), pin=True)
        engine.events.run(engine.backend.batched_async_contains("request", keys_of(3), pin=True))
        for _ in range(2):
            lookups.release(engine.events.run(engine.backend.batched_get_non_blocking("request", keys_of(3))))
        assert rig.pool.total_pins() == 3
        engine.backend.batched_unpin(keys_of(3))

    def test_a_get_of_fewer_keys_ends_the_other_pins(self, rig, engine):
        engine.events.run(engine.backend.batched_async_contains("request", keys_of(3), pin=True))
        memory_objs = engine.events.run(engine.backend.batched_get_non_blocking("request", keys_of(1)))
        assert len(memory_objs) == rig.pool.total_pins() == 1
        lookups.release(memory_objs)

    def test_a_get_of_other_keys_is_right_all_the_same(self, rig, engine):
        engine.events.run(engine.backend.batched_async_contains("request", keys_of(2), pin=True))
        memory_objs = engine.events.run(engine.backend.batched_get_non_blocking("request", [key_of(2)]))
        assert [rig.pool.pins_of(name_of(key)) for key in keys_of(3)] == [0, 0, 1]
        lookups.release(memory_objs)

    def test_a_lookup_id_that_is_used_again_leaks_nothing(self, rig, engine):
        for _ in range(3):
            engine.events.run(engine.backend.batched_async_contains("request", keys_of(3), pin=True))
        assert rig.pool.total_pins() == 3
        lookups.release(engine.events.run(engine.backend.batched_get_non_blocking("request", keys_of(3))))
        assert rig.pool.total_pins() == 0

    def test_lookups_whose_get_never_comes_are_bounded(self, rig, engine, monkeypatch):
        monkeypatch.setattr(lookups, "_lookups_max", 2)
        for number in range(5):
            engine.events.run(engine.backend.batched_async_contains(f"request {number}", [key_of(0)], pin=True))
        assert rig.pool.total_pins() == 2

    def test_a_get_that_fails_leaves_no_pin(self, rig, engine):
        engine.events.run(engine.backend.batched_async_contains("request", keys_of(3), pin=True))
        rig.pool.refusals["batch_retrieve"] = MemoryError("no")
        with pytest.raises(MemoryError):
            engine.events.run(engine.backend.batched_get_non_blocking("request", keys_of(3)))
        assert rig.pool.total_pins() == 0

    def test_lmcache_is_told_not_to_unpin_by_key_too(self, engine):
        assert engine.backend.has_external_pin_state is False


class TestEventLoop:
    @pytest.mark.parametrize("call", ["batch_exists", "batch_pin", "batch_retrieve"])
    def test_it_goes_on_while_marud_does_not_answer(self, rig, engine, call):
        gate = rig.pool.hold(call)
        backend, loop = engine.backend, engine.events.loop

        async def ask():
            count = await backend.batched_async_contains("request", keys_of(3), pin=call != "batch_exists")
            return count, await backend.batched_get_non_blocking("request", keys_of(count))

        asked = asyncio.run_coroutine_threadsafe(ask(), loop)
        wait_for(lambda: rig.pool.asked(call))
        turned = threading.Event()
        loop.call_soon_threadsafe(turned.set)
        assert turned.wait(timeout=30)
        assert not asked.done()
        gate.set()
        count, memory_objs = asked.result(timeout=30)
        assert (count, len(memory_objs)) == (3, 3)
        lookups.release(memory_objs)

    @pytest.mark.parametrize("call", ["batch_pin", "batch_retrieve"])
    def test_a_cancelled_call_leaves_no_pin(self, rig, engine, call):
        if call == "batch_retrieve":
            engine.events.run(engine.backend.batched_async_contains("request", keys_of(3), pin=True))
            work = engine.backend.batched_get_non_blocking("request", keys_of(3))
        else:
            work = engine.backend.batched_async_contains("request", keys_of(3), pin=True)
        gate = rig.pool.hold(call)

        async def cancel():
            task = asyncio.ensure_future(work)
            while not rig.pool.asked(call):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        engine.events.run(cancel())
        assert rig.pool.total_pins() == (3 if call == "batch_retrieve" else 0)
        gate.set()
        if call == "batch_pin":
            wait_for(lambda: rig.pool.asked("batch_unpin") == [3])
        wait_for(lambda: rig.pool.total_pins() == 0)

    def test_a_call_that_is_cancelled_before_it_began_leaves_no_pin(self, rig, engine):
        backend = engine.backend
        gate = rig.pool.hold("batch_exists")

        async def cancel():
            await backend.batched_async_contains("request", keys_of(3), pin=True)
            busy = [asyncio.ensure_future(backend.batched_async_contains(str(n), keys_of(1))) for n in range(8)]
            get = asyncio.ensure_future(backend.batched_get_non_blocking("request", keys_of(3)))
            await asyncio.sleep(0)
            get.cancel()
            with pytest.raises(asyncio.CancelledError):
                await get
            assert rig.pool.total_pins() == 3
            gate.set()
            await asyncio.gather(*busy)

        engine.events.run(cancel())
        wait_for(lambda: rig.pool.total_pins() == 0)

    def test_many_lookups_run_side_by_side(self, rig, engine):
        async def one(number):
            count = await engine.backend.batched_async_contains(f"request {number}", keys_of(3), pin=True)
            return await engine.backend.batched_get_non_blocking(f"request {number}", keys_of(count))

        async def all_of_them():
            return await asyncio.gather(*(one(number) for number in range(50)))

        for memory_objs in engine.events.run(all_of_them()):
            assert len(memory_objs) == 3
            lookups.release(memory_objs)
        assert rig.pool.total_pins() == 0


class TestCpuBackendInFront:
    def test_it_allocates_and_its_chunks_are_copied_to_pages(self, rig):
        engine = rig.engine(with_cpu=True)
        assert engine.allocator is not engine.backend
        engine.put_numbers(1, 2)
        assert rig.engine().retrieve([key_of(1), key_of(2)]) == [1.0, 2.0]
        assert rig.pool.states()["granted"] == 0

    def test_its_references_balance(self, rig):
        engine = rig.engine(with_cpu=True)
        engine.put_numbers(1)
        in_cpu, in_pool = engine.seen
        assert (in_cpu.get_ref_count(), in_pool.get_ref_count()) == (0, 1)


def test_workers_share_what_one_of_them_put(rig):
    first, second = rig.engine(), rig.engine()
    first.put_numbers(0, 1)
    assert second.lookup_async("request", keys_of(3)) == 2
    assert second.retrieve_async("request", 2) == [0.0, 1.0]
    second.lookup_unpin("request")
    first.close()
    rig.engines.remove(first)
    assert second.retrieve(keys_of(2)) == [0.0, 1.0]


def test_random_requests_leave_nothing_behind(rig, caplog):
    seed = int(os.environ.get("MARU_SEED", "0")) or random.randrange(1, 1 << 32)
    print(f"MARU_SEED={seed}")
    chance = random.Random(seed)
    engines = [rig.engine() for _ in range(2)]
    open_requests: list[tuple] = []
    with caplog.at_level(logging.WARNING):
        for turn in range(400):
            engine = chance.choice(engines)
            keys = keys_of(chance.randint(1, 6))
            match chance.randrange(6):
                case 0:
                    if rig.pool.states()["free"] > 6:
                        engine.put_numbers(*chance.sample(range(6), chance.randint(1, 3)))
                case 1:
                    engine.lookup(f"sync {turn}", keys)
                    open_requests.append((engine, f"sync {turn}", None))
                case 2:
                    count = engine.lookup_async(f"async {turn}", keys)
                    open_requests.append((engine, f"async {turn}", chance.randint(0, count)))
                case 3:
                    for key, number in zip(keys, engine.retrieve(keys)):
                        assert number in (None, float(key.chunk_hash))
                case 4:
                    engine.backend.batched_remove(chance.sample(keys, 1))
                case 5 if open_requests:
                    engine, request, used = open_requests.pop(chance.randrange(len(open_requests)))
                    if used and request in engine.loading:
                        assert engine.retrieve_async(request, used) == [float(number) for number in range(used)]
                    engine.lookup_unpin(request)
    for engine, request, _ in open_requests:
        engine.lookup_unpin(request)
    assert rig.pool.total_pins() == 0
    for engine in engines:
        assert engine.backend.put_tasks == set()
        engine.seen.clear()
    gc.collect()
    assert not any(rig.pool.holds.values())
    states = rig.pool.states()
    assert (states["granted"], states["leaving"]) == (0, 0)
    assert "negative" not in caplog.text
