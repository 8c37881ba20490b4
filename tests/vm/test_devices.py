"""Goal: what Maru promises of a device holds on each kind that Linux has.
Method: the contract suite of the device interface, run in a guest on a device that is made there."""

from __future__ import annotations

from guest import BUILD, Guest

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
    assert "daxctl reconfigure-device --mode=devdax dax1.0" in said
    left.shell("rm /dev/shm/far; daxctl reconfigure-device --force --mode=devdax dax1.0")
