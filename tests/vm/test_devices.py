"""Goal: what Maru promises of a device holds on each kind that Linux has.
Method: the contract suite of the device interface, run in a guest on a device that is made there."""

from __future__ import annotations

import os

import pytest
from guest import BUILD, Guest
from machine import Machine
from maru import Marud, Worker

SUITE = BUILD / "tests" / "cxl_device_test"


def contract(guest: Guest, device: str, kind: str, **more: str) -> None:
    """Runs the suite on a device in the guest; a test that does not pass fails this one."""
    env = {"MARU_TEST_DEVICE": device, "MARU_TEST_KIND": kind, **more}
    said = guest.run(SUITE, "--gtest_filter=*given*", "--gtest_brief=1", env=env)
    assert "[  PASSED  ]" in said and "SKIPPED" not in said and " 0 tests" not in said, said


def test_contract_holds_on_device_dax(left: Guest) -> None:
    contract(left, "/dev/dax0.0", "devdax")


def test_contract_holds_on_huge_pages(left: Guest) -> None:
    left.shell("""sysctl -q vm.nr_hugepages=32; mkdir -p /mnt/huge; mount -t hugetlbfs -o pagesize=2M huge /mnt/huge
        truncate -s 32M /mnt/huge/pool""")
    contract(left, "/mnt/huge/pool", "hugetlbfs")
    left.shell("rm /mnt/huge/pool; umount /mnt/huge; sysctl -q vm.nr_hugepages=0")


@pytest.mark.skipif("MARU_VM_ALL" not in os.environ, reason="emulated, 2 GiB of zeros take 40 s: MARU_VM_ALL=1 runs it")
def test_pool_on_pages_of_1_gib_serves_over_a_kill() -> None:
    with Guest("huge", Machine(huge=2)) as guest:
        guest.shell("mkdir -p /mnt/huge; mount -t hugetlbfs -o pagesize=1G huge /mnt/huge")
        with Marud(guest, "/mnt/huge/pool", "/tmp/state", "--pool-size=1GiB", "--prefault=start") as marud:
            worker = Worker(guest, marud.address)
            assert worker.ask("put kept") == "ok"
            mapped = guest.shell("grep -A 20 '/mnt/huge/pool$' /proc/$(pidof test_worker)/smaps")
            assert "KernelPageSize:  1048576 kB" in mapped, mapped
            marud.kill()
            marud.start()
            assert worker.ask("get kept") == "ok"
            marud.ctl("check")


def test_contract_holds_on_fsdax(left: Guest) -> None:
    left.make_fsdax("/mnt/pmem")
    left.run("truncate", "-s", "64M", "/mnt/pmem/pool")
    contract(left, "/mnt/pmem/pool", "fsdax")



def test_contract_holds_on_memory_of_a_node_without_cpus(left: Guest) -> None:
    left.shell("modprobe kmem; daxctl reconfigure-device --mode=system-ram dax1.0; truncate -s 32M /dev/shm/far")
    assert left.shell("cat /sys/devices/system/node/node2/cpulist") == ""
    contract(left, "/dev/shm/far", "tmpfs", MARU_TEST_NODE="2")
    env = {"MARU_TEST_DEVICE": "/dev/dax1.0", "MARU_TEST_KIND": "devdax"}
    said = left.run(SUITE, "--gtest_filter=*WholeUnits/given", env=env, fails=True)
    assert "daxctl reconfigure-device --mode=devdax --force dax1.0" in said
    with Marud(left, "/dev/shm/far-pool", "/tmp/far", "--pool-size=16MiB", "--numa-node=2") as marud:
        worker = Worker(left, marud.address).local()
        assert worker.ask("put far") == "ok"
        assert worker.ask("get far") == "ok"
        mapped = left.shell("for p in $(pidof marud test_worker); do grep -E 'far-pool(.meta)? ' /proc/$p/numa_maps; done; true")
        assert " N2=" in mapped and " N0=" not in mapped, mapped
    left.shell("rm -r /dev/shm/far*; daxctl reconfigure-device --force --mode=devdax dax1.0")
