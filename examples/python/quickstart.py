"""Stores a chunk and reads it in another process: the bytes are shared, not copied.

    build/release/bin/marud --pool /dev/shm/maru-pool --pool-size 256MiB --state-dir build/state &
    PYTHONPATH=build/release/python /usr/bin/python3 examples/python/quickstart.py

Takes marud's address as an argument: tcp://127.0.0.1:5555 where none is given.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.connection import Connection

import maru

CHUNK = 16 << 20
KEY = "quickstart/chunk"


def config(url: str) -> maru.MaruConfig:
    return maru.MaruConfig(server_url=url, chunk_size_bytes=CHUNK, pool_size=2 * CHUNK)


def reader(url: str, parent: Connection) -> None:
    """Another process: finds the chunk, looks at it, and leaves a mark in it that the first process will see."""
    with maru.MaruHandler(config(url)) as pool:
        since = time.perf_counter()
        found = pool.retrieve(KEY)
        took = time.perf_counter() - since
        if found is None:
            raise SystemExit("the chunk is not there")
        text = bytes(found.view[:26]).decode()
        found.view[-1] = 42  # only to show whose bytes these are: a chunk is not changed once it is stored
        parent.send((text, len(found.view), took))


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5555"
    with maru.MaruHandler(config(url)) as pool:
        if not pool.connected:
            raise SystemExit(f"no marud answers at {url}: the log above says why")
        pool.delete(KEY)  # of an earlier run
        page = pool.alloc(CHUNK)
        page.buf[:26] = b"abcdefghijklmnopqrstuvwxyz"
        since = time.perf_counter()
        pool.store(KEY, page)
        print(f"stored    {CHUNK >> 20} MiB under {KEY!r} in {(time.perf_counter() - since) * 1e6:.0f} us")

        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        child = context.Process(target=reader, args=(url, there))
        child.start()
        there.close()
        text, size, took = here.recv()
        child.join()
        print(f"retrieved {size >> 20} MiB in another process in {took * 1e6:.0f} us; they begin with {text!r}")

        shared = pool.retrieve(KEY)
        assert shared is not None
        print(f"shared    the last byte, which that process set, is {shared.view[-1]} here: the same memory, no copy")


if __name__ == "__main__":
    main()
