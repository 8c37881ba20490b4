"""Handlers for the adapter's tests: a mock that answers only what any handler must, and a small one in memory."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from unittest.mock import MagicMock

from maru_handler.memory import AllocHandle, MappedRegion


class PageHandler:
    """Pages of a few regions in memory, with a slot that may be larger than the chunk, as a MaruHandler has them.

    `hidden` regions are there and not shown. Raises as the real one does; `mistakes` are frees that it had to refuse.
    """

    def __init__(self, chunk_size: int, pages: int = 4, slot: int | None = None, regions=(100,), hidden=()) -> None:
        self.chunk_size = chunk_size
        self.slot = slot or chunk_size
        self.pages = pages
        self.memory = {
            region_id: MappedRegion(region_id, None, pages * self.slot, mmap.mmap(-1, pages * self.slot))
            for region_id in (*regions, *hidden)
        }
        self.shown = list(regions)
        self.free_pages = [(region_id, page) for region_id in regions for page in range(pages)]
        self.allocated: set[tuple[int, int]] = set()
        self.pins: dict[tuple[int, int], int] = {}
        self.mistakes: list[str] = []
        self.callback: Callable[[int, int], None] | None = None
        self.lock = threading.Lock()

    def set_on_region_added(self, callback) -> None:
        self.callback = callback
        for region_id in self.shown if callback else ():
            callback(region_id, self.pages)

    def show(self, region_id: int) -> None:
        """A region more to allocate from."""
        self.shown.append(region_id)
        self.free_pages += [(region_id, page) for page in range(self.pages)]
        if self.callback is not None:
            self.callback(region_id, self.pages)

    def get_chunk_size(self) -> int:
        return self.chunk_size

    def get_region_page_count(self, region_id: int) -> int | None:
        return self.pages if region_id in self.memory else None

    def get_buffer_view(self, region_id: int, offset: int, size: int) -> memoryview | None:
        page, within = divmod(offset, self.chunk_size)
        if region_id not in self.memory or (self.slot != self.chunk_size and within + size > self.chunk_size):
            return None
        return self.memory[region_id].get_buffer_view(page * self.slot + within, size)

    def alloc(self, size: int) -> AllocHandle:
        if size > self.chunk_size:
            raise ValueError(f"Requested size {size} exceeds chunk_size {self.chunk_size}")
        with self.lock:
            if not self.free_pages:
                raise ValueError("Cannot allocate page: pool exhausted after expansion attempt")
            region_id, page = self.free_pages.pop(0)
            self.allocated.add((region_id, page))
        buf = self.get_buffer_view(region_id, page * self.chunk_size, size)
        return AllocHandle(buf=buf, _region_id=region_id, _page_index=page, _size=size)

    def free(self, handle: AllocHandle) -> None:
        location = (handle.region_id, handle.page_index)
        with self.lock:
            if location not in self.allocated:
                self.mistakes.append(f"Double free detected: page {handle.page_index} is not allocated")
                raise ValueError(self.mistakes[-1])
            self.allocated.remove(location)
            self.free_pages.append(location)

    def store_elsewhere(self, handle: AllocHandle) -> None:
        """What a store does to the page of a key that is there already: it is free again."""
        self.free(handle)

    def _release_service_pin(self, region_id: int, page_index: int) -> bool:
        with self.lock:
            held = self.pins.get((region_id, page_index), 0)
            self.pins[region_id, page_index] = max(0, held - 1)
            return held > 0


def mock_of(handler: PageHandler) -> MagicMock:
    """A mock with only the calls that any handler must answer; every other one fails."""
    mock = MagicMock(
        spec_set=[
            "alloc", "free", "get_buffer_view", "get_region_page_count", "set_on_region_added", "get_chunk_size"
        ]
    )  # fmt: skip
    for name in ("alloc", "free", "get_buffer_view", "get_region_page_count", "set_on_region_added", "get_chunk_size"):
        getattr(mock, name).side_effect = getattr(handler, name)
    return mock
