"""`Lookups`: LMCache's asynchronous lookups, which pin chunks first and get them in a second call."""

from __future__ import annotations

import threading
from typing import Any

from maru_lmcache.chunk_reader import ChunkReader
from maru_lmcache.pages import PageObject

_lookups_max = 4096  # whose get did not come yet


class Lookups:
    """Remembers which keys a lookup pinned, until the get of that lookup hands the pins on to its objects.

    So each object that `get` returns owns exactly one pin of the service, which ends with `unpin` of the object:
    LMCache calls nothing else to clean up. Pins that no object took over are ended here. The methods wait for marud;
    any thread may call them.
    """

    def __init__(self, handler: Any, reader: ChunkReader) -> None:
        self._handler = handler
        self._reader = reader
        self._lock = threading.Lock()
        self._pinned: dict[str, list[str]] = {}

    def contains(self, lookup_id: str, names: list[str], pin: bool) -> int:
        """How many of the first keys are there. With `pin`, these are pinned in the same step."""
        if not pin:
            return count_true(self._handler.batch_exists(names))
        count = count_true(self._handler.batch_pin(names))
        with self._lock:
            unclaimed = self._pinned.pop(lookup_id, [])  # the id was used before, and its get did not come
            if count:
                self._pinned[lookup_id] = names[:count]
            if len(self._pinned) > _lookups_max:
                unclaimed += self._pinned.pop(next(iter(self._pinned)))
        self._unpin(unclaimed)
        return count

    def get(self, lookup_id: str, names: list[str]) -> list[PageObject]:
        """The chunks up to the first that is missing, each pinned once, here and at the service."""
        with self._lock:
            pinned = self._pinned.pop(lookup_id, [])
        if pinned[: len(names)] != names[: len(pinned)]:
            self._unpin(pinned)  # of other keys: the id was used twice at once
            pinned = []
        beyond, pinned = pinned[len(names) :], pinned[: len(names)]
        self._unpin(beyond)
        memory_objs: list[PageObject] = []
        try:
            if len(pinned) < len(names):
                missing = names[len(pinned) :]
                pinned = pinned + missing[: count_true(self._handler.batch_pin(missing))]
            if pinned:
                memory_objs = self._reader.read_prefix(self._handler.batch_retrieve(pinned))
            for memory_obj in memory_objs:
                memory_obj.pin()
        finally:
            self._unpin(pinned[len(memory_objs) :])
        return memory_objs

    def abandon(self, lookup_id: str) -> None:
        """Ends the pins of a lookup whose get will not come."""
        with self._lock:
            unclaimed = self._pinned.pop(lookup_id, [])
        self._unpin(unclaimed)

    def _unpin(self, names: list[str]) -> None:
        if names:
            self._handler.batch_unpin(names)


def release(memory_objs: list[PageObject]) -> None:
    """Lets go of what `get` returned, as LMCache would."""
    for memory_obj in memory_objs:
        memory_obj.unpin()
        memory_obj.ref_count_down()


def count_true(flags: list[bool]) -> int:
    """How many flags are set before the first that is not."""
    return next((index for index, flag in enumerate(flags) if not flag), len(flags))
