"""What the Python binding costs: each call beside the same call of the C++ client, against one marud.

    cmake --build --preset release && PYTHONPATH=build/release/python /usr/bin/python3 bench/python_bench.py

Rounds of the two take turns, so that what else the machine does falls on both; each figure is the least of its rounds,
since what else the machine does only adds. What the binding adds is the CPU time of the calling thread beyond the C++
client's: the rest of a call is waiting for marud, which is the same for both and varies by more than a binding costs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "tests" / "python"))

from marud import Marud, build_folder  # noqa: E402

import maru  # noqa: E402

CHUNK = 64 << 10
MIB = 1 << 20


def key(i: int) -> str:
    return f"bench/{'k' * 48}{1000 + i}"


class Calls:
    """The calls that client_calls.cpp makes too, single ones by the methods for one key."""

    def __init__(self, pool: maru.MaruHandler, batch: int) -> None:
        self.pool = pool
        self.batch = batch
        self.keys = [key(i) for i in range(batch)]
        self.pages: list[maru.AllocHandle] = []

    def prepare(self, what: str) -> None:
        """What the next call needs and is not measured."""
        if what == "store":
            self.pages = [self.pool.alloc(1) for _ in self.keys]

    def call(self, what: str) -> Callable[[], object]:
        pool, keys, one = self.pool, self.keys, self.keys[0]
        if self.batch == 1:
            return {
                "exists": lambda: pool.exists(one),
                "retrieve": lambda: pool.retrieve(one),
                "pin+unpin": lambda: (pool.pin(one), pool.unpin(one)),
                "alloc+free": lambda: pool.free(pool.alloc(1)),
                "store": lambda: pool.store(one, self.pages[0]),
            }[what]
        return {
            "exists": lambda: pool.batch_exists(keys),
            "retrieve": lambda: pool.batch_retrieve(keys),
            "pin+unpin": lambda: (pool.batch_pin(keys), pool.batch_unpin(keys)),
            "store": lambda: pool.batch_store(keys, self.pages),
        }[what]

    def measure(self, what: str, count: int) -> tuple[float, float]:
        """As client_calls: median time and mean CPU time of a call, in ns, without what asking for both costs."""
        clocks = self.measure_call(lambda: None, "nothing", count)
        call = self.measure_call(self.call(what), what, count)
        return call[0] - clocks[0], call[1] - clocks[1]

    def measure_call(self, call: Callable[[], object], what: str, count: int) -> tuple[float, float]:
        took, cpu = [], 0
        clock, cpu_clock = time.perf_counter_ns, time.thread_time_ns
        for _ in range(count):
            self.prepare(what)
            since, cpu_since = clock(), cpu_clock()
            call()
            cpu += cpu_clock() - cpu_since
            took.append(clock() - since)
        return statistics.median(took), cpu / count


class Client:
    """client_calls, the same on the C++ side."""

    def __init__(self, server: Marud) -> None:
        command = [str(build_folder() / "bin" / "client_calls"), server.address, str(CHUNK)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self, what: str, batch: int, count: int) -> tuple[float, float]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{what} {batch} {count}\n")
        self.process.stdin.flush()
        median, cpu = self.process.stdout.readline().split()
        return float(median), float(cpu)

    def close(self) -> None:
        self.process.communicate(timeout=10)


def overhead(server: Marud, pool: maru.MaruHandler, rounds: int) -> bool:
    """Prints a line for each call. True when all are within their bounds."""
    client, met = Client(server), True
    heads = ("C++ us", "Python", "CPU us", "Python", "adds us")
    print(f"{'call':12} {'batch':>5}" + "".join(f" {t:>8}" for t in heads),
          " a key")  # fmt: skip
    for what, batch in [(w, b) for b in (1, 128) for w in ("exists", "retrieve", "pin+unpin", "store", "alloc+free")]:
        if (what, batch) == ("alloc+free", 128):
            continue
        mine, count = Calls(pool, batch), 400 if batch == 1 else 100
        pairs = [(client.measure(what, batch, count), mine.measure(what, count)) for _ in range(rounds)]
        times = [min(pair[side][i] for pair in pairs) / 1e3 for i in (0, 1) for side in (0, 1)]
        adds = times[3] - times[2]
        calls = 2 if "+" in what else 1
        bound = 3.0 * calls if batch == 1 else 0.3 * calls * batch
        met = met and adds <= bound
        a_key = f"{adds / batch:6.2f}" if batch > 1 else " " * 6
        verdict = "" if adds <= bound else f"   over {bound:.1f}"
        print(f"{what:12} {batch:5} " + " ".join(f"{t:8.1f}" for t in times) + f" {adds:8.2f} {a_key}{verdict}")
    client.close()
    return met


# What is aimed at where keys are looked up in the pool itself, in us a key: single retrieves, and a batch of 128.
RETRIEVE_US, BATCH_RETRIEVE_US = 3.0, 0.5


def retrieve_cells(url: str, rounds: int) -> None:
    """Of a process of its own: prints the least median of each cell, in us a key, as one line of JSON."""
    keys = [key(i) for i in range(128)]
    with maru.MaruHandler(maru.MaruConfig(server_url=url, chunk_size_bytes=CHUNK, pool_size=64 * MIB)) as pool:
        one, many = Calls(pool, 1), Calls(pool, 128)
        calls: dict[str, tuple[Calls, Callable[[], object], int]] = {
            "retrieve, one key": (one, lambda: pool.retrieve(keys[0]), 1),
            "retrieve, 128 keys in turn": (many, lambda: [pool.retrieve(k) for k in keys], 128),
            "batch_retrieve of 128": (many, lambda: pool.batch_retrieve(keys), 128),
        }
        clock = one.measure_call(lambda: None, "nothing", 400)[0]
        took = {
            name: min(who.measure_call(call, name, 400 // count + 50)[0] - clock for _ in range(rounds)) / count / 1e3
            for name, (who, call, count) in calls.items()
        }
    print(json.dumps(took))


def retrieves(server: Marud, rounds: int) -> bool:
    """Retrieves as the client makes them by itself and, told so by MARU_LOCAL_READS=0, by message; each in a process of
    its own, which is started with that environment. True: all aims are met."""
    told: dict[str, dict[str, str]] = {"default": {}, "messages": {"MARU_LOCAL_READS": "0"}}
    took = {}
    for name, more in told.items():
        command = [sys.executable, __file__, "--rounds", str(rounds), "--retrieve-cells", server.url]
        done = subprocess.run(command, env={**os.environ, **more}, stdout=subprocess.PIPE, text=True, timeout=300)
        done.check_returncode()
        took[name] = json.loads(done.stdout)
    met = True
    print(f"{'p50 us a key':28}" + "".join(f" {name:>10}" for name in told) + "   aim")
    for cell, us in took["default"].items():
        aim = BATCH_RETRIEVE_US if cell.startswith("batch") else RETRIEVE_US
        met = met and us < aim
        print(f"{cell:28}" + "".join(f" {took[name][cell]:10.2f}" for name in told)
              + f"   under {aim}: {'met' if us < aim else 'MISSED'}")  # fmt: skip
    return met


def private_mib() -> float:
    """Memory of this process that nobody shares."""
    text = Path("/proc/self/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("RssAnon")).split()[1]) / 1024


def copies(server: Marud) -> None:
    """Writes and reads 1 GiB in chunks of 1 MiB, beside a plain copy of as many bytes."""
    count, source = 1024, bytearray(os.urandom(MIB))
    target = bytearray(MIB)
    since = time.perf_counter()
    for _ in range(count):
        memoryview(target)[:] = source
    plain = time.perf_counter() - since
    config = maru.MaruConfig(server_url=server.url, chunk_size_bytes=MIB, pool_size=1 << 30)
    with maru.MaruHandler(config) as pool:
        before = private_mib()
        since = time.perf_counter()
        for i in range(0, count, 64):
            pages = [pool.alloc(MIB) for _ in range(64)]
            for page in pages:
                page.buf[:] = source
            assert all(pool.batch_store([f"gib/{i + n}" for n in range(64)], pages))
        wrote = time.perf_counter() - since
        views = pool.batch_retrieve([f"gib/{i}" for i in range(count)])
        since = time.perf_counter()
        for info in views:
            assert info is not None
            memoryview(target)[:] = info.view
        read = time.perf_counter() - since
        grown = private_mib() - before
        print(f"1 GiB in chunks of 1 MiB: written in {wrote:.2f} s, read out in {read:.2f} s; a plain copy of a hot "
              f"MiB as often takes {plain:.2f} s; private memory grew by {grown:.1f} MiB")


def threads(pool: maru.MaruHandler) -> bool:
    """Calls a second of one thread and of eight. True when eight are not slower."""
    keys, met = [key(i) for i in range(128)], True
    calls: dict[str, Callable[[], object]] = {
        "exists": lambda: pool.exists(keys[0]),
        "retrieve": lambda: pool.retrieve(keys[0]),
        "pin+unpin": lambda: (pool.pin(keys[0]), pool.unpin(keys[0])),
        "exists, 128": lambda: pool.batch_exists(keys),
        "store": lambda: pool.store(keys[0], pool.alloc(1)),
        "retrieve, 128": lambda: pool.batch_retrieve(keys),
    }
    for name, call in calls.items():
        rates = {n: rate_of(call, n) for n in (1, 8, 1, 8)}
        met = met and rates[8] >= rates[1]
        print(f"{name:14} 1 thread {rates[1]:8.0f} calls/s, 8 threads {rates[8]:8.0f}: {rates[8] / rates[1]:.2f} x")
    return met


def rate_of(call: Callable[[], object], count: int, seconds: float = 1.0) -> float:
    made = [0] * count
    until = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < until:
            call()
            made[number] += 1

    crowd = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    return sum(made) / seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    # INTERNAL: a process of `retrieves`.
    parser.add_argument("--retrieve-cells", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    if arguments.retrieve_cells:
        retrieve_cells(arguments.retrieve_cells, rounds)
        return 0
    server = Marud("1600MiB")
    try:
        config = maru.MaruConfig(server_url=server.url, chunk_size_bytes=CHUNK, pool_size=64 * MIB)
        with maru.MaruHandler(config) as pool:
            assert all(pool.batch_store([key(i) for i in range(128)], [b"x" * 1000] * 128))
            met = overhead(server, pool, rounds)
            met = retrieves(server, rounds) and met
            met = threads(pool) and met
        copies(server)
    finally:
        server.remove()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
