"""Goal: with --durability=host a commit that was acknowledged outlives a power loss, at any instant; without, nothing
of before is served as if it were whole.
Method: marud in a guest on FS-DAX, its state on a disk; QEMU is killed while workers put, and the guest boots again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from guest import Gone, Guest, memory_file
from machine import Machine
from maru import Marud, Worker

BATCH = 8
KEPT, LOST = "/mnt/pmem/kept", "/mnt/pmem/lost"  # the pools of durability host and process


class Writer:
    """Puts keys as fast as it may until its machine is gone. `acknowledged` are those whose commit was answered."""

    def __init__(self, worker: Worker, name: str) -> None:
        self._worker = worker
        self._name = name
        self.acknowledged: list[str] = []
        self.enough = threading.Event()
        self._thread = threading.Thread(target=self._put)
        self._thread.start()

    def _put(self) -> None:
        number = 0
        while True:
            keys = [f"{self._name}/{number + i}" for i in range(BATCH)]
            try:
                answer = self._worker.ask("put " + " ".join(keys))
            except AssertionError:  # the machine is gone
                return
            assert answer == "ok"
            self.acknowledged += keys
            number += BATCH
            if number >= 4 * BATCH:
                self.enough.set()

    def join(self) -> list[str]:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.acknowledged


def booted(machine: Machine, first: bool) -> Guest:
    guest = Guest("power-before" if first else "power-after", machine)
    if first:
        guest.make_fsdax("/mnt/pmem")
        guest.run("mkfs.ext4", "-q", "/dev/vda")
    else:
        guest.mount_fsdax("/mnt/pmem")
    guest.shell("mkdir -p /mnt/disk; mount /dev/vda /mnt/disk")
    return guest


def served(guest: Guest, durability: str) -> Marud:
    pool = KEPT if durability == "host" else LOST
    return Marud(guest, pool, f"/mnt/disk/{durability}", "--pool-size=64MiB", f"--durability={durability}")


def read(guest: Guest, marud: Marud, keys: list[str]) -> list[str | None]:
    return Worker(guest, marud.address).local().ask_all([f"get {key}" for key in keys])


def test_acknowledged_keys_outlive_a_power_loss_where_that_was_asked_for(memory: Path) -> None:
    nvdimm, disk = memory_file(memory, "power-nvdimm", 256), memory_file(memory, "power-disk", 128)
    machine = Machine(nvdimm=nvdimm, disk=disk, cpus=2)
    with booted(machine, first=True) as guest:
        maruds = {word: served(guest, word) for word in ("host", "process")}
        writers = {word: Writer(Worker(guest, one.address), word) for word, one in maruds.items()}
        for writer in writers.values():
            assert writer.enough.wait(120)
        guest.kill()
        with pytest.raises(Gone):
            guest.run("/bin/true")
        acknowledged = {word: writer.join() for word, writer in writers.items()}
    with booted(machine, first=False) as guest:
        one = served(guest, "host")
        assert set(read(guest, one, acknowledged["host"])) == {"ok"}
        assert one.status()["entries"] >= len(acknowledged["host"])
        other = served(guest, "process")
        assert set(read(guest, other, acknowledged["process"])) == {"missing"}
        one.ctl("check")
        other.ctl("check")
