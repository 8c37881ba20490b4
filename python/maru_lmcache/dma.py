"""Registers regions with CUDA, so that a GPU copies from and to them by DMA. Skipped, at no cost, without CUDA.

The driver's library is called, and only where this process has loaded it: a process that does not use a GPU must not
get a context on one. Its calls report errors by their return value alone; unlike the runtime's, a failed one leaves no
error behind that a later check of torch would trip over. What it registered counts as pinned for the runtime too.
`MARU_DMA=0` switches it off.

Registering takes the memory of every page and may last seconds, so a thread does it, a piece at a time. Until a region
is done, and where it fails, copies work all the same, only slower.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from maru_common import flag_from_environment, get_logger

_logger = get_logger(__name__)

piece_bytes_max = 64 << 30  # more in one call is refused by some drivers
_portable = 1  # CU_MEMHOSTREGISTER_PORTABLE: pinned for every context of the process


@dataclass(frozen=True)
class Span:
    """The memory of a region: pages of `page_bytes` from `address` on, `size` bytes in all. `keep` is held for as long
    as the memory is registered."""

    address: int
    page_bytes: int
    size: int
    keep: Any = None

    def pieces(self) -> list[tuple[int, int]]:
        """(address, size) of pieces of at most `piece_bytes_max`, cut where a page begins."""
        step = max(1, piece_bytes_max // self.page_bytes) * self.page_bytes
        return [(self.address + at, min(step, self.size - at)) for at in range(0, self.size, step)]


class HostMemoryLibrary(Protocol):
    """What registers memory. Both calls return 0 or an error's code."""

    def register(self, address: int, size: int) -> int:
        """Pins `size` bytes."""

    def unregister(self, address: int) -> int:
        """Undoes the `register` at this address."""

    def error_name(self, code: int) -> str:
        """What an error is called."""


class CudaDriver:
    """libcuda, called with one context of this process, from any thread."""

    def __init__(self, library: Any, context: Any) -> None:
        self._library = library
        self._context = context

    @classmethod
    def of_this_process(cls) -> CudaDriver | None:
        """The driver with the calling thread's context; None where libcuda is not loaded or the thread has none."""
        try:
            library = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD)
        except OSError:
            return None
        context = ctypes.c_void_p()
        if library.cuCtxGetCurrent(ctypes.byref(context)) != 0 or not context:
            return None
        return cls(library, context)

    def register(self, address: int, size: int) -> int:
        """cuMemHostRegister."""
        arguments = (ctypes.c_void_p(address), ctypes.c_size_t(size), _portable)
        return self._in_context(self._library.cuMemHostRegister_v2, *arguments)

    def unregister(self, address: int) -> int:
        """cuMemHostUnregister."""
        return self._in_context(self._library.cuMemHostUnregister, ctypes.c_void_p(address))

    def error_name(self, code: int) -> str:
        """The driver's name of an error, such as CUDA_ERROR_OUT_OF_MEMORY."""
        name = ctypes.c_char_p()
        if self._library.cuGetErrorName(code, ctypes.byref(name)) != 0 or name.value is None:
            return f"error {code}"
        return name.value.decode()

    def _in_context(self, call: Callable[..., int], *arguments: Any) -> int:
        code: int = self._library.cuCtxPushCurrent_v2(self._context)
        if code != 0:
            return code
        try:
            return call(*arguments)
        finally:
            self._library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


class DmaRegistrar:
    """Keeps regions registered, from `register` until `close`, on a thread of its own that alone calls the library.

    A region is registered as a whole or not at all: when a piece fails, those before it are undone. The thread is a
    daemon: a process that ends without `close` does not wait for it.
    """

    def __init__(self, library: HostMemoryLibrary) -> None:
        self._library = library
        self._spans: queue.SimpleQueue[Span | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._registered: list[tuple[int, Span]] = []  # addresses of pieces, in the order they were registered
        self._thread = threading.Thread(target=self._run, name="maru-dma", daemon=True)
        self._thread.start()

    def register(self, span: Span) -> None:
        """Has a region registered soon. Returns at once."""
        self._spans.put(span)

    def close(self) -> None:
        """Unregisters everything, the last piece first, and waits for it: for one piece at most that is on its way.
        May be called again."""
        self._closing.set()
        self._spans.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (span := self._spans.get()) is not None:
            if not self._closing.is_set():
                self._register(span)
        self._unregister_from(0)

    def _register(self, span: Span) -> None:
        before = len(self._registered)
        for address, size in span.pieces():
            if self._closing.is_set():
                return
            code = self._library.register(address, size)
            if code != 0:
                name = self._library.error_name(code)
                _logger.warning("failed to register %d bytes for DMA: %s; copies will be slower", span.size, name)
                self._unregister_from(before)
                return
            self._registered.append((address, span))
        _logger.debug("registered %d bytes for DMA", span.size)

    def _unregister_from(self, first: int) -> None:
        while len(self._registered) > first:
            address, _ = self._registered.pop()
            code = self._library.unregister(address)
            if code != 0:
                _logger.debug("failed to unregister memory: %s", self._library.error_name(code))


def registrar_of_this_process() -> DmaRegistrar | None:
    """A registrar where this process uses CUDA and `MARU_DMA` does not say no."""
    if not flag_from_environment("MARU_DMA", True):
        return None
    driver = CudaDriver.of_this_process()
    return DmaRegistrar(driver) if driver is not None else None
