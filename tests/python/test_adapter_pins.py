"""Goal: LMCache's asynchronous path, which pins keys at the service and cleans up by `unpin` on the object alone,
leaves no pin behind (LMCache issue 3027); its synchronous path, which unpins by key, releases nothing twice. Method:
pages in memory that count the service's pins, passed as the MaruHandler and as some other handler."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from lmcache.v1.memory_management import MemoryFormat
from page_handlers import PageHandler, mock_of
from together import run_together

import maru_handler
from maru_lmcache import CxlMemoryAdapter

SHAPE = torch.Size([2, 1, 8, 2])
CHUNK = 64


class Rig:
    def __init__(self, monkeypatch, is_maru_handler=True):
        self.handler = PageHandler(CHUNK)
        monkeypatch.setitem(vars(maru_handler), "MaruHandler", PageHandler if is_maru_handler else dict)
        self.adapter = CxlMemoryAdapter(self.handler, [SHAPE], [torch.float16], MemoryFormat.KV_2LTD, CHUNK)

    def pin_at_service(self, page=0, count=1):
        self.handler.pins[100, page] = self.handler.pins.get((100, page), 0) + count

    def held(self, page=0):
        return self.handler.pins.get((100, page), 0)

    def get(self, page=0, size=CHUNK):
        return self.adapter.get_by_location(100, page, size, 8)


@pytest.fixture
def rig(monkeypatch):
    return Rig(monkeypatch)


@pytest.mark.parametrize("size", [CHUNK, CHUNK // 2])
def test_the_asynchronous_path_leaves_no_pin(rig, size):
    rig.pin_at_service()
    memory_obj = rig.get(size=size)
    memory_obj.ref_count_up()
    assert memory_obj.pin() is True
    assert rig.held() == 1
    memory_obj.ref_count_down()
    assert memory_obj.unpin() is True
    assert rig.held() == 0


def test_the_synchronous_path_keeps_its_pin_until_it_unpins_the_key(rig):
    rig.pin_at_service()
    memory_obj = rig.get()
    memory_obj.ref_count_up()
    memory_obj.ref_count_down()
    memory_obj.unpin()
    assert rig.held() == 1


def test_an_unpin_without_a_pin_releases_nothing(rig):
    rig.pin_at_service(count=2)
    memory_obj = rig.get()
    memory_obj.pin()
    memory_obj.unpin()
    memory_obj.unpin()
    assert memory_obj.metadata.pin_count == 0
    assert rig.held() == 1


def test_each_pin_releases_one(rig):
    rig.pin_at_service(count=3)
    memory_obj = rig.get()
    memory_obj.pin()
    memory_obj.pin()
    memory_obj.unpin()
    assert rig.held() == 2
    memory_obj.unpin()
    assert rig.held() == 1


def test_a_pin_releases_once(rig):
    rig.pin_at_service(count=2)
    memory_obj = rig.get()
    memory_obj.pin()
    memory_obj.unpin()
    memory_obj.meta.pin_count = 1  # as a batch of pins counts, without the call
    memory_obj.unpin()
    assert rig.held() == 1


def test_a_local_pin_alone_is_harmless(rig):
    rig.pin_at_service(page=1)
    memory_obj = rig.get()
    memory_obj.pin()
    memory_obj.unpin()
    assert (rig.held(page=0), rig.held(page=1)) == (0, 1)


def test_a_count_that_went_down_by_itself_disarms(rig):
    rig.pin_at_service()
    memory_obj = rig.get()
    memory_obj.pin()
    memory_obj.meta.pin_count = 0
    memory_obj.unpin()
    assert rig.held() == 1


def test_a_reused_object_is_not_armed(rig):
    memory_obj = rig.adapter.allocate(SHAPE, torch.float16)
    memory_obj.pin()
    rig.adapter.free(memory_obj)
    rig.handler.free_pages.sort()
    assert rig.adapter.allocate(SHAPE, torch.float16) is memory_obj
    rig.pin_at_service()
    memory_obj.meta.pin_count = 1  # as a batch of pins counts, without the call
    memory_obj.unpin()
    assert rig.held() == 1


def test_objects_over_one_page_are_armed_each_on_its_own(rig):
    rig.pin_at_service(count=2)
    pinned, other = rig.get(size=CHUNK // 2), rig.get(size=CHUNK // 2)
    pinned.pin()
    other.unpin()
    assert rig.held() == 2
    pinned.unpin()
    assert rig.held() == 1


def test_threads_release_as_many_as_they_pinned(rig):
    rig.pin_at_service(count=8 * 50 + 1)
    memory_obj = rig.get()

    def work(_):
        for _ in range(50):
            memory_obj.pin()
            memory_obj.unpin()

    run_together(8, work)
    assert (rig.held(), memory_obj.metadata.pin_count) == (1, 0)


def test_another_handler_is_not_asked(monkeypatch):
    rig = Rig(monkeypatch, is_maru_handler=False)
    rig.pin_at_service()
    memory_obj = rig.get()
    memory_obj.pin()
    assert memory_obj.unpin() is True
    assert rig.held() == 1


@pytest.mark.parametrize("unpins_by_key", [True, False])
def test_an_lmcache_that_unpins_by_key_is_left_to_do_it(monkeypatch, unpins_by_key):
    module = types.ModuleType("maru_backend")
    module.MaruBackend = type("MaruBackend", (), {"has_external_pin_state": True} if unpins_by_key else {})
    monkeypatch.setitem(sys.modules, "lmcache.v1.storage_backend.maru_backend", module)
    rig = Rig(monkeypatch)
    rig.pin_at_service()
    memory_obj = rig.get()
    memory_obj.pin()
    memory_obj.unpin()
    assert rig.held() == (1 if unpins_by_key else 0)


def test_a_mock_is_not_asked():
    pages = PageHandler(CHUNK)
    adapter = CxlMemoryAdapter(mock_of(pages), [SHAPE], [torch.float16], MemoryFormat.KV_2LTD, CHUNK)
    memory_obj = adapter.get_by_location(100, 0, CHUNK, 8)
    memory_obj.pin()
    assert memory_obj.unpin() is True
    assert memory_obj.metadata.pin_count == 0
