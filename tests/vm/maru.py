"""marud and workers, here or in a guest."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from guest import BUILD
from process import DEADLINE, Place, Process


def wait_until(condition: Callable[[], bool], what: str, timeout: float = DEADLINE) -> None:
    """Returns as soon as the condition holds. AssertionError at the deadline."""
    until = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < until, f"{what} did not come within {timeout} s"
        time.sleep(0.05)


IN_USE = 3  # marud's exit code where another one serves the pool


def marud_words(pool: str | Path, state: str | Path) -> list[str | Path]:
    """marud on a pool, without a fixed port anywhere."""
    return [BUILD / "bin" / "marud", "--pool", pool, "--state-dir", state, "--http", "127.0.0.1:0"]


class Marud:
    """One marud on a pool, in a place; started when it is made, and again after `stop` or `kill`, and gone at the end
    of a `with`. `port` is where it listens at `bind` of its machine."""

    def __init__(
        self, place: Place, pool: str | Path, state: str | Path, *options: str, bind: str = "127.0.0.1:0"
    ) -> None:
        self.place = place
        self._words = [*marud_words(pool, state), "--page-min=4KiB", *options]
        self._bind = bind
        self.start()

    def start(self) -> None:
        """Waits until it serves."""
        self.process = self.place.start(*self._words, "--listen", self._bind)
        line = self.process.hear_until("ready: serving")
        found = re.search(r" on port (\d+), ", line)
        assert found, line
        self.port = int(found[1])
        self._bind = self._bind.rpartition(":")[0] + f":{self.port}"

    def __enter__(self) -> Marud:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.running():
            self.kill()

    @property
    def address(self) -> str:
        """Where programs of its own machine find it."""
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.process.signal(signal.SIGTERM)
        code = self.process.wait()
        assert code == 0, f"marud ended with {code}:\n{self.process.text()}"

    def kill(self) -> None:
        self.process.signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    def ctl(self, *words: str) -> str:
        """What maructl says of it."""
        return self.place.run(BUILD / "bin" / "maructl", "--server", self.address, "--timeout-ms", "60000", *words)

    def status(self) -> dict[str, Any]:
        return json.loads(self.ctl("status", "--json"))

    def sessions(self) -> list[dict[str, Any]]:
        return json.loads(self.ctl("sessions", "--json"))["sessions"]


class Worker:
    """A worker of tests/system/worker.cpp: `ask` says one of the lines that it knows."""

    def __init__(self, place: Place, server: str, chunk: int = 4096, **env: str) -> None:
        self.process: Process = place.start(BUILD / "tests" / "test_worker", server, str(chunk), env=env)
        said = self.process.hear()
        assert said == "ready", said

    def ask(self, line: str) -> str:
        return self.process.ask(line)

    def local(self) -> Worker:
        """Itself, which looks keys up in the pool; AssertionError where it asks marud."""
        way = self.ask("way")
        assert way == "pool", way
        return self

    def ask_all(self, lines: Sequence[str]) -> list[str | None]:
        """The answers to several lines that are said at once."""
        self.process.say("\n".join(lines))
        return [self.process.hear() for _ in lines]

    def kill(self) -> None:
        self.process.signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL
