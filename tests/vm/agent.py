"""The guest's end of the channel: starts processes as the tests ask for, one JSON object a line in both directions.

From the host: {"id": n, "start": [word...], "env": {...}}, {"id": n, "say": text}, {"id": n, "signal": number}.
To the host: {"id": 0, "ready": true} once, then {"id": n, "line": text} for each line a process printed, and
{"id": n, "exit": code} when it is over and all of its output was sent: as subprocess counts, -9 for SIGKILL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

processes: dict[int, subprocess.Popen[str]] = {}
sending = threading.Lock()


def port() -> str:
    """The device of the channel: the virtio port of that name."""
    for place in Path("/sys/class/virtio-ports").iterdir():
        if (place / "name").read_text().strip() == "maru.agent":
            return f"/dev/{place.name}"
    raise FileNotFoundError("no virtio port is called maru.agent")


def tell(out: int, **facts: object) -> None:
    data = json.dumps(facts).encode() + b"\n"
    with sending:
        while data:
            data = data[os.write(out, data) :]


def follow(out: int, number: int, process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        tell(out, id=number, line=line.rstrip("\n"))
    tell(out, id=number, exit=process.wait())


def start(out: int, number: int, words: list[str], env: dict[str, str]) -> None:
    try:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            words, env=os.environ | env, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as why:
        tell(out, id=number, line=f"failed to start {words[0]}: {why}")
        tell(out, id=number, exit=127)
        return
    processes[number] = process
    threading.Thread(target=follow, args=(out, number, process), daemon=True).start()


def obey(out: int, wish: dict[str, object]) -> None:
    number = int(wish["id"])
    if "start" in wish:
        start(out, number, wish["start"], wish["env"])
        return
    process = processes.get(number)
    if process is None:
        return
    if "signal" in wish:
        process.send_signal(int(wish["signal"]))
    else:
        assert process.stdin is not None
        try:
            process.stdin.write(wish["say"])
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it is over, as its exit code says


def main() -> None:
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/tmp", LC_ALL="C.UTF-8")
    channel = os.open(port(), os.O_RDWR)
    tell(channel, id=0, ready=True)
    for line in os.fdopen(os.dup(channel), "r"):
        obey(channel, json.loads(line))


if __name__ == "__main__":
    sys.exit(main())
