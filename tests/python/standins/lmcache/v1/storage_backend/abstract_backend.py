"""Stands in for `lmcache.v1.storage_backend.abstract_backend`: what LMCache calls on a backend."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import torch

from lmcache.utils import CacheEngineKey
from lmcache.v1.config import LMCacheEngineConfig
from lmcache.v1.memory_management import MemoryAllocatorInterface, MemoryFormat, MemoryObj
from lmcache.v1.metadata import LMCacheMetadata


class StorageBackendInterface(metaclass=abc.ABCMeta):
    def __init__(self, dst_device: str = "cuda") -> None:
        torch.device(dst_device)
        self.dst_device = dst_device

    @abc.abstractmethod
    def contains(self, key: CacheEngineKey, pin: bool = False) -> bool:
        ...

    @abc.abstractmethod
    def exists_in_put_tasks(self, key: CacheEngineKey) -> bool:
        ...

    @abc.abstractmethod
    def batched_submit_put_task(
        self,
        keys: Sequence[CacheEngineKey],
        objs: list[MemoryObj],
        transfer_spec: Any = None,
        on_complete_callback: Callable[[CacheEngineKey], None] | None = None,
    ) -> list[Future[Any]] | None:
        ...

    @abc.abstractmethod
    def get_blocking(self, key: CacheEngineKey) -> MemoryObj | None:
        ...

    def batched_get_blocking(self, keys: list[CacheEngineKey]) -> list[MemoryObj | None]:
        return [self.get_blocking(key) for key in keys]

    async def batched_async_contains(self, lookup_id: str, keys: list[CacheEngineKey], pin: bool = False) -> int:
        raise NotImplementedError

    async def batched_get_non_blocking(
        self, lookup_id: str, keys: list[CacheEngineKey], transfer_spec: Any = None
    ) -> list[MemoryObj]:
        raise NotImplementedError

    def batched_contains(self, keys: list[CacheEngineKey], pin: bool = False) -> int:
        for count, key in enumerate(keys):
            if not self.contains(key, pin):
                return count
        return len(keys)

    @abc.abstractmethod
    def pin(self, key: CacheEngineKey) -> bool:
        ...

    @abc.abstractmethod
    def unpin(self, key: CacheEngineKey) -> bool:
        ...

    def batched_unpin(self, keys: list[CacheEngineKey]) -> None:
        for key in keys:
            self.unpin(key)

    @abc.abstractmethod
    def remove(self, key: CacheEngineKey, force: bool = True) -> bool:
        ...

    def batched_remove(self, keys: list[CacheEngineKey], force: bool = True) -> int:
        return sum(self.remove(key, force) for key in keys)

    @abc.abstractmethod
    def get_allocator_backend(self) -> AllocatorBackendInterface:
        ...

    @abc.abstractmethod
    def close(self) -> None:
        ...


class AllocatorBackendInterface(StorageBackendInterface):
    @abc.abstractmethod
    def initialize_allocator(self, config: LMCacheEngineConfig, metadata: LMCacheMetadata) -> MemoryAllocatorInterface:
        ...

    @abc.abstractmethod
    def get_memory_allocator(self) -> MemoryAllocatorInterface:
        ...

    @abc.abstractmethod
    def allocate(
        self,
        shapes: torch.Size | list[torch.Size],
        dtypes: torch.dtype | list[torch.dtype],
        fmt: MemoryFormat = MemoryFormat.KV_2LTD,
        eviction: bool = True,
        busy_loop: bool = True,
    ) -> MemoryObj | None:
        ...

    @abc.abstractmethod
    def batched_allocate(
        self,
        shapes: torch.Size | list[torch.Size],
        dtypes: torch.dtype | list[torch.dtype],
        batch_size: int,
        fmt: MemoryFormat = MemoryFormat.KV_2LTD,
        eviction: bool = True,
        busy_loop: bool = True,
    ) -> list[MemoryObj] | None:
        ...
