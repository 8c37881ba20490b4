"""Goal: a page is given back by who got it, once, whatever is called late, twice or from many threads; and nobody's
page is given back by somebody else. Method: pages in memory that refuse and record every free too many."""

from __future__ import annotations

import os
import random

import pytest
import torch
from lmcache.v1.memory_management import MemoryFormat
from page_handlers import PageHandler
from together import run_together

from maru_lmcache import CxlMemoryAdapter

SHAPE = torch.Size([2, 1, 8, 2])  # 8 tokens of 8 bytes in float16
CHUNK = 64


def make(pages=4, **more):
    handler = PageHandler(CHUNK, pages=pages, **more)
    return handler, CxlMemoryAdapter(handler, [SHAPE], [torch.float16], MemoryFormat.KV_2LTD, CHUNK)


def allocate(adapter, tokens=8):
    return adapter.allocate(torch.Size([2, 1, tokens, 2]), torch.float16)


@pytest.mark.parametrize("tokens", [8, 3])
def test_a_freed_page_can_be_had_again(tokens):
    handler, adapter = make(pages=1)
    adapter.free(allocate(adapter, tokens))
    assert handler.allocated == set()
    assert allocate(adapter, tokens) is not None


@pytest.mark.parametrize("tokens", [8, 3])
def test_a_second_free_does_not_reach_the_handler(tokens):
    handler, adapter = make()
    memory_obj = allocate(adapter, tokens)
    adapter.free(memory_obj, None)
    adapter.free(memory_obj)
    adapter.batched_free([memory_obj, memory_obj], None, update_stats=False)
    assert handler.mistakes == []
    assert len(handler.free_pages) == 4


def test_a_late_free_leaves_the_page_to_who_has_it_now():
    handler, adapter = make(pages=1)
    late = allocate(adapter, tokens=3)
    adapter.free(late)
    allocate(adapter, tokens=3)
    adapter.free(late)
    assert handler.allocated == {(100, 0)}


def test_a_page_goes_with_its_store_handle():
    handler, adapter = make(pages=1)
    memory_obj = allocate(adapter)
    handle = adapter.create_store_handle(memory_obj)
    adapter.free(memory_obj)
    assert handler.allocated == {(100, 0)}
    handler.free(handle)
    assert handler.allocated == set()


def test_a_free_after_a_store_that_failed_leaves_the_page_to_who_has_it_now():
    handler, adapter = make(pages=1)
    memory_obj = allocate(adapter)
    handler.free(adapter.create_store_handle(memory_obj))  # the handler freed it: its key was there already
    handler.alloc(size=CHUNK)
    adapter.free(memory_obj)
    assert handler.allocated == {(100, 0)}
    assert handler.mistakes == []


def test_objects_that_were_read_are_not_freed():
    handler, adapter = make()
    allocate(adapter)
    adapter.free(adapter.get_by_location(100, 1, CHUNK, 8))
    adapter.free(adapter.get_by_location(100, 1, CHUNK // 2, 8))
    adapter.free(adapter.get_by_location(100, 0, CHUNK // 2, 8))
    assert handler.allocated == {(100, 0)}
    assert handler.mistakes == []


def test_freeing_what_is_no_page_is_harmless():
    handler, adapter = make()
    adapter.batched_free([None, object()])
    assert handler.mistakes == []


def test_a_handler_that_refuses_a_free_does_not_trouble_the_caller():
    handler, adapter = make()
    memory_obj = allocate(adapter)
    handler.allocated.clear()
    adapter.free(memory_obj)
    assert len(handler.mistakes) == 1


def test_counts_alone_free_nothing():
    handler, adapter = make()
    memory_obj = allocate(adapter)
    memory_obj.ref_count_down()
    del memory_obj
    assert handler.allocated == {(100, 0)}


def test_of_many_threads_that_free_one_page_one_does():
    handler, adapter = make(pages=1)
    for _ in range(50):
        memory_obj = allocate(adapter)
        run_together(8, lambda _: adapter.free(memory_obj))
    assert handler.mistakes == []
    assert len(handler.free_pages) == 1


def test_threads_never_share_a_page():
    seed = int(os.environ.get("MARU_SEED", random.randrange(1 << 32)))
    print(f"MARU_SEED={seed}")
    handler, adapter = make(pages=12)
    owners: dict[int, int] = {}

    def work(thread):
        chance = random.Random(seed + thread)
        held = []
        for _ in range(400):
            if held and chance.random() < 0.5:
                memory_obj = held.pop(chance.randrange(len(held)))
                assert memory_obj.raw_data.unique().tolist() == [thread]
                assert owners.pop(memory_obj.metadata.address) == thread
                if chance.random() < 0.3:
                    handler.free(adapter.create_store_handle(memory_obj))
                else:
                    adapter.free(memory_obj)
            else:
                shape = torch.Size([2, 1, chance.randint(1, 8), 2])
                got = adapter.batched_allocate(shape, torch.float16, chance.randint(1, 3)) or []
                for memory_obj in got:
                    assert owners.setdefault(memory_obj.metadata.address, thread) == thread
                    memory_obj.raw_data.fill_(thread)
                held += got
        for memory_obj in held:
            owners.pop(memory_obj.metadata.address)
            adapter.free(memory_obj)

    run_together(8, work)
    assert handler.mistakes == []
    assert handler.allocated == set()


def test_threads_see_one_object_a_page():
    for _ in range(20):
        handler, adapter = make(pages=64, hidden=(200,))
        seen = [None] * 8

        def look(thread, adapter=adapter, seen=seen):
            seen[thread] = [id(adapter.get_by_location(200, page, CHUNK, 8)) for page in range(64)]

        run_together(8, look)
        assert all(ids == seen[0] for ids in seen)
