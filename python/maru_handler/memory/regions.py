"""The regions that a handler shows as its own: a budget of pages, and which of them are allocated.

A shown region takes no memory. Pages are marud's and granted singly; a region is shown so that callers have something
to count by, and so that marud takes this handler's pages from there.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from maru_common import get_logger
from maru_handler._maru import Error
from maru_handler.memory.types import OwnedRegion

if TYPE_CHECKING:
    from maru_handler._maru import Client

_logger = get_logger(__name__)

RegionAdded = Callable[[int, int], None]
"""Called with a region's id and its number of pages."""


_News = tuple[RegionAdded, int, int]  # who is to be told of which region


class PoolHandle(NamedTuple):
    """The region that was shown first, as callers of old know it."""

    region_id: int
    length: int


class PagedMemoryAllocator:
    """Counts the pages of one shown region. Sizes are in chunks: a page holds one, whatever it takes in the pool.

    May be read from any thread. What it says is exact at the call, where marud answers; else it is the last that was
    known.
    """

    def __init__(self, region_id: int, page_count: int, chunk_size: int, client: Client) -> None:
        self.region_id = region_id
        self.page_count = page_count
        self.chunk_size = chunk_size
        self._client = client

    @property
    def pool_size(self) -> int:
        """Bytes of all pages."""
        return self.page_count * self.chunk_size

    @property
    def num_allocated(self) -> int:
        """Pages that are allocated, or committed by this handler and still there."""
        return _counted(self._client).get(self.region_id, 0)

    @property
    def num_free_pages(self) -> int:
        """Pages that this handler may still allocate here."""
        return max(self.page_count - self.num_allocated, 0)

    def get_stats(self) -> dict[str, Any]:
        """The numbers of this region."""
        return self._stats_of(self.num_allocated)

    def _stats_of(self, allocated: int) -> dict[str, Any]:
        return {
            "pool_size": self.pool_size,
            "chunk_size": self.chunk_size,
            "page_count": self.page_count,
            "free_pages": max(self.page_count - allocated, 0),
            "allocated_pages": allocated,
            "utilization": allocated / self.page_count,
            "region_id": self.region_id,
        }


class OwnedRegionManager:
    """Shows regions, one at first and another when every page of the shown ones is allocated, and takes pages.

    Concurrency: all members from any thread. `on_added` is called with no lock held.
    """

    def __init__(self, client: Client, *, chunk_size: int, pool_size: int, expand_size: int | None, align: int) -> None:
        self._client = client
        self._chunk_size = chunk_size
        self._pool_size = pool_size
        self._expand_size = expand_size
        self._align = align
        self._page_bytes: int = client.info()["page_bytes"]
        self._lock = threading.Lock()  # of what follows; never held while marud is asked or a caller is called
        self._regions: dict[int, OwnedRegion] = {}
        self._budget: int | None = 0  # pages, None: all that marud gives
        self._on_added: RegionAdded | None = None
        self._growing = threading.Lock()  # one thread at a time asks for another region

    # -- what is shown

    def get_first_region_id(self) -> int | None:
        """The region that was shown first."""
        return next(iter(self._regions), None)

    def get_region_ids(self) -> list[int]:
        """All shown regions, in the order they were shown."""
        with self._lock:
            return list(self._regions)

    def allocator(self, region_id: int) -> PagedMemoryAllocator | None:
        """Who counts the pages of a shown region."""
        region = self._regions.get(region_id)
        return None if region is None else region.allocator

    @property
    def page_bytes(self) -> int:
        """What a page takes in the pool."""
        return self._page_bytes

    def get_stats(self) -> dict[str, Any]:
        """The numbers of all shown regions, and of each."""
        _counted(self._client)
        return self.numbers()

    def numbers(self) -> dict[str, Any]:
        """The same without asking marud: allocated pages are those known here, which may be too many."""
        allocated = self._client.allocated_by_region()
        with self._lock:
            allocators = [region.allocator for region in self._regions.values()]
        regions = [a._stats_of(allocated.get(a.region_id, 0)) for a in allocators]
        pages = sum(r["page_count"] for r in regions)
        used = sum(r["allocated_pages"] for r in regions)
        return {
            "num_regions": len(regions),
            "total_pool_size": sum(r["pool_size"] for r in regions),
            "total_page_count": pages,
            "total_free_pages": sum(r["free_pages"] for r in regions),
            "total_allocated_pages": used,
            "utilization": used / pages if pages else 0.0,
            "regions": regions,
        }

    def set_on_added(self, callback: RegionAdded | None) -> None:
        """Calls `callback` for every shown region now, and for others as they are shown."""
        with self._lock:
            self._on_added = callback
            shown = [(r.region_id, r.allocator.page_count) for r in self._regions.values()]
        if callback is not None:
            _tell([(callback, *region) for region in shown])

    # -- pages

    def show_first(self) -> None:
        """Shows the first region: a smaller one where the pool has no room for all of it. `Error` where marud does not
        answer. Where there is no room at all, regions are shown as pages are granted from them."""
        size = self._pool_size
        while size >= min(self._page_bytes, self._pool_size):
            try:
                return _tell(self._show_one_more(size))
            except Error as error:
                if error.args[0] != "out_of_memory":
                    raise
                size //= 2
        _logger.warning("the pool has no room for a region: pages are taken from where others leave some")
        self._budget = None

    def take(self, size: int) -> tuple[int, int, memoryview]:
        """A page to write `size` bytes to: its region, its index and its bytes. `Error` where marud gives none,
        ValueError where the budget is used up and must not grow."""
        while True:
            budget = self._budget
            page = self._client.alloc(size, budget)
            if page is not None:
                break
            _tell(self._grow(budget))
        if page[0] not in self._regions:
            self._show_granted(page[0])
        return page

    def _grow(self, budget: int | None) -> list[_News]:
        """Makes room in a budget that was found used up, as `budget`."""
        with self._growing:
            if self._budget != budget:
                return []  # another thread did
            news = self._take_over(self._client.usage(False))
            if budget is None or self._client.allocated() < budget or self._budget != budget:
                return news
            if self._expand_size is None:
                raise ValueError("Cannot allocate page: pool exhausted and auto_expand is disabled")
            try:
                news += self._show_one_more(self._expand_size)
            except Error as error:
                if error.args[0] not in ("out_of_memory", "too_large"):
                    raise
            if self._budget == budget:
                # All is shown: what there is goes to who asks, and the oldest chunks make room.
                self._budget = None
            return news

    def sync(self, usage: Mapping[str, Any]) -> None:
        """Takes over which regions marud shows: others than before where the session is another one."""
        _tell(self._take_over(usage))

    def _take_over(self, usage: Mapping[str, Any]) -> list[_News]:
        shown = dict(usage["shown"])
        with self._lock:
            if self._budget is not None:
                for region_id in [r for r in self._regions if r not in shown]:
                    self._budget -= self._regions.pop(region_id).allocator.page_count
        return [news for region in shown.items() for news in self._add(*region)]

    def _show_one_more(self, size: int) -> list[_News]:
        return self._add(*self._client.show_region(self._pages_in(size)))

    def _show_granted(self, region_id: int) -> None:
        """A page came from a region that was not shown."""
        region = self._client.region(region_id)
        if region is not None:
            _tell(self._add(region_id, len(region[0]) // region[1]))

    def _add(self, region_id: int, page_count: int) -> list[_News]:
        with self._lock:
            if region_id in self._regions:
                return []
            allocator = PagedMemoryAllocator(region_id, page_count, self._chunk_size, self._client)
            self._regions[region_id] = OwnedRegion(region_id, allocator)
            if self._budget is not None:
                self._budget += page_count
            return [] if self._on_added is None else [(self._on_added, region_id, page_count)]

    def _pages_in(self, size: int) -> int:
        """The pages of a region of `size` bytes: chunks, or slots of what it takes in the pool, whichever are more."""
        aligned = -(-size // self._align) * self._align
        return max(-(-size // self._chunk_size), aligned // self._page_bytes)


def _counted(client: Client) -> dict[int, int]:
    with contextlib.suppress(Error):  # no answer: what is known here
        client.usage(False)
    return client.allocated_by_region()


def _tell(news: list[_News]) -> None:
    """Calls callers back. REQUIRES: no lock is held, they may do what they like."""
    for callback, region_id, page_count in news:
        try:
            callback(region_id, page_count)
        except Exception:
            _logger.exception("the callback for a shown region failed")
