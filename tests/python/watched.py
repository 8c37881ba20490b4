"""A program on a terminal of its own, and what a person would see there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte


class Watched:
    """Runs `command` on a new terminal; `screen` is what it shows (pyte). `close` ends it and the terminal."""

    def __init__(
        self, command: Sequence[object], columns: int = 80, rows: int = 24, environment: Mapping[str, str] | None = None
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.output = b""
        self._master, self._slave = pty.openpty()
        self._set_size(columns, rows)
        self.before = termios.tcgetattr(self._slave)
        settings = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(environment or {})}
        settings.pop("NO_COLOR", None)
        slave = self._slave
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=settings,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """As when a person drags the window's corner."""
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    @property
    def settings(self) -> list:
        """The terminal's, to compare with `before`."""
        return termios.tcgetattr(self._slave)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def read(self, seconds: float) -> None:
        """Takes in what it writes, for at most so long."""
        until = time.monotonic() + seconds
        while select.select([self._master], [], [], max(0.0, until - time.monotonic()))[0]:
            data = os.read(self._master, 65536)
            self.output += data
            self._stream.feed(data)

    def until(self, condition: Callable[[], object], what: str, seconds: float = 15.0) -> None:
        """Reads until `condition()`. AssertionError with the screen at the deadline."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"{what} did not come within {seconds} s; the screen:\n{self.text}"
            self.read(0.05)

    def shows(self, *parts: str, seconds: float = 15.0) -> None:
        """Reads until all of them are on the screen."""
        self.until(lambda: all(part in self.text for part in parts), repr(parts), seconds)

    def ends(self, seconds: float = 15.0) -> int:
        """Reads until it ends; its exit code."""
        self.until(lambda: self.process.poll() is not None, "the end", seconds)
        self.read(0.05)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)
