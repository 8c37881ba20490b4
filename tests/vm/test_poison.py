"""Goal: memory that fails takes what was in it and nothing else: a chunk, or a device's chunks where it held that device's
own facts. What failed is not used again.
Method: pages of a guest's memory are poisoned, below marud and workers there; the kernel does what it does on hardware."""

from __future__ import annotations

import signal

from guest import BUILD, HERE, Guest
from maru import Marud, Worker

PROBE = ("/usr/bin/python3", "-I", str(HERE / "probe.py"))
POISON = {"MARU_TEST_HWPOISON": "1"}
FIRST, SECOND, THIRD = "/dev/shm/first", "/dev/shm/second", "/dev/shm/third"
SUPERBLOCK, DESCRIPTORS = 0, 6 << 20  # of a pool's metadata


def passed(said: str, tests: int) -> bool:
    return f"[  PASSED  ] {tests} test" in said and "SKIPPED" not in said


def test_process_survives_poisoned_memory_that_it_guards(left: Guest) -> None:
    said = left.run(BUILD / "tests" / "cxl_fault_test", "--gtest_filter=*Poison*", "--gtest_brief=1", env=POISON)
    assert passed(said, 1), said


def test_poisoned_page_is_retired_and_stays_so_over_a_restart(left: Guest) -> None:
    suite = BUILD / "tests" / "poison_test"
    said = left.run(suite, "--gtest_filter=poison.PoisonedMemoryIsRetired", "--gtest_brief=1", env=POISON)
    assert passed(said, 1), said


def test_devices_whose_metadata_is_poisoned_are_left_out_with_their_chunks_alone(left: Guest) -> None:
    devices = ";".join(f"{path},size=2MiB" for path in (SECOND, THIRD))
    keys = [f"chunk/{n}" for n in range(1100)]  # of 4 KiB: more than two of them hold
    with Marud(left, FIRST, "/tmp/of-poison", "--pool-size=2MiB", f"--devices={devices}") as marud:
        worker = Worker(left, marud.address)
        for n in range(0, len(keys), 100):
            assert worker.ask("put " + " ".join(keys[n : n + 100])) == "ok"
        committed = {d["path"]: d["committed"] // 4096 for d in marud.status()["devices"]}
        assert all(committed[path] > 0 for path in (FIRST, SECOND, THIRD))
        left.run(*PROBE, THIRD + ".meta", "poison", str(DESCRIPTORS))
        left.run(*PROBE, SECOND + ".meta", "poison", str(SUPERBLOCK))  # looked at once a second
        assert marud.process.wait() == -signal.SIGBUS
        assert "keeps its own facts" in marud.process.text()
        marud.start()
        assert all(f"{path} is left out" in marud.process.text() for path in (SECOND, THIRD))
        assert [d["state"] for d in marud.status()["devices"]] == ["serving", "left_out", "left_out"]
        answers = worker.ask_all([f"get {key}" for key in keys])
        assert set(answers) == {"ok", "missing"}
        # A few make room for the reserve of a smaller pool.
        assert committed[FIRST] - 8 <= answers.count("ok") <= committed[FIRST]
        marud.ctl("check")
