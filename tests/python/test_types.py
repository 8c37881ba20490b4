"""Goal: the plain types work without a server and keep their promises about views. Method: each over an anonymous map
or a bytearray."""

from __future__ import annotations

import gc
import mmap
import pickle
import weakref

import numpy
import pytest

from maru_handler.memory import AllocHandle, MappedRegion, MemoryInfo, OwnedRegion


@pytest.fixture
def mapping():
    return mmap.mmap(-1, 4096)


def region_of(buffer, size=4096):
    return MappedRegion(region_id=7, handle=object(), size=size, _mmap_obj=buffer)


def test_a_handle_made_by_a_caller_names_its_page():
    handle = AllocHandle(buf=memoryview(b""), _region_id=3, _page_index=9, _size=256)
    assert (handle.region_id, handle.page_index, handle.size) == (3, 9, 256)
    assert (handle._region_id, handle._page_index, handle._size) == (3, 9, 256)


def test_handles_are_equal_only_to_themselves():
    first, second = (AllocHandle(memoryview(b""), 1, 2, 3) for _ in range(2))
    assert first == first
    assert first != second
    assert len({first, second}) == 2


def test_printing_a_handle_or_an_info_does_not_print_its_bytes():
    assert "s3cret" not in repr(AllocHandle(memoryview(b"s3cret"), 1, 2, 6))
    assert "memory" not in repr(MemoryInfo(memoryview(b"s3cret")))


def test_an_info_has_no_location_unless_it_is_told():
    info = MemoryInfo(view=memoryview(b"abc"))
    assert (bytes(info.view), info.region_id, info.page_index) == (b"abc", 0, 0)


@pytest.mark.parametrize("make", [lambda view: AllocHandle(view, 1, 2, len(view)), lambda view: MemoryInfo(view)])
class TestTensors:
    def test_numpy_writes_go_to_the_page(self, make):
        memory = bytearray(24)
        array = make(memoryview(memory)).as_numpy("<u4", (2, 3))
        array[1, 2] = 0x01020304
        assert memory == bytes(20) + b"\x04\x03\x02\x01"

    def test_numpy_takes_all_items_when_no_shape_is_given(self, make):
        assert make(memoryview(bytearray(24))).as_numpy("f8").shape == (3,)
        assert make(memoryview(bytearray(24))).as_numpy().shape == (24,)
        assert make(memoryview(bytearray())).as_numpy().shape == (0,)

    def test_a_shape_may_leave_a_rest_and_not_exceed_the_bytes(self, make):
        page = make(memoryview(bytearray(24)))
        assert page.as_numpy("f8", 2).shape == (2,)
        with pytest.raises((TypeError, ValueError)):
            page.as_numpy("f8", 4)
        with pytest.raises(ValueError, match="24 bytes are no whole number of items of 16 bytes"):
            page.as_numpy("c16")

    def test_an_array_keeps_the_view_alive(self, make):
        class Memory(bytearray):  # a bytearray that can be watched
            pass

        memory = Memory(16)
        gone = weakref.ref(memory)
        array = make(memoryview(memory)).as_numpy()[4:8]
        del memory
        gc.collect()
        assert gone() is not None
        del array
        gc.collect()
        assert gone() is None

    def test_torch_shares_the_bytes(self, make):
        torch = pytest.importorskip("torch")
        memory = bytearray(16)
        page = make(memoryview(memory))
        torch.from_dlpack(page)[3] = 77
        torch.frombuffer(page.as_numpy(), dtype=torch.uint8)[4] = 78
        assert memory[3:5] == b"MN"


def test_a_region_gives_writable_views_of_its_bytes(mapping):
    region = region_of(mapping)
    view = region.get_buffer_view(100, 5)
    assert (len(view), view.readonly, view.ndim, view.format, view.c_contiguous) == (5, False, 1, "B", True)
    view[:] = b"hello"
    assert region.read_bytes(100, 5) == b"hello"
    assert mapping[100:105] == b"hello"


@pytest.mark.parametrize("offset, size", [(4000, 97), (-1, 10), (0, -1), (4097, 0), (0, 4097)])
def test_a_view_out_of_range_is_none(mapping, offset, size):
    assert region_of(mapping).get_buffer_view(offset, size) is None


@pytest.mark.parametrize("offset, size", [(0, 0), (4096, 0), (0, 4096), (4095, 1)])
def test_a_view_up_to_the_end_is_given(mapping, offset, size):
    assert len(region_of(mapping).get_buffer_view(offset, size)) == size


def test_a_region_does_not_reach_beyond_its_size_or_its_buffer(mapping):
    assert region_of(mapping, size=100).get_buffer_view(0, 101) is None
    assert region_of(mapping, size=100).read_bytes(90, 100) == bytes(10)
    assert region_of(mapping, size=9000).get_buffer_view(4000, 200) is None


def test_any_writable_buffer_will_do():
    array = numpy.zeros((2, 4), dtype="<u2")
    region_of(array, size=16).get_buffer_view(0, 2)[:] = b"\x01\x02"
    assert array[0, 0] == 0x0201


def test_reading_over_the_end_gives_what_is_there(mapping):
    assert len(region_of(mapping).read_bytes(4000, 200)) == 96
    with pytest.raises(ValueError, match="must not be negative"):
        region_of(mapping).read_bytes(-5, 5)


def test_a_region_that_is_not_mapped_has_no_bytes():
    region = region_of(None)
    assert region.is_mapped is False
    assert region.get_buffer_view(0, 1) is None
    with pytest.raises(RuntimeError, match="not mapped"):
        region.read_bytes(0, 1)


def test_release_lets_the_buffer_be_closed(mapping):
    region = region_of(mapping)
    assert region.is_mapped is True
    region.release()
    region.release()
    assert region.is_mapped is False
    assert region.get_buffer_view(0, 1) is None
    mapping.close()


def test_views_outlive_release(mapping):
    region = region_of(mapping)
    view = region.get_buffer_view(0, 4)
    made_from_the_view_itself = pickle.PickleBuffer(region._buffer_view)
    region.release()
    view[0] = 9
    assert made_from_the_view_itself.raw()[0] == 9
    assert region.is_mapped is False


def test_an_owned_region_names_its_allocator():
    allocator = object()
    assert OwnedRegion(region_id=4, allocator=allocator).allocator is allocator
