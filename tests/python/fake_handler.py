"""A pool and the handlers of it, all in this process, that keep the contract of `MaruHandler` as far as LMCache relies
on it: the first commit of a key wins, pins belong to a handler and stop a removal, a batch of pins stops at the first
miss, a view keeps its page from being reused, a batch is one message.

`FakePool` is what marud would be. A test gives `pool.handler_class()` where `maru_handler.MaruHandler` is looked up.
"""

from __future__ import annotations

import mmap
import threading
import weakref
from collections import Counter
from collections.abc import Callable

import numpy

from maru_common import MaruConfig
from maru_handler.memory import AllocHandle, MemoryInfo

Location = tuple[int, int]


class FakePool:
    """Pages of one region for all handlers. `messages` are the calls and how many keys each was for, in order. `hold`
    makes a call wait, `refusals` makes it raise."""

    region_id = 7

    def __init__(self, pages: int = 16, slot: int = 4096) -> None:
        self.pages = pages
        self.slot = slot
        self.memory = numpy.frombuffer(mmap.mmap(-1, pages * slot), dtype=numpy.uint8)
        self.lock = threading.RLock()
        self.free_pages = list(range(pages))
        self.granted: dict[int, FakeHandler] = {}
        self.entries: dict[str, tuple[int, int]] = {}  # key -> (page, length)
        self.pins: Counter[tuple[FakeHandler, str]] = Counter()
        self.holds: Counter[int] = Counter()  # views alive, by page
        self.leaving: set[int] = set()  # removed, and some view is alive
        self.messages: list[tuple[str, int]] = []
        self.handlers: list[FakeHandler] = []
        self.gates: dict[str, threading.Event] = {}
        self.refusals: dict[str, Exception] = {}
        self.accepts = True

    def handler_class(self) -> type[FakeHandler]:
        """`MaruHandler` of this pool."""
        return type("MaruHandler", (FakeHandler,), {"pool": self})

    def hold(self, call: str) -> threading.Event:
        """Makes a call wait until the event is set."""
        self.gates[call] = threading.Event()
        return self.gates[call]

    def asked(self, call: str) -> list[int]:
        """The number of keys of each message of this kind."""
        return [count for name, count in self.messages if name == call]

    def pins_of(self, key: str) -> int:
        return sum(count for (_, pinned), count in self.pins.items() if pinned == key)

    def total_pins(self) -> int:
        return sum(self.pins.values())

    def bytes_of(self, key: str) -> bytes:
        page, length = self.entries[key]
        return bytes(self.memory[page * self.slot : page * self.slot + length])

    def put(self, key: str, content: bytes) -> None:
        """A key that some other worker stored."""
        with self.lock:
            page = self.free_pages.pop(0)
            self.memory[page * self.slot : page * self.slot + len(content)] = numpy.frombuffer(content, numpy.uint8)
            self.entries[key] = (page, len(content))

    def evict(self, key: str) -> bool:
        """Removes a key unless it is pinned; its page is granted again when no view of it is left."""
        with self.lock:
            if self.pins_of(key):
                return False
            page, _ = self.entries.pop(key)
            self.leaving.add(page)
            self.reclaim(page)
            return True

    def reclaim(self, page: int) -> None:
        with self.lock:
            if page in self.leaving and not self.holds[page]:
                self.leaving.remove(page)
                self.free_pages.append(page)

    def view(self, page: int, length: int) -> memoryview:
        array = self.memory[page * self.slot : page * self.slot + length]
        with self.lock:
            self.holds[page] += 1
        weakref.finalize(array, self._drop_hold, page)
        return memoryview(array)

    def _drop_hold(self, page: int) -> None:
        with self.lock:
            self.holds[page] -= 1
            self.reclaim(page)

    def states(self) -> dict[str, int]:
        """How many pages are in each state: together all there are."""
        return {
            "free": len(self.free_pages),
            "granted": len(self.granted),
            "committed": len(self.entries),
            "leaving": len(self.leaving),
        }


class FakeHandler:
    """One worker's handler."""

    pool: FakePool

    def __init__(self, config: MaruConfig) -> None:
        self.config = config
        self.connected = False
        self.closed = False
        self.pool.handlers.append(self)

    def connect(self) -> bool:
        self.connected = self.pool.accepts
        return self.connected

    def close(self) -> None:
        with self.pool.lock:
            self.closed = True
            self.connected = False
            for pin in [pin for pin in self.pool.pins if pin[0] is self]:
                del self.pool.pins[pin]
            for page in [page for page, owner in self.pool.granted.items() if owner is self]:
                del self.pool.granted[page]
                self.pool.free_pages.append(page)
        for gate in self.pool.gates.values():
            gate.set()  # calls under way end: RuntimeError

    # -- regions

    def get_chunk_size(self) -> int:
        return self.config.chunk_size_bytes

    def get_region_page_count(self, region_id: int) -> int | None:
        return self.pool.pages if region_id == self.pool.region_id else None

    def get_buffer_view(self, region_id: int, offset: int, size: int) -> memoryview | None:
        page, within = divmod(offset, self.get_chunk_size())
        if region_id != self.pool.region_id or within + size > self.get_chunk_size():
            return None
        at = page * self.pool.slot + within
        return memoryview(self.pool.memory[at : at + size])

    def set_on_region_added(self, callback: Callable[[int, int], None] | None) -> None:
        if callback is not None:
            callback(self.pool.region_id, self.pool.pages)

    # -- pages

    def alloc(self, size: int) -> AllocHandle:
        self._require()
        with self.pool.lock:
            if not self.pool.free_pages:
                raise ValueError("Cannot allocate page: pool exhausted after expansion attempt")
            page = self.pool.free_pages.pop(0)
            self.pool.granted[page] = self
        buf = self.get_buffer_view(self.pool.region_id, page * self.get_chunk_size(), size)
        assert buf is not None
        return AllocHandle(buf=buf, _region_id=self.pool.region_id, _page_index=page, _size=size)

    def free(self, handle: AllocHandle) -> None:
        self._require()
        with self.pool.lock:
            if self.pool.granted.get(handle.page_index) is not self:
                raise ValueError(f"Double free detected: page {handle.page_index} is not allocated")
            del self.pool.granted[handle.page_index]
            self.pool.free_pages.append(handle.page_index)

    def store(self, key: str, handle: AllocHandle) -> bool:
        self._message("store", 1)
        return self._commit(key, handle)

    def batch_store(self, keys: list[str], handles: list[AllocHandle]) -> list[bool]:
        if len(keys) != len(handles):
            raise ValueError("keys and handles must have the same length")
        self._message("batch_store", len(keys))
        return [self._commit(key, handle) for key, handle in zip(keys, handles)]

    def _commit(self, key: str, handle: AllocHandle) -> bool:
        with self.pool.lock:
            mine = self.pool.granted.get(handle.page_index) is self
            if key in self.pool.entries:
                if mine:
                    self.free(handle)
                return True
            if not mine:
                return False
            del self.pool.granted[handle.page_index]
            self.pool.entries[key] = (handle.page_index, handle.size)
            return True

    # -- keys

    def retrieve(self, key: str) -> MemoryInfo | None:
        self._message("retrieve", 1)
        return self._info(key)

    def batch_retrieve(self, keys: list[str]) -> list[MemoryInfo | None]:
        self._message("batch_retrieve", len(keys))
        return [self._info(key) for key in keys]

    def _info(self, key: str) -> MemoryInfo | None:
        with self.pool.lock:
            if key not in self.pool.entries:
                return None
            page, length = self.pool.entries[key]
            return MemoryInfo(view=self.pool.view(page, length), region_id=self.pool.region_id, page_index=page)

    def exists(self, key: str) -> bool:
        self._message("exists", 1)
        return key in self.pool.entries

    def batch_exists(self, keys: list[str]) -> list[bool]:
        self._message("batch_exists", len(keys))
        return [key in self.pool.entries for key in keys]

    def pin(self, key: str) -> bool:
        self._message("pin", 1)
        return self._pin_prefix([key])[0]

    def batch_pin(self, keys: list[str]) -> list[bool]:
        self._message("batch_pin", len(keys))
        return self._pin_prefix(keys)

    def _pin_prefix(self, keys: list[str]) -> list[bool]:
        with self.pool.lock:
            count = next((i for i, key in enumerate(keys) if key not in self.pool.entries), len(keys))
            for key in keys[:count]:
                self.pool.pins[self, key] += 1
            return [i < count for i in range(len(keys))]

    def unpin(self, key: str) -> bool:
        self._message("unpin", 1)
        return self._unpin(key)

    def batch_unpin(self, keys: list[str]) -> list[bool]:
        self._message("batch_unpin", len(keys))
        return [self._unpin(key) for key in keys]

    def _unpin(self, key: str) -> bool:
        with self.pool.lock:
            held = self.pool.pins[self, key] > 0
            self.pool.pins[self, key] -= held
            return held

    def _release_service_pin(self, region_id: int, page_index: int) -> bool:
        assert region_id == self.pool.region_id
        with self.pool.lock:
            keys = [key for key, (page, _) in self.pool.entries.items() if page == page_index]
            return bool(keys) and self._unpin(keys[0])

    def delete(self, key: str) -> bool:
        self._message("delete", 1)
        return self._delete(key)

    def batch_delete(self, keys: list[str]) -> list[bool]:
        self._message("batch_delete", len(keys))
        return [self._delete(key) for key in keys]

    def _delete(self, key: str) -> bool:
        with self.pool.lock:
            return key in self.pool.entries and self.pool.evict(key)

    # -- a message

    def _require(self) -> None:
        if self.closed:
            raise RuntimeError("Handler is closing")
        if not self.connected:
            raise RuntimeError("Not connected. Call connect() first.")

    def _message(self, call: str, keys: int) -> None:
        self._require()
        if not keys:
            return
        with self.pool.lock:
            self.pool.messages.append((call, keys))
        if call in self.pool.gates:
            assert self.pool.gates[call].wait(timeout=30), f"{call} was held for ever"
            self._require()
        if call in self.pool.refusals:
            raise self.pool.refusals[call]
