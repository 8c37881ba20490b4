"""Goal: a put answers at once; its keys, its references and its future are right whatever becomes of it. Method: a pool
in memory that holds a store up, refuses it or raises."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest
import torch
from backend_rig import name_of, rig  # noqa: F401
from fake_lmcache import CHUNK, SHAPE, LocalCPUBackend, key_of, keys_of, metadata_of
from lmcache.v1.memory_management import MemoryFormat
from together import run_together

from maru_lmcache.backend import MaruBackend


def chunks(engine, count):
    return [engine.write(number) for number in range(count)]


def references(memory_objs):
    return [memory_obj.get_ref_count() for memory_obj in memory_objs]


class Callback:
    """Notes the keys it is called with, and what is under way then."""

    def __init__(self, backend, error=None):
        self.backend = backend
        self.error = error
        self.keys = []
        self.under_way = []

    def __call__(self, key):
        self.keys.append(key)
        self.under_way.append(self.backend.put_tasks)
        if self.error is not None:
            raise self.error


class TestStored:
    def test_a_put_answers_before_marud_does(self, rig):
        engine = rig.engine()
        gate = rig.pool.hold("store")
        memory_obj = engine.write(1)
        future = engine.backend.submit_put_task(key_of(1), memory_obj)
        assert not future.done()
        assert engine.backend.exists_in_put_tasks(key_of(1))
        assert not engine.backend.exists_in_put_tasks(key_of(2))
        assert engine.backend.put_tasks == {key_of(1)}
        assert memory_obj.get_ref_count() == 2
        gate.set()
        assert future.result(timeout=30) is True
        assert engine.backend.put_tasks == set()
        assert memory_obj.get_ref_count() == 2

    def test_a_batch_is_one_message(self, rig):
        engine = rig.engine()
        (future,) = engine.backend.batched_submit_put_task(tuple(keys_of(5)), chunks(engine, 5))
        assert future.result(timeout=30) == [True] * 5
        assert rig.pool.messages == [("batch_store", 5)]

    def test_an_empty_batch_is_no_message(self, rig):
        (future,) = rig.backend().batched_submit_put_task([], [])
        assert future.result(timeout=30) == []
        assert rig.pool.messages == []

    def test_what_was_written_is_what_is_found(self, rig):
        engine = rig.engine()
        engine.put_numbers(3)
        assert rig.pool.bytes_of(name_of(key_of(3))) == b"\x00\x42" * (CHUNK // 2)

    def test_lmcaches_own_references_leave_one(self, rig):
        engine = rig.engine()
        memory_objs = chunks(engine, 2)
        for future in engine.put(keys_of(2), memory_objs):
            future.result(timeout=30)
        assert references(memory_objs) == [1, 1]

    def test_callbacks_come_after_the_keys_are_gone_and_before_the_future(self, rig):
        engine = rig.engine()
        gate = rig.pool.hold("batch_store")
        callback = Callback(engine.backend)
        (future,) = engine.backend.batched_submit_put_task(keys_of(2), chunks(engine, 2), on_complete_callback=callback)
        assert callback.keys == []
        gate.set()
        future.result(timeout=30)
        assert callback.keys == keys_of(2)
        assert callback.under_way == [set(), set()]

    def test_a_key_that_is_there_already_is_stored(self, rig):
        engine, other = rig.engine(), rig.engine()
        other.put_numbers(1)
        callback = Callback(engine.backend)
        future = engine.backend.submit_put_task(key_of(1), engine.write(2), callback)
        assert future.result(timeout=30) is True
        assert callback.keys == [key_of(1)]
        assert engine.retrieve([key_of(1)]) == [1.0]
        assert rig.pool.states()["granted"] == 0

    def test_a_key_of_two_puts_is_under_way_until_both_are_done(self, rig):
        engine = rig.engine()
        first, second = rig.pool.hold("store"), rig.pool.hold("batch_store")
        early = engine.backend.submit_put_task(key_of(1), engine.write(1))
        (late,) = engine.backend.batched_submit_put_task([key_of(1)], [engine.write(1)])
        first.set()
        assert early.result(timeout=30) is True
        assert engine.backend.exists_in_put_tasks(key_of(1))
        second.set()
        assert late.result(timeout=30) == [True]
        assert not engine.backend.exists_in_put_tasks(key_of(1))
        assert rig.pool.states()["granted"] == 0

    def test_a_key_twice_in_a_batch_is_stored_once(self, rig):
        engine = rig.engine()
        (future,) = engine.backend.batched_submit_put_task([key_of(1)] * 2, chunks(engine, 2))
        assert future.result(timeout=30) == [True, True]
        assert engine.backend.put_tasks == set()
        assert (rig.pool.states()["committed"], rig.pool.states()["granted"]) == (1, 0)

    def test_a_page_belongs_to_the_put_from_the_submit_on(self, rig):
        engine = rig.engine()
        gate = rig.pool.hold("store")
        memory_obj = engine.write(1)
        future = engine.backend.submit_put_task(key_of(1), memory_obj)
        engine.backend.get_memory_allocator().free(memory_obj)
        gate.set()
        assert future.result(timeout=30) is True
        assert engine.retrieve([key_of(1)]) == [1.0]

    def test_chunks_of_fewer_tokens_keep_their_size(self, rig):
        engine = rig.engine()
        engine.put([key_of(1)], [engine.write(1, tokens=3)])[0].result(timeout=30)
        assert len(rig.pool.bytes_of(name_of(key_of(1)))) == CHUNK // 8 * 3
        memory_obj = engine.backend.get_blocking(key_of(1))
        assert memory_obj.tensor.shape == (2, 2, 3, 4)
        assert set(memory_obj.tensor.flatten().tolist()) == {1.0}

    def test_several_groups_lie_in_one_chunk(self, rig):
        shapes, dtypes = [torch.Size([2, 1, 8, 4]), torch.Size([2, 3, 8, 2])], [torch.float16, torch.float32]
        backend = rig.backend(metadata_of(shapes=shapes, dtypes=dtypes))
        memory_obj = backend.allocate(shapes, dtypes)
        memory_obj.get_tensor(0).fill_(1)
        memory_obj.get_tensor(1).fill_(2)
        backend.batched_submit_put_task([key_of(1)], [memory_obj])[0].result(timeout=30)
        found = backend.get_blocking(key_of(1))
        assert [found.get_tensor(group).shape for group in (0, 1)] == shapes
        assert [set(found.get_tensor(group).flatten().tolist()) for group in (0, 1)] == [{1.0}, {2.0}]

    def test_threads_put_side_by_side(self, rig):
        engine = rig.engine()

        def work(thread):
            for turn in range(20):
                key = key_of(turn % 5)
                (future,) = engine.backend.batched_submit_put_task([key], [engine.write(key.chunk_hash)])
                assert future.result(timeout=30) == [True]

        run_together(4, work)
        assert engine.backend.put_tasks == set()
        assert engine.retrieve(keys_of(5)) == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert rig.pool.states()["granted"] == 0


class TestNotStored:
    @pytest.fixture
    def engine(self, rig):
        return rig.engine()

    def check_nothing_left(self, rig, engine, memory_objs, before):
        assert engine.backend.put_tasks == set()
        assert references(memory_objs) == before
        assert rig.pool.states()["committed"] == 0

    @pytest.mark.parametrize("error", [RuntimeError("no"), TimeoutError("in doubt"), MemoryError()])
    def test_what_a_store_raises_reaches_the_future(self, rig, engine, error):
        rig.pool.refusals = {"store": error, "batch_store": error}
        callback = Callback(engine.backend)
        memory_objs = chunks(engine, 3)
        one = engine.backend.submit_put_task(key_of(0), memory_objs[0], callback)
        (many,) = engine.backend.batched_submit_put_task(keys_of(3), memory_objs, on_complete_callback=callback)
        assert one.exception(timeout=30) is error
        assert many.exception(timeout=30) is error
        assert callback.keys == []
        self.check_nothing_left(rig, engine, memory_objs, [1, 1, 1])

    def test_even_what_is_no_exception_reaches_the_future(self, rig, engine):
        rig.pool.refusals["store"] = SystemExit("stop")
        memory_obj = engine.write(1)
        assert isinstance(engine.backend.submit_put_task(key_of(1), memory_obj).exception(timeout=30), RuntimeError)
        self.check_nothing_left(rig, engine, [memory_obj], [1])

    def test_a_chunk_that_marud_refuses_is_false(self, rig, engine):
        memory_objs = chunks(engine, 3)
        handler = rig.pool.handlers[0]
        for memory_obj in memory_objs[1:]:
            handler.free(engine.backend.memory_allocator.create_store_handle(memory_obj))  # no page of ours any more
        callback = Callback(engine.backend)
        (future,) = engine.backend.batched_submit_put_task(keys_of(3), memory_objs, on_complete_callback=callback)
        assert future.result(timeout=30) == [True, False, False]
        assert references(memory_objs) == [2, 1, 1]
        assert callback.keys == [key_of(0)]
        assert engine.backend.submit_put_task(key_of(1), memory_objs[1]).result(timeout=30) is False
        assert engine.backend.put_tasks == set()

    def test_an_object_of_another_allocator_leaves_no_ghost_key(self, rig, engine):
        foreign = LocalCPUBackend().allocate(SHAPE, torch.float16, MemoryFormat.KV_2LTD)
        memory_objs = [engine.write(0), foreign, engine.write(2)]
        callback = Callback(engine.backend)
        (future,) = engine.backend.batched_submit_put_task(keys_of(3), memory_objs, on_complete_callback=callback)
        with pytest.raises(ValueError, match="is no page of this adapter"):
            future.result(timeout=30)
        assert references(memory_objs) == [2, 1, 2]
        assert callback.keys == [key_of(0), key_of(2)]
        assert engine.backend.put_tasks == set()
        assert engine.retrieve(keys_of(3)) == [0.0, None, 2.0]
        with pytest.raises(ValueError, match="is no page of this adapter"):
            engine.backend.submit_put_task(key_of(1), foreign).result(timeout=30)
        assert (foreign.get_ref_count(), engine.backend.put_tasks) == (1, set())

    def test_a_key_without_a_name_costs_no_page(self, rig, engine):
        class Nameless:
            def to_string(self):
                raise UnicodeError("no name")

        memory_obj = engine.write(1)
        with pytest.raises(UnicodeError):
            engine.backend.submit_put_task(Nameless(), memory_obj).result(timeout=30)
        assert engine.backend.put_tasks == set()
        engine.backend.get_memory_allocator().free(memory_obj)
        assert rig.pool.states()["free"] == rig.pool.pages

    def test_keys_and_objects_of_different_lengths_are_refused_at_once(self, rig, engine):
        memory_objs = chunks(engine, 2)
        with pytest.raises(ValueError, match="keys and objects must have the same length"):
            engine.backend.batched_submit_put_task(keys_of(3), memory_objs)
        self.check_nothing_left(rig, engine, memory_objs, [1, 1])
        assert rig.pool.messages == []

    def test_an_answer_of_the_wrong_length_reaches_the_future(self, rig, engine, monkeypatch):
        monkeypatch.setattr(rig.pool.handlers[0], "batch_store", lambda keys, handles: [True])
        memory_objs = chunks(engine, 2)
        (future,) = engine.backend.batched_submit_put_task(keys_of(2), memory_objs)
        with pytest.raises(ValueError):
            future.result(timeout=30)
        self.check_nothing_left(rig, engine, memory_objs, [1, 1])

    @pytest.mark.parametrize("error", [ValueError("no"), CancelledError(), SystemExit()])
    def test_an_exception_in_a_callback_harms_nobody(self, rig, engine, caplog, error):
        callback = Callback(engine.backend, error)
        memory_objs = chunks(engine, 3)
        (future,) = engine.backend.batched_submit_put_task(keys_of(3), memory_objs, on_complete_callback=callback)
        assert future.result(timeout=30) == [True] * 3
        assert callback.keys == keys_of(3)
        assert references(memory_objs) == [2, 2, 2]
        assert "on_complete_callback failed" in caplog.text

    def test_a_put_cannot_be_cancelled(self, rig, engine):
        gate = rig.pool.hold("store")
        future = engine.backend.submit_put_task(key_of(1), engine.write(1))
        assert future.cancel() is False
        gate.set()
        assert future.result(timeout=30) is True


class TestMla:
    def rank(self, rig, worker_id):
        return rig.engine(metadata_of(use_mla=True, world_size=2, worker_id=worker_id))

    def test_other_ranks_put_nothing(self, rig):
        engine = self.rank(rig, 1)
        callback = Callback(engine.backend)
        memory_objs = chunks(engine, 2)
        one = engine.backend.submit_put_task(key_of(0, 1), memory_objs[0], callback)
        (many,) = engine.backend.batched_submit_put_task(
            [key_of(0, 1), key_of(1, 1)], memory_objs, on_complete_callback=callback
        )
        assert (one.done(), one.result(), many.done(), many.result()) == (True, None, True, None)
        assert references(memory_objs) == [1, 1]
        assert (callback.keys, engine.backend.put_tasks, rig.pool.messages) == ([], set(), [])

    def test_other_ranks_read_ask_and_remove_rank_0s_keys(self, rig):
        first, second = self.rank(rig, 0), self.rank(rig, 1)
        first.put_numbers(0, 1)
        keys = [key_of(0, 1), key_of(1, 1)]
        backend = second.backend
        assert second.retrieve(keys) == [0.0, 1.0]
        assert backend.get_blocking(keys[0]) is not None
        assert (backend.contains(keys[0]), backend.batched_contains(keys)) == (True, 2)
        assert second.lookup_async("request", keys) == 2
        assert second.retrieve_async("request", 2) == [0.0, 1.0]
        assert backend.pin(keys[0]) is True
        assert rig.pool.pins_of(name_of(key_of(0))) == 1
        assert backend.unpin(keys[0]) is True
        backend.batched_contains(keys, pin=True)
        backend.batched_unpin(keys)
        assert rig.pool.total_pins() == 0
        assert backend.remove(keys[0]) is True
        assert backend.batched_remove(keys) == 1
        assert rig.pool.entries == {}

    def test_rank_0_puts_its_own(self, rig):
        self.rank(rig, 0).put_numbers(5)
        assert list(rig.pool.entries) == [name_of(key_of(5, 0))]


class TestClose:
    def test_it_waits_for_puts_under_way(self, rig):
        engine = rig.engine()
        gate = rig.pool.hold("store")
        future = engine.backend.submit_put_task(key_of(1), engine.write(1))
        closing = threading.Thread(target=engine.backend.close)
        closing.start()
        closing.join(timeout=0.2)
        assert closing.is_alive() and not rig.pool.handlers[0].closed
        gate.set()
        closing.join(timeout=30)
        assert future.result(timeout=30) is True
        assert rig.pool.handlers[0].closed
        assert list(rig.pool.entries) == [name_of(key_of(1))]

    def test_it_waits_no_longer_than_its_bound_and_says_what_is_left(self, rig, caplog):
        engine = rig.engine(maru_close_timeout_ms=50)
        rig.pool.hold("batch_store")
        memory_objs = chunks(engine, 8)
        futures = [
            future
            for number, memory_obj in enumerate(memory_objs)
            for future in engine.backend.batched_submit_put_task([key_of(number)], [memory_obj])
        ]
        engine.backend.close()
        said = "closed after 0.05 s although puts of 8 keys were not done: "
        assert f"{said}model@2@0@0, model@2@0@1, model@2@0@2 and 5 more" in caplog.text
        for future in futures:
            with pytest.raises(RuntimeError, match="Handler is closing"):
                future.result(timeout=30)
        assert references(memory_objs) == [1] * 8
        assert engine.backend.put_tasks == set()
        assert rig.pool.states()["free"] == rig.pool.pages

    def test_it_ends_the_session_and_may_be_called_again(self, rig):
        engine = rig.engine()
        engine.put_numbers(1)
        engine.backend.pin(key_of(1))
        engine.backend.close()
        engine.backend.close()
        assert (rig.pool.total_pins(), rig.pool.states()["committed"]) == (0, 1)
        assert engine.backend.memory_allocator._pool == {}

    def test_a_put_after_it_fails_and_holds_nothing(self, rig):
        engine = rig.engine()
        memory_obj = engine.write(1)
        engine.backend.close()
        future = engine.backend.submit_put_task(key_of(1), memory_obj)
        with pytest.raises(RuntimeError, match="MaruBackend is closed"):
            future.result(timeout=30)
        assert memory_obj.get_ref_count() == 1
        assert engine.backend.put_tasks == set()


def test_a_slow_put_delays_no_lookup(rig):
    engine = rig.engine()
    engine.put_numbers(1)
    rig.pool.hold("batch_store")
    for number in range(10, 16):
        engine.backend.batched_submit_put_task([key_of(number)], [engine.write(number)])
    assert engine.lookup_async("request", [key_of(1)]) == 1
    engine.lookup_unpin("request")


def test_the_class_is_the_one_that_lmcache_names():
    assert (MaruBackend.__name__, MaruBackend.__module__) == ("MaruBackend", "maru_lmcache.backend")
