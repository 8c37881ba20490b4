"""Guests that several tests use, booted once and at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from guest import Guest, memory_file
from machine import Machine
from process import Host


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory for what guests take for memory."""
    folder = Path(tempfile.mkdtemp(prefix="maru-vm-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def host() -> Iterator[Host]:
    machine = Host()
    yield machine
    machine.close()


class Pair:
    """Two hosts with the same /dev/dax0.0, and a cable between them on which `left` is 10.9.0.1 and `right` 10.9.0.2.
    The shared bytes are those of the file `pool`. Both reach this machine's loopback as 10.0.2.2. `left` has more:
    /dev/dax1.0 of its own, a node that becomes memory of the system, and persistent memory."""

    def __init__(self, folder: Path) -> None:
        self.pool = memory_file(folder, "pool", 256)
        left = Machine(
            shared=[self.pool, memory_file(folder, "node", 256)],
            nvdimm=memory_file(folder, "nvdimm", 256),
            cable=(folder, 1),
            network=True,
            cpus=2,
        )
        self.left = Guest("left", left)
        self.right = Guest("right", Machine(shared=[self.pool], cable=(folder, 2), network=True))

    def prepare(self) -> None:
        self.left.load_dax()
        self.right.load_dax()

    def blank(self) -> None:
        """Makes the shared memory zeros, and forgets the pool that was here on it."""
        subprocess.run(["fallocate", "--punch-hole", "--length", str(self.pool.stat().st_size), self.pool], check=True)
        self.pool.with_name("pool.meta").unlink(missing_ok=True)
        shutil.rmtree(self.pool.with_name("pool.locks"), ignore_errors=True)

    def kill(self) -> None:
        self.left.kill()
        self.right.kill()


@pytest.fixture(scope="session")
def pair(memory: Path) -> Iterator[Pair]:
    guests = Pair(memory)
    try:
        guests.prepare()
        yield guests
    finally:
        guests.kill()


@pytest.fixture(scope="session")
def left(pair: Pair) -> Guest:
    return pair.left


@pytest.fixture(scope="session")
def right(pair: Pair) -> Guest:
    return pair.right
