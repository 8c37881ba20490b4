"""A real marud for tests: on free loopback ports, with a small pool in tmpfs, stopped by its pid."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

_shm = Path("/dev/shm")


def wait_until(condition, seconds=10.0, what="the condition"):
    """Waits until `condition()` is true and returns what it gave. AssertionError at the deadline."""
    until = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < until, f"{what} did not come within {seconds} s"
        time.sleep(0.005)


def build_folder() -> Path:
    """The folder of the build under test: `MARU_BUILD`, else the release preset's."""
    return Path(os.environ.get("MARU_BUILD", Path(__file__).resolve().parents[2] / "build" / "release"))


class Marud:
    """One marud and its folder. `stop`, `kill`, `pause` and `start` may follow each other; `remove` ends it all."""

    def __init__(self, pool_size: str = "64MiB", *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="maru-test-", dir=_shm if os.access(_shm, os.W_OK) else None))
        self.pool = self.folder / "pool"
        self._pool_size = pool_size
        self._options = options
        self._log = self.folder / "log"
        self._port = 0
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.remove()
            raise

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self._port}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def http_port(self) -> int:
        return self._http

    def start(self) -> None:
        """Starts it, on the same port as before, and waits until it serves."""
        assert self.process is None
        said_before = self._log.stat().st_size if self._log.exists() else 0
        command = [build_folder() / "bin" / "marud", "--pool", self.pool, "--pool-size", self._pool_size]
        command += ["--state-dir", self.folder / "state", "--listen", f"127.0.0.1:{self._port}"]
        command += ["--http", "127.0.0.1:0", *self._options]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)

        def ready():
            text = self._log.read_bytes()[said_before:].decode()
            assert self.process.poll() is None, text
            return re.search(r"ready: serving .* on port (\d+), metrics on port (\d+)\n", text)

        self._port, self._http = (int(port) for port in wait_until(ready, 30, "marud").groups())

    def _end(self, sign: int) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(sign)
            self.process.wait(20)
            self.process = None

    def stop(self) -> None:
        """Ends it the proper way."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It answers nothing until `resume`."""
        self.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", what="the standstill")

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """Kills it and deletes its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def requests(self) -> dict[str, int]:
        """How many requests of each kind it has served."""
        found = re.findall(r'^maru_request_seconds_count\{op="(\w+)"\} (\d+)', self.metrics(), re.MULTILINE)
        return {op: int(count) for op, count in found}

    def metrics(self) -> str:
        """What a scraper reads."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/metrics", timeout=10) as page:
            return page.read().decode()

    def metric(self, name: str) -> float:
        """The value of one series: its name with its labels as /metrics writes them."""
        return next(float(line.split()[-1]) for line in self.metrics().splitlines() if line.startswith(name + " "))

    def ctl(self, *words: str) -> str:
        """What maructl prints."""
        command = [str(build_folder() / "bin" / "maructl"), "--server", self.address, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
