"""Pages and regions as plain data: no server, and nothing beyond the standard library, is needed to make one.

Every memoryview here is one-dimensional, of format "B" and C-contiguous. NumPy is imported by those who ask for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from maru_handler.memory.regions import PagedMemoryAllocator


class _PageBytes:
    """What can be had from a page's bytes without a copy. Whatever is made from them keeps them alive."""

    __slots__ = ()

    def _bytes(self) -> memoryview:
        raise NotImplementedError

    def as_numpy(self, dtype: DTypeLike = "u1", shape: int | tuple[int, ...] | None = None) -> NDArray[Any]:
        """The bytes as an array of `dtype`, as many items as fit when `shape` is None.

        The array may be shorter than the bytes. ValueError where it would be longer, or where no `shape` is given and
        the bytes are no whole number of items.
        """
        import numpy

        view = self._bytes()
        item = numpy.dtype(dtype)
        if shape is None:
            count, rest = divmod(len(view), item.itemsize)
            if rest:
                raise ValueError(f"{len(view)} bytes are no whole number of items of {item.itemsize} bytes")
            shape = count
        array: NDArray[Any] = numpy.ndarray(shape, item, buffer=view)
        return array

    def __buffer__(self, flags: int) -> memoryview:
        """`memoryview(page)`, from Python 3.12 on."""
        return memoryview(self._bytes())

    def __dlpack__(self, **keywords: Any) -> Any:
        """The bytes as a DLPack capsule of uint8, for `torch.from_dlpack(page)` and the like."""
        return self.as_numpy().__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Always the CPU."""
        return (1, 0)


@dataclass(eq=False, slots=True, weakref_slot=True)
class AllocHandle(_PageBytes):
    """A page to write a chunk into: fill `buf`, then `store(key, handle)` or `free(handle)`.

    A handler knows the page by `(region_id, page_index)` and stores its first `size` bytes, so a handle that a caller
    makes from these three, with an empty `buf`, is as good.
    """

    buf: memoryview = field(repr=False)
    _region_id: int
    _page_index: int
    _size: int

    @property
    def region_id(self) -> int:
        """The region that holds the page."""
        return self._region_id

    @property
    def page_index(self) -> int:
        """The page's number in its region."""
        return self._page_index

    @property
    def size(self) -> int:
        """How many bytes a `store` makes visible."""
        return self._size

    def _bytes(self) -> memoryview:
        return self.buf


@dataclass(slots=True, weakref_slot=True)
class MemoryInfo(_PageBytes):
    """A stored chunk, in place. `view`, and everything made from it, keeps the page from being reused.

    Where memory of the page fails (a poisoned page, a device that is gone) zeros stand in for it and the process goes on:
    ask `intact()` after reading or copying.
    """

    view: memoryview = field(repr=False)
    region_id: int = 0
    page_index: int = 0

    def intact(self) -> bool:
        """Whether all that was read so far were the chunk's own bytes. False: throw them away, the chunk is lost."""
        from maru_handler import _maru  # who has a chunk of a pool has the compiled module

        return _maru.intact(self.view)

    def _bytes(self) -> memoryview:
        return self.view


@dataclass
class MappedRegion:
    """A region as a process sees it: `_mmap_obj` is any writable buffer, None while the region is not mapped.

    `handle` is the caller's. Used from several threads only while nobody calls `release`.
    """

    region_id: int
    handle: Any
    size: int
    _mmap_obj: Any = field(default=None, repr=False)
    _buffer_view: memoryview | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self._mmap_obj is not None:
            self._buffer_view = memoryview(self._mmap_obj).cast("B")[: self.size]

    @property
    def is_mapped(self) -> bool:
        """Whether there are bytes to see."""
        return self._buffer_view is not None

    def get_buffer_view(self, offset: int, size: int) -> memoryview | None:
        """`size` bytes from `offset` on, writable; None when not mapped or not all within the region."""
        view = self._buffer_view
        if view is None or offset < 0 or size < 0 or offset + size > len(view):
            return None
        return view[offset : offset + size]

    def read_bytes(self, offset: int, size: int) -> bytes:
        """A copy of up to `size` bytes from `offset` on: fewer at the region's end. RuntimeError when not mapped."""
        if self._buffer_view is None:
            raise RuntimeError(f"Region {self.region_id} is not mapped")
        if offset < 0 or size < 0:
            raise ValueError("offset and size must not be negative")
        return bytes(self._buffer_view[offset : offset + size])

    def release(self) -> None:
        """Lets go of the buffer. Views given out before keep it alive until they are gone."""
        view, self._buffer_view, self._mmap_obj = self._buffer_view, None, None
        if view is not None:
            try:
                view.release()
            except (BufferError, ValueError):
                pass  # something was made from the view itself: its end is the view's


@dataclass
class OwnedRegion:
    """A region that a handler shows as its own, with who hands out its pages."""

    region_id: int
    allocator: PagedMemoryAllocator
