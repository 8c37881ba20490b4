"""Goal: what Maru promises of a device holds on each kind that Linux has.
Method: the contract suite of the device interface, run in a guest on a device that is made there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import RELEASE, Guest, memory_file
from machine import Machine

SUITE = RELEASE / "tests" / "cxl_device_test"


@pytest.fixture(scope="module")
def guest(memory: Path) -> Iterator[Guest]:
    """One with persistent memory and two nodes without CPUs: /dev/dax0.0, and one that becomes memory of the system."""
    machine = Machine(
        shared=[memory_file(memory, "devices-dax", 256), memory_file(memory, "devices-node", 256)],
        nvdimm=memory_file(memory, "devices-nvdimm", 256),
        cpus=2,
    )
    with Guest("devices", machine) as made:
        made.load_dax()
        yield made


def contract(guest: Guest, device: str, kind: str) -> None:
    """Runs the suite on a device in the guest; a test that does not pass fails this one."""
    said = guest.run(
        SUITE,
        "--gtest_filter=*given*",
        "--gtest_brief=1",
        env={"MARU_TEST_DEVICE": device, "MARU_TEST_KIND": kind},
    )
    assert "[  PASSED  ]" in said and "SKIPPED" not in said and "0 tests" not in said, said


def test_contract_holds_on_device_dax(guest: Guest) -> None:
    contract(guest, "/dev/dax0.0", "devdax")


def test_contract_holds_on_huge_pages(guest: Guest) -> None:
    guest.shell("""sysctl -q vm.nr_hugepages=32; mkdir -p /mnt/huge; mount -t hugetlbfs -o pagesize=2M huge /mnt/huge
        truncate -s 32M /mnt/huge/pool""")
    contract(guest, "/mnt/huge/pool", "hugetlbfs")
    guest.shell("rm /mnt/huge/pool; umount /mnt/huge; sysctl -q vm.nr_hugepages=0")


def test_contract_holds_on_fsdax(guest: Guest) -> None:
    guest.make_fsdax("/mnt/pmem")
    guest.run("truncate", "-s", "64M", "/mnt/pmem/pool")
    contract(guest, "/mnt/pmem/pool", "fsdax")


def test_a_device_in_system_ram_mode_is_refused_and_its_memory_can_be_bound(guest: Guest) -> None:
    pass
