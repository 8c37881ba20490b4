"""The pages of a region as LMCache's memory objects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import torch
from lmcache.v1.memory_management import MemoryObjMetadata, TensorMemoryObj

from maru_lmcache.layout import ChunkLayout


def encode_address(region_id: int, page_index: int) -> int:
    """A page's location as one number: the region in the upper bits, the page in the lower 32."""
    return (region_id << 32) | page_index


def decode_address(address: int) -> tuple[int, int]:
    """(region_id, page_index) of such a number."""
    return address >> 32, address & 0xFFFFFFFF


class PageObject(TensorMemoryObj):
    """A memory object over the bytes of a page, or over the first of them. Its counts are LMCache's own.

    Each `pin` that LMCache calls arms one release, and the next `unpin` that ends a local pin makes it: LMCache's
    asynchronous path pins keys at the service and then cleans up with `unpin` on the object alone. Its synchronous
    path unpins by key and never pins the object, so it releases nothing here.
    """

    def __init__(
        self, raw_data: torch.Tensor, metadata: MemoryObjMetadata, release: Callable[[PageObject], None] | None
    ) -> None:
        super().__init__(raw_data, metadata, parent_allocator=None)
        self._release = release
        self._armed = 0
        self._arming = threading.Lock()  # LMCache's own lock is taken within pin and unpin

    @property
    def location(self) -> tuple[int, int]:
        """(region_id, page_index)."""
        return decode_address(self.meta.address)

    def reset(self) -> None:
        """Makes the object as new, for whoever got its page now."""
        with self._arming:
            self._armed = 0
        with self.lock:
            self.meta.ref_count = 1
            self.meta.pin_count = 0
            self.valid = True
            self._used_size_override = None

    def pin(self) -> bool:
        """A local pin, as LMCache counts them."""
        with self._arming:
            self._armed += 1
            return super().pin()

    def unpin(self) -> bool:
        """Ends a local pin, and with it at most one pin at the service."""
        with self._arming:
            releases = self._armed > 0 and self.meta.pin_count > 0
            self._armed -= releases
            unpinned = super().unpin()
        if releases and self._release is not None:
            self._release(self)
        return unpinned


class RegionPages(Sequence[PageObject]):
    """The pages of one region, each made when it is first asked for and the same object ever after.

    `view(page_index)` gives the bytes of a page, or None once they are gone. Any thread may ask.
    """

    def __init__(
        self,
        region_id: int,
        page_count: int,
        layout: ChunkLayout,
        view: Callable[[int], memoryview | None],
        release: Callable[[PageObject], None] | None,
    ) -> None:
        self._region_id = region_id
        self._layout = layout
        self._view = view
        self._release = release
        self._objects: list[PageObject | None] = [None] * page_count
        self._making = threading.Lock()

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, index: int) -> PageObject:  # type: ignore[override]
        """The full chunk of a page. RuntimeError when the region is not mapped any more."""
        known = self._objects[index]
        if known is not None:
            return known
        page_index = range(len(self._objects))[index]
        made = self._make(page_index, self._layout.shapes, self._layout.chunk_size)
        with self._making:
            if self._objects[page_index] is None:
                self._objects[page_index] = made
            return self._objects[page_index]  # type: ignore[return-value]

    def __iter__(self) -> Iterator[PageObject]:
        return (self[index] for index in range(len(self)))

    def partial(self, page_index: int, shapes: tuple[torch.Size, ...], size: int) -> PageObject:
        """A new object over the first `size` bytes of a page. RuntimeError when the region is not mapped any more."""
        return self._make(page_index, shapes, size)

    def _make(self, page_index: int, shapes: tuple[torch.Size, ...], size: int) -> PageObject:
        view = self._view(page_index)
        if view is None:
            raise RuntimeError(f"Page {page_index} of region {self._region_id} is not mapped")
        metadata = MemoryObjMetadata(
            shape=shapes[0],
            dtype=self._layout.dtypes[0],
            address=encode_address(self._region_id, page_index),
            phy_size=size,
            ref_count=1,
            fmt=self._layout.fmt,
            shapes=list(shapes),
            dtypes=list(self._layout.dtypes),
        )
        return PageObject(torch.frombuffer(view, dtype=torch.uint8)[:size], metadata, self._release)
