"""Stands in for `lmcache.utils`: the key of a chunk."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class CacheEngineKey:
    model_name: str
    world_size: int
    worker_id: int
    chunk_hash: int

    def to_string(self) -> str:
        return f"{self.model_name}@{self.world_size}@{self.worker_id}@{self.chunk_hash:x}"

    def with_new_worker_id(self, worker_id: int) -> CacheEngineKey:
        return dataclasses.replace(self, worker_id=worker_id)
