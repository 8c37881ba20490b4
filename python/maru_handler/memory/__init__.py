"""Pages and regions as a `MaruHandler` hands them out."""

from maru_handler.memory.types import AllocHandle, MappedRegion, MemoryInfo, OwnedRegion

__all__ = ["AllocHandle", "MappedRegion", "MemoryInfo", "OwnedRegion"]
