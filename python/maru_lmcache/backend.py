"""`MaruBackend`: LMCache's storage in a pool of Maru, for LMCache's `storage_plugins`. See docs/lmcache.md."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

try:
    import torch
    from lmcache.v1.memory_management import MemoryAllocatorInterface, MemoryFormat, MemoryObj
    from lmcache.v1.storage_backend.abstract_backend import AllocatorBackendInterface
except ImportError as error:
    raise ImportError(
        f"maru_lmcache.backend needs LMCache and torch in this Python, and one of them is missing ({error}): "
        "install them as LMCache's documentation says, for instance with pip install lmcache"
    ) from error

from maru_common import MaruConfig, get_logger, printable_server_url
from maru_handler.memory import AllocHandle
from maru_lmcache.adapter import CxlMemoryAdapter
from maru_lmcache.backend_options import read_options
from maru_lmcache.chunk_reader import ChunkReader
from maru_lmcache.lookups import Lookups, count_true, release
from maru_lmcache.put_tasks import Put, PutTasks

if TYPE_CHECKING:
    from lmcache.utils import CacheEngineKey
    from lmcache.v1.config import LMCacheEngineConfig
    from lmcache.v1.metadata import LMCacheMetadata

_logger = get_logger(__name__)
_T = TypeVar("_T")

_lookup_threads_max = 4
_keys_logged_max = 3


class MaruBackend(AllocatorBackendInterface):
    """Stores LMCache's chunks in a pool that all workers of the host map; it is their allocator too, so that nothing is
    copied.

    A put is a message with the locations of pages that LMCache has filled already; a get gives tensors over the pages
    of whoever put them. The methods may be called from any thread. Those that LMCache calls from its event loop are
    coroutines, which wait for marud on threads of this backend; all others wait on the caller's, but the puts, which
    answer with futures. A batch is one message.
    """

    def __init__(
        self,
        *,
        config: LMCacheEngineConfig,
        metadata: LMCacheMetadata,
        local_cpu_backend: Any = None,
        loop: asyncio.AbstractEventLoop | None = None,
        dst_device: str = "cuda",
    ) -> None:
        """Connects to marud. Takes no memory before the first chunk is allocated.

        NotImplementedError for use_layerwise, ValueError for settings that do not fit, ImportError where Maru's
        compiled module is missing, RuntimeError when marud does not let us in.
        """
        super().__init__(dst_device=dst_device)
        self.config = config
        self.metadata = metadata
        self.local_cpu_backend = local_cpu_backend
        self.loop = loop
        self._options = read_options(config, metadata)
        self._handler = _connected_handler(self._options.handler)
        try:
            self.memory_allocator = self.initialize_allocator(config, metadata)
        except BaseException:
            self._handler.close()
            raise
        self._reader = ChunkReader(self._handler, self.memory_allocator, self._options.token_bytes)
        self._lookups = Lookups(self._handler, self._reader)
        self._puts = PutTasks()
        self._threads = ThreadPoolExecutor(_lookup_threads_max, thread_name_prefix="maru-lookup")

    def __str__(self) -> str:
        return "MaruBackend"

    # -- the allocator

    def initialize_allocator(self, config: LMCacheEngineConfig, metadata: LMCacheMetadata) -> CxlMemoryAdapter:
        """LMCache's memory objects over the handler's pages."""
        return CxlMemoryAdapter(
            handler=self._handler,
            shapes=metadata.get_shapes(),
            dtypes=metadata.get_dtypes(),
            fmt=MemoryFormat.KV_MLA_FMT if metadata.use_mla else MemoryFormat.KV_2LTD,
            chunk_size=self._handler.get_chunk_size(),
        )

    def get_memory_allocator(self) -> MemoryAllocatorInterface:
        """The adapter that `allocate` asks."""
        return self.memory_allocator

    def get_allocator_backend(self) -> MaruBackend:
        """This one: chunks are put from its pages only. Where LMCache has a LocalCPUBackend, it allocates there and
        copies what it puts to pages that it allocates here."""
        return self

    def allocate(
        self,
        shapes: torch.Size | list[torch.Size],
        dtypes: torch.dtype | list[torch.dtype],
        fmt: MemoryFormat = MemoryFormat.KV_2LTD,
        eviction: bool = True,
        busy_loop: bool = True,
    ) -> MemoryObj | None:
        """A page to write a chunk to, or None. marud makes room by itself, so there is nothing to evict or wait for."""
        return self.memory_allocator.allocate(shapes, dtypes, fmt)

    def batched_allocate(
        self,
        shapes: torch.Size | list[torch.Size],
        dtypes: torch.dtype | list[torch.dtype],
        batch_size: int,
        fmt: MemoryFormat = MemoryFormat.KV_2LTD,
        eviction: bool = True,
        busy_loop: bool = True,
    ) -> list[MemoryObj] | None:
        """`batch_size` pages, or None."""
        return self.memory_allocator.batched_allocate(shapes, dtypes, batch_size, fmt)

    # -- put

    @property
    def put_tasks(self) -> set[CacheEngineKey]:
        """The keys whose put is not done."""
        return self._puts.keys()

    def exists_in_put_tasks(self, key: CacheEngineKey) -> bool:
        """Whether a put of the key is not done."""
        return key in self._puts

    def submit_put_task(
        self,
        key: CacheEngineKey,
        obj: MemoryObj,
        on_complete_callback: Callable[[CacheEngineKey], None] | None = None,
    ) -> Future[Any]:
        """Makes a chunk visible to all workers, on another thread.

        The future's result is whether the key is there now; it raises what the store raised, TimeoutError when that is
        in doubt. The object has one reference more from now on, unless it turns out that it was not stored. If it was,
        the callback is called, on that other thread. On ranks that read rank 0's chunks nothing is put and the result
        is None.
        """
        return self._submit([key], [obj], on_complete_callback, self._store_one, lambda flags: flags[0])

    def batched_submit_put_task(
        self,
        keys: Sequence[CacheEngineKey],
        objs: list[MemoryObj],
        transfer_spec: Any = None,
        on_complete_callback: Callable[[CacheEngineKey], None] | None = None,
    ) -> list[Future[Any]]:
        """`submit_put_task` for many, with one message and one future, whose result is a list of flags.

        An object that is no page of this backend cannot be put: the future raises that, after the others were stored.
        ValueError, at once and without any effect, when keys and objects are not as many.
        """
        return [self._submit(list(keys), list(objs), on_complete_callback, self._store_batch, list)]

    def _submit(
        self,
        keys: list[Any],
        memory_objs: list[MemoryObj],
        on_stored: Callable[[Any], None] | None,
        store: Callable[[list[str], list[AllocHandle]], list[bool]],
        result_of: Callable[[list[bool]], Any],
    ) -> Future[Any]:
        if len(keys) != len(memory_objs):
            raise ValueError("keys and objects must have the same length")
        if self._options.reads_rank_0:
            nothing: Future[None] = Future()
            nothing.set_result(None)
            return nothing
        named, error = self._handles(keys, memory_objs)

        def run() -> list[bool]:
            flags = [False] * len(keys)
            if named:
                stored = store([name for name, _ in named.values()], [handle for _, handle in named.values()])
                for index, flag in zip(named, stored, strict=True):
                    flags[index] = flag
            return flags

        return self._puts.submit(Put(keys, memory_objs, run, result_of, error, on_stored))

    def _handles(
        self, keys: list[Any], memory_objs: list[MemoryObj]
    ) -> tuple[dict[int, tuple[str, AllocHandle]], Exception | None]:
        """The name and the handle of each chunk, by its place in the batch, and why some have none. From here on the
        pages are the put's: not even a late `free` of an object can take one away."""
        named: dict[int, tuple[str, AllocHandle]] = {}
        failure: Exception | None = None
        for index, (key, memory_obj) in enumerate(zip(keys, memory_objs)):
            try:
                named[index] = self._name(key), self.memory_allocator.create_store_handle(memory_obj)
            except Exception as error:  # whatever a key or an object is: the others can be put
                _logger.error("failed to put a chunk: %s", error)
                failure = failure or error
        return named, failure

    def _store_one(self, names: list[str], handles: list[AllocHandle]) -> list[bool]:
        return [self._handler.store(names[0], handles[0])]

    def _store_batch(self, names: list[str], handles: list[AllocHandle]) -> list[bool]:
        flags: list[bool] = self._handler.batch_store(names, handles)
        if not all(flags):
            _logger.warning("%d of %d chunks were not stored", flags.count(False), len(flags))
        return flags

    # -- get

    def get_blocking(self, key: CacheEngineKey) -> MemoryObj | None:
        """A chunk in place, with a reference for the caller to take off, or None."""
        return self._reader.read(self._handler.retrieve(self._name(key)))

    def batched_get_blocking(self, keys: list[CacheEngineKey]) -> list[MemoryObj | None]:
        """`get_blocking` for many: one entry per key."""
        return [self._reader.read(info) for info in self._handler.batch_retrieve(self._names(keys))]

    async def batched_async_contains(self, lookup_id: str, keys: list[CacheEngineKey], pin: bool = False) -> int:
        """How many of the first keys are there; with `pin` they stay there until the objects that
        `batched_get_non_blocking` gives for this lookup are unpinned. One that is cancelled pins nothing."""
        names = self._names(keys)
        return await self._on_thread(
            lambda: self._lookups.contains(lookup_id, names, pin), lambda _: self._lookups.abandon(lookup_id)
        )

    async def batched_get_non_blocking(
        self, lookup_id: str, keys: list[CacheEngineKey], transfer_spec: Any = None
    ) -> list[MemoryObj]:
        """The chunks up to the first that is missing, each with a reference and a pin for the caller to take off:
        `unpin` of the object ends the one at the service too. One that is cancelled leaves nothing pinned."""
        names = self._names(keys)
        memory_objs = await self._on_thread(lambda: self._lookups.get(lookup_id, names), release)
        return [*memory_objs]

    async def _on_thread(self, work: Callable[[], _T], undo: Callable[[_T], object]) -> _T:
        """What `work` gives, without holding up the event loop. When nobody waits for it any more it is undone."""
        call = self._threads.submit(work)
        try:
            return await asyncio.shield(asyncio.wrap_future(call))
        except asyncio.CancelledError:
            with contextlib.suppress(RuntimeError):  # closed meanwhile: the session ended, and what it pinned with it
                self._threads.submit(lambda: undo(call.result()))
            raise

    # -- ask, pin, remove

    def contains(self, key: CacheEngineKey, pin: bool = False) -> bool:
        """Whether the key is there; with `pin` it stays there until `unpin`."""
        ask = self._handler.pin if pin else self._handler.exists
        return bool(ask(self._name(key)))

    def batched_contains(self, keys: list[CacheEngineKey], pin: bool = False) -> int:
        """How many of the first keys are there; with `pin` these stay there until `unpin`."""
        ask = self._handler.batch_pin if pin else self._handler.batch_exists
        return count_true(ask(self._names(keys)))

    @property
    def has_external_pin_state(self) -> bool:
        """False: where LMCache asks this, it would end an asynchronous lookup's pins by key too, but `unpin` of the
        objects has done that, and a second one would end the pin of another request."""
        return False

    def pin(self, key: CacheEngineKey) -> bool:
        """Keeps a key from being evicted or removed until `unpin`. False: it is not there."""
        return bool(self._handler.pin(self._name(key)))

    def unpin(self, key: CacheEngineKey) -> bool:
        """Ends one pin of this backend on a key. False: it has none."""
        return bool(self._handler.unpin(self._name(key)))

    def batched_unpin(self, keys: list[CacheEngineKey]) -> None:
        """`unpin` for each, in one message."""
        if keys:
            self._handler.batch_unpin(self._names(keys))

    def remove(self, key: CacheEngineKey, force: bool = True) -> bool:
        """Removes a key, whoever put it. False: it is not there, or somebody has it pinned; `force` does not change
        that."""
        return bool(self._handler.delete(self._name(key)))

    def batched_remove(self, keys: list[CacheEngineKey], force: bool = True) -> int:
        """`remove` for each, in one message. How many were removed."""
        return sum(self._handler.batch_delete(self._names(keys))) if keys else 0

    # -- the end

    def close(self) -> None:
        """Ends the session with marud, and all pins with it, when no put is under way any more, or at last after
        `maru_close_timeout_ms`: puts that are left fail then. May be called again."""
        self._puts.close()
        left = self._puts.wait(self._options.close_timeout_s)
        if left:
            some = ", ".join(sorted(map(self._name, left))[:_keys_logged_max])
            more = f" and {len(left) - _keys_logged_max} more" if len(left) > _keys_logged_max else ""
            _logger.warning(
                "closed after %g s although puts of %d keys were not done: %s%s",
                self._options.close_timeout_s,
                len(left),
                some,
                more,
            )
        self.memory_allocator.close()
        self._handler.close()
        self._threads.shutdown(wait=False)

    def _name(self, key: CacheEngineKey) -> str:
        return str((key.with_new_worker_id(0) if self._options.reads_rank_0 else key).to_string())

    def _names(self, keys: Sequence[CacheEngineKey]) -> list[str]:
        return [self._name(key) for key in keys]


def _connected_handler(config: MaruConfig) -> Any:
    try:
        from maru_handler import MaruHandler
    except ImportError as error:
        raise ImportError(
            f"MaruBackend needs Maru's compiled module, which cannot be imported ({error}): "
            "install Maru's Python packages for this Python with pip install ./python"
        ) from error
    handler = MaruHandler(config)
    if not handler.connect():
        raise RuntimeError(
            f"failed to connect to marud at {printable_server_url(config.server_url)} within {config.timeout_ms} ms: "
            "check maru_path, that marud runs, and what the log of maru_handler says"
        )
    return handler
