"""Stands in for `lmcache.v1.config`. `maru_path` and `maru_pool_size` are not there, as in versions without a Maru
backend; who wants them sets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class LMCacheEngineConfig:
    chunk_size: int = 256
    max_local_cpu_size: float = 5.0
    use_layerwise: bool = False
    storage_plugins: list[str] | None = None
    extra_config: dict[str, Any] | None = None

    def get_extra_config_value(self, name: str, default: Any = None) -> Any:
        return default if self.extra_config is None else self.extra_config.get(name, default)
