"""Goal: retrieve, exists, pin, unpin and delete do what the contract says, clause by clause. Method: a real marud."""

from __future__ import annotations

import gc
import json
import threading

import numpy
import pytest
from marud import wait_until

from maru_handler.memory import MemoryInfo


def fill(handler, key, names, text=b"abc"):
    assert handler.batch_store([key(n) for n in names], [text] * len(names)) == [True] * len(names)


class TestRetrieve:
    def test_view_is_writable_one_dimensional_and_as_long_as_what_was_stored(self, handler, connect, key):
        fill(handler, key, "a", b"hello")
        info = connect().retrieve(key("a"))
        assert isinstance(info, MemoryInfo)
        view = info.view
        assert bytes(view) == b"hello"
        assert (view.readonly, view.ndim, view.format, view.c_contiguous, len(view)) == (False, 1, "B", True, 5)

    def test_a_view_is_the_page_itself(self, handler, key):
        page = handler.alloc(3)
        page.buf[:] = b"abc"
        handler.store(key(), page)
        info = handler.retrieve(key())
        assert (info.region_id, info.page_index) == (page.region_id, page.page_index)
        page.buf[0:1] = b"X"
        assert bytes(info.view) == b"Xbc"

    def test_a_missing_key_is_none(self, handler, key):
        assert handler.retrieve(key()) is None

    def test_a_batch_has_an_entry_per_key_and_no_prefix_stop(self, handler, key):
        fill(handler, key, "ac")
        infos = handler.batch_retrieve([key("a"), key("b"), key("c"), key("a")])
        assert type(infos) is list
        assert [i and bytes(i.view) for i in infos] == [b"abc", None, b"abc", b"abc"]
        assert handler.batch_retrieve([]) == []

    def test_numpy_and_memoryview_share_the_page(self, handler, key):
        fill(handler, key, "a", numpy.arange(6, dtype="f4").tobytes())
        info = handler.retrieve(key("a"))
        array = info.as_numpy("f4", (2, 3))
        assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert numpy.shares_memory(array, numpy.frombuffer(info.view, "u1"))

    def test_torch_shares_the_page(self, handler, key):
        torch = pytest.importorskip("torch")
        fill(handler, key, "a", bytes(8))
        info = handler.retrieve(key("a"))
        tensor = torch.frombuffer(info.view, dtype=torch.uint8)
        tensor[0] = 7
        assert info.view[0] == 7


class TestViews:
    def test_a_view_outlives_its_handler(self, connect, key):
        handler = connect()
        fill(handler, key, "a", b"still here")
        view = handler.retrieve(key("a")).view
        handler.close()
        del handler
        gc.collect()
        assert bytes(view) == b"still here"

    def test_a_page_keeps_its_bytes_as_long_as_something_made_from_its_view_lives(self, connect, key):
        writer, reader = connect(pool_size=64 << 20), connect()
        fill(writer, key, "a", b"a" * 1000)
        array = numpy.frombuffer(reader.retrieve(key("a")).view[10:20], "u1")[2:]
        gc.collect()
        writer.delete(key("a"))
        # More than the pool holds: whatever may be reused is.
        for i in range(1500):
            writer.store(key(i), data=b"b" * 1000)
        assert bytes(array) == b"a" * 8

    def test_a_view_does_not_keep_its_key(self, connect, key):
        writer, reader, other = connect(), connect(), connect()
        fill(writer, key, "a", b"old")
        view = reader.retrieve(key("a")).view
        assert other.delete(key("a")) is True
        assert reader.exists(key("a")) is False
        assert other.store(key("a"), data=b"new") is True
        assert bytes(view) == b"old"
        assert bytes(reader.retrieve(key("a")).view) == b"new"
        assert other.delete(key("a")) is True

    def test_a_page_that_only_a_view_holds_is_free_in_every_statistic(self, connect, key):
        handler, other = connect(), connect()
        handler.free(handler.alloc(1))
        before = handler.get_stats()
        fill(handler, key, "a")
        view = handler.retrieve(key("a")).view
        assert handler.allocator.num_allocated == 1
        assert other.delete(key("a")) is True
        assert handler.allocator.num_allocated == 0
        after = handler.get_stats()
        for section in ("kv_manager", "cxl_pool", "allocation_manager"):
            assert after[section] == before[section], section
        del view

    def test_a_page_is_granted_again_only_when_its_last_view_is_gone(self, connect, key, small):
        handler, other = connect(small), connect(small)
        fill(handler, key, "a")
        info = handler.retrieve(key("a"))
        where, part = (info.region_id, info.page_index), info.view[1:2]
        del info
        assert other.delete(key("a")) is True
        pages = [handler.alloc(1) for _ in range(31)]
        assert where not in {(p.region_id, p.page_index) for p in pages}
        assert bytes(part) == b"b"
        del part
        assert wait_until(lambda: json.loads(small.ctl("--json", "status"))["pages"]["evicting"] == 0)

        def granted_again():
            pages.append(handler.alloc(1))  # kept: a page that was fetched ahead comes before it
            return (pages[-1].region_id, pages[-1].page_index) == where

        assert wait_until(granted_again)

    def test_close_with_views_is_not_counted_as_active(self, connect, key):
        handler, other = connect(), connect()
        fill(handler, key, "a")
        active = other.get_stats()["allocation_manager"]["active_clients"]
        view = handler.retrieve(key("a")).view
        handler.close()
        assert wait_until(lambda: other.get_stats()["allocation_manager"]["active_clients"] == active - 1)
        assert other.delete(key("a")) is True
        for i in range(1500):
            other.store(key(i), data=b"z" * 100)
        assert bytes(view) == b"abc"

    def test_views_may_go_on_any_thread_and_in_garbage_collection(self, handler, key):
        names = [str(i) for i in range(64)]
        fill(handler, key, names)
        keys = [key(n) for n in names]

        def churn():
            for _ in range(30):
                cycle = [handler.batch_retrieve(keys)]
                cycle.append(cycle)
                del cycle
                gc.collect()

        threads = [threading.Thread(target=churn) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert wait_until(lambda: handler.batch_delete(keys) and not any(handler.batch_exists(keys)))

    def test_unpin_does_not_release_a_view(self, handler, key):
        fill(handler, key, "a")
        view = handler.retrieve(key("a")).view
        assert handler.unpin(key("a")) is False
        assert bytes(view) == b"abc"


class TestExists:
    def test_one_flag_per_key_and_no_prefix_stop(self, handler, connect, key):
        fill(handler, key, "ac")
        other = connect()
        assert other.exists(key("a")) is True
        assert other.exists(key=key("b")) is False
        flags = other.batch_exists([key("b"), key("a"), key("c")])
        assert flags == [False, True, True] and type(flags) is list and all(type(f) is bool for f in flags)
        assert other.batch_exists(keys=[]) == []


class TestPin:
    def test_pins_count_and_end_at_zero(self, handler, key):
        fill(handler, key, "a")
        assert handler.pin(key("a")) is True
        assert handler.pin(key=key("a")) is True
        assert [handler.unpin(key("a")) for _ in range(3)] == [True, True, False]

    def test_a_missing_key_is_not_pinned(self, handler, key):
        assert handler.pin(key()) is False
        assert handler.unpin(key=key()) is False

    def test_a_pin_belongs_to_the_handler_that_took_it(self, connect, key):
        one, two = connect(instance_id="same"), connect(instance_id="same")
        fill(one, key, "a")
        assert one.pin(key("a")) is True
        assert two.unpin(key("a")) is False
        assert two.delete(key("a")) is False
        assert one.unpin(key("a")) is True
        assert two.delete(key("a")) is True

    def test_pins_of_two_handlers_both_count_against_delete(self, connect, key):
        one, two = connect(), connect()
        fill(one, key, "a")
        assert one.pin(key("a")) and two.pin(key("a"))
        assert one.delete_status(key("a")) == "pinned"
        one.unpin(key("a"))
        assert one.delete_status(key("a")) == "pinned"
        two.unpin(key("a"))
        assert one.delete_status(key("a")) == "removed"

    def test_a_batch_stops_at_the_first_miss(self, handler, key):
        fill(handler, key, "abd")
        flags = handler.batch_pin([key("a"), key("b"), key("c"), key("d")])
        assert flags == [True, True, False, False] and type(flags) is list and all(type(f) is bool for f in flags)
        assert handler.batch_unpin([key(n) for n in "abcd"]) == [True, True, False, False]

    def test_a_key_repeated_n_times_takes_n_pins(self, handler, key):
        fill(handler, key, "a")
        assert handler.batch_pin([key("a")] * 3) == [True] * 3
        assert handler.batch_unpin([key("a")] * 4) == [True, True, True, False]

    def test_prefix_stop_and_repeats_carry_across_the_parts_of_a_long_batch(self, handler, key):
        fill(handler, key, "ab")
        keys = [key("a")] * 5000 + [key("missing")] + [key("b")] * 5000
        assert handler.batch_pin(keys) == [True] * 5000 + [False] * 5001
        assert handler.batch_unpin(keys) == [True] * 5000 + [False] * 5001

    def test_pins_end_with_close(self, handler, connect, key):
        fill(handler, key, "a")
        other = connect()
        assert other.pin(key("a")) is True
        other.close()
        assert handler.delete(key("a")) is True


class TestReleaseServicePin:
    def test_ends_one_pin_of_this_handler_on_the_page(self, handler, connect, key):
        fill(handler, key, "a")
        handler.batch_pin([key("a")] * 2)
        info = handler.retrieve(key("a"))
        where = info.region_id, info.page_index
        assert connect()._release_service_pin(*where) is False
        assert handler._release_service_pin(*where) is True
        assert handler.delete_status(key("a")) == "pinned"
        assert handler._release_service_pin(*where) is True
        assert handler._release_service_pin(*where) is False
        del info
        assert wait_until(lambda: handler.delete(key("a")))

    def test_what_unpin_ended_is_not_released_again(self, handler, key):
        fill(handler, key, "a")
        handler.pin(key("a"))
        info = handler.retrieve(key("a"))
        assert handler.unpin(key("a")) is True
        assert handler._release_service_pin(info.region_id, info.page_index) is False

    def test_a_view_alone_is_no_service_pin(self, handler, key):
        fill(handler, key, "a")
        info = handler.retrieve(key("a"))
        assert handler._release_service_pin(info.region_id, info.page_index) is False
        assert bytes(info.view) == b"abc"

    @pytest.mark.parametrize("where", [(0, 0), (1 << 40, 0), (-1, -1), ("x", None)])
    def test_never_raises(self, handler, where):
        assert handler._release_service_pin(*where) is False
        handler.close()
        assert handler._release_service_pin(*where) is False


class TestDelete:
    def test_any_handler_may_delete(self, handler, connect, key):
        fill(handler, key, "a")
        other = connect()
        assert other.delete(key=key("a")) is True
        assert handler.exists(key("a")) is False
        assert handler.delete(key("a")) is False

    def test_status_says_removed_missing_or_pinned(self, handler, key):
        fill(handler, key, "a")
        assert handler.delete_status(key("b")) == "missing"
        handler.pin(key("a"))
        assert handler.delete_status(key("a")) == "pinned"
        handler.unpin(key("a"))
        assert handler.delete_status(key("a")) == "removed"

    def test_a_batch_has_a_flag_per_key(self, handler, key):
        fill(handler, key, "abc")
        handler.pin(key("b"))
        assert handler.batch_delete(keys=[key(n) for n in "abcda"]) == [True, False, True, False, False]
        assert handler.batch_delete([]) == []
        handler.unpin(key("b"))


class TestKeys:
    def test_keys_of_each_type_are_their_own(self, handler):
        keys = ["", "42", 42, b"42", None, -42, "None", b"", 10**30, "\u00e4\u20ac", b"\xffi42", True]
        for i, key in enumerate(keys):
            assert handler.store(key, data=bytes([i])) is True
        assert [i.view[0] for i in handler.batch_retrieve(keys)] == list(range(len(keys)))
        assert handler.batch_delete(keys) == [True] * len(keys)

    def test_text_is_its_utf_8(self, handler, marud, key):
        assert handler.store(key("\u00e4"), data=b"abc")
        assert "hello" not in marud.ctl("get", key("\u00e4"))
        assert marud.ctl("get", key("\u00e4")) == "abc"

    @pytest.mark.parametrize("size", [1023, 1024, 1025, 100000])
    def test_a_key_may_have_any_length(self, handler, key, size):
        long, other = "x" * size, "x" * (size - 1) + "y"
        assert handler.store(long, data=b"1") and handler.store(other, data=b"2")
        assert [bytes(i.view) for i in handler.batch_retrieve([long, other])] == [b"1", b"2"]
        handler.batch_delete([long, other])

    def test_text_that_has_no_utf_8_is_a_key(self, handler):
        assert handler.store("\ud800", data=b"1")
        assert handler.exists("\ud801") is False
        assert handler.delete("\ud800") is True

    @pytest.mark.parametrize("wrong", [1.5, (1,), ["a"], bytearray(b"a"), object()])
    def test_other_types_raise_type_error(self, handler, wrong):
        page = handler.alloc(1)
        for call in (handler.exists, handler.retrieve, handler.pin, handler.unpin, handler.delete):
            with pytest.raises(TypeError):
                call(wrong)
        with pytest.raises(TypeError):
            handler.store(wrong, page)
        handler.free(page)
