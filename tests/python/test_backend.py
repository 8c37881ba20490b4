"""Goal: LMCache loads the backend as a storage plugin and gets what it was promised: its name, its allocator, keys that
can be asked for, pinned and removed. Method: an engine that does what LMCache does, over a pool in memory."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from backend_rig import name_of, rig  # noqa: F401
from fake_lmcache import CHUNK, SHAPE, key_of, keys_of, metadata_of
from lmcache.v1.memory_management import MemoryFormat
from lmcache.v1.storage_backend.abstract_backend import AllocatorBackendInterface

import maru_common
import maru_handler
from maru_lmcache import CxlMemoryAdapter
from maru_lmcache.backend import MaruBackend


class TestLoading:
    def test_lmcache_loads_it_as_a_plugin(self, rig):
        engine = rig.engine()
        assert engine.errors == []
        assert str(engine.backend) == "MaruBackend"
        assert engine.backend.dst_device == "cpu"
        assert engine.backend.loop is engine.events.loop
        assert isinstance(engine.backend, AllocatorBackendInterface)

    def test_its_methods_take_what_lmcaches_do(self):
        for name, theirs in inspect.getmembers(AllocatorBackendInterface, inspect.isfunction):
            if not name.startswith("_"):
                ours = inspect.signature(getattr(MaruBackend, name)).parameters
                assert list(ours) == list(inspect.signature(theirs).parameters), name

    def test_it_is_its_own_allocator(self, rig):
        engine = rig.engine()
        assert engine.allocator is engine.backend
        assert engine.backend.get_allocator_backend() is engine.backend
        assert isinstance(engine.backend.get_memory_allocator(), CxlMemoryAdapter)
        assert engine.backend.get_memory_allocator() is engine.backend.memory_allocator

    def test_no_page_is_taken_before_the_first_chunk(self, rig):
        rig.backend()
        assert rig.pool.states()["free"] == rig.pool.pages

    def test_marud_that_does_not_answer_is_told_with_the_address_as_it_may_be_logged(self, rig):
        rig.pool.accepts = False
        error = rig.engine(maru_path="maru://localhost:5555", maru_timeout_ms=700).errors[0]
        assert "failed to connect to marud at tcp://localhost:5555 within 700 ms" in error

    def test_a_constructor_that_fails_leaves_no_session(self, rig, monkeypatch):
        monkeypatch.setattr(MaruBackend, "initialize_allocator", lambda *_: (_ for _ in ()).throw(ValueError("no")))
        assert rig.engine().errors == ["Failed to create backend MaruBackend: no"]
        assert [handler.closed for handler in rig.pool.handlers] == [True]

    def test_a_missing_compiled_module_is_told_with_what_to_install(self, rig, monkeypatch):
        monkeypatch.delitem(vars(maru_handler), "MaruHandler")
        monkeypatch.setitem(sys.modules, "maru_handler.handler", None)
        error = rig.engine().errors[0]
        assert "MaruBackend needs Maru's compiled module" in error
        assert "pip install ./python" in error

    @pytest.mark.parametrize("missing", ["torch", "lmcache"])
    def test_a_missing_package_is_told_with_what_to_install(self, missing):
        packages = Path(maru_common.__file__).resolve().parent.parent
        standins = Path(__file__).resolve().parent / "standins"
        program = (
            f"import sys\nsys.path[:0] = [{str(packages)!r}, {str(standins)!r}]\nsys.modules[{missing!r}] = None\n"
            "import maru_lmcache.backend"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert "ImportError: maru_lmcache.backend needs LMCache and torch in this Python" in done.stderr
        assert f"{missing!r}" in done.stderr or f"{missing}" in done.stderr.splitlines()[-1]


class TestAllocating:
    def test_a_chunk_is_a_page(self, rig):
        memory_obj = rig.backend().allocate(SHAPE, torch.float16, MemoryFormat.KV_2LTD, eviction=True, busy_loop=False)
        assert memory_obj.get_size() == CHUNK
        assert rig.pool.states()["granted"] == 1

    def test_a_batch_is_all_or_none(self, rig):
        backend = rig.backend()
        assert len(backend.batched_allocate(SHAPE, torch.float16, 3)) == 3
        assert backend.batched_allocate(SHAPE, torch.float16, rig.pool.pages) is None
        assert rig.pool.states()["granted"] == 3

    def test_none_is_left_when_the_pool_is_full(self, rig):
        backend = rig.backend()
        for _ in range(rig.pool.pages):
            assert backend.allocate(SHAPE, torch.float16) is not None
        assert backend.allocate(SHAPE, torch.float16) is None

    @pytest.mark.parametrize("use_mla, fmt", [(False, MemoryFormat.KV_2LTD), (True, MemoryFormat.KV_MLA_FMT)])
    def test_the_format_is_the_models(self, rig, use_mla, fmt):
        metadata = metadata_of(use_mla=use_mla)
        assert rig.backend(metadata).allocate(SHAPE, torch.float16).metadata.fmt is fmt


class TestKeys:
    @pytest.fixture
    def engine(self, rig):
        engine = rig.engine()
        engine.put_numbers(0, 1, 2)
        rig.pool.messages.clear()
        return engine

    def test_contains_asks_and_pins_in_one_message(self, rig, engine):
        assert engine.backend.contains(key_of(0)) is True
        assert engine.backend.contains(key_of(9)) is False
        assert rig.pool.total_pins() == 0
        assert engine.backend.contains(key_of(0), pin=True) is True
        assert engine.backend.contains(key_of(9), pin=True) is False
        assert rig.pool.pins_of(name_of(key_of(0))) == rig.pool.total_pins() == 1
        assert [call for call, _ in rig.pool.messages] == ["exists", "exists", "pin", "pin"]

    def test_batched_contains_counts_to_the_first_miss(self, rig, engine):
        keys = [key_of(0), key_of(1), key_of(9), key_of(2)]
        assert engine.backend.batched_contains(keys) == 2
        assert engine.backend.batched_contains(keys[2:]) == 0
        assert engine.backend.batched_contains([]) == 0
        assert rig.pool.total_pins() == 0
        assert rig.pool.messages == [("batch_exists", 4), ("batch_exists", 2)]

    def test_batched_contains_pins_to_the_first_miss(self, rig, engine):
        assert engine.backend.batched_contains([key_of(0), key_of(1), key_of(9), key_of(2)], pin=True) == 2
        assert [rig.pool.pins_of(name_of(key)) for key in keys_of(3)] == [1, 1, 0]
        assert rig.pool.messages == [("batch_pin", 4)]

    def test_pins_count(self, rig, engine):
        backend = engine.backend
        assert backend.pin(key_of(0)) is True
        assert backend.pin(key_of(0)) is True
        assert backend.pin(key_of(9)) is False
        assert [backend.unpin(key_of(0)) for _ in range(3)] == [True, True, False]

    def test_unpin_of_many_is_one_message(self, rig, engine):
        engine.backend.batched_contains(keys_of(3), pin=True)
        engine.backend.batched_unpin(keys_of(3))
        engine.backend.batched_unpin([])
        assert rig.pool.total_pins() == 0
        assert rig.pool.messages == [("batch_pin", 3), ("batch_unpin", 3)]

    def test_any_worker_removes(self, rig, engine):
        other = rig.backend()
        assert other.remove(key_of(0)) is True
        assert other.remove(key_of(0)) is False
        assert other.batched_remove([key_of(0), key_of(1), key_of(2)]) == 2
        assert other.batched_remove([]) == 0
        assert engine.backend.batched_contains(keys_of(3)) == 0
        assert rig.pool.asked("batch_delete") == [3]
        assert rig.pool.states()["free"] == rig.pool.pages

    def test_what_is_pinned_is_not_removed(self, rig, engine):
        engine.backend.pin(key_of(0))
        assert rig.backend().remove(key_of(0), force=True) is False
        assert rig.backend().batched_remove(keys_of(3)) == 2
        assert engine.backend.unpin(key_of(0)) is True
        assert rig.backend().remove(key_of(0), force=False) is True

    def test_a_removed_key_can_be_put_again_by_any(self, rig, engine):
        other = rig.engine()
        other.backend.remove(key_of(0))
        other.put_numbers(0)
        assert engine.retrieve([key_of(0)]) == [0.0]
