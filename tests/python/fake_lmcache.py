"""An engine that drives a storage backend as LMCache's does: loads it as a storage plugin, allocates and puts through
it, and reads by its synchronous path (a lookup that pins, a get, unpin by key) and by its asynchronous one (a lookup
that pins, a get in the background, and a clean-up that knows the objects only)."""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from collections.abc import Coroutine
from typing import Any

import torch
from lmcache.utils import CacheEngineKey
from lmcache.v1.config import LMCacheEngineConfig
from lmcache.v1.memory_management import MemoryFormat, MemoryObj, MemoryObjMetadata, TensorMemoryObj
from lmcache.v1.metadata import LMCacheMetadata
from lmcache.v1.storage_backend.abstract_backend import AllocatorBackendInterface, StorageBackendInterface

logger = logging.getLogger(__name__)

TOKENS = 8
SHAPE = torch.Size([2, 2, TOKENS, 4])
CHUNK = SHAPE.numel() * 2  # of float16

PLUGIN = {
    "storage_plugin.MaruBackend.module_path": "maru_lmcache.backend",
    "storage_plugin.MaruBackend.class_name": "MaruBackend",
}


def config_of(**extra: Any) -> LMCacheEngineConfig:
    """A configuration with our backend as a plugin and nothing else."""
    settings = {"maru_path": "maru://localhost:5555", "maru_pool_size": 1, **extra}
    return LMCacheEngineConfig(
        max_local_cpu_size=0, storage_plugins=["MaruBackend"], extra_config={**PLUGIN, **settings}
    )


def metadata_of(**fields: Any) -> LMCacheMetadata:
    """Chunks of 8 tokens in float16."""
    return LMCacheMetadata(**{"shapes": [SHAPE], "dtypes": [torch.float16], "chunk_size": TOKENS, **fields})


def key_of(number: int, worker_id: int = 0) -> CacheEngineKey:
    return CacheEngineKey("model", 2, worker_id, number)


def keys_of(count: int) -> list[CacheEngineKey]:
    return [key_of(number) for number in range(count)]


class EventLoop:
    """An event loop on a thread of its own, as LMCache has one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()
        self.loop.close()


class LocalCPUBackend:
    """As much of LMCache's own as decides who allocates, and where."""

    def allocate(self, shapes: torch.Size, dtypes: torch.dtype, fmt: MemoryFormat) -> MemoryObj:
        raw = torch.empty(0, dtype=dtypes).new_zeros(shapes).view(-1).view(torch.uint8)
        metadata = MemoryObjMetadata(shapes, dtypes, 0, raw.numel(), 1, 0, fmt, shapes=[shapes], dtypes=[dtypes])
        return TensorMemoryObj(raw, metadata, None)


class FakeEngine:
    """One rank's LMCache. Every object it was ever given is in `seen`, so that a test can ask for the balance."""

    def __init__(
        self, config: LMCacheEngineConfig, metadata: LMCacheMetadata | None = None, with_cpu: bool = False
    ) -> None:
        self.metadata = metadata or metadata_of()
        self.events = EventLoop()
        self.local_cpu_backend = LocalCPUBackend() if with_cpu else None
        self.backends: dict[str, Any] = {} if self.local_cpu_backend is None else {"LocalCPUBackend": LocalCPUBackend()}
        self.errors: list[str] = []
        self.seen: list[MemoryObj] = []
        self.lookup_pins: dict[str, list[CacheEngineKey]] = {}
        self.loading: dict[str, list[MemoryObj]] = {}
        for name in config.storage_plugins or []:
            self._load(name, config)

    def _load(self, name: str, config: LMCacheEngineConfig) -> None:
        assert config.extra_config is not None
        try:
            module = importlib.import_module(config.extra_config[f"storage_plugin.{name}.module_path"])
            self.backends[name] = getattr(module, config.extra_config[f"storage_plugin.{name}.class_name"])(
                config=config,
                dst_device="cpu",
                metadata=self.metadata,
                local_cpu_backend=self.local_cpu_backend,
                loop=self.events.loop,
            )
        except Exception as error:
            self.errors.append(f"Failed to create backend {name}: {error}")

    @property
    def backend(self) -> Any:
        """Ours."""
        backend = self.backends["MaruBackend"]
        assert isinstance(backend, StorageBackendInterface)
        return backend

    @property
    def allocator(self) -> Any:
        """Who allocates what the engine writes."""
        if "LocalCPUBackend" in self.backends:
            return self.backends["LocalCPUBackend"]
        assert isinstance(self.backend, AllocatorBackendInterface)
        return self.backend

    def write(self, number: int, tokens: int = TOKENS) -> MemoryObj:
        """A chunk as the model would fill it."""
        shape = torch.Size([*SHAPE[:2], tokens, SHAPE[3]])
        memory_obj = self.allocator.allocate(shape, torch.float16, fmt=MemoryFormat.KV_2LTD)
        assert memory_obj is not None and memory_obj.tensor is not None
        memory_obj.tensor.fill_(number)
        self.seen.append(memory_obj)
        return memory_obj

    def put(self, keys: list[CacheEngineKey], memory_objs: list[MemoryObj]) -> Any:
        """Puts, and takes off the engine's own references. Returns what the backend did."""
        own = self.backend.get_allocator_backend()
        objs = memory_objs if own is self.allocator else [self._copied(own, obj) for obj in memory_objs]
        futures = self.backend.batched_submit_put_task(keys, objs, transfer_spec=None)
        for memory_obj in {id(obj): obj for obj in [*memory_objs, *objs]}.values():
            memory_obj.ref_count_down()
        return futures

    def _copied(self, own: Any, source: MemoryObj) -> MemoryObj:
        copy = own.allocate(source.metadata.shape, source.metadata.dtype, fmt=source.metadata.fmt)
        assert copy is not None
        copy.tensor.copy_(source.tensor)
        self.seen.append(copy)
        return copy

    def put_numbers(self, *numbers: int) -> None:
        """Puts one chunk for each number and waits until all can be seen."""
        keys = [key_of(number, self.metadata.worker_id) for number in numbers]
        for future in self.put(keys, [self.write(number) for number in numbers]):
            future.result(timeout=30)

    # -- the synchronous path

    def lookup(self, lookup_id: str, keys: list[CacheEngineKey]) -> int:
        count: int = self.backend.batched_contains(keys, True)
        if count:
            self.lookup_pins[lookup_id] = keys[:count]
        return count

    def retrieve(self, keys: list[CacheEngineKey]) -> list[float | None]:
        """The number in each chunk, None where there is none."""
        memory_objs = self.backend.batched_get_blocking(keys)
        numbers = [None if obj is None else _number_in(obj) for obj in memory_objs]
        for memory_obj in memory_objs:
            if memory_obj is not None:
                self.seen.append(memory_obj)
                memory_obj.ref_count_down()
        return numbers

    # -- the asynchronous path

    def lookup_async(self, lookup_id: str, keys: list[CacheEngineKey]) -> int:
        return int(self.events.run(self._lookup_and_prefetch(lookup_id, keys)))

    async def _lookup_and_prefetch(self, lookup_id: str, keys: list[CacheEngineKey]) -> int:
        count = await self.backend.batched_async_contains(lookup_id, keys, True)
        if not count:
            return 0
        memory_objs = await self.backend.batched_get_non_blocking(lookup_id, keys[:count], {})
        self.seen += memory_objs
        self.loading[lookup_id] = memory_objs
        return len(memory_objs)

    def retrieve_async(self, lookup_id: str, used: int) -> list[float]:
        """Uses the first of the chunks that were loaded: the rest is for the clean-up."""
        memory_objs = self.loading[lookup_id]
        numbers = [_number_in(obj) for obj in memory_objs[:used]]
        for memory_obj in memory_objs[:used]:
            if memory_obj.is_pinned:
                memory_obj.unpin()
            memory_obj.ref_count_down()
        for memory_obj in memory_objs[used:]:
            memory_obj.ref_count_down()
        return numbers

    def lookup_unpin(self, lookup_id: str) -> None:
        """The end of a request, whatever came of it. Objects that were used already are unpinned once more if they are
        pinned, so one that two requests shared would lose the other's pin here."""
        if lookup_id in self.lookup_pins:
            for key in self.lookup_pins.pop(lookup_id):
                self.backend.unpin(key)
        for memory_obj in self.loading.pop(lookup_id, []):
            if memory_obj.is_pinned:
                memory_obj.unpin()
            memory_obj.ref_count_down()

    def close(self) -> None:
        for backend in self.backends.values():
            if isinstance(backend, StorageBackendInterface):
                backend.close()
        self.events.close()


def _number_in(memory_obj: MemoryObj) -> float:
    tensor = memory_obj.tensor
    assert tensor is not None
    values = set(tensor.flatten().tolist())
    assert len(values) == 1, "bytes of several chunks"
    return values.pop()
