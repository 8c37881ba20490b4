"""`MaruConfig`: what a `MaruHandler` is told, from keywords and from the environment."""

from __future__ import annotations

import functools
import os
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TypeVar

from maru_common.address import printable_server_url
from maru_common.environment import flag_from_environment

_mib = 1 << 20
_timeout_ms_max = (1 << 31) - 1  # 24 days; a time far beyond it would run over in nanoseconds, and be over at once
_KINDS = {
    "server_url instance_id token token_file tls_ca tls_cert tls_key tls_server_name": str,
    "pool_size chunk_size_bytes timeout_ms max_inflight expand_size": int,
}
_OPTIONAL = {"expand_size", "token", "token_file", "tls_ca", "tls_cert", "tls_key", "tls_server_name"}
_T = TypeVar("_T")


def _takes_unknown_keywords(cls: type[_T]) -> type[_T]:
    """Makes a dataclass warn of keywords it does not know, where others would raise: callers may be newer than it."""
    generated = cls.__init__
    known = {f.name for f in fields(cls) if f.init}

    @functools.wraps(generated)
    def init(self: _T, *args: object, **keywords: object) -> None:
        for name in sorted(keywords.keys() - known):
            warnings.warn(f"{cls.__name__} does not know {name}: it is ignored", stacklevel=2)
            del keywords[name]
        generated(self, *args, **keywords)

    cls.__init__ = init  # type: ignore[assignment]
    return cls


@_takes_unknown_keywords
@dataclass(repr=False)
class MaruConfig:
    """Settings of a `MaruHandler`. Several handlers may share one, and with it one `instance_id`.

    Sizes are bytes, times milliseconds. ValueError tells of values that do not fit. A keyword that is not known is
    ignored with a warning. Making a config touches neither a file nor the network.
    """

    server_url: str = "tcp://localhost:5555"
    """Where marud listens; also `maru://host:port` and `unix:///path`."""
    instance_id: str | None = None
    """A name for people and logs; a new uuid4 when None."""
    pool_size: int = 100 * _mib
    """The budget this handler shows at first: memory is taken only as it is used."""
    chunk_size_bytes: int = _mib
    """The largest chunk this handler writes."""
    auto_connect: bool = True
    """Whether `with MaruHandler(config)` connects."""
    timeout_ms: int = 2000
    """How long a call waits for marud."""
    use_async_rpc: bool = True
    """Accepted for callers that set it: calls never wait for each other."""
    max_inflight: int = 64
    """Accepted for callers that set it: marud bounds the requests of a session."""
    eager_map: bool = True
    """Whether regions are mapped when they appear or when they are first read. `MARU_EAGER_MAP` goes before it."""
    auto_expand: bool = True
    """Whether another region is shown when the budget is used up."""
    expand_size: int | None = None
    """The size of each such region; `pool_size` when None."""
    rm_address: str | None = None
    """Ignored: there is no resource manager beside marud."""
    enable_stats: bool = False
    """Whether the handler counts its calls for `get_stats`. `MARU_STAT` goes before it."""
    token: str | None = field(default=None, repr=False)
    """The secret that marud asks for; `MARU_TOKEN` when neither it nor a file is given."""
    token_file: str | None = None
    """A file whose first line begins with the secret, read at each connect, also at one that is made again;
    `MARU_TOKEN_FILE` when no token is given."""
    tls_ca: str | None = None
    """Certificates of who may sign marud's, a PEM file; else `MARU_TLS_CA`. With it, `tls_cert` and `tls_key` a
    connection over TCP is TLS; the files are read at each connect."""
    tls_cert: str | None = None
    """This client's certificate, a PEM file; else `MARU_TLS_CERT`."""
    tls_key: str | None = None
    """The key of `tls_cert`, a PEM file; else `MARU_TLS_KEY`."""
    tls_server_name: str | None = None
    """What marud's certificate must be for, if not the host of `server_url`; else `MARU_TLS_SERVER_NAME`."""
    local_reads: bool = True
    """Whether keys are looked up and pinned in the pool itself, without a message, where this process may.
    `MARU_LOCAL_READS` goes before it; `get_stats` tells whether it is so."""
    guard_memory: bool = False
    """Memory of the pool that fails (SIGBUS) is a miss, or a chunk that is not stored, where a call meets it. This is about
    what you touch yourself, in a view or a page: False ends the process then, as memory of its own would; True survives,
    there are zeros, and you must ask `intact()` after your last touch. Both take a handler of that signal: enable
    `faulthandler` before the first handler connects. `MARU_GUARD_MEMORY` goes before it."""
    pool_path_map: Mapping[str, str] | str | None = None
    """Where this process sees the server's paths: a mapping, or text as in `MARU_POOL_PATH_MAP`:
    `server_path=local_path[,...]`. A mapping after the config was made."""

    def __post_init__(self) -> None:
        if self.instance_id is None:
            self.instance_id = str(uuid.uuid4())
        self.eager_map = flag_from_environment("MARU_EAGER_MAP", self.eager_map)
        self.enable_stats = flag_from_environment("MARU_STAT", self.enable_stats)
        self.guard_memory = flag_from_environment("MARU_GUARD_MEMORY", self.guard_memory)
        self.local_reads = flag_from_environment("MARU_LOCAL_READS", self.local_reads)
        if self.token is None and self.token_file is None:
            self.token_file = os.environ.get("MARU_TOKEN_FILE") or None
            if self.token_file is None:
                self.token = os.environ.get("MARU_TOKEN") or None
        self.tls_ca = self.tls_ca or os.environ.get("MARU_TLS_CA") or None
        self.tls_cert = self.tls_cert or os.environ.get("MARU_TLS_CERT") or None
        self.tls_key = self.tls_key or os.environ.get("MARU_TLS_KEY") or None
        self.tls_server_name = self.tls_server_name or os.environ.get("MARU_TLS_SERVER_NAME") or None
        if self.pool_path_map is None:
            self.pool_path_map = os.environ.get("MARU_POOL_PATH_MAP", "")
        self.pool_path_map = _parse_path_map(self.pool_path_map)
        self._check()

    def _check(self) -> None:
        self._check_types()
        if self.chunk_size_bytes <= 0:
            raise ValueError(f"chunk_size_bytes must be positive, got {self.chunk_size_bytes}")
        if self.pool_size < self.chunk_size_bytes:
            raise ValueError(f"pool_size ({self.pool_size}) must be >= chunk_size_bytes ({self.chunk_size_bytes})")
        if self.expand_size is not None and not self.auto_expand:
            raise ValueError("expand_size requires auto_expand=True")
        if self.expand_size is not None and self.expand_size < self.chunk_size_bytes:
            raise ValueError(f"expand_size ({self.expand_size}) must be >= chunk_size_bytes ({self.chunk_size_bytes})")
        if self.timeout_ms <= 0:
            raise ValueError(f"timeout_ms must be positive, got {self.timeout_ms}")
        if self.timeout_ms > _timeout_ms_max:
            raise ValueError(f"timeout_ms must be at most {_timeout_ms_max}, got {self.timeout_ms}")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key must be given together")

    def _check_types(self) -> None:
        """Names the setting and its type, never its value: one of them is the token."""
        for names, kind in _KINDS.items():
            for name in names.split():
                value = getattr(self, name)
                optional = value is None and name in _OPTIONAL
                wrong = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
                if wrong and not optional:
                    raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")

    def __repr__(self) -> str:
        """All fields but the token, the address as it may be logged."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.repr}
        shown["server_url"] = printable_server_url(self.server_url)
        return f"MaruConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _parse_path_map(given: Mapping[str, str] | str) -> dict[str, str]:
    if isinstance(given, str):
        entries = [entry.strip().partition("=")[::2] for entry in given.split(",") if entry.strip()]
    else:
        entries = list(given.items())
    for server, local in entries:
        if not server.startswith("/") or not local.startswith("/"):
            raise ValueError("pool_path_map must be server_path=local_path[,...] with absolute paths")
    return dict(entries)
