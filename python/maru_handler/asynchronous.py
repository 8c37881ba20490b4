"""The handler's operations as coroutines: each is the blocking one on a thread of the event loop's pool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from maru_handler.keys import Key
from maru_handler.memory.types import AllocHandle, MemoryInfo

if TYPE_CHECKING:
    from maru_handler.handler import MaruHandler

_T = TypeVar("_T")


class AsyncOperations:
    """`await handler.aretrieve(key)` and so on: same parameters, answers and errors as without the `a`.

    A coroutine that is cancelled leaves its call running; what that still pins is unpinned, and what it still
    allocates is freed.
    """

    @property
    def _blocking(self) -> MaruHandler:
        return cast("MaruHandler", self)

    async def aconnect(self) -> bool:
        """`connect` as a coroutine."""
        return await asyncio.to_thread(self._blocking.connect)

    async def aclose(self) -> None:
        """`close` as a coroutine."""
        await asyncio.to_thread(self._blocking.close)

    async def aalloc(self, size: int) -> AllocHandle:
        """`alloc` as a coroutine."""
        return await _Undoable(lambda: self._blocking.alloc(size), self._blocking.free).answer()

    async def afree(self, handle: AllocHandle) -> None:
        """`free` as a coroutine."""
        await asyncio.to_thread(self._blocking.free, handle)

    async def astore(self, key: Key, handle: Any = None, *, data: Any = None) -> bool:
        """`store` as a coroutine."""
        return await asyncio.to_thread(lambda: self._blocking.store(key, handle, data=data))

    async def abatch_store(self, keys: Sequence[Key], handles: Sequence[Any]) -> list[bool]:
        """`batch_store` as a coroutine."""
        return await asyncio.to_thread(self._blocking.batch_store, keys, handles)

    async def aretrieve(self, key: Key) -> MemoryInfo | None:
        """`retrieve` as a coroutine."""
        return await asyncio.to_thread(self._blocking.retrieve, key)

    async def abatch_retrieve(self, keys: Sequence[Key]) -> list[MemoryInfo | None]:
        """`batch_retrieve` as a coroutine."""
        return await asyncio.to_thread(self._blocking.batch_retrieve, keys)

    async def aexists(self, key: Key) -> bool:
        """`exists` as a coroutine."""
        return await asyncio.to_thread(self._blocking.exists, key)

    async def abatch_exists(self, keys: Sequence[Key]) -> list[bool]:
        """`batch_exists` as a coroutine."""
        return await asyncio.to_thread(self._blocking.batch_exists, keys)

    async def apin(self, key: Key) -> bool:
        """`pin` as a coroutine."""
        return (await self._apin_all([key]))[0]

    async def abatch_pin(self, keys: Sequence[Key]) -> list[bool]:
        """`batch_pin` as a coroutine."""
        return await self._apin_all(list(keys))

    async def aunpin(self, key: Key) -> bool:
        """`unpin` as a coroutine."""
        return await asyncio.to_thread(self._blocking.unpin, key)

    async def abatch_unpin(self, keys: Sequence[Key]) -> list[bool]:
        """`batch_unpin` as a coroutine."""
        return await asyncio.to_thread(self._blocking.batch_unpin, keys)

    async def adelete(self, key: Key) -> bool:
        """`delete` as a coroutine."""
        return await asyncio.to_thread(self._blocking.delete, key)

    async def abatch_delete(self, keys: Sequence[Key]) -> list[bool]:
        """`batch_delete` as a coroutine."""
        return await asyncio.to_thread(self._blocking.batch_delete, keys)

    async def ahealthcheck(self) -> bool:
        """`healthcheck` as a coroutine."""
        return await asyncio.to_thread(self._blocking.healthcheck)

    async def aget_stats(self) -> dict[str, Any]:
        """`get_stats` as a coroutine."""
        return await asyncio.to_thread(self._blocking.get_stats)

    async def _apin_all(self, keys: Sequence[Key]) -> list[bool]:
        def unpin(pinned: list[bool]) -> None:
            self._blocking.batch_unpin([key for key, is_pinned in zip(keys, pinned) if is_pinned])

        return await _Undoable(lambda: self._blocking.batch_pin(keys), unpin).answer()


class _Undoable(Generic[_T]):
    """A call on another thread that is undone, there or on a third one, when nobody waits for its answer any more."""

    def __init__(self, call: Callable[[], _T], undo: Callable[[_T], object]) -> None:
        self._call = call
        self._undo = undo
        self._lock = threading.Lock()  # of what follows
        self._abandoned = False
        self._answers: list[_T] = []  # the one, once it is there

    async def answer(self) -> _T:
        try:
            return await asyncio.to_thread(self._run)
        except asyncio.CancelledError:
            with self._lock:
                self._abandoned = True
            for answer in self._answers:  # came, and was not delivered
                asyncio.get_running_loop().run_in_executor(None, self._undo, answer)
            raise

    def _run(self) -> _T:
        answer = self._call()
        with self._lock:
            abandoned = self._abandoned
            if not abandoned:
                self._answers.append(answer)
        if abandoned:
            self._undo(answer)
        return answer
