"""Stands in for `lmcache.v1.metadata`: what one rank's chunks look like."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class LMCacheMetadata:
    shapes: list[torch.Size]
    dtypes: list[torch.dtype]
    chunk_size: int
    use_mla: bool = False
    world_size: int = 1
    worker_id: int = 0
    role: str = "worker"

    def get_shapes(self, n: int | None = None) -> list[torch.Size]:
        assert n is None, "Maru asks for full chunks only"
        return list(self.shapes)

    def get_dtypes(self) -> list[torch.dtype]:
        return list(self.dtypes)
