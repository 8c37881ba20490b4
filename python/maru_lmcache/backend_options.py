"""What `MaruBackend` is told: settings of LMCache's configuration, read once and checked.

LMCache only logs what a backend's constructor raises, so each message here names the setting and what it must be. None
repeats a value: who mistypes an address may have typed a secret.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from maru_common import MaruConfig, get_logger, parse_server_url
from maru_lmcache.layout import tensor_bytes

_logger = get_logger(__name__)

_pool_gib_default = 4.0
_timeout_ms_default = 5000
_close_timeout_ms_default = 10_000


@dataclass(frozen=True)
class BackendOptions:
    """Settings of one backend. `handler` is the handler's own configuration, with the bytes of a full chunk in it."""

    handler: MaruConfig
    token_bytes: int
    """What one token takes, all KV groups together."""
    reads_rank_0: bool
    """Whether this rank uses the chunks of rank 0, and puts none: all ranks of an MLA model compute the same."""
    close_timeout_s: float
    """How long `close` waits for puts."""


def read_options(config: Any, metadata: Any) -> BackendOptions:
    """The settings in `config.extra_config`, then those in `config`, for chunks as `metadata` describes them.

    NotImplementedError for `use_layerwise`. ValueError says which setting is missing or does not fit.
    """
    if getattr(config, "use_layerwise", False):
        raise NotImplementedError("MaruBackend stores whole chunks: set use_layerwise to false")
    extra: Mapping[str, Any] = getattr(config, "extra_config", None) or {}
    _check_names(extra)
    chunk_bytes, token_bytes = _chunk_sizes(metadata)
    fields = {field: read(name, extra[name]) for name, (field, read) in _fields.items() if extra.get(name) is not None}
    fields.setdefault("timeout_ms", _timeout_ms_default)
    pool_size = _gib("maru_pool_size", _first(extra, config, "maru_pool_size", _pool_gib_default))
    if pool_size < chunk_bytes:
        raise ValueError(f"maru_pool_size must have room for a chunk, which takes {chunk_bytes} bytes")
    return BackendOptions(
        handler=MaruConfig(
            server_url=_server_url(_first(extra, config, "maru_path", None)),
            pool_size=pool_size,
            chunk_size_bytes=chunk_bytes,
            auto_connect=False,
            **fields,
        ),
        token_bytes=token_bytes,
        reads_rank_0=_reads_rank_0(extra, metadata),
        close_timeout_s=_count("maru_close_timeout_ms", extra.get("maru_close_timeout_ms", _close_timeout_ms_default))
        / 1000,
    )


def _first(extra: Mapping[str, Any], config: Any, name: str, default: Any) -> Any:
    """The setting in extra_config, else LMCache's own field of that name, which not every version has."""
    value = extra.get(name)
    if value is None:
        value = getattr(config, name, None)
    return default if value is None else value


def _check_names(extra: Mapping[str, Any]) -> None:
    if extra.get("maru_token") is not None:
        raise ValueError(
            "maru_token is not accepted, since LMCache logs its configuration: "
            "name a file as maru_token_file, or set MARU_TOKEN_FILE"
        )
    for name in extra:
        if name.startswith("maru_") and name not in _names:
            _logger.warning("extra_config: %s is no setting of MaruBackend: it is ignored", name)


def _chunk_sizes(metadata: Any) -> tuple[int, int]:
    """Bytes of a full chunk and of one token in it."""
    chunk_bytes = tensor_bytes(metadata.get_shapes(), metadata.get_dtypes())
    if chunk_bytes <= 0 or chunk_bytes % metadata.chunk_size:
        raise ValueError(
            f"a chunk of {chunk_bytes} bytes cannot be cut into its {metadata.chunk_size} tokens: "
            "MaruBackend needs the same number of bytes for each"
        )
    return chunk_bytes, chunk_bytes // metadata.chunk_size


def _server_url(value: Any) -> str:
    if value is None:
        raise ValueError(
            "maru_path is not set: give marud's address as extra_config.maru_path, "
            "for instance maru://localhost:5555 or unix:///run/maru/maru.sock"
        )
    try:
        parse_server_url(value)
    except ValueError as error:
        raise ValueError(f"maru_path is not an address of marud: {error}") from None
    return str(value)


def _reads_rank_0(extra: Mapping[str, Any], metadata: Any) -> bool:
    name = "remote_enable_mla_worker_id_as0"
    wanted = metadata.use_mla and _flag(name, extra.get(name, True))
    return bool(wanted and metadata.world_size > 1 and metadata.worker_id != 0)


# -- values, which are text where the configuration came from the environment


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be text")
    return value


def _flag(name: str, value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false", "1", "0"):
        raise ValueError(f"{name} must be true or false")
    return text in ("true", "1")


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be a number above 0")
    return number


def _count(name: str, value: Any) -> int:
    number = _number(name, value)
    if not number.is_integer():
        raise ValueError(f"{name} must be a whole number")
    return int(number)


def _gib(name: str, value: Any) -> int:
    return int(_number(name, value) * (1 << 30))


def _path_map(name: str, value: Any) -> Any:
    if not isinstance(value, (str, Mapping)):
        raise ValueError(f"{name} must be server_path=local_path[,...]")
    return value


_fields: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "maru_instance_id": ("instance_id", _text),
    "maru_timeout_ms": ("timeout_ms", _count),
    "maru_use_async_rpc": ("use_async_rpc", _flag),
    "maru_max_inflight": ("max_inflight", _count),
    "maru_eager_map": ("eager_map", _flag),
    "maru_auto_expand": ("auto_expand", _flag),
    "maru_expand_size": ("expand_size", _gib),
    "maru_enable_stats": ("enable_stats", _flag),
    "maru_local_reads": ("local_reads", _flag),
    "maru_guard_memory": ("guard_memory", _flag),
    "maru_token_file": ("token_file", _text),
    "maru_tls_ca": ("tls_ca", _text),
    "maru_tls_cert": ("tls_cert", _text),
    "maru_tls_key": ("tls_key", _text),
    "maru_tls_server_name": ("tls_server_name", _text),
    "maru_pool_path_map": ("pool_path_map", _path_map),
}
_names = {*_fields, "maru_path", "maru_pool_size", "maru_close_timeout_ms"}
