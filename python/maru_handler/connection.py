"""A handler's connection: made once, closed once, and asked by every call."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self, TypeVar

from maru_common import MaruConfig, get_logger, parse_server_url, printable_server_url
from maru_handler import _maru, process
from maru_handler.keys import Key
from maru_handler.memory.regions import OwnedRegionManager, RegionAdded

_logger = get_logger(__name__)
_T = TypeVar("_T")

_NOT_CONNECTED = "Not connected. Call connect() first."
_CLOSING = "Handler is closing"
_FORKED = "This handler was connected before the process forked: make and connect another one in the child"

# Keys of one message. Half of what marud takes: with the longest keys, that many fit a message.
PART = _maru.batch_items_max // 2

_inherited: list[_maru.Client] = []  # of handlers that a parent process connected


class Connection:
    """What of a `MaruHandler` has to do with being connected."""

    def __init__(self, config: MaruConfig | None = None) -> None:
        self._config = config if config is not None else MaruConfig()
        self._lifecycle = threading.Lock()
        self._client: _maru.Client | None = None
        self._regions: OwnedRegionManager | None = None
        self._refusal = _NOT_CONNECTED  # why there is no client
        self._pid = os.getpid()
        self._on_region_added: RegionAdded | None = None

    # -- the connection

    def __enter__(self) -> Self:
        """Connects, unless the config says auto_connect=False."""
        if self._config.auto_connect:
            self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        """Closes."""
        self.close()

    def connect(self) -> bool:
        """Connects to marud and maps its pool. True when connected, also when it was before. Never raises.

        Tries for `timeout_ms`. When that is in vain the answer is False and the log says why; it may be called again.
        """
        with self._lifecycle:
            if self._client is not None:
                return True
            if self._refusal is not _NOT_CONNECTED:
                _logger.error("failed to connect: %s", self._refusal)
                return False
            try:
                client = self._open_client()
                regions = self._open_regions(client)
            except _maru.Error as error:
                url = printable_server_url(self._config.server_url)
                _logger.error("failed to connect to %s: %s", url, error.args[1])
                return False
            except (ValueError, TypeError, OSError) as error:
                _logger.error("failed to connect: %s", error)
                return False
            self._pid = os.getpid()
            self._regions = regions
            self._client = client
            process.joined(self)
        regions.set_on_added(self._on_region_added)
        return True

    def _open_client(self) -> _maru.Client:
        config = self._config
        assert config.instance_id is not None and isinstance(config.pool_path_map, Mapping)
        server = parse_server_url(config.server_url).endpoint
        try:
            return _maru.Client(
                server=server,
                instance=config.instance_id,
                chunk_bytes=config.chunk_size_bytes,
                token=config.token or "",
                token_file=config.token_file or "",
                tls_ca=config.tls_ca or "",
                tls_cert=config.tls_cert or "",
                tls_key=config.tls_key or "",
                tls_server_name=config.tls_server_name or "",
                path_map=list(config.pool_path_map.items()),
                timeout_ms=config.timeout_ms,
                local_reads=config.local_reads,
                guard_memory=config.guard_memory,
            )
        except TypeError:
            # The text of this one repeats all arguments, the token too.
            raise TypeError("a setting has a type, a size or characters that do not fit") from None

    def _open_regions(self, client: _maru.Client) -> OwnedRegionManager:
        config = self._config
        regions = OwnedRegionManager(
            client,
            chunk_size=config.chunk_size_bytes,
            pool_size=config.pool_size,
            expand_size=(config.expand_size or config.pool_size) if config.auto_expand else None,
            align=_maru.layout_align,
        )
        try:
            regions.show_first()
        except BaseException:
            client.close()
            raise
        return regions

    def close(self) -> None:
        """Ends the session: its pins end, its pages go back, what was stored stays. May be called again, by any thread.

        Calls under way on other threads raise RuntimeError. Views stay readable as long as they live.
        """
        if self._refusal is _FORKED:
            return
        with self._lifecycle:
            client, self._client = self._client, None
            self._regions = None
            self._refusal = _CLOSING
        if client is not None:
            process.left(self)
            client.close()

    def _disown(self) -> None:
        """This is a forked child: the session is its parent's."""
        self._lifecycle = threading.Lock()  # another thread may have had it
        if self._client is not None:
            _inherited.append(self._client)  # not let go of: its threads, which would take it down, are not here
            self._client = None
            self._regions = None
            self._refusal = _FORKED

    @property
    def connected(self) -> bool:
        """True from `connect` to `close`, also while the connection is lost and being made again."""
        return self._client is not None

    @property
    def instance_id(self) -> str:
        """The name that marud's logs and statistics know this handler by."""
        return str(self._config.instance_id)

    # -- asking marud

    def _require(self) -> _maru.Client:
        client = self._client
        if client is None:
            raise RuntimeError(self._refusal)
        return client

    def _one(self, client: _maru.Client, ask: Callable[[list[Key]], list[_T]], key: Key, missing: _T) -> _T:
        """What `ask` answers for one key; `missing` where nobody answered."""
        try:
            return ask([key])[0]
        except _maru.Error as error:
            self._no_answer(client, "ask for a key", error)
            return missing

    def _in_parts(
        self, client: _maru.Client, ask: Callable[[list[Key]], list[_T]], keys: Sequence[Key], missing: _T
    ) -> list[_T]:
        """What `ask` answers for each key, by messages that marud takes; `missing` where nobody answered."""
        keys = as_list(keys)
        answers: list[_T] = []
        try:
            if len(keys) <= PART:
                return ask(keys) if keys else answers
            for at in range(0, len(keys), PART):
                answers += ask(keys[at : at + PART])
        except _maru.Error as error:
            self._no_answer(client, "ask for keys", error)
        return answers + [missing] * (len(keys) - len(answers))

    def _no_answer(self, client: _maru.Client, what: str, error: _maru.Error) -> None:
        """A call failed as a whole. RuntimeError when this handler was closed meanwhile, or is another process's."""
        if self._pid != os.getpid():
            raise RuntimeError(_FORKED) from None
        if self._client is not client:
            raise RuntimeError(self._refusal) from None
        _logger.warning("%s: %s", what, error.args[1])


def as_list(items: Sequence[_T]) -> list[_T]:
    """The items as the compiled module takes them: other sequences will do for callers. TypeError for a text, whose
    letters would be taken for keys."""
    if isinstance(items, list):
        return items
    if isinstance(items, (str, bytes, bytearray)):
        raise TypeError(f"a batch is a list, not {type(items).__name__}")
    return list(items)
