"""What `get_stats` tells."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])

NO_REGIONS: dict[str, Any] = {
    "num_regions": 0,
    "total_pool_size": 0,
    "total_page_count": 0,
    "total_free_pages": 0,
    "total_allocated_pages": 0,
    "utilization": 0.0,
    "regions": [],
}

NO_PAGES: dict[str, Any] = {
    "pool_size": 0,
    "chunk_size": 0,
    "page_count": 0,
    "free_pages": 0,
    "allocated_pages": 0,
    "utilization": 0.0,
    "region_id": 0,
}


class CallStats:
    """Counts the calls of one handler: how many, how many failed, and how long they took.

    May be used from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[str, dict[str, float]] = {}

    def counted(self, name: str, call: _F) -> _F:
        """`call`, with each run of it counted under `name`."""

        @functools.wraps(call)
        def run(*args: Any, **keywords: Any) -> Any:
            since = time.perf_counter()
            failed = 1
            try:
                answer = call(*args, **keywords)
                failed = 0
                return answer
            finally:
                self._add(name, failed, (time.perf_counter() - since) * 1e3)

        return run  # type: ignore[return-value]

    def _add(self, name: str, failed: int, took_ms: float) -> None:
        with self._lock:
            seen = self._calls.setdefault(name, {"count": 0, "failed": 0, "total_ms": 0.0, "max_ms": 0.0})
            seen["count"] += 1
            seen["failed"] += failed
            seen["total_ms"] += took_ms
            seen["max_ms"] = max(seen["max_ms"], took_ms)

    def snapshot(self) -> dict[str, dict[str, float]]:
        """A copy of the numbers, by the call's name."""
        with self._lock:
            return {name: dict(seen) for name, seen in self._calls.items()}


def assemble(
    usage: Mapping[str, int], regions: dict[str, Any], clients: dict[str, Any], session: Mapping[str, Any]
) -> dict[str, Any]:
    """All sections. `usage` and `regions` may be empty: then their numbers are 0. `session`: the client's `info`."""
    regions = regions or dict(NO_REGIONS)
    shown = regions["regions"]
    return {
        "kv_manager": {"total_entries": usage.get("entries", 0), "total_size": usage.get("entry_bytes", 0)},
        "allocation_manager": {
            "num_allocations": usage.get("shown_regions", 0),
            "total_allocated": usage.get("shown_bytes", 0),
            "active_clients": usage.get("sessions", 0),
        },
        "stats_manager": {"clients": clients},
        "store_regions": regions,
        "allocator": dict(shown[0]) if shown else dict(NO_PAGES),
        "cxl_pool": {"total_size": usage.get("pool_bytes", 0), "free_size": usage.get("pool_free_bytes", 0)},
        "local_reads": {"active": session["local_reads"], "reason": session["why_not_local"]},
    }
