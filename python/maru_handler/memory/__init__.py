"""Pages and regions as a `MaruHandler` hands them out. Who counts them is imported when first asked for: the types need
no compiled module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maru_handler.memory.types import AllocHandle, MappedRegion, MemoryInfo, OwnedRegion

if TYPE_CHECKING:
    from maru_handler.memory.regions import OwnedRegionManager, PagedMemoryAllocator

__all__ = ["AllocHandle", "MappedRegion", "MemoryInfo", "OwnedRegion", "OwnedRegionManager", "PagedMemoryAllocator"]


def __getattr__(name: str) -> Any:
    if name in ("OwnedRegionManager", "PagedMemoryAllocator"):
        from maru_handler.memory import regions

        return getattr(regions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
