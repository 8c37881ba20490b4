"""Maru for LMCache. Imported when first asked for: only here are torch and lmcache needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maru_lmcache.adapter import CxlMemoryAdapter, CxlMemoryAllocator

__all__ = ["CxlMemoryAdapter", "CxlMemoryAllocator"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from maru_lmcache import adapter

        return getattr(adapter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
