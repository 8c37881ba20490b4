"""Threads for tests that want them to get in each other's way."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable


def run_together(count: int, work: Callable[[int], object]) -> None:
    """Runs work(0) to work(count - 1) on threads that start together and take turns often; raises what they raise."""
    gate = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        gate.wait(timeout=30)
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001: it is raised again below
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
            assert not thread.is_alive()
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]
