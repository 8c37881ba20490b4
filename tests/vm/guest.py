"""A virtual machine that runs this machine's programs on memory and devices that it alone, or others too, have."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from machine import Machine
from process import Place, Process

HERE = Path(__file__).resolve().parent
KERNEL = HERE.parents[1] / "build" / "vm"
BUILD = Path(os.environ.get("MARU_BUILD", HERE.parents[1] / "build" / "release")).resolve()  # what is tested
LOGS = KERNEL / "logs"
BOOT = 180.0  # 4 s on an idle machine


class Gone(AssertionError):
    """The guest is not there any more."""


class Channel:
    """A socket on which QEMU calls back: made before it is started, so that nobody polls."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._socket: socket.socket | None = None

    def accept(self, alive: Callable[[], bool]) -> None:
        """Waits for QEMU as long as it is there."""
        self._listener.settimeout(0.1)
        while self._socket is None:
            try:
                self._socket, _ = self._listener.accept()
            except TimeoutError:
                if not alive():
                    raise
        self._socket.settimeout(None)
        self._lines = self._socket.makefile("r", errors="replace")
        self._listener.close()

    def send(self, message: Mapping[str, object]) -> None:
        try:
            if self._socket is None:
                raise OSError("QEMU never called")
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as why:
            raise Gone(str(why)) from why

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other end is gone."""
        try:
            line = self._lines.readline()
        except OSError:
            line = ""
        return json.loads(line) if line.endswith("\n") else None

    def close(self) -> None:
        self._listener.close()
        if self._socket is not None:
            self._socket.close()


class GuestProcess(Process):
    """A process in a guest."""

    def __init__(self, words: Sequence[str], number: int, channel: Channel) -> None:
        super().__init__(words)
        self._number = number
        self._channel = channel

    def say(self, line: str) -> None:
        self._channel.send({"id": self._number, "say": line + "\n"})

    def signal(self, number: int) -> None:
        self._channel.send({"id": self._number, "signal": number})


class Guest(Place):
    """Starts to boot when it is made, so that several boot at once; the first command waits for it. `name` names its
    console in build/vm/logs. The thread that makes it must live as long as it: QEMU ends with that thread."""

    def __init__(self, name: str, machine: Machine) -> None:
        super().__init__(name)
        self._folder = Path(tempfile.mkdtemp(prefix="maru-vm-"))
        self._agent = Channel(self._folder / "agent")
        self._qmp = Channel(self._folder / "qmp")
        self._processes: dict[int, GuestProcess] = {}
        self._ready = threading.Event()
        self._gone = False
        self._started = time.monotonic()
        self.booted_in: float | None = None
        LOGS.mkdir(parents=True, exist_ok=True)
        self.console = LOGS / f"{name}.log"
        words = ["setpriv", "--pdeathsig", "KILL", *machine.command(KERNEL, HERE / "agent.py")]
        words += ["-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console"]
        words += ["-chardev", f"socket,id=agent,path={self._folder / 'agent'}", "-device", "virtio-serial-pci"]
        words += ["-device", "virtserialport,chardev=agent,name=maru.agent"]
        words += ["-chardev", f"socket,id=qmp,path={self._folder / 'qmp'}", "-mon", "chardev=qmp,mode=control"]
        with open(LOGS / f"{name}.qemu.log", "wb") as log:
            self._qemu = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # Commands in the guest.

    def start(self, *words: str | Path, env: Mapping[str, str] | None = None) -> GuestProcess:
        self.wait_booted()
        number = len(self._processes) + 1
        process = GuestProcess([str(word) for word in words], number, self._agent)
        self._processes[number] = process
        self._agent.send({"id": number, "start": process.words, "env": dict(env or {})})
        return process

    def load_dax(self) -> None:
        """Makes /dev/daxN.0 of the shared memory."""
        self.shell("""modprobe dax_hmem; modprobe device_dax
            for device in /sys/bus/dax/devices/*; do  # 6.1 binds them by itself, later kernels leave it to the owner
              [ -e $device/driver ] || echo ${device##*/} >/sys/bus/dax/drivers/device_dax/new_id
            done""")

    def make_fsdax(self, place: str) -> None:
        """Makes an FS-DAX file system on the persistent memory and mounts it."""
        self.shell(f"""modprobe nfit; modprobe nd_pmem
            space=$(ndctl list --namespaces --idle | sed -n 's/.*"dev":"\\(.*\\)".*/\\1/p')
            # -M mem: with -M dev the kernel's page structs would lie in what is shared
            ndctl create-namespace --force --reconfig $space --mode fsdax --map mem
            mkfs.ext4 -q -b 4096 /dev/pmem*""")
        self.mount_fsdax(place)

    def mount_fsdax(self, place: str) -> None:
        self.shell(f"modprobe nfit; modprobe nd_pmem; mkdir -p {place}; mount -t ext4 -o dax=always /dev/pmem* {place}")

    def wait_booted(self, timeout: float = BOOT) -> None:
        if not self._ready.wait(max(0.0, self._started + timeout - time.monotonic())):
            raise AssertionError(f"guest {self.name} did not boot within {timeout} s:\n{self._said()}")
        if self._gone:
            raise Gone(f"guest {self.name} is gone:\n{self._said()}")

    # What happens to a machine.

    def freeze(self) -> None:
        """Stops the machine, its clock too, between two instructions. Its memory stays where it is."""
        self._monitor("stop")

    def thaw(self) -> None:
        self._monitor("cont")

    def cut(self, network: str) -> None:
        """Takes the guest off the network `host` (this machine's loopback) or `cable` (another guest)."""
        self._monitor("set_link", name=f"{network}-card", up=False)

    def mend(self, network: str) -> None:
        self._monitor("set_link", name=f"{network}-card", up=True)

    def kill(self) -> None:
        """A power loss: nothing of the guest goes on, and nothing is told. Harmless when repeated."""
        self._qemu.kill()
        self._qemu.wait(30)
        self._listener.join(30)
        shutil.rmtree(self._folder, ignore_errors=True)

    # The channels.

    def _listen(self) -> None:
        """The thread that hears the agent; its end means the guest's."""
        try:
            self._agent.accept(lambda: self._qemu.poll() is None)
            self._qmp.accept(lambda: self._qemu.poll() is None)
            self._qmp.receive()
            self._command("qmp_capabilities")
            while (message := self._agent.receive()) is not None:
                self._take(message)
        except (OSError, Gone):
            pass
        self._agent.close()
        self._qmp.close()
        self._gone = True
        self._ready.set()  # whoever waits finds it gone
        for process in list(self._processes.values()):
            if process.running():
                process.over(-signal.SIGKILL)

    def _take(self, message: Mapping[str, Any]) -> None:
        if message["id"] == 0:
            self.booted_in = time.monotonic() - self._started
            self._ready.set()
        elif "line" in message:
            self._processes[message["id"]].heard(message["line"])
        else:
            self._processes[message["id"]].over(message["exit"])

    def _monitor(self, verb: str, **arguments: object) -> None:
        self.wait_booted()
        self._command(verb, **arguments)

    def _command(self, verb: str, **arguments: object) -> None:
        self._qmp.send({"execute": verb, "arguments": arguments})
        while True:
            answer = self._qmp.receive()
            if answer is None:
                raise Gone(f"guest {self.name} is gone")
            assert "error" not in answer, f"QEMU refused {verb}: {answer['error']}"
            if "return" in answer:
                return

    def _said(self) -> str:
        """The end of what QEMU and the guest's console said."""
        parts = []
        for path in (LOGS / f"{self.name}.qemu.log", self.console):
            if path.exists():
                parts.append(f"--- {path}\n{path.read_text(errors='replace')[-3000:]}")
        return "\n".join(parts)


def memory_file(folder: Path, name: str, mib: int) -> Path:
    """A file that a guest takes for memory."""
    path = folder / name
    with open(path, "wb") as file:
        os.truncate(file.fileno(), mib << 20)
    return path
