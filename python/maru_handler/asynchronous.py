"""The handler's operations as coroutines: each is the blocking one on a thread of the event loop's pool."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

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

    async def aconnect(self: MaruHandler) -> bool:
        """`connect` as a coroutine."""
        return await asyncio.to_thread(self.connect)

    async def aclose(self: MaruHandler) -> None:
        """`close` as a coroutine."""
        await asyncio.to_thread(self.close)

    async def aalloc(self: MaruHandler, size: int) -> AllocHandle:
        """`alloc` as a coroutine."""
        call = asyncio.ensure_future(asyncio.to_thread(self.alloc, size))
        return await _undone_if_cancelled(call, self.free)

    async def afree(self: MaruHandler, handle: AllocHandle) -> None:
        """`free` as a coroutine."""
        await asyncio.to_thread(self.free, handle)

    async def astore(self: MaruHandler, key: Key, handle: Any = None, *, data: Any = None) -> bool:
        """`store` as a coroutine."""
        return await asyncio.to_thread(lambda: self.store(key, handle, data=data))

    async def abatch_store(self: MaruHandler, keys: list[Key], handles: list[Any]) -> list[bool]:
        """`batch_store` as a coroutine."""
        return await asyncio.to_thread(self.batch_store, keys, handles)

    async def aretrieve(self: MaruHandler, key: Key) -> MemoryInfo | None:
        """`retrieve` as a coroutine."""
        return await asyncio.to_thread(self.retrieve, key)

    async def abatch_retrieve(self: MaruHandler, keys: list[Key]) -> list[MemoryInfo | None]:
        """`batch_retrieve` as a coroutine."""
        return await asyncio.to_thread(self.batch_retrieve, keys)

    async def aexists(self: MaruHandler, key: Key) -> bool:
        """`exists` as a coroutine."""
        return await asyncio.to_thread(self.exists, key)

    async def abatch_exists(self: MaruHandler, keys: list[Key]) -> list[bool]:
        """`batch_exists` as a coroutine."""
        return await asyncio.to_thread(self.batch_exists, keys)

    async def apin(self: MaruHandler, key: Key) -> bool:
        """`pin` as a coroutine."""
        return (await self._apin_all([key]))[0]

    async def abatch_pin(self: MaruHandler, keys: list[Key]) -> list[bool]:
        """`batch_pin` as a coroutine."""
        return await self._apin_all(list(keys))

    async def aunpin(self: MaruHandler, key: Key) -> bool:
        """`unpin` as a coroutine."""
        return await asyncio.to_thread(self.unpin, key)

    async def abatch_unpin(self: MaruHandler, keys: list[Key]) -> list[bool]:
        """`batch_unpin` as a coroutine."""
        return await asyncio.to_thread(self.batch_unpin, keys)

    async def adelete(self: MaruHandler, key: Key) -> bool:
        """`delete` as a coroutine."""
        return await asyncio.to_thread(self.delete, key)

    async def abatch_delete(self: MaruHandler, keys: list[Key]) -> list[bool]:
        """`batch_delete` as a coroutine."""
        return await asyncio.to_thread(self.batch_delete, keys)

    async def ahealthcheck(self: MaruHandler) -> bool:
        """`healthcheck` as a coroutine."""
        return await asyncio.to_thread(self.healthcheck)

    async def aget_stats(self: MaruHandler) -> dict[str, Any]:
        """`get_stats` as a coroutine."""
        return await asyncio.to_thread(self.get_stats)

    async def _apin_all(self: MaruHandler, keys: list[Key]) -> list[bool]:
        def unpin(pinned: list[bool]) -> None:
            self.batch_unpin([key for key, is_pinned in zip(keys, pinned) if is_pinned])

        return await _undone_if_cancelled(asyncio.ensure_future(asyncio.to_thread(self.batch_pin, keys)), unpin)


async def _undone_if_cancelled(call: asyncio.Future[_T], undo: Callable[[_T], object]) -> _T:
    """The call's answer; `undo` gets it when nobody waits for it any more."""
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        call.add_done_callback(functools.partial(_undo, undo))
        raise


def _undo(undo: Callable[[_T], object], call: asyncio.Future[_T]) -> None:
    if not call.cancelled() and call.exception() is None:
        asyncio.get_running_loop().run_in_executor(None, undo, call.result())
