"""Processes that answer line by line, here and in a guest, behind one face."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

DEADLINE = 120.0  # for one answer: an emulated machine beside others may be slow


class Process:
    """A process whose output comes as lines. Whoever starts it calls `heard` and `over`, from one thread; the rest
    is for the test's."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.output: list[str] = []  # all that it said so far
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._code: int | None = None

    def heard(self, line: str) -> None:
        self.output.append(line)
        self._lines.put(line)

    def over(self, code: int) -> None:
        self._code = code
        self._lines.put(None)

    def hear(self, timeout: float = DEADLINE) -> str | None:
        """The next line, or None at the end of all. AssertionError at the deadline."""
        return self._hear(time.monotonic() + timeout)

    def hear_until(self, part: str, timeout: float = DEADLINE) -> str:
        """The first line with `part` in it; those before it are dropped."""
        until = time.monotonic() + timeout
        while (line := self._hear(until)) is not None:
            if part in line:
                return line
        raise AssertionError(f"{self._name()} ended with {self._code} without saying {part!r}:\n{self.text()}")

    def ask(self, line: str, timeout: float = DEADLINE) -> str:
        """Says a line and returns the answer."""
        self.say(line)
        answer = self.hear(timeout)
        assert answer is not None, f"{self._name()} ended with {self._code} when told {line!r}:\n{self.text()}"
        return answer

    def wait(self, timeout: float = DEADLINE) -> int:
        """Its exit code, -9 for SIGKILL; what it still said is in `output`."""
        until = time.monotonic() + timeout
        while self._hear(until) is not None:
            pass
        assert self._code is not None
        return self._code

    def _hear(self, until: float) -> str | None:
        try:
            line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"{self._name()} took too long; it said:\n{self.text()[-4000:]}") from None
        if line is None:
            self._lines.put(None)
        return line

    def running(self) -> bool:
        return self._code is None

    def text(self) -> str:
        return "\n".join(self.output)

    def say(self, line: str) -> None:
        raise NotImplementedError

    def signal(self, number: int) -> None:
        raise NotImplementedError

    def _name(self) -> str:
        return f"'{' '.join(self.words)}'"


class Place:
    """Where programs run: this machine or a guest."""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, *words: str | Path, env: Mapping[str, str] | None = None) -> Process:
        """Starts a program, without a shell; `env` is added to its environment."""
        raise NotImplementedError

    def run(
        self,
        *words: str | Path,
        env: Mapping[str, str] | None = None,
        timeout: float = DEADLINE,
        fails: bool = False,
    ) -> str:
        """Runs a program to its end and returns all that it printed. AssertionError where it fails, unless `fails`,
        which wants that."""
        process = self.start(*words, env=env)
        code = process.wait(timeout)
        assert (code != 0) == fails, f"'{' '.join(process.words)}' ended with {code} in {self.name}:\n{process.text()}"
        return process.text()

    def shell(self, script: str, timeout: float = DEADLINE) -> str:
        """The same of a script, which ends at its first error."""
        return self.run("/bin/sh", "-euc", script, timeout=timeout)


class HostProcess(Process):
    """A process of this machine."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        super().__init__(words)
        pipe, all_env = subprocess.PIPE, os.environ | env
        self._child = subprocess.Popen(
            words, env=all_env, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.heard(line.rstrip("\n"))
        self.over(self._child.wait())

    def say(self, line: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def signal(self, number: int) -> None:
        self._child.send_signal(number)


class Host(Place):
    """This machine. Kills what it started when it goes."""

    def __init__(self) -> None:
        super().__init__("this machine")
        self._started: list[HostProcess] = []

    def start(self, *words: str | Path, env: Mapping[str, str] | None = None) -> HostProcess:
        process = HostProcess([str(word) for word in words], env or {})
        self._started.append(process)
        return process

    def close(self) -> None:
        for process in self._started:
            if process.running():
                process.signal(signal.SIGKILL)
                process.wait()
