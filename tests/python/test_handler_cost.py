"""Goal: calls cost the messages and the memory that they must, and no more. Method: marud's own count of requests, and
what the kernel says of this process."""

from __future__ import annotations

import resource
import threading
import time
from pathlib import Path

from marud import wait_until

MIB = 1 << 20


def messages(marud, work, background=("renew", "grant", "give_back")):
    """How many requests of each kind `work` costs; renewals apart, and what tends the reserve in the background."""
    before = marud.requests()
    work()
    after = marud.requests()
    costs = {op: count - before.get(op, 0) for op, count in after.items() if op not in background}
    return {op: count for op, count in costs.items() if count}


def settled(handler):
    """The handler has more pages in reserve than it refills at, after which it has nothing to say of itself."""
    for page in [handler.alloc(1) for _ in range(80)]:
        handler.free(page)
    wait_until(lambda: handler._client.info()["grants_in_reserve"] >= 80)


def private_bytes():
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1]) << 10


def test_alloc_and_store_of_an_existing_grant_send_one_message(marud, connect, key):
    handler = connect(pool_size=16 * MIB)
    settled(handler)

    def work(name):
        page = handler.alloc(100)
        assert handler.store(key(name), page) is True

    # marud may ask for unused pages at any time, and then they are fetched again: not in every round.
    costs = [messages(marud, lambda name=n: work(name), background=("renew",)) for n in range(10)]
    assert costs.count({"commit": 1}) >= 5, costs


def test_reads_in_the_pool_send_no_message(marud, connect, key):
    handler = connect(pool_size=16 * MIB)
    settled(handler)
    assert handler.get_stats()["local_reads"] == {"active": True, "reason": ""}
    keys = [key(i) for i in range(16)]
    assert handler.batch_store(keys, [b"x"] * 16) == [True] * 16

    def work():
        assert handler.batch_exists(keys) == handler.batch_pin(keys) == handler.batch_unpin(keys) == [True] * 16
        assert all(info.view[:1] == b"x" for info in handler.batch_retrieve(keys))
        assert handler.exists(key("none")) is False and handler.retrieve(key("none")) is None

    assert messages(marud, work) == {}


def test_a_batch_is_one_message(marud, connect, key):
    handler = connect(pool_size=16 * MIB, local_reads=False)
    settled(handler)
    keys = [key(i) for i in range(16)]
    pages = [handler.alloc(1) for _ in keys]
    assert messages(marud, lambda: handler.batch_store(keys, pages)) == {"commit": 1}
    assert messages(marud, lambda: handler.batch_exists(keys)) == {"exists": 1}
    assert messages(marud, lambda: handler.batch_pin(keys)) == {"pin": 1}
    assert messages(marud, lambda: handler.batch_unpin(keys)) == {"unpin": 1}
    assert messages(marud, lambda: handler.batch_delete(keys)) == {"remove": 1}


def test_dropping_views_does_not_wait_and_shares_messages(marud, connect, key):
    handler = connect(pool_size=4 * MIB, local_reads=False)
    keys = [key(i) for i in range(32)]
    assert handler.batch_store(keys, [b"x"] * 32) == [True] * 32
    views = handler.batch_retrieve(keys)

    def work():
        marud.pause()
        since = time.monotonic()
        views.clear()
        assert time.monotonic() - since < 2
        marud.resume()
        wait_until(lambda: "0 held" in marud.ctl("status") and "pins        0" in marud.ctl("status"))

    assert messages(marud, work)["unpin"] <= 2, "one for the first, one for those that went meanwhile"


def test_bytes_are_written_and_read_in_place(connect, key):
    handler = connect(chunk_size_bytes=MIB, pool_size=32 * MIB)
    source = b"x" * MIB
    assert handler.store(key("warm"), data=source) and handler.retrieve(key("warm")) is not None
    before = private_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pages = [handler.alloc(MIB) for _ in range(24)]
    for page in pages:
        page.buf[:] = source
    assert handler.batch_store([key(i) for i in range(24)], pages) == [True] * 24
    infos = handler.batch_retrieve([key(i) for i in range(24)])
    assert all(info.view == source for info in infos)
    assert private_bytes() - before[0] < 4 * MIB, "no byte of a chunk went through private memory"
    arrays = [info.as_numpy() for info in infos]
    assert all(array.ctypes.data % 4096 == 0 for array in arrays), "each is a page of the pool's mapping"


def test_a_waiting_call_keeps_no_other_thread_from_python(marud, connect):
    handler = connect(timeout_ms=1500, local_reads=False)
    counted = 0
    marud.pause()
    try:
        waiting = threading.Thread(target=handler.exists, args=("a",))
        waiting.start()
        while waiting.is_alive():
            counted += 1
    finally:
        marud.resume()
        waiting.join()
    assert counted > 10000
