"""Goal: alloc, free, store and batch_store do what the contract says, clause by clause. Method: a real marud."""

from __future__ import annotations

import array
import threading

import pytest
from marud import wait_until

from maru import AllocHandle, MaruConfig, MaruHandler

CHUNK = 64 << 10


def put(handler, key, text=b"abc"):
    page = handler.alloc(len(text))
    page.buf[:] = text
    assert handler.store(key, page) is True
    return page


def location(handle):
    return handle.region_id, handle.page_index


class TestAlloc:
    @pytest.mark.parametrize("size", [0, 1, 1000, CHUNK])
    def test_buf_is_a_writable_memoryview_of_exactly_the_size(self, handler, size):
        page = handler.alloc(size=size)
        assert isinstance(page, AllocHandle)
        assert isinstance(page.buf, memoryview)
        assert (len(page.buf), page.size) == (size, size)
        assert (page.buf.readonly, page.buf.ndim, page.buf.format, page.buf.c_contiguous) == (False, 1, "B", True)
        page.buf[:] = b"x" * size
        handler.free(page)

    def test_more_than_a_chunk_is_refused_with_both_numbers(self, handler):
        with pytest.raises(ValueError, match=f"^Requested size {CHUNK + 1} exceeds chunk_size {CHUNK}$"):
            handler.alloc(CHUNK + 1)

    def test_a_negative_size_is_refused(self, handler):
        with pytest.raises(ValueError, match="-1"):
            handler.alloc(-1)

    @pytest.mark.parametrize("size", ["5", None, 1.5, [1]])
    def test_a_wrong_type_raises_type_error_and_costs_no_page(self, handler, size):
        with pytest.raises(TypeError):
            handler.alloc(size)
        assert handler.allocator.num_allocated == 0

    def test_pages_that_are_allocated_at_the_same_time_differ(self, handler):
        pages = [handler.alloc(10) for _ in range(20)]
        assert len({location(p) for p in pages}) == 20
        for i, page in enumerate(pages):
            page.buf[:] = bytes([i]) * 10
        assert [bytes(p.buf) for p in pages] == [bytes([i]) * 10 for i in range(20)]


class TestFree:
    def test_a_freed_page_is_free_again(self, handler):
        page = handler.alloc(10)
        assert handler.allocator.num_allocated == 1
        handler.free(page)
        assert handler.allocator.num_allocated == 0

    def test_a_handle_made_by_the_caller_will_do(self, handler):
        page = handler.alloc(10)
        handler.free(AllocHandle(memoryview(b""), page.region_id, page.page_index, 10))
        with pytest.raises(ValueError, match="Double free"):
            handler.free(page)

    def test_a_double_free_names_the_page(self, handler):
        page = handler.alloc(10)
        handler.free(handle=page)
        with pytest.raises(
            ValueError, match=f"^Double free detected: page {page.page_index} is not allocated$"
        ):
            handler.free(page)

    def test_an_index_past_the_region_is_invalid(self, handler):
        region = handler.get_owned_region_ids()[0]
        for index in (handler.get_region_page_count(region), 1 << 40, -1):
            with pytest.raises(ValueError, match="^Invalid page_index"):
                handler.free(AllocHandle(memoryview(b""), region, index, 1))

    def test_an_unknown_region_is_not_found(self, handler):
        with pytest.raises(KeyError, match="Owned region 999 not found"):
            handler.free(AllocHandle(memoryview(b""), 999, 0, 1))

    def test_a_committed_page_is_refused_until_its_key_is_gone(self, handler, connect, key):
        page = put(handler, key())
        with pytest.raises(ValueError, match=f"^Page {page.page_index} holds a committed key$"):
            handler.free(page)
        assert connect().delete(key()) is True
        with pytest.raises(ValueError, match="^Double free detected"):
            handler.free(page)

    def test_another_handlers_page_is_not_freed(self, handler, connect):
        page = handler.alloc(10)
        other = connect()
        with pytest.raises((ValueError, KeyError)):
            other.free(page)
        handler.free(page)


class TestStore:
    def test_true_for_mine_and_for_an_earlier_one_whose_bytes_stay(self, handler, connect, key):
        put(handler, key(), b"first")
        other = connect()
        page = other.alloc(6)
        page.buf[:] = b"second"
        assert other.store(key=key(), handle=page) is True
        assert bytes(other.retrieve(key()).view) == b"first"
        assert other.allocator.num_allocated == 0, "the page of the later one is free again"

    def test_the_same_handle_twice_under_one_key_is_harmless(self, handler, key):
        page = put(handler, key())
        assert handler.store(key(), page) is True
        assert handler.allocator.num_allocated == 1
        assert bytes(handler.retrieve(key()).view) == b"abc"

    def test_the_same_handle_under_another_key_is_false(self, handler, key):
        page = put(handler, key("a"))
        assert handler.store(key("b"), page) is False
        assert handler.exists(key("b")) is False
        assert handler.exists(key("a")) is True

    def test_a_handle_made_by_the_caller_names_the_page_and_the_length(self, handler, key):
        page = handler.alloc(100)
        page.buf[:] = b"y" * 100
        made = AllocHandle(buf=memoryview(b""), _region_id=page.region_id, _page_index=page.page_index, _size=7)
        assert handler.store(key(), made) is True
        assert bytes(handler.retrieve(key()).view) == b"y" * 7

    def test_a_handle_may_be_longer_than_what_was_allocated(self, handler, key):
        page = handler.alloc(1)
        made = AllocHandle(memoryview(b""), page.region_id, page.page_index, CHUNK)
        assert handler.store(key(), made) is True
        assert len(handler.retrieve(key()).view) == CHUNK

    def test_a_length_over_the_chunk_is_refused_and_the_page_stays(self, handler, key):
        page = handler.alloc(1)
        with pytest.raises(ValueError):
            handler.store(key(), AllocHandle(memoryview(b""), page.region_id, page.page_index, CHUNK + 1))
        assert handler.store(key(), page) is True

    def test_a_foreign_handle_is_true_only_where_the_key_exists(self, handler, connect, key, caplog):
        foreign = connect().alloc(3)
        assert handler.store(key("a"), foreign) is False
        assert "failed to store 1 of 1 chunks: the page is not open for writing" in caplog.text
        assert handler.exists(key("a")) is False
        put(handler, key("b"))
        assert handler.store(key("b"), foreign) is True
        nowhere = AllocHandle(memoryview(b""), 1 << 40, -5, 3)
        assert handler.store(key("a"), nowhere) is False

    def test_a_freed_handle_is_not_stored(self, handler, key):
        page = handler.alloc(3)
        handler.free(page)
        assert handler.store(key(), page) is False
        assert handler.exists(key()) is False

    def test_an_empty_chunk_is_a_chunk(self, handler, key):
        assert handler.store(key(), handler.alloc(0)) is True
        assert len(handler.retrieve(key()).view) == 0

    @pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc"), array.array("B", b"abc")])
    def test_data_is_copied(self, handler, key, data):
        assert handler.store(key(), data=data) is True
        assert bytes(handler.retrieve(key()).view) == b"abc"

    def test_data_of_wider_items_is_stored_as_its_bytes(self, handler, key):
        numbers = array.array("I", [1, 2, 3])
        assert handler.store(key(), data=numbers) is True
        assert bytes(handler.retrieve(key()).view) == numbers.tobytes()

    def test_data_over_the_chunk_and_data_that_is_none_cost_no_page(self, handler, key):
        with pytest.raises(ValueError, match="exceeds chunk_size"):
            handler.store(key(), data=b"x" * (CHUNK + 1))
        for wrong in ("text", 5, memoryview(b"abcd")[::2]):
            with pytest.raises(TypeError):
                handler.store(key(), data=wrong)
        with pytest.raises(TypeError):
            handler.store(object(), data=b"abc")
        with pytest.raises(TypeError):
            handler.store(key())
        assert handler.allocator.num_allocated == 0

    def test_a_page_is_stored_once_however_many_threads_try(self, handler, key):
        page = handler.alloc(3)
        page.buf[:] = b"abc"
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(handler.store(key(), page))) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(20)
        assert answers == [True] * 8
        assert handler.allocator.num_allocated == 1


class TestBatchStore:
    def test_one_flag_per_key_in_order(self, handler, key):
        pages = [handler.alloc(1) for _ in range(5)]
        for i, page in enumerate(pages):
            page.buf[:] = bytes([i])
        answers = handler.batch_store(keys=[key(i) for i in range(5)], handles=pages)
        assert answers == [True] * 5 and type(answers) is list and all(type(a) is bool for a in answers)
        assert [handler.retrieve(key(i)).view[0] for i in range(5)] == list(range(5))

    def test_nothing_is_stored_for_nothing(self, handler):
        assert handler.batch_store([], []) == []

    def test_keys_and_handles_of_different_lengths_are_refused(self, handler, key):
        with pytest.raises(ValueError, match="^keys and handles must have the same length$"):
            handler.batch_store([key()], [])

    def test_a_key_that_comes_twice_is_stored_once_and_the_second_page_is_free(self, handler, key):
        pages = [handler.alloc(1) for _ in range(3)]
        for i, page in enumerate(pages):
            page.buf[:] = bytes([i])
        assert handler.batch_store([key("a"), key("b"), key("a")], pages) == [True, True, True]
        assert handler.retrieve(key("a")).view[0] == 0
        assert handler.allocator.num_allocated == 2
        with pytest.raises(ValueError, match="Double free"):
            handler.free(pages[2])

    def test_a_handle_that_comes_twice_is_stored_once(self, handler, key):
        page = handler.alloc(1)
        assert handler.batch_store([key("a"), key("a"), key("b")], [page, page, page]) == [True, True, False]

    def test_data_will_do_in_place_of_handles(self, handler, key):
        page = handler.alloc(1)
        page.buf[:] = b"0"
        assert handler.batch_store([key(0), key(1), key(2)], [page, memoryview(b"11"), b"222"]) == [True] * 3
        assert [bytes(i.view) for i in handler.batch_retrieve([key(i) for i in range(3)])] == [b"0", b"11", b"222"]

    def test_data_that_is_too_long_is_false_and_its_neighbours_are_stored(self, handler, key):
        assert handler.batch_store([key("a"), key("b")], [memoryview(bytes(CHUNK + 1)), b"b"]) == [False, True]

    def test_a_wrong_key_stores_nothing_and_costs_nothing(self, handler, key):
        page = handler.alloc(1)
        with pytest.raises(TypeError):
            handler.batch_store([key("a"), 1.5], [page, b"x"])
        assert handler.exists(key("a")) is False
        handler.free(page)
        assert handler.allocator.num_allocated == 0

    def test_a_batch_may_have_any_length(self, marud, key):
        config = MaruConfig(server_url=marud.url, chunk_size_bytes=4096, pool_size=2 << 20, timeout_ms=20000)
        with MaruHandler(config) as handler:
            keys = [key(i) for i in range(300)]
            for at in range(0, 300, 100):
                assert handler.batch_store(keys[at : at + 100], [b"x"] * 100) == [True] * 100
            many = keys * 20 + [key("missing")]
            assert handler.batch_exists(many) == [True] * 6000 + [False]
            again = handler.batch_store(many[:6000], [AllocHandle(memoryview(b""), 0, 0, 1)] * 6000)
            assert again == [True] * 6000
            assert handler.batch_delete(keys) == [True] * 300


def test_a_page_of_a_removed_key_is_stored_again_by_anyone(handler, connect, key):
    put(handler, key(), b"old")
    other = connect()
    assert other.delete(key()) is True
    put(other, key(), b"new")
    assert bytes(handler.retrieve(key()).view) == b"new"
    assert wait_until(lambda: handler.allocator.num_allocated == 0)
