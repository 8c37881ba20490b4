"""`PutTasks`: puts that were handed to a thread and are not done."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from maru_common import get_logger

_logger = get_logger(__name__)

_threads_max = 2  # a put is one message for any number of keys


@dataclass(eq=False)
class Put:
    """Keys to store and the memory object of each.

    `store` sends them and says for each whether it is there now, and `result_of` these flags is the future's result;
    `error` is why some could not even be sent, None when all could.
    """

    keys: list[Any]
    memory_objs: list[Any]
    store: Callable[[], list[bool]]
    result_of: Callable[[list[bool]], Any]
    error: Exception | None = None
    on_stored: Callable[[Any], None] | None = None
    future: Future[Any] = field(default_factory=Future)


class PutTasks:
    """Runs puts on threads of its own, so that whoever submits never waits and a slow put delays no lookup.

    A put holds a reference to each of its objects from `submit` on, and lets go of those that were not stored. Whatever
    happens to it, its keys are gone from `keys()` before `on_stored` is called with those that were stored, and that is
    before its future is done. All methods may be called from any thread.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_threads_max, thread_name_prefix="maru-put")
        self._changed = threading.Condition()  # guards what follows
        self._keys: Counter[Any] = Counter()
        self._under_way = 0

    def submit(self, put: Put) -> Future[Any]:
        """The put's future. It cannot be cancelled."""
        put.future.set_running_or_notify_cancel()
        for memory_obj in put.memory_objs:
            memory_obj.ref_count_up()
        with self._changed:
            self._keys.update(put.keys)
            self._under_way += 1
        try:
            self._threads.submit(self._run, put)
        except RuntimeError:
            self._settle(put, [False] * len(put.keys), RuntimeError("MaruBackend is closed"))
        return put.future

    def __contains__(self, key: Any) -> bool:
        """Whether a put of the key is under way."""
        with self._changed:
            return key in self._keys

    def keys(self) -> set[Any]:
        """The keys of all puts under way."""
        with self._changed:
            return set(self._keys)

    def wait(self, timeout_s: float) -> set[Any]:
        """Waits until no put is under way, and gives the keys of those that still are when the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0, timeout_s)
            return set(self._keys)

    def close(self) -> None:
        """Takes no more puts. Does not wait: those under way still run, and so their futures are done some time."""
        self._threads.shutdown(wait=False)

    def _run(self, put: Put) -> None:
        flags, error = [False] * len(put.keys), put.error
        try:
            flags = put.store()
        except BaseException as raised:  # noqa: BLE001: it goes to the future
            error = raised if isinstance(raised, Exception) else RuntimeError(f"the put was ended by {raised!r}")
            _logger.error("failed to store %d chunks: %s", len(put.keys), error)
        self._settle(put, flags, error)

    def _settle(self, put: Put, flags: list[bool], error: Exception | None) -> None:
        for memory_obj, stored in zip(put.memory_objs, flags, strict=True):
            if not stored:
                memory_obj.ref_count_down()
        with self._changed:
            self._keys.subtract(put.keys)
            self._keys = +self._keys
        for key, stored in zip(put.keys, flags, strict=True):
            if stored and put.on_stored is not None:
                _call(put.on_stored, key)
        try:
            if error is not None:
                put.future.set_exception(error)
            else:
                put.future.set_result(put.result_of(flags))
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()


def _call(on_stored: Callable[[Any], None], key: Any) -> None:
    try:
        on_stored(key)
    except BaseException:  # noqa: BLE001: the others' callbacks and the future must still come
        _logger.exception("on_complete_callback failed")
