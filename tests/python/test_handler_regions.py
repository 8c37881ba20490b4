"""Goal: regions, budgets, chunks of any size, buffer views and statistics are what the contract says. Method: real
maruds, some of them small enough to be used up."""

from __future__ import annotations

import threading

import pytest
from marud import Marud

from maru import MaruConfig, MaruHandler

MIB = 1 << 20
CHUNK = 64 << 10


def opened(server, **settings):
    settings = {"chunk_size_bytes": CHUNK, "pool_size": 2 * MIB, "timeout_ms": 5000, **settings}
    handler = MaruHandler(MaruConfig(server_url=server.url, **settings))
    assert handler.connect()
    return handler


class TestShown:
    def test_connect_shows_one_region_of_pool_size_and_takes_no_page(self, marud, connect):
        before = marud.ctl("check")
        handler = connect(pool_size=4 * MIB)
        assert len(handler.get_owned_region_ids()) == 1
        region = handler.get_owned_region_ids()[0]
        assert 0 < region < 1 << 31
        assert handler.get_region_page_count(region) == 64
        assert handler.owned_region_manager.get_first_region_id() == region
        assert (handler.pool_handle.region_id, handler.pool_handle.length) == (region, 4 * MIB)
        numbers = [line for line in before.splitlines() if line.startswith(("granted", "committed"))]
        assert all(line in marud.ctl("check") for line in numbers)

    def test_budgets_of_all_may_add_up_to_more_than_the_pool(self, small):
        handlers = [opened(small, pool_size=8 * MIB) for _ in range(4)]
        for i, handler in enumerate(handlers):
            assert handler.store(f"reader {i}", data=b"1") is True
            handler.close()

    def test_a_pool_smaller_than_pool_size_shows_what_there_is(self, small):
        handler = opened(small, pool_size=100 * MIB)
        region = handler.get_owned_region_ids()[0]
        assert 32 <= handler.get_region_page_count(region) <= 128
        assert handler.store("a", data=b"1") is True
        handler.close()

    def test_a_pool_full_of_another_size_is_no_reason_not_to_connect(self, small):
        first = opened(small, pool_size=8 * MIB)
        assert all(first.store(i, data=b"1") for i in range(100))
        other = opened(small, chunk_size_bytes=2 * CHUNK, pool_size=8 * MIB)
        assert other.exists(99) is True
        assert other.store("other", data=b"x" * 2 * CHUNK) is True
        assert len(other.get_owned_region_ids()) == 1
        first.close()
        other.close()

    def test_pages_come_from_the_shown_region(self, connect):
        handler = connect()
        assert {handler.alloc(1).region_id for _ in range(32)} == set(handler.get_owned_region_ids())

    def test_another_region_appears_exactly_when_all_pages_are_allocated(self, connect):
        handler = connect(expand_size=4 * MIB)
        pages = [handler.alloc(1) for _ in range(32)]
        assert len(handler.get_owned_region_ids()) == 1
        one_more = handler.alloc(1)
        first, second = handler.get_owned_region_ids()
        assert one_more.region_id == second
        assert handler.get_region_page_count(second) == 64
        for page in pages:
            handler.free(page)
        again = [handler.alloc(1) for _ in range(32 + 63)]
        assert len(handler.get_owned_region_ids()) == 2
        assert {page.region_id for page in again} == {first, second}

    def test_committed_pages_are_allocated_until_somebody_deletes_them(self, connect, key):
        handler, other = connect(), connect()
        keys = [key(i) for i in range(32)]
        assert handler.batch_store(keys, [b"x"] * 32) == [True] * 32
        assert other.batch_delete(keys[:5]) == [True] * 5
        assert handler.allocator.num_allocated == 27
        assert handler.allocator.num_free_pages == 5
        pages = [handler.alloc(1) for _ in range(5)]
        assert {p.region_id for p in pages} == set(handler.get_owned_region_ids())
        assert len(handler.get_owned_region_ids()) == 1
        handler.alloc(1)
        assert len(handler.get_owned_region_ids()) == 2

    def test_without_auto_expand_the_budget_is_the_first_region(self, connect, key):
        handler = connect(auto_expand=False)
        pages = [handler.alloc(1) for _ in range(32)]
        for _ in range(2):
            with pytest.raises(
                ValueError, match="^Cannot allocate page: pool exhausted and auto_expand is disabled$"
            ):
                handler.alloc(1)
        handler.free(pages[0])
        page = handler.alloc(1)
        assert handler.store(key("a"), page)
        with pytest.raises(ValueError):
            handler.alloc(1)
        assert connect().delete(key("a"))
        handler.alloc(1)

    def test_eight_threads_get_exactly_the_budget(self, connect):
        handler = connect(auto_expand=False)
        got, refused = [], []

        def work():
            for _ in range(8):
                try:
                    got.append(handler.alloc(1))
                except ValueError:
                    refused.append(1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert (len(got), len(refused)) == (32, 32)
        assert len({(p.region_id, p.page_index) for p in got}) == 32

    def test_a_pool_full_of_what_cannot_go_is_exhausted(self, small):
        handler = opened(small, pool_size=8 * MIB, timeout_ms=3000)
        pages = []
        with pytest.raises(ValueError, match="^Cannot allocate page: pool exhausted after expansion attempt$"):
            while len(pages) < 1000:
                pages.append(handler.alloc(1))
        assert len(pages) >= 100
        handler.free(pages.pop())
        handler.alloc(1)
        handler.close()

    def test_a_full_pool_makes_room_by_evicting(self, small):
        handler = opened(small)
        for i in range(400):
            assert handler.store(i, data=b"x" * 100) is True
        assert handler.exists(399) is True and handler.exists(0) is False
        handler.close()


class TestCallback:
    def test_is_called_at_once_for_what_is_shown_and_later_by_alloc(self, connect):
        handler = connect()
        seen = []
        handler.set_on_region_added(lambda *region: seen.append((*region, threading.get_ident())))
        first = handler.get_owned_region_ids()[0]
        assert seen == [(first, 32, threading.get_ident())]
        for _ in range(33):
            handler.alloc(1)
        second = handler.get_owned_region_ids()[1]
        assert seen[1:] == [(second, 32, threading.get_ident())]
        handler.set_on_region_added(None)
        for _ in range(32):
            handler.alloc(1)
        assert len(seen) == 2

    def test_may_be_set_before_connect(self, marud):
        seen = []
        handler = MaruHandler(MaruConfig(server_url=marud.url, pool_size=2 * MIB, chunk_size_bytes=CHUNK))
        handler.set_on_region_added(lambda *region: seen.append(region))
        assert seen == []
        assert handler.connect()
        assert seen == [(handler.get_owned_region_ids()[0], 32)]
        handler.close()

    def test_may_use_the_handler_also_from_other_threads(self, connect):
        handler = connect()
        done = []

        def callback(region_id, page_count):
            def use():
                page = handler.alloc(1)
                assert handler.get_region_page_count(region_id) == page_count
                assert handler.get_buffer_view(region_id, 0, page_count * CHUNK) is not None
                handler.free(page)
                done.append(region_id)

            thread = threading.Thread(target=use)
            thread.start()
            thread.join(20)
            use()

        handler.set_on_region_added(callback)
        for _ in range(33):
            handler.alloc(1)
        first, second = handler.get_owned_region_ids()
        assert done == [first, first, second, second]

    def test_may_use_up_the_region_it_is_told_of(self, connect):
        handler = connect()
        calls = []

        def callback(region_id, page_count):
            calls.append(region_id)
            if len(calls) < 4:
                for _ in range(page_count + 1):
                    handler.alloc(1)

        handler.set_on_region_added(callback)
        assert len(handler.get_owned_region_ids()) == 4
        assert sorted(calls) == sorted(handler.get_owned_region_ids())

    def test_an_exception_in_it_is_logged_and_nothing_else(self, connect, caplog):
        handler = connect()

        def callback(*_):
            raise OSError("a mistake in the callback")

        handler.set_on_region_added(callback)
        for _ in range(33):
            handler.alloc(1)
        assert caplog.text.count("the callback for a shown region failed") == 2


class TestBufferView:
    def test_shows_what_was_written_to_a_page_in_every_process_alike(self, connect):
        handler = connect()
        page = handler.alloc(100)
        page.buf[:5] = b"hello"
        for h in (handler, connect()):
            view = h.get_buffer_view(page.region_id, page.page_index * CHUNK, 5)
            assert bytes(view) == b"hello"
            assert (view.readonly, view.ndim, view.format, view.c_contiguous) == (False, 1, "B", True)
            assert bytes(h.get_buffer_view(page.region_id, page.page_index * CHUNK + 1, 3)) == b"ell"

    def test_may_span_pages_where_a_page_is_a_chunk(self, connect):
        handler = connect()
        region = handler.get_owned_region_ids()[0]
        assert len(handler.get_buffer_view(region, 0, 2 * MIB)) == 2 * MIB

    @pytest.mark.parametrize("offset,size", [(-1, 1), (0, -1), (1 << 40, 1), (0, 1 << 40)])
    def test_is_none_out_of_range(self, handler, offset, size):
        assert handler.get_buffer_view(handler.get_owned_region_ids()[0], offset, size) is None

    @pytest.mark.parametrize("region", [0, 999999, -1, 1 << 40])
    def test_is_none_for_a_region_that_is_not_there(self, handler, region):
        assert handler.get_buffer_view(region, 0, 1) is None
        assert handler.get_region_page_count(region) is None

    def test_regions_of_others_have_pages_of_this_size_or_none(self, connect):
        one, same, other = connect(), connect(), connect(chunk_size_bytes=2 * CHUNK, pool_size=4 * MIB)
        one.alloc(1)
        region = one.get_owned_region_ids()[0]
        assert same.get_region_page_count(region) == 32
        assert other.get_region_page_count(region) is None
        assert other.get_buffer_view(region, 0, 1) is None

    def test_outlives_the_handler(self, connect):
        handler = connect()
        view = handler.get_buffer_view(handler.get_owned_region_ids()[0], 0, 10)
        handler.close()
        del handler
        assert len(bytes(view)) == 10


class TestChunks:
    @pytest.mark.parametrize("chunk", [1, 1000, 1024, 147456])
    def test_may_have_any_size(self, connect, key, chunk):
        handler = connect(chunk_size_bytes=chunk, pool_size=10 * chunk)
        page_bytes = max(CHUNK, -(-chunk // 4096) * 4096)
        pages = max(10, -(-10 * chunk // (2 * MIB)) * 2 * MIB // page_bytes)
        region = handler.get_owned_region_ids()[0]
        assert handler.get_region_page_count(region) == pages
        assert handler.pool_handle.length == pages * chunk
        stats = handler.get_stats()["allocator"]
        assert (stats["pool_size"], stats["chunk_size"], stats["page_count"]) == (pages * chunk, chunk, pages)
        handles = [handler.alloc(chunk) for _ in range(pages)]
        assert len(handler.get_owned_region_ids()) == 1
        assert {h.page_index for h in handles} == set(range(pages))
        for i, handle in enumerate(handles):
            handle.buf[:] = bytes([i % 256]) * chunk
        for i, handle in enumerate(handles):
            at = handle.page_index * chunk
            assert bytes(handler.get_buffer_view(handle.region_id, at, chunk)) == bytes([i % 256]) * chunk
            if handle.page_index > 0 and page_bytes != chunk:
                assert handler.get_buffer_view(handle.region_id, at - 1, 2) is None
        assert handler.batch_store([key(i) for i in range(10)], handles[:10]) == [True] * 10
        assert len(handler.retrieve(key(9)).view) == chunk
        handler.batch_delete([key(i) for i in range(10)])

    def test_a_region_is_rounded_up_to_the_pools_alignment(self, connect):
        handler = connect(chunk_size_bytes=MIB, pool_size=3 * MIB)
        assert handler.get_region_page_count(handler.get_owned_region_ids()[0]) == 4
        assert handler.pool_handle.length == 4 * MIB

    def test_a_chunk_that_no_page_can_hold_does_not_connect(self, marud):
        handler = MaruHandler(MaruConfig(server_url=marud.url, chunk_size_bytes=2 << 30, pool_size=2 << 30))
        assert handler.connect() is False


class TestStats:
    def test_sections_and_numbers(self, small):
        handler, other = opened(small), opened(small, pool_size=4 * MIB)
        keys = [str(i) for i in range(5)]
        handler.batch_store(keys, [b"x" * 100] * 5)
        page = handler.alloc(1)
        stats = handler.get_stats()
        region = handler.get_owned_region_ids()[0]
        one = {
            "pool_size": 2 * MIB,
            "chunk_size": CHUNK,
            "page_count": 32,
            "free_pages": 26,
            "allocated_pages": 6,
            "utilization": 6 / 32,
            "region_id": region,
        }
        assert stats["kv_manager"] == {"total_entries": 5, "total_size": 500}
        assert stats["allocation_manager"] == {
            "num_allocations": 2,
            "total_allocated": 6 * MIB,
            "active_clients": 2,
        }
        assert stats["stats_manager"] == {"clients": {}}
        assert stats["store_regions"] == {
            "num_regions": 1,
            "total_pool_size": 2 * MIB,
            "total_page_count": 32,
            "total_free_pages": 26,
            "total_allocated_pages": 6,
            "utilization": 6 / 32,
            "regions": [one],
        }
        assert stats["allocator"] == one == handler.allocator.get_stats()
        assert handler.owned_region_manager.get_stats() == stats["store_regions"]
        assert stats["cxl_pool"]["total_size"] == 8 * MIB
        assert stats["cxl_pool"]["free_size"] == 8 * MIB - 6 * CHUNK
        handler.free(page)
        other.batch_delete(keys)
        stats = handler.get_stats()
        assert stats["kv_manager"] == {"total_entries": 0, "total_size": 0}
        assert stats["allocator"]["allocated_pages"] == 0
        other.close()
        assert handler.get_stats()["allocation_manager"]["active_clients"] == 1
        handler.close()

    def test_every_handler_counts_at_least_one_allocation(self, connect):
        assert connect().get_stats()["allocation_manager"]["num_allocations"] >= 1
