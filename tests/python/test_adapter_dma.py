"""Goal: the adapter has a region registered for DMA when its pages are first used, once, and undone by close. Method:
pages in memory and a registrar that records what it is given."""

from __future__ import annotations

import pytest
import torch
from lmcache.v1.memory_management import MemoryFormat
from page_handlers import PageHandler
from together import run_together

from maru_lmcache import CxlMemoryAdapter, dma

SHAPE = torch.Size([2, 1, 8, 2])
CHUNK = 64


class Registrar:
    def __init__(self):
        self.spans = []
        self.closed = 0

    def register(self, span):
        self.spans.append(span)

    def close(self):
        self.closed += 1


@pytest.fixture
def registrar(monkeypatch):
    registrar = Registrar()
    monkeypatch.setattr(dma, "registrar_of_this_process", lambda: registrar)
    return registrar


def make(**pages):
    handler = PageHandler(CHUNK, **pages)
    return handler, CxlMemoryAdapter(handler, [SHAPE], [torch.float16], MemoryFormat.KV_2LTD, CHUNK)


def where(handler, region_id):
    return torch.frombuffer(handler.memory[region_id].get_buffer_view(0, 1), dtype=torch.uint8).data_ptr()


def test_a_region_that_is_only_shown_is_not_registered(registrar):
    _, adapter = make(hidden=(200,))
    adapter.ensure_region_pool(200)
    assert registrar.spans == []


def test_it_is_registered_once_with_its_first_page(registrar):
    handler, adapter = make(pages=8)
    adapter.allocate(SHAPE, torch.float16)
    adapter.allocate(SHAPE, torch.float16)
    adapter.get_by_location(100, 5, CHUNK // 2, 8)
    (span,) = registrar.spans
    assert (span.address, span.page_bytes, span.size) == (where(handler, 100), CHUNK, 8 * CHUNK)


def test_a_region_of_another_worker_is_registered_when_it_is_read(registrar):
    handler, adapter = make(hidden=(200,))
    adapter.get_by_location(200, 3, CHUNK, 8)
    (span,) = registrar.spans
    assert span.address == where(handler, 200)


def test_pages_larger_than_chunks_are_counted_as_they_lie(registrar):
    _, adapter = make(pages=3, slot=4096)
    adapter.allocate(SHAPE, torch.float16)
    assert (registrar.spans[0].page_bytes, registrar.spans[0].size) == (4096, 2 * 4096 + CHUNK)


def test_a_region_of_one_page_has_its_bytes(registrar):
    _, adapter = make(pages=1, slot=4096)
    adapter.allocate(SHAPE, torch.float16)
    assert (registrar.spans[0].page_bytes, registrar.spans[0].size) == (CHUNK, CHUNK)


def test_threads_register_it_once(registrar):
    for _ in range(20):
        registrar.spans.clear()
        _, adapter = make()
        run_together(8, lambda _, adapter=adapter: adapter.get_by_location(100, 0, CHUNK, 8))
        assert len(registrar.spans) == 1


def test_close_closes_it_once(registrar):
    _, adapter = make()
    adapter.close()
    adapter.close()
    assert registrar.closed == 1


def test_without_one_everything_works(monkeypatch):
    monkeypatch.setattr(dma, "registrar_of_this_process", lambda: None)
    _, adapter = make()
    assert adapter.allocate(SHAPE, torch.float16) is not None
    adapter.close()
