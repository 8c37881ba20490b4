"""`ChunkReader`: what a handler retrieved, as LMCache's memory objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from maru_handler.memory import MemoryInfo
from maru_lmcache.adapter import CxlMemoryAdapter
from maru_lmcache.pages import PageObject


class ChunkReader:
    """Makes an object of its own for each chunk that is read, over the very view that `retrieve` gave.

    The view keeps the page from being reused for as long as the object, or a tensor of it, lives: an eviction in the
    middle of a copy cannot change what is copied. And since no two requests share an object, one that pins or unpins it
    twice does not touch what another one holds. Any thread may call.
    """

    def __init__(self, handler: Any, adapter: CxlMemoryAdapter, token_bytes: int) -> None:
        self._handler = handler
        self._adapter = adapter
        self._token_bytes = token_bytes

    def read(self, info: MemoryInfo | None) -> PageObject | None:
        """The chunk with one reference more than a fresh object has, for the caller to take off; None for None, and for
        bytes that are no chunk of this model."""
        if info is None:
            return None
        pooled = self._adapter.get_by_location(
            region_id=info.region_id,
            page_index=info.page_index,
            actual_size=len(info.view),
            single_token_size=self._token_bytes,
        )
        if pooled is None:
            return None
        metadata = dataclasses.replace(pooled.metadata, ref_count=1, pin_count=0)
        memory_obj = PageObject(torch.frombuffer(info.view, dtype=torch.uint8), metadata, self._release_service_pin)
        memory_obj.ref_count_up()
        return memory_obj

    def read_prefix(self, infos: Sequence[MemoryInfo | None]) -> list[PageObject]:
        """`read` for each, up to the first that is None."""
        memory_objs: list[PageObject] = []
        for info in infos:
            memory_obj = self.read(info)
            if memory_obj is None:
                break
            memory_objs.append(memory_obj)
        return memory_objs

    def _release_service_pin(self, memory_obj: PageObject) -> None:
        self._handler._release_service_pin(*memory_obj.location)
