"""`CxlMemoryAdapter`: LMCache's memory objects over the pages of a `MaruHandler`, written and read in place."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import Any

import torch
from lmcache.v1.memory_management import MemoryAllocatorInterface, MemoryFormat, MemoryObj, TensorMemoryObj

from maru_common import get_logger
from maru_handler.memory import AllocHandle
from maru_lmcache import dma
from maru_lmcache.layout import ChunkLayout, tensor_bytes
from maru_lmcache.pages import PageObject, RegionPages, decode_address, encode_address

_logger = get_logger(__name__)

# What a handler raises when there is no page to be had, or none to be given back.
_handler_errors = (ValueError, KeyError, RuntimeError, OSError)


class CxlMemoryAdapter(MemoryAllocatorInterface):
    """Gives LMCache pages of shared memory as its memory objects.

    A page's full-size object is made once and handed out again with the page, reset; a chunk of fewer tokens gets an
    object of its own each time. Objects have no parent allocator: LMCache's counts free nothing, because a page that
    was stored belongs to the pool. `free` gives back a page that was allocated here and not handed to a store; with
    `create_store_handle` the page goes with the handle, and who does not store it gives it back with
    `handler.free(handle)`.

    All methods may be called from any thread. No lock is held while the handler is called.
    """

    def __init__(
        self,
        handler: Any,
        shapes: list[torch.Size],
        dtypes: list[torch.dtype],
        fmt: MemoryFormat,
        chunk_size: int,
    ) -> None:
        """An adapter for chunks of these tensors, one for each KV group, in pages of `chunk_size` bytes.

        Takes all regions that the handler shows, now and later. ValueError when a chunk does not fit into a page.
        """
        self._handler = handler
        self._layout = ChunkLayout(tuple(map(torch.Size, shapes)), tuple(dtypes), fmt, chunk_size)
        releases = _is_maru_handler(handler) and not _lmcache_unpins_by_key()
        self._release = self._release_service_pin if releases else None
        self._lock = threading.Lock()  # guards what follows
        self._pool: dict[int, RegionPages] = {}
        self._allocated: dict[int, PageObject] = {}  # by address: who got the page, until it is freed or stored
        self._registered: set[int] = set()  # regions that were given to _dma
        self._closed = False
        self._dma = dma.registrar_of_this_process()
        handler.set_on_region_added(self._add_region)

    # -- addresses

    @staticmethod
    def encode_address(region_id: int, page_index: int) -> int:
        """A page's location as the `address` of a memory object."""
        return encode_address(region_id, page_index)

    @staticmethod
    def decode_address(address: int) -> tuple[int, int]:
        """(region_id, page_index) of an `address`."""
        return decode_address(address)

    # -- to write

    def allocate(
        self,
        shapes: torch.Size | list[torch.Size],
        dtypes: torch.dtype | list[torch.dtype],
        fmt: MemoryFormat = MemoryFormat.UNDEFINED,
        allocator_type: str | None = None,
    ) -> MemoryObj | None:
        """A page for tensors of these shapes; None when they are empty, exceed a chunk, or no page is left.

        Fewer bytes than a chunk give an object with as many tokens less; where no number of tokens has that size, the
        full object. Its tensors are those of the adapter, whatever `fmt` and `dtypes` say.
        """
        size = tensor_bytes(*self._adapt_shapes_and_dtypes(shapes, dtypes))
        if not 0 < size <= self._layout.chunk_size:
            return None
        try:
            handle = self._handler.alloc(size=size)
        except _handler_errors as error:
            _logger.debug("no page for %d bytes: %s", size, error)
            return None
        memory_obj = self._object_at(handle.region_id, handle.page_index, size, self._layout.token_bytes)
        if memory_obj is None:
            _logger.warning("region %d of a new page is not mapped: the page is given back", handle.region_id)
            self._give_back(handle)
            return None
        memory_obj.reset()
        with self._lock:
            self._allocated[memory_obj.meta.address] = memory_obj
        return memory_obj

    def batched_allocate(
        self,
        shapes: torch.Size | list[torch.Size],
        dtypes: torch.dtype | list[torch.dtype],
        batch_size: int,
        fmt: MemoryFormat = MemoryFormat.UNDEFINED,
        allocator_type: str | None = None,
    ) -> list[MemoryObj] | None:
        """`batch_size` times what `allocate` gives; None, and no page taken, when one of them is not to be had."""
        memory_objs: list[MemoryObj] = []
        for _ in range(batch_size):
            memory_obj = self.allocate(shapes, dtypes, fmt, allocator_type)
            if memory_obj is None:
                self.batched_free(memory_objs)
                return None
            memory_objs.append(memory_obj)
        return memory_objs

    def create_store_handle(self, memory_obj: MemoryObj) -> AllocHandle:
        """The handle to store an object's bytes by, all `phy_size` of them. The page goes with it: `free` leaves it
        alone from now on. ValueError for an object of some other allocator."""
        region_id, page_index = decode_address(memory_obj.metadata.address)
        pages = self._pool.get(region_id)
        if not isinstance(memory_obj, PageObject) or pages is None or page_index >= len(pages):
            raise ValueError(f"The object at {memory_obj.metadata.address:#x} is no page of this adapter")
        self._forget(memory_obj)
        return _handle_of(memory_obj)

    def free(self, memory_obj: MemoryObj, allocator_type: str | None = None) -> None:
        """Gives back a page that was allocated here and not handed to a store; anything else is left alone, so a late
        or second call is harmless."""
        if isinstance(memory_obj, PageObject) and self._forget(memory_obj):
            self._give_back(_handle_of(memory_obj))

    def batched_free(
        self, memory_objs: Sequence[MemoryObj], allocator_type: str | None = None, update_stats: bool = True
    ) -> None:
        """`free` for each."""
        for memory_obj in memory_objs:
            self.free(memory_obj)

    # -- to read

    def get_by_location(
        self, region_id: int, page_index: int, actual_size: int, single_token_size: int
    ) -> TensorMemoryObj | None:
        """The object over a chunk that `retrieve` found: `_pool[region_id][page_index]` for a full one, else a new one
        with as many tokens as `actual_size` has. None when there is no such page, or it cannot hold such a chunk."""
        if not 0 < actual_size <= self._layout.chunk_size:
            return None
        if actual_size < self._layout.full_bytes and self._layout.token_bytes:
            if self._layout.cut_to(actual_size, single_token_size) is None:
                _logger.warning("a chunk of %d bytes is no whole number of tokens: it is not used", actual_size)
                return None
        return self._object_at(region_id, page_index, actual_size, single_token_size)

    def ensure_region_pool(self, region_id: int) -> bool:
        """Whether the pages of a region can be had; makes `_pool[region_id]` where they can."""
        return self._pages_of(region_id) is not None

    # -- the rest

    def memcheck(self) -> bool:
        """True: the pages' books are kept by marud, and `maructl check` audits them."""
        return True

    def close(self) -> None:
        """Lets go of the handler, all regions and their registration for DMA. Objects that live stay readable for as
        long as the handler's memory is mapped. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._handler.set_on_region_added(None)
        if self._dma is not None:
            self._dma.close()
        with self._lock:
            self._pool.clear()
            self._allocated.clear()

    def _add_region(self, region_id: int, page_count: int) -> None:
        """The handler's callback. Looks at a page at once, so that a region that cannot be mapped shows here."""

        def view(page_index: int) -> memoryview | None:
            chunk_size = self._layout.chunk_size
            seen: memoryview | None = self._handler.get_buffer_view(region_id, page_index * chunk_size, chunk_size)
            return seen

        if page_count > 0 and view(0) is None:
            _logger.warning("failed to map region %d: its pages are not used", region_id)
            return
        pages = RegionPages(region_id, page_count, self._layout, view, self._release)
        with self._lock:
            if self._closed or region_id in self._pool:
                return
            self._pool[region_id] = pages

    def _pages_of(self, region_id: int) -> RegionPages | None:
        pages = self._pool.get(region_id)
        if pages is None:
            page_count = self._handler.get_region_page_count(region_id)
            if page_count is not None:
                self._add_region(region_id, page_count)
                pages = self._pool.get(region_id)
        return pages

    def _object_at(self, region_id: int, page_index: int, size: int, token_bytes: int) -> PageObject | None:
        pages = self._pages_of(region_id)
        if pages is None or not 0 <= page_index < len(pages):
            return None
        shapes = self._layout.cut_to(size, token_bytes) if size < self._layout.full_bytes else None
        try:
            if self._dma is not None:
                self._register_for_dma(self._dma, region_id, pages)
            return pages[page_index] if shapes is None else pages.partial(page_index, shapes, size)
        except RuntimeError as error:
            _logger.warning("%s", error)
            return None

    def _register_for_dma(self, registrar: dma.DmaRegistrar, region_id: int, pages: RegionPages) -> None:
        """On a region's first use, not when it is shown: registering takes the memory of the whole region, and one that
        is only shown must cost none."""
        with self._lock:
            if self._closed or region_id in self._registered:
                return
            self._registered.add(region_id)
        registrar.register(_span_of(pages, self._layout.chunk_size))

    def _forget(self, memory_obj: PageObject) -> bool:
        """Whether the page was still allocated to this very object; it is not any more."""
        address = memory_obj.meta.address
        with self._lock:
            if self._allocated.get(address) is not memory_obj:
                return False
            del self._allocated[address]
            return True

    def _give_back(self, handle: AllocHandle) -> None:
        try:
            self._handler.free(handle)
        except _handler_errors as error:
            _logger.debug("page %d of region %d was not given back: %s", handle.page_index, handle.region_id, error)

    def _release_service_pin(self, memory_obj: PageObject) -> None:
        self._handler._release_service_pin(*memory_obj.location)


CxlMemoryAllocator = CxlMemoryAdapter


def _is_maru_handler(handler: Any) -> bool:
    try:
        from maru_handler import MaruHandler
    except ImportError:  # no compiled module here, so it cannot be one
        return False
    return isinstance(handler, MaruHandler)


def _lmcache_unpins_by_key() -> bool:
    """Whether LMCache's own backend for Maru, where it is in use, says that its pins are kept elsewhere: an LMCache that
    asks for this ends them by key after asynchronous reads too, and would have one more ended if objects did it."""
    module = sys.modules.get("lmcache.v1.storage_backend.maru_backend")
    return hasattr(getattr(module, "MaruBackend", None), "has_external_pin_state")


def _handle_of(memory_obj: PageObject) -> AllocHandle:
    region_id, page_index = memory_obj.location
    return AllocHandle(
        buf=memoryview(b""), _region_id=region_id, _page_index=page_index, _size=memory_obj.meta.phy_size
    )


def _span_of(pages: RegionPages, chunk_size: int) -> dma.Span:
    """Where a region's pages lie. A page may be larger than the chunk it holds."""
    first, last = pages[0].raw_data, pages[-1].raw_data
    address, reach = first.data_ptr(), last.data_ptr() - first.data_ptr()
    page_bytes = reach // (len(pages) - 1) if len(pages) > 1 else chunk_size
    return dma.Span(address, page_bytes, reach + chunk_size, keep=(first, last))
