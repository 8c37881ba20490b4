"""Goal: the adapter gives LMCache the objects that its backend was written against, asking a handler for nothing but
what any handler answers. Method: a mock that refuses every other call, over pages in memory."""

from __future__ import annotations

from unittest.mock import call

import pytest
import torch
from lmcache.v1.memory_management import MemoryAllocatorInterface, MemoryFormat, TensorMemoryObj
from page_handlers import PageHandler, mock_of

import maru_lmcache
from maru_handler.memory import AllocHandle
from maru_lmcache import CxlMemoryAdapter
from maru_lmcache.adapter import CxlMemoryAllocator

SHAPE = torch.Size([2, 2, 32, 2])  # 32 tokens of 32 bytes in float32
CHUNK = 1024


class Rig:
    """An adapter, the mock that it calls and the pages behind that."""

    def __init__(self, shapes=(SHAPE,), dtypes=(torch.float32,), fmt=MemoryFormat.KV_2LTD, chunk=CHUNK, **pages):
        self.pages = PageHandler(chunk, **pages)
        self.handler = mock_of(self.pages)
        self.adapter = CxlMemoryAdapter(
            handler=self.handler, shapes=list(shapes), dtypes=list(dtypes), fmt=fmt, chunk_size=chunk
        )

    def allocate(self, tokens=32):
        return self.adapter.allocate(torch.Size([2, 2, tokens, 2]), torch.float32)


@pytest.fixture
def rig():
    return Rig()


def test_names_are_the_interface():
    assert maru_lmcache.CxlMemoryAllocator is CxlMemoryAllocator is CxlMemoryAdapter
    assert issubclass(CxlMemoryAdapter, MemoryAllocatorInterface)


@pytest.mark.parametrize("region_id, page_index", [(0, 0), (1, 5), (0x7FFFFFFF, 0xFFFFFFFF)])
def test_an_address_names_its_page(region_id, page_index):
    address = CxlMemoryAdapter.encode_address(region_id, page_index)
    assert address == (region_id << 32) | page_index
    assert CxlMemoryAdapter.decode_address(address) == (region_id, page_index)


class TestPool:
    def test_it_has_each_shown_region_when_the_callback_returns(self, rig):
        assert list(rig.adapter._pool) == [100]
        assert len(rig.adapter._pool[100]) == 4
        rig.handler.set_on_region_added.assert_called_once()
        rig.handler.get_buffer_view.assert_called()

    def test_its_objects_are_full_chunks_of_their_pages(self, rig):
        for page, memory_obj in enumerate(rig.adapter._pool[100]):
            meta = memory_obj.metadata
            assert isinstance(memory_obj, TensorMemoryObj)
            assert (meta.shape, meta.dtype) == (SHAPE, torch.float32)
            assert (meta.shapes, meta.dtypes) == ([SHAPE], [torch.float32])
            assert (meta.address, meta.phy_size, meta.ref_count, meta.pin_count) == ((100 << 32) | page, CHUNK, 1, 0)
            assert meta.fmt is MemoryFormat.KV_2LTD
            assert memory_obj.parent() is None
            assert (memory_obj.get_size(), memory_obj.raw_data.dtype) == (CHUNK, torch.uint8)

    def test_an_index_gives_the_same_object_each_time(self, rig):
        pages = rig.adapter._pool[100]
        assert [pages[page] is again for page, again in enumerate(pages)] == [True] * 4
        assert pages[-1] is pages[3]
        for out in (4, -5):
            with pytest.raises(IndexError):
                pages[out]

    def test_a_region_shown_later_is_added_by_the_callback(self):
        rig = Rig(hidden=(200,))
        assert 200 not in rig.adapter._pool
        rig.pages.free_pages.clear()
        rig.pages.show(200)
        assert len(rig.adapter._pool[200]) == 4
        assert rig.allocate() is rig.adapter._pool[200][0]

    def test_a_region_shown_twice_keeps_its_objects(self, rig):
        first = rig.adapter._pool[100][0]
        rig.pages.callback(100, 4)
        assert rig.adapter._pool[100][0] is first

    def test_a_region_that_cannot_be_mapped_is_left_out(self, rig):
        rig.pages.callback(300, 4)
        assert 300 not in rig.adapter._pool

    def test_a_region_of_another_worker_is_added_on_demand(self):
        rig = Rig(hidden=(200,))
        assert rig.adapter.ensure_region_pool(200) is True
        assert len(rig.adapter._pool[200]) == 4
        assert rig.adapter.ensure_region_pool(999) is False
        assert sorted(rig.adapter._pool) == [100, 200]


class TestAllocate:
    def test_a_full_chunk_is_the_pages_own_object(self, rig):
        memory_obj = rig.allocate()
        assert memory_obj is rig.adapter._pool[100][0]
        rig.handler.alloc.assert_called_once_with(size=CHUNK)

    def test_shapes_and_dtypes_may_be_lists(self, rig):
        assert rig.adapter.allocate([SHAPE], [torch.float32], MemoryFormat.KV_2LTD, None) is rig.adapter._pool[100][0]

    def test_what_is_written_is_in_the_page(self, rig):
        rig.allocate().tensor[1, 1, 31, 1] = 1.0
        assert rig.pages.memory[100].read_bytes(CHUNK - 4, 4) == b"\x00\x00\x80\x3f"

    def test_fewer_tokens_give_a_cut_object_of_its_own(self, rig):
        memory_obj = rig.allocate(tokens=16)
        meta = memory_obj.metadata
        assert memory_obj is not rig.adapter._pool[100][0]
        assert (meta.shape, meta.shapes, meta.dtypes) == ((2, 2, 16, 2), [(2, 2, 16, 2)], [torch.float32])
        assert (meta.phy_size, memory_obj.get_size(), len(memory_obj.byte_array)) == (512, 512, 512)
        assert (meta.ref_count, meta.pin_count, meta.address) == (1, 0, 100 << 32)
        assert memory_obj.tensor.shape == (2, 2, 16, 2)
        rig.handler.alloc.assert_called_once_with(size=512)

    @pytest.mark.parametrize(
        "fmt, full, cut",
        [
            (MemoryFormat.KV_2LTD, (2, 3, 8, 5), (2, 3, 2, 5)),
            (MemoryFormat.KV_MLA_FMT, (1, 3, 8, 10), (1, 3, 2, 10)),
            (MemoryFormat.KV_T2D, (6, 8, 5), (6, 2, 5)),
            (MemoryFormat.KV_2TD, (8, 30), (2, 30)),
        ],
    )
    def test_the_token_dimension_is_the_formats(self, fmt, full, cut):
        rig = Rig([torch.Size(full)], [torch.float16], fmt, chunk=torch.Size(full).numel() * 2)
        memory_obj = rig.adapter.allocate(torch.Size(cut), torch.float16)
        assert memory_obj.metadata.shape == cut

    def test_a_shape_without_a_token_dimension_gives_the_full_object(self):
        rig = Rig([torch.Size([256])], [torch.float32])
        memory_obj = rig.adapter.allocate(torch.Size([8]), torch.float32)
        assert memory_obj is rig.adapter._pool[100][0]
        assert memory_obj.metadata.phy_size == CHUNK

    def test_bytes_that_are_no_whole_tokens_give_the_full_object(self, rig):
        memory_obj = rig.adapter.allocate(torch.Size([33]), torch.uint8)
        assert memory_obj is rig.adapter._pool[100][0]

    @pytest.mark.parametrize("shape", [(0,), (2, 2, 0, 2), (2, 2, 33, 2), (CHUNK // 4 + 1,)])
    def test_nothing_and_too_much_cost_no_page(self, rig, shape):
        assert rig.adapter.allocate(torch.Size(shape), torch.float32) is None
        rig.handler.alloc.assert_not_called()

    @pytest.mark.parametrize(
        "error", [ValueError("pool exhausted"), RuntimeError("Handler is closing"), TimeoutError("marud is gone")]
    )
    def test_no_page_is_none(self, rig, error):
        rig.handler.alloc.side_effect = error
        assert rig.allocate() is None

    def test_a_page_that_is_not_mapped_is_given_back(self, rig):
        rig.handler.alloc.side_effect = lambda size: AllocHandle(memoryview(b""), 999, 0, size)
        assert rig.allocate() is None
        assert rig.handler.free.call_args.args[0].region_id == 999

    def test_a_reused_object_is_as_new(self):
        rig = Rig(pages=1)
        memory_obj = rig.allocate()
        memory_obj.ref_count_up()
        memory_obj.pin()
        memory_obj.invalidate()
        memory_obj._used_size_override = 7
        rig.adapter.free(memory_obj)
        again = rig.allocate()
        assert again is memory_obj
        assert (again.metadata.ref_count, again.metadata.pin_count) == (1, 0)
        assert again.valid is True
        assert again._used_size_override is None

    def test_each_partial_object_is_new(self):
        rig = Rig(pages=1)
        first = rig.allocate(tokens=4)
        first.ref_count_up()
        first.pin()
        rig.adapter.free(first)
        second = rig.allocate(tokens=4)
        assert second is not first
        assert (second.metadata.ref_count, second.metadata.pin_count) == (1, 0)


class TestBatchedAllocate:
    def test_it_gives_as_many_pages(self, rig):
        memory_objs = rig.adapter.batched_allocate(torch.Size([2, 2, 8, 2]), torch.float32, 3)
        assert sorted(obj.metadata.address & 0xFF for obj in memory_objs) == [0, 1, 2]
        assert rig.handler.alloc.call_args_list == [call(size=256)] * 3

    def test_it_takes_all_or_none(self, rig):
        assert rig.adapter.batched_allocate(SHAPE, torch.float32, batch_size=5) is None
        assert len(rig.pages.free_pages) == 4
        assert len(rig.adapter.batched_allocate(SHAPE, torch.float32, batch_size=4)) == 4

    def test_of_none_is_empty(self, rig):
        assert rig.adapter.batched_allocate(SHAPE, torch.float32, 0) == []


class TestGroups:
    shapes = [torch.Size([2, 1, 8, 4]), torch.Size([2, 3, 8, 2])]
    dtypes = [torch.float16, torch.float32]
    chunk = 2 * 8 * 4 * 2 + 2 * 3 * 8 * 2 * 4

    def rig(self):
        return Rig(self.shapes, self.dtypes, chunk=self.chunk)

    def test_they_follow_each_other_in_the_page(self):
        rig = self.rig()
        memory_obj = rig.adapter.allocate(self.shapes, self.dtypes)
        memory_obj.get_tensor(0).fill_(1.0)
        memory_obj.get_tensor(1).fill_(2.0)
        stored = rig.pages.memory[100].read_bytes(0, self.chunk)
        assert stored == b"\x00\x3c" * 64 + b"\x00\x00\x00\x40" * 96
        assert memory_obj.metadata.dtype is torch.float16

    def test_all_of_them_are_cut(self):
        rig = self.rig()
        memory_obj = rig.adapter.allocate([torch.Size([2, 1, 3, 4]), torch.Size([2, 3, 3, 2])], self.dtypes)
        assert memory_obj.metadata.shapes == [(2, 1, 3, 4), (2, 3, 3, 2)]
        assert memory_obj.get_size() == memory_obj.metadata.phy_size == self.chunk // 8 * 3
        assert [memory_obj.get_tensor(group).shape[2] for group in (0, 1)] == [3, 3]

    def test_what_does_not_fit_a_page_is_refused(self):
        with pytest.raises(ValueError, match="the shapes of a chunk need 512 bytes, its page has 511"):
            Rig(self.shapes, self.dtypes, chunk=self.chunk - 1)
        with pytest.raises(ValueError, match="at least one shape"):
            Rig([], [])
        with pytest.raises(ValueError):
            Rig(self.shapes, [torch.float16])


class TestStoreHandle:
    @pytest.mark.parametrize("tokens", [32, 5])
    def test_it_names_the_page_and_its_bytes(self, rig, tokens):
        rig.allocate()
        memory_obj = rig.allocate(tokens)
        handle = rig.adapter.create_store_handle(memory_obj)
        assert (handle.region_id, handle.page_index) == (100, 1)
        assert handle._size == memory_obj.metadata.phy_size == tokens * 32

    def test_an_object_of_another_allocator_is_refused(self, rig):
        foreign = Rig(regions=(300,)).allocate()
        with pytest.raises(ValueError, match="is no page of this adapter"):
            rig.adapter.create_store_handle(foreign)
        own = rig.allocate()
        with pytest.raises(ValueError, match="is no page of this adapter"):
            rig.adapter.create_store_handle(TensorMemoryObj(own.raw_data, own.metadata, None))


class TestGetByLocation:
    def get(self, rig, page=2, size=CHUNK, region=100, token=32):
        return rig.adapter.get_by_location(region_id=region, page_index=page, actual_size=size, single_token_size=token)

    def test_a_full_chunk_is_the_pages_own_object(self, rig):
        assert self.get(rig) is rig.adapter._pool[100][2]

    def test_fewer_tokens_give_a_cut_object_of_its_own(self, rig):
        rig.pages.get_buffer_view(100, 2 * CHUNK, 4)[:] = b"\x00\x00\x80\x3f"
        memory_obj = self.get(rig, size=512)
        assert memory_obj is not rig.adapter._pool[100][2]
        assert (memory_obj.metadata.phy_size, memory_obj.get_size()) == (512, 512)
        assert memory_obj.metadata.shape == memory_obj.tensor.shape == (2, 2, 16, 2)
        assert memory_obj.tensor[0, 0, 0, 0] == 1.0
        assert self.get(rig, size=512) is not memory_obj

    def test_a_region_of_another_worker_is_taken_on_demand(self):
        rig = Rig(hidden=(200,))
        assert self.get(rig, region=200) is rig.adapter._pool[200][2]

    @pytest.mark.parametrize(
        "where", [{"region": 999}, {"page": 4}, {"page": -1}, {"size": CHUNK + 1}, {"size": 0}, {"size": -32}]
    )
    def test_what_is_not_there_is_none(self, rig, where):
        assert self.get(rig, **where) is None

    @pytest.mark.parametrize(
        "where", [{"size": 33}, {"size": 31}, {"size": 512, "token": 0}, {"size": 512, "token": 16}]
    )
    def test_bytes_that_are_no_whole_tokens_are_none(self, rig, where):
        assert self.get(rig, **where) is None

    def test_a_shape_without_a_token_dimension_gives_the_full_object(self):
        rig = Rig([torch.Size([256])], [torch.float32])
        assert self.get(rig, size=512) is rig.adapter._pool[100][2]

    def test_reading_leaves_the_counts_alone(self, rig):
        memory_obj = self.get(rig)
        memory_obj.ref_count_up()
        memory_obj.pin()
        assert self.get(rig) is memory_obj
        assert (memory_obj.metadata.ref_count, memory_obj.metadata.pin_count) == (2, 1)


class TestPagesLargerThanChunks:
    @pytest.mark.parametrize("chunk", [1, 1000, 4096])
    def test_each_object_is_in_its_own_page(self, chunk):
        rig = Rig([torch.Size([chunk])], [torch.uint8], chunk=chunk, slot=65536)
        for page, memory_obj in enumerate(rig.adapter._pool[100]):
            memory_obj.tensor.fill_(page + 1)
        starts = [rig.pages.memory[100].read_bytes(page * 65536, chunk) for page in range(4)]
        assert starts == [bytes([page + 1]) * chunk for page in range(4)]


class TestClose:
    def test_it_unregisters_and_empties_the_pool(self, rig):
        rig.allocate()
        rig.adapter.close()
        rig.adapter.close()
        assert rig.adapter._pool == {}
        assert rig.handler.set_on_region_added.call_args_list[1:] == [call(None)]

    def test_nothing_is_given_out_afterwards(self):
        rig = Rig(hidden=(200,))
        callback = rig.pages.callback
        rig.adapter.close()
        callback(200, 4)
        assert rig.adapter._pool == {}
        assert rig.adapter.get_by_location(100, 0, CHUNK, 32) is None
        assert rig.adapter.ensure_region_pool(200) is False
        assert rig.allocate() is None
        assert len(rig.pages.free_pages) == 4

    def test_objects_stay_readable(self, rig):
        memory_obj = rig.allocate()
        memory_obj.tensor.fill_(3.0)
        rig.adapter.close()
        assert memory_obj.tensor[1, 1, 31, 1] == 3.0
        rig.adapter.free(memory_obj)
        rig.handler.free.assert_not_called()


def test_memcheck_is_true(rig):
    assert rig.adapter.memcheck() is True
