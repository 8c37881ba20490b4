"""The handler that a worker process uses a pool with. Imported when first asked for: the types of
`maru_handler.memory` need neither it nor the compiled module below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maru_handler.handler import MaruHandler
    from maru_handler.memory.regions import OwnedRegionManager

__all__ = ["MaruHandler", "OwnedRegionManager"]


def __getattr__(name: str) -> Any:
    if name == "MaruHandler":
        from maru_handler.handler import MaruHandler

        return MaruHandler
    if name == "OwnedRegionManager":
        from maru_handler.memory.regions import OwnedRegionManager

        return OwnedRegionManager
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
