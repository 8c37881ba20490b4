"""A toy inference engine that shares its prefix cache: NumPy KV blocks, found by a hash of all tokens before them.

    PYTHONPATH=build/release/python /usr/bin/python3 examples/python/prefix_cache.py

Two workers serve chats that begin with the same system prompt. For each, blocks that some worker has computed are read
in place from the pool, and only the rest is computed. Takes marud's address as an argument, as quickstart.py does.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import queue
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy

import maru

BLOCK_TOKENS = 64
LAYERS, HEADS, WIDTH = 8, 8, 64
SHAPE = (2, LAYERS, BLOCK_TOKENS, HEADS, WIDTH)  # keys and values of a block's tokens
DTYPE = numpy.dtype("float16")
BLOCK_BYTES = int(numpy.prod(SHAPE)) * DTYPE.itemsize


@dataclass
class Tally:
    """What a worker did."""

    reused: int = 0
    computed: int = 0
    seconds: float = 0.0
    checksum: float = 0.0


def block_keys(run: str, tokens: list[int]) -> list[str]:
    """One key per full block. Each stands for all tokens up to its end, since a block's values depend on them."""
    digest, keys = hashlib.sha256(run.encode()), []
    for at in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        digest.update(numpy.array(tokens[at : at + BLOCK_TOKENS], "u4").tobytes())
        keys.append(f"toy/{digest.hexdigest()}")
    return keys


def compute_block(key: str, out: numpy.ndarray[Any, Any]) -> None:
    """Stands for a forward pass: matrix products, and values that depend on the key alone."""
    dice = numpy.random.default_rng(int(key[-16:], 16))
    state = dice.standard_normal((192, 192), dtype="float32")
    for _ in range(4):
        state = numpy.tanh(state @ state.T / 192)
    out[...] = numpy.resize(state, SHAPE)


def serve(pool: maru.MaruHandler, keys: list[str], tally: Tally) -> None:
    """One request: pin what is there, compute what is not, use all of it."""
    there = sum(pool.batch_pin(keys))  # ends at the first miss: a block is of use only after the ones before it
    blocks = [found.as_numpy(DTYPE, SHAPE) for found in pool.batch_retrieve(keys[:there]) if found is not None]
    pages = []
    for key in keys[len(blocks) :]:
        page = pool.alloc(BLOCK_BYTES)
        compute_block(key, page.as_numpy(DTYPE, SHAPE))  # straight into shared memory
        pages.append(page)
    tally.reused += len(blocks)
    tally.computed += len(pages)
    pool.batch_store(keys[len(blocks) :], pages)
    tally.checksum += sum(float(b[0, 0, 0, 0, 0]) for b in blocks)  # attention would read them here
    pool.batch_unpin(keys[:there])


def worker(url: str, run: str, number: int, chats: int, reuse: bool, answers: multiprocessing.Queue[Tally]) -> None:
    config = maru.MaruConfig(server_url=url, chunk_size_bytes=BLOCK_BYTES, pool_size=64 << 20)
    tally = Tally()
    with maru.MaruHandler(config) as pool:
        if not pool.connected:
            raise SystemExit(f"no marud answers at {url}: the log above says why")
        system_prompt = list(range(16 * BLOCK_TOKENS))
        since = time.perf_counter()
        for chat in range(chats):
            question = [1_000_000 * (number + 1) + 1000 * chat + i for i in range(2 * BLOCK_TOKENS)]
            own = run if reuse else f"{run}/{number}/{chat}"  # without reuse nobody finds what others computed
            serve(pool, block_keys(own, system_prompt + question), tally)
        tally.seconds = time.perf_counter() - since
    answers.put(tally)


def measure(url: str, reuse: bool, workers: int = 2, chats: int = 6) -> float:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[Tally] = context.Queue()
    run = os.urandom(8).hex()
    crowd = [context.Process(target=worker, args=(url, run, n, chats, reuse, answers)) for n in range(workers)]
    for process in crowd:
        process.start()
    tallies = []
    while len(tallies) < workers:
        try:
            tallies.append(answers.get(timeout=0.1))
        except queue.Empty:
            if any(process.exitcode for process in crowd):
                raise SystemExit("a worker ended early: it says why above") from None
    for process in crowd:
        process.join()
    reused, computed = sum(t.reused for t in tallies), sum(t.computed for t in tallies)
    seconds: float = max(t.seconds for t in tallies)
    name = "shared prefix cache" if reuse else "no reuse"
    print(f"{name:20} {reused:5} blocks reused {computed:5} computed {seconds:7.2f} s")
    return seconds


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    url = sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:5555"
    print(f"2 workers, 6 chats each, blocks of {BLOCK_BYTES >> 10} KiB for {BLOCK_TOKENS} tokens")
    without, with_it = measure(url, reuse=False), measure(url, reuse=True)
    print(f"{'time saved':20} {100 * (1 - with_it / without):.0f} %")


if __name__ == "__main__":
    main()
