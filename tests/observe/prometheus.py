"""A real Prometheus for tests: Debian's, on loopback, with Maru's rules, stopped by its pid."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from rules import RULES, programs

CONFIG = """
global: {{scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {interval}}}
rule_files: {rules}
scrape_configs:
  - job_name: maru
    file_sd_configs: [{{files: [{targets}], refresh_interval: 1s}}]
"""


class Prometheus:
    """One Prometheus and its folder. `watch` tells it where marud's HTTP port is, which changes with each start."""

    def __init__(self, interval: str = "500ms") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="maru-prometheus-"))
        self._targets = self.folder / "targets.json"
        self._targets.write_text("[]")
        config = self.folder / "prometheus.yml"
        files = json.dumps([str(path) for path in RULES])
        config.write_text(CONFIG.format(interval=interval, rules=files, targets=self._targets))
        with socket.socket() as taken:  # a port that is free now
            taken.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [programs() / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'data'}"]
        command += [f"--web.listen-address={self._address}", "--log.level=warn", "--query.lookback-delta=1m"]
        self._log = self.folder / "log"
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)

    def watch(self, port: int) -> None:
        """Scrapes the marud at this port of loopback from now on. The instance keeps its name."""
        one = {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": "node-1"}}
        fresh = self.folder / "targets.new"
        fresh.write_text(json.dumps([one]))
        fresh.replace(self._targets)

    def wait_ready(self, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process.poll() is None, self._log.read_text()
            try:
                with urllib.request.urlopen(f"http://{self._address}/-/ready", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise AssertionError(f"Prometheus was not ready in {seconds} s: {self._log.read_text()}")

    def _ask(self, path: str, **arguments: Any) -> Any:
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as page:
                return json.load(page)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Samples of now; a scalar as one."""
        answer = self._ask("query", query=expression)
        return [{"metric": {}, "value": answer["result"]}] if answer["resultType"] == "scalar" else answer["result"]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Series of samples from `start` to `end`, in seconds since 1970."""
        return self._ask("query_range", query=expression, start=start, end=end, step=step)["result"]

    def stop(self) -> None:
        """Ends it and deletes its folder."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
