#!/usr/bin/env python3
"""Starts what the installed unit starts, listens as systemd would, and checks what marud says.

    start_unit.py ROOT FOLDER [WORKER]

ROOT: where the packages were installed or unpacked, "/" in a chroot. FOLDER: an empty one for pool, state and socket.
WORKER: a program that is given marud's address while it serves, and must end with 0. The unit's command line is used as
it is, with what has to differ beside a running service (pool, state, ports) behind it.
"""

import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNIT_FOLDERS = ("lib/systemd/system", "usr/lib/systemd/system")
LIMIT = 60.0  # seconds: for a machine that is busy


def unit_of(root: Path) -> dict[str, str]:
    """The settings of the unit, the last of each name."""
    for folder in UNIT_FOLDERS:
        path = root / folder / "maru.service"
        if path.exists():
            lines = path.read_text().splitlines()
            return dict(line.split("=", 1) for line in lines if re.match(r"^[A-Z]\w*=", line))
    sys.exit(f"failed to find maru.service below {root}")


class Manager:
    """A service manager's end of sd_notify."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.heard: list[str] = []

    def wait_for(self, wanted: str, times: int = 1) -> None:
        """Until a message with this line came so often, counted from here on."""
        end = time.monotonic() + LIMIT
        while times > 0:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                sys.exit(f"failed to hear {wanted} from marud in {LIMIT:.0f} s; heard {self.heard}")
            message = self._socket.recv(4096).decode()
            self.heard.append(message)
            times -= any(line.startswith(wanted) for line in message.splitlines())


def main(root: Path, folder: Path, worker: str | None) -> None:
    unit = unit_of(root)
    if unit["Type"] != "notify" or not unit.get("WatchdogSec"):
        sys.exit("failed to use the unit: it is not of Type=notify with a watchdog")
    words = [str(root / w.lstrip("/")) if w.startswith("/") else w for w in shlex.split(unit["ExecStart"])]
    words += [f"--pool={folder}/pool", "--pool-size=8MiB", f"--state-dir={folder}/state"]
    words += ["--listen=127.0.0.1:0", "--http=127.0.0.1:0"]
    manager = Manager(folder / "notify")
    environment = os.environ | {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "600000"}
    log = folder / "log"
    with log.open("w") as output:
        marud = subprocess.Popen(words, env=environment, stdout=output, stderr=output)
        try:
            manager.wait_for("READY=1")
            if not manager.heard[0].startswith("EXTEND_TIMEOUT_USEC="):
                sys.exit(f"failed to hear of the start first: {manager.heard}")
            manager.wait_for("WATCHDOG=1", times=3)
            marud.send_signal(signal.SIGHUP)  # what ExecReload does
            manager.wait_for("RELOADING=1")
            manager.wait_for("READY=1")
            if worker:
                port = re.search(r"ready: serving .* on port (\d+), metrics", log.read_text())
                if not port:
                    sys.exit("failed to find the port in the log")
                subprocess.run([worker, f"127.0.0.1:{port[1]}"], check=True, timeout=LIMIT)
            marud.send_signal(signal.SIGTERM)
            manager.wait_for("STOPPING=1")
            code = marud.wait(LIMIT)
        finally:
            if marud.poll() is None:
                marud.kill()
                marud.wait()
            print(log.read_text(), end="")
    if code != 0:
        sys.exit(f"failed to stop marud: it ended with {code}")
    print("sd_notify:", ", ".join(message.splitlines()[0] for message in manager.heard))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3] if len(sys.argv) == 4 else None)
