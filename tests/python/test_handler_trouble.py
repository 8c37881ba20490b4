"""Goal: a marud that is slow, gone or started anew costs callers no more than the contract says, and many threads may
work at once. Method: a real marud that is stopped, killed and started under a handler."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest
from marud import Marud, wait_until

from maru import AllocHandle, MaruConfig, MaruHandler

TIMEOUT_MS = 600


@pytest.fixture
def server():
    made = Marud()
    yield made
    made.remove()


def opened(server, **settings):
    settings = {"chunk_size_bytes": 64 << 10, "pool_size": 2 << 20, "timeout_ms": TIMEOUT_MS, **settings}
    handler = MaruHandler(MaruConfig(server_url=server.url, **settings))
    assert handler.connect()
    return handler


@pytest.fixture(params=["stopped", "gone"])
def silent(request, server):
    """A handler that asks by message, with key "a" stored and pinned, whose marud answers nothing."""
    handler = opened(server, local_reads=False)
    assert handler.store("a", data=b"1") and handler.pin("a")
    server.pause() if request.param == "stopped" else server.kill()
    yield handler
    handler.close()


def in_time(call, *arguments):
    since = time.monotonic()
    answer = call(*arguments)
    assert time.monotonic() - since < 3 * TIMEOUT_MS / 1000 + 1
    return answer


class TestNobodyAnswers:
    def test_flags_are_false_and_reads_none(self, silent):
        for call in (silent.exists, silent.pin, silent.unpin, silent.delete):
            assert in_time(call, "a") is False, call
        assert in_time(silent.retrieve, "a") is None
        assert in_time(silent.healthcheck) is False
        assert in_time(silent.delete_status, "a") == "unknown"

    @pytest.mark.parametrize("name", ["exists", "pin"])
    def test_other_threads_go_on_meanwhile(self, silent, name):
        caller = threading.Thread(target=getattr(silent, name), args=("a",))
        caller.start()
        steps = 0
        while caller.is_alive():  # nothing of this gives Python's lock back for long
            time.sleep(0.001)
            steps += 1
        assert steps > 10

    def test_batches_have_their_full_length(self, silent):
        keys = ["a", "b"] * 5000
        for call in (silent.batch_exists, silent.batch_pin, silent.batch_unpin, silent.batch_delete):
            assert in_time(call, keys) == [False] * 10000, call
        assert in_time(silent.batch_retrieve, keys) == [None] * 10000

    def test_batch_store_is_false_for_each(self, silent):
        page = silent.alloc(1)
        assert in_time(silent.batch_store, ["b", "c"], [page, b"x"]) == [False, False]

    def test_stats_are_zeros_with_all_keys(self, silent):
        stats = in_time(silent.get_stats)
        assert stats["kv_manager"] == {"total_entries": 0, "total_size": 0}
        assert stats["allocation_manager"] == {"num_allocations": 0, "total_allocated": 0, "active_clients": 0}
        assert set(stats["store_regions"]) == {
            "num_regions", "total_pool_size", "total_page_count", "total_free_pages", "total_allocated_pages",
            "utilization", "regions",
        }  # fmt: skip
        assert set(stats["allocator"]) == {
            "pool_size", "chunk_size", "page_count", "free_pages", "allocated_pages", "utilization", "region_id",
        }  # fmt: skip
        assert stats["cxl_pool"] == {"total_size": 0, "free_size": 0}
        assert stats["stats_manager"] == {"clients": {}}

    def test_accessors_tell_what_is_known(self, silent):
        silent.alloc(1)
        assert in_time(lambda: silent.allocator.num_allocated) == 2
        assert len(silent.get_owned_region_ids()) == 1
        assert silent.get_buffer_view(silent.get_owned_region_ids()[0], 0, 1) is not None

    def test_pages_in_reserve_are_still_allocated(self, silent):
        silent.free(silent.alloc(1))

    def test_close_ends_in_time(self, silent):
        since = time.monotonic()
        silent.close()
        assert time.monotonic() - since < 5


class TestDoubt:
    def test_store_raises_timeout_error_and_settles_later(self, server):
        handler = opened(server)
        page = handler.alloc(3)
        page.buf[:] = b"abc"
        server.pause()
        with pytest.raises(TimeoutError):
            in_time(handler.store, "doubt", page)
        handler.free(page)  # harmless: it stays out of use until that is settled
        others = [handler.alloc(3) for _ in range(31)]
        assert (page.region_id, page.page_index) not in {(p.region_id, p.page_index) for p in others}
        server.resume()
        assert wait_until(lambda: handler.exists("doubt"))
        assert bytes(handler.retrieve("doubt").view) == b"abc"
        assert handler.store("doubt", page) is True
        handler.close()

    def test_a_page_is_free_again_where_the_key_was_there_before(self, server):
        handler, other = opened(server), opened(server, timeout_ms=5000)
        assert other.store("there", data=b"1")
        for look in (True, False):
            page = handler.alloc(3)
            server.pause()
            with pytest.raises(TimeoutError):
                handler.store("there", page)
            server.resume()
            assert wait_until(lambda: handler._client.info()["pages_in_doubt"] == 0 and handler.healthcheck())
            if look:
                assert handler.allocator.num_allocated == 0
                with pytest.raises(ValueError, match="Double free"):
                    handler.free(page)
            again = handler.alloc(1)  # of the reserve, what came back last
            assert (again.region_id, again.page_index) == (page.region_id, page.page_index)
            handler.free(again)
            assert handler.allocator.num_allocated == 0
        handler.close()
        other.close()

    def test_a_page_holds_its_key_where_the_store_was_served(self, server):
        handler = opened(server)
        page = handler.alloc(3)
        server.pause()
        with pytest.raises(TimeoutError):
            handler.store("served", page)
        server.resume()
        assert wait_until(lambda: handler._client.info()["pages_in_doubt"] == 0 and handler.exists("served"))
        assert handler.allocator.num_allocated == 1
        with pytest.raises(ValueError, match="holds a committed key"):
            handler.free(page)
        assert handler.delete("served") is True
        assert handler.allocator.num_allocated == 0
        handler.close()

    def test_a_store_on_a_marud_that_is_gone_did_not_happen_or_is_settled(self, server):
        handler = opened(server)
        page = handler.alloc(3)
        server.kill()
        try:
            stored = in_time(handler.store, "gone", page)
        except TimeoutError:
            stored = None
        server.start()
        assert wait_until(handler.healthcheck)
        if stored is False:
            assert handler.exists("gone") is False
        else:
            assert stored is None and wait_until(lambda: handler.exists("gone"))
        handler.close()

    def test_a_pin_the_caller_was_not_told_of_is_released(self, server):
        handler, other = opened(server, local_reads=False), opened(server, timeout_ms=5000)
        assert handler.store("a", data=b"1")
        server.pause()
        assert handler.pin("a") is False
        server.resume()
        assert wait_until(lambda: other.delete("a"))
        handler.close()
        other.close()


class TestRestart:
    def test_calls_wait_for_a_marud_that_comes_back(self, server):
        handler = opened(server, timeout_ms=20000)
        assert handler.store("a", data=b"1") and handler.pin("a")
        view = handler.retrieve("a").view
        page = handler.alloc(1)
        before = handler.get_owned_region_ids()
        server.kill()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(handler.exists("a")))
        thread.start()
        server.start()
        thread.join(30)
        assert answers == [True]
        assert handler.delete("a") is False, "the pin is still there"
        assert bytes(view) == b"1"
        assert handler.store("b", page) is True
        assert handler.get_owned_region_ids() == before
        assert handler.allocator.num_allocated == 2
        assert handler.unpin("a") is True
        assert handler.delete("a") is True
        handler.close()

    def test_a_new_pool_is_worked_with_and_no_view_shows_its_bytes(self, server):
        handler = opened(server, timeout_ms=20000)
        assert handler.store("a", data=b"old")
        view = handler.retrieve("a").view
        old = handler.alloc(3)
        server.kill()
        for name in server.folder.iterdir():
            if name.name.startswith("pool") and name.is_file():
                name.unlink()
        for root, _, files in os.walk(server.folder / "state"):
            for file in files:
                os.unlink(os.path.join(root, file))
        server.start()
        assert wait_until(lambda: handler.exists("a") is False and handler.healthcheck())
        assert handler.store("a", data=b"new") is True
        assert bytes(view) == b"old"
        assert bytes(handler.retrieve("a").view) == b"new"
        assert handler.store("b", old) is False, "its page went with its pool"
        handler.close()


def test_eight_threads_of_mixed_calls_agree(server):
    """Each thread works on keys of its own and on shared ones; what it is told of its own must add up."""
    seed = int(os.environ.get("MARU_SEED", time.time_ns() % 1000000))
    print(f"MARU_SEED={seed}")
    handlers = [opened(server, timeout_ms=20000, pool_size=8 << 20) for _ in range(2)]
    failures = []

    def work(number):
        dice, handler = random.Random(seed + number), handlers[number % 2]
        mine, pins = {}, {}
        try:
            for step in range(300):
                key = f"{number}/{dice.randrange(20)}"
                match dice.randrange(8):
                    case 0:
                        page = handler.alloc(8)
                        page.buf[:] = step.to_bytes(8, "little")
                        assert handler.store(key, page) is True
                        mine.setdefault(key, step)
                    case 1:
                        info = handler.retrieve(key)
                        found = info and int.from_bytes(info.view, "little")
                        assert found == mine.get(key), (key, found, mine.get(key))
                    case 2:
                        assert handler.exists(key) is (key in mine)
                    case 3:
                        assert handler.pin(key) is (key in mine)
                        if key in mine:
                            pins[key] = pins.get(key, 0) + 1
                    case 4:
                        assert handler.unpin(key) is (pins.get(key, 0) > 0)
                        pins[key] = max(pins.get(key, 0) - 1, 0)
                    case 5:
                        assert handler.delete(key) is (key in mine and not pins.get(key, 0))
                        if not pins.get(key, 0):
                            mine.pop(key, None)
                    case 6:
                        handler.free(handler.alloc(1))
                    case 7:
                        keys = [f"shared/{i}" for i in range(10)]
                        assert handler.batch_store(keys, [b"s" * 10] * 10) == [True] * 10
                        assert all(bytes(i.view) == b"s" * 10 for i in handler.batch_retrieve(keys))
        except BaseException as error:
            failures.append((number, error))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(100)
    assert not failures, failures
    entries = handlers[0].get_stats()["kv_manager"]["total_entries"]
    assert sum(h.allocator.num_allocated for h in handlers) == entries
    assert "no problems found" in server.ctl("check")
    for handler in handlers:
        handler.close()


def test_a_handle_of_nowhere_is_told_apart_from_silence(server):
    handler = opened(server, local_reads=False)
    assert handler.store("x", AllocHandle(memoryview(b""), 7, 7, 1)) is False
    server.pause()
    with pytest.raises(TimeoutError):
        in_time(handler.store, "x", AllocHandle(memoryview(b""), 7, 7, 1))
    server.resume()
    handler.close()


def test_reads_in_the_pool_go_on_while_marud_is_stopped(server):
    handler = opened(server)
    assert handler.store("a", data=b"abc") and handler.exists("a")
    server.pause()
    assert in_time(handler.batch_exists, ["a", "b"]) == [True, False]
    assert in_time(handler.pin, "a") is True
    assert bytes(in_time(handler.retrieve, "a").view) == b"abc"
    assert in_time(handler.unpin, "a") is True
    assert handler.healthcheck() is False
    server.resume()
    handler.close()
