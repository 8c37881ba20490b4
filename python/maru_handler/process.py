"""The process that connected handlers live in: its end, and its forks."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING

from maru_handler import _maru

if TYPE_CHECKING:
    from maru_handler.connection import Connection

_connected: weakref.WeakSet[Connection] = weakref.WeakSet()


def joined(handler: Connection) -> None:
    """A handler is connected: the process closes it at its end, and a forked child is told that it is not its own."""
    _connected.add(handler)


def left(handler: Connection) -> None:
    """A handler is closed."""
    _connected.discard(handler)


def _end() -> None:
    """Threads of the C++ client must not run any more while the interpreter is taken down."""
    for handler in list(_connected):
        handler.close()
    _maru.wait_for_calls()


def _forked() -> None:
    global _connected
    inherited, _connected = list(_connected), weakref.WeakSet()
    for handler in inherited:
        handler._disown()


atexit.register(_end)
os.register_at_fork(after_in_child=_forked)
