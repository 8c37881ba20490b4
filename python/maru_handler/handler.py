"""`MaruHandler`: what a worker process stores and finds chunks with."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from maru_common import MaruConfig, get_logger
from maru_handler import _maru
from maru_handler.asynchronous import AsyncOperations
from maru_handler.connection import PART, Connection, as_list
from maru_handler.keys import Key
from maru_handler.memory.regions import OwnedRegionManager, PagedMemoryAllocator, PoolHandle, RegionAdded
from maru_handler.memory.types import AllocHandle, MemoryInfo
from maru_handler.stats import CallStats, assemble

_logger = get_logger(__name__)

_COUNTED = (
    "alloc free store batch_store retrieve batch_retrieve exists batch_exists pin batch_pin unpin batch_unpin delete "
    "batch_delete healthcheck"
).split()


class MaruHandler(Connection, AsyncOperations):
    """A worker's way to a pool of KV-cache chunks that all workers of the host share.

    A chunk is written once, into a page of shared memory, and found by its key from every process:

        handler = MaruHandler(MaruConfig(server_url="tcp://127.0.0.1:5555"))
        handler.connect()
        page = handler.alloc(len(chunk))
        page.buf[:] = chunk
        handler.store("prefix/abc", page)
        handler.retrieve("prefix/abc").view      # the same bytes in place, in any process

    The same key means the same bytes: the first store of a key stays, a later one changes nothing. A chunk that nobody
    pinned may be evicted when the pool is full. Keys are str; int, bytes and None also work.

    Threads: every method from any thread, at the same time. None keeps Python's lock while it waits.
    Time: a call waits `timeout_ms` for marud. Then `store` raises TimeoutError, `alloc` ValueError, and all others
    answer as if nothing were there: False, None, or a list of these. After a restart of marud the handler goes on.
    Ctrl-C is seen when the call returns.
    Processes: connect after a fork. One that was connected before raises RuntimeError in the child, where the memory of
    its views and pages is not mapped. Children by spawn or subprocess are fine.
    Errors: RuntimeError before `connect` and after `close`; TypeError for what is no key; others with each method.
    Coroutines: `aretrieve` and so on do the same for asyncio.
    """

    def __init__(self, config: MaruConfig | None = None) -> None:
        """Does no I/O: `connect` does, or `with`. Without a config all settings are the default ones."""
        if config is not None and not isinstance(config, MaruConfig):
            raise TypeError(f"a handler takes a MaruConfig, not {type(config).__name__}")
        super().__init__(config)
        self._calls = CallStats()
        if self._config.enable_stats:
            for name in _COUNTED:
                setattr(self, name, self._calls.counted(name, getattr(self, name)))

    # -- storing

    def alloc(self, size: int) -> AllocHandle:
        """A page to write `size` bytes to; its `buf` is a writable memoryview of them. Give it to `store` or `free`.

        Sends no message while pages are in reserve. ValueError when `size` is over the chunk size, and when there is
        no page: the budget is used up (`auto_expand=False`), or the pool is full of what cannot be evicted.
        """
        client = self._require()
        size = operator.index(size)
        if size < 0:
            raise ValueError(f"Requested size {size} is negative")
        if size > self._config.chunk_size_bytes:
            raise ValueError(f"Requested size {size} exceeds chunk_size {self._config.chunk_size_bytes}")
        regions = self._regions
        if regions is None:
            raise RuntimeError(self._refusal)
        try:
            region_id, page_index, buf = regions.take(size)
        except _maru.Error as error:
            self._no_answer(client, "alloc", error)
            raise ValueError(f"Cannot allocate page: {self._why_no_page(error.args[0])}") from None
        return AllocHandle(buf=buf, _region_id=region_id, _page_index=page_index, _size=size)

    def _why_no_page(self, code: str) -> str:
        if code in ("out_of_memory", "busy"):
            return "pool exhausted after expansion attempt"
        return f"marud did not give one within {self._config.timeout_ms} ms"

    def free(self, handle: AllocHandle) -> None:
        """Gives a page back that was not stored. Also a handle that the caller made, with the page's location, will do.

        KeyError for a region that is not this handler's, ValueError for a page that is not allocated or holds a key.
        """
        client = self._require()
        region_id, page = operator.index(handle._region_id), operator.index(handle._page_index)
        outcome = client.free(region_id, page) if 0 <= region_id < 1 << 32 and 0 <= page < 1 << 32 else "unknown"
        if outcome in ("freed", "doubtful"):
            return
        allocator = self._allocator_of(region_id)
        if allocator is None:
            raise KeyError(f"Owned region {region_id} not found")
        if not 0 <= page < allocator.page_count:
            raise ValueError(f"Invalid page_index {page}: region {region_id} has {allocator.page_count} pages")
        if outcome == "committed":
            raise ValueError(f"Page {page} holds a committed key")
        raise ValueError(f"Double free detected: page {page} is not allocated")

    def store(self, key: Key, handle: Any = None, *, data: Any = None) -> bool:
        """Makes a page's bytes visible under `key`, to every process, when it returns.

        True: the key exists; where an earlier store was first, its bytes stay and this page is free again. False: it
        was not stored, and the page is free again. TimeoutError: in doubt; the page stays out of use until that is
        settled. `data`, any bytes-like object, is copied to a page of its own; errors as of `alloc`.
        """
        client = self._require()
        if (handle is None) == (data is None):
            raise TypeError("store needs a handle or data")
        if data is not None or not hasattr(handle, "_region_id"):
            _maru.encode_key(key)  # a wrong key costs no page
            handle = self._filled(client, data if data is not None else handle)
        try:
            answers, in_doubt = self._ask_to_store(client, [key], [handle])
        except _maru.Error as error:
            self._no_answer(client, "store", error)
            return False
        if in_doubt:
            raise TimeoutError(f"marud did not answer within {self._config.timeout_ms} ms: the store is in doubt")
        return answers[0]

    def batch_store(self, keys: Sequence[Key], handles: Sequence[Any]) -> list[bool]:
        """`store` for many keys in one message; one flag per key, False also for those in doubt.

        A bytes-like object in place of a handle is copied to a page of its own. A key that comes twice is stored once.
        """
        client = self._require()
        if len(keys) != len(handles):
            raise ValueError("keys and handles must have the same length")
        keys, handles = as_list(keys), as_list(handles)
        answers: list[bool] = []
        try:
            for at in range(0, len(keys), PART):
                answers += self._store_part(client, keys[at : at + PART], handles[at : at + PART])
        except _maru.Error as error:
            self._no_answer(client, "batch_store", error)
            answers += [False] * (len(keys) - len(answers))
        return answers

    def _store_part(self, client: _maru.Client, keys: list[Key], handles: list[Any]) -> list[bool]:
        try:
            return self._ask_to_store(client, keys, handles)[0]
        except AttributeError:  # not all are handles; nothing was done
            handles = [self._filled_or_none(client, handle) for handle in handles]
        filled = [i for i, handle in enumerate(handles) if handle is not None]
        answers = [False] * len(keys)
        stored, _ = self._ask_to_store(client, [keys[i] for i in filled], [handles[i] for i in filled])
        for i, answer in zip(filled, stored):
            answers[i] = answer
        return answers

    def _ask_to_store(self, client: _maru.Client, keys: list[Key], handles: list[Any]) -> tuple[list[bool], bool]:
        answers, in_doubt, trouble = client.store(keys, handles)
        if trouble:
            _logger.warning("failed to store %d of %d chunks: %s", answers.count(False), len(answers), trouble)
        return answers, in_doubt

    def _filled(self, client: _maru.Client, data: Any) -> AllocHandle:
        view = memoryview(data)
        if not view.c_contiguous:
            raise TypeError("data must be contiguous")
        handle = self.alloc(view.nbytes)
        client.fill(handle._region_id, handle._page_index, view)
        return handle

    def _filled_or_none(self, client: _maru.Client, handle: Any) -> Any:
        if hasattr(handle, "_region_id"):
            return handle
        try:
            return self._filled(client, handle)
        except ValueError as error:
            _logger.warning("failed to store a chunk: %s", error)
            return None

    # -- reading

    def retrieve(self, key: Key) -> MemoryInfo | None:
        """The chunk of a key in place, or None. Its page is not reused while `view`, or anything made from it, lives.

        A view is no pin: others can delete the key meanwhile. Do not write to it.
        """
        client = self._require()
        return self._one(client, lambda one: client.retrieve(one, MemoryInfo), key, None)

    def batch_retrieve(self, keys: Sequence[Key]) -> list[MemoryInfo | None]:
        """`retrieve` for many keys in one message: one entry per key, None where there is none."""
        client = self._require()
        return self._in_parts(client, lambda part: client.retrieve(part, MemoryInfo), keys, None)

    def exists(self, key: Key) -> bool:
        """Whether the key is there."""
        client = self._require()
        return self._one(client, client.exists, key, False)

    def batch_exists(self, keys: Sequence[Key]) -> list[bool]:
        """`exists` for many keys in one message: one flag per key."""
        client = self._require()
        return self._in_parts(client, client.exists, keys, False)

    def pin(self, key: Key) -> bool:
        """Keeps a chunk from being evicted or deleted until `unpin`, or until this handler closes. False: no such key.

        Pins count: a key pinned twice needs two `unpin`. They belong to this handler.
        """
        client = self._require()
        return self._one(client, client.pin, key, False)

    def batch_pin(self, keys: Sequence[Key]) -> list[bool]:
        """`pin` for many keys in one message, up to the first that is missing: all after it are False, and not pinned.
        """
        client = self._require()
        keys = as_list(keys)
        answers: list[bool] = []
        try:
            for at in range(0, len(keys), PART):
                answers += client.pin(keys[at : at + PART])
                if not answers[-1]:
                    break
        except _maru.Error as error:
            self._no_answer(client, "batch_pin", error)
        return answers + [False] * (len(keys) - len(answers))

    def unpin(self, key: Key) -> bool:
        """Ends one pin of this handler on a key. False: it holds none."""
        client = self._require()
        return self._one(client, client.unpin, key, False)

    def batch_unpin(self, keys: Sequence[Key]) -> list[bool]:
        """`unpin` for many keys in one message: one flag per key."""
        client = self._require()
        return self._in_parts(client, client.unpin, keys, False)

    def _release_service_pin(self, region_id: int, page_index: int) -> bool:
        """Ends one pin of this handler, if it holds any, on the key that lies on a page. Never waits, never raises."""
        client = self._client
        try:
            return client is not None and client.release_pin(region_id, page_index)
        except (_maru.Error, TypeError):
            return False

    # -- deleting

    def delete(self, key: Key) -> bool:
        """Removes a key, whoever stored it. False: it is missing, or pinned by somebody."""
        client = self._require()
        return self._one(client, client.remove, key, "unknown") == "ok"

    def batch_delete(self, keys: Sequence[Key]) -> list[bool]:
        """`delete` for many keys in one message: one flag per key."""
        client = self._require()
        return [code == "ok" for code in self._in_parts(client, client.remove, keys, "unknown")]

    def delete_status(self, key: Key) -> str:
        """`delete` that says more: "removed", "missing" or "pinned"; "unknown" when nobody answered."""
        client = self._require()
        code = self._one(client, client.remove, key, "unknown")
        return "removed" if code == "ok" else code if code in ("missing", "pinned") else "unknown"

    # -- looking in

    def healthcheck(self) -> bool:
        """Whether marud answers in time."""
        client = self._require()
        try:
            client.usage(False)  # exists() would be answered without marud
        except _maru.Error as error:
            self._no_answer(client, "healthcheck", error)
            return False
        return True

    def get_stats(self) -> dict[str, Any]:
        """Numbers of the pool, of all handlers and of this one's regions. All are 0 when marud does not answer."""
        client, regions = self._require(), self._regions
        clients = {self.instance_id: self._calls.snapshot()} if self._config.enable_stats else {}
        try:
            usage = client.usage(True)
        except _maru.Error as error:
            self._no_answer(client, "get_stats", error)
            return assemble({}, {}, clients, client.info())
        if regions is None:
            raise RuntimeError(self._refusal)
        regions.sync(usage)
        return assemble(usage, regions.numbers(), clients, client.info())

    def get_buffer_view(self, region_id: int, offset: int, size: int) -> memoryview | None:
        """`size` bytes of a region, writable, or None where there are none. `offset` counts in chunks, as if they lay
        side by side: page x chunk size + offset in the page. A range over several pages is None where a page takes
        more room than a chunk. No promise keeps the bytes what they are."""
        chunk = self._config.chunk_size_bytes
        region = self._region(region_id)
        if region is None or offset < 0 or size < 0:
            return None
        view, page_bytes = region
        page, inner = divmod(offset, chunk)
        if page_bytes != chunk:
            if inner + size > chunk:
                return None
            offset = page * page_bytes + inner
        return view[offset : offset + size] if offset + size <= len(view) else None

    def get_region_page_count(self, region_id: int) -> int | None:
        """How many chunks of this handler's size a region holds, or None where there is none for that size."""
        allocator = self._allocator_of(region_id)
        if allocator is not None:
            return allocator.page_count
        region = self._region(region_id)
        return None if region is None else len(region[0]) // region[1]

    def _region(self, region_id: int) -> tuple[memoryview, int] | None:
        """A region's bytes and what a page takes, if that is what this handler's take."""
        client, regions = self._client, self._regions
        if client is None or regions is None:
            return None
        try:
            region = client.region(region_id)
        except (_maru.Error, TypeError):
            return None
        return region if region is not None and region[1] == regions.page_bytes else None

    def _allocator_of(self, region_id: int | None) -> PagedMemoryAllocator | None:
        regions = self._regions
        return None if regions is None or region_id is None else regions.allocator(region_id)

    def get_owned_region_ids(self) -> list[int]:
        """The regions that are shown as this handler's, in the order they were shown."""
        regions = self._regions
        return [] if regions is None else regions.get_region_ids()

    def get_chunk_size(self) -> int:
        """The largest chunk this handler writes, in bytes."""
        return self._config.chunk_size_bytes

    def set_on_region_added(self, callback: RegionAdded | None) -> None:
        """Calls `callback(region_id, page_count)` for every shown region: now for those there are, later for others, on
        the thread of the `alloc` that shows one. None ends that."""
        with self._lifecycle:
            self._on_region_added = callback
            regions = self._regions
        if regions is not None:
            regions.set_on_added(callback)

    @property
    def owned_region_manager(self) -> OwnedRegionManager | None:
        """Who counts the shown regions."""
        return self._regions

    @property
    def allocator(self) -> PagedMemoryAllocator | None:
        """Who counts the pages of the first region."""
        regions = self._regions
        return None if regions is None else self._allocator_of(regions.get_first_region_id())

    @property
    def pool_handle(self) -> PoolHandle | None:
        """The first region: `region_id`, and its `length` in bytes of chunks."""
        allocator = self.allocator
        return None if allocator is None else PoolHandle(allocator.region_id, allocator.pool_size)
