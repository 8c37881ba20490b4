"""Goal: what holds over a pool in memory holds with the real handler and a real marud: workers share chunks, nothing
stays pinned, what is read stays right, and a marud that is away costs time and not correctness. Method: the engine that
does what LMCache does, marud started, paused and killed."""

from __future__ import annotations

import tempfile
import time

import pytest
import torch
from fake_lmcache import FakeEngine, config_of, key_of, keys_of, metadata_of
from lmcache.utils import CacheEngineKey

pytest.importorskip("maru_handler._maru", reason="the compiled module is not built here")


@pytest.fixture
def marud():
    """One for each test: whatever is left pinned is this test's."""
    from marud import Marud

    with tempfile.TemporaryDirectory(prefix="maru-door-") as folder:
        server = Marud("64MiB", "--listen", f"unix:{folder}/maru.sock")
        server.socket = f"{folder}/maru.sock"
        yield server
        server.remove()


@pytest.fixture
def engine_of(marud):
    """Makes engines, closed after the test."""
    made = []

    def make(metadata=None, **extra):
        # A budget of 32 chunks: each of these small ones takes a page of 64 KiB.
        settings = {"maru_path": marud.url.replace("tcp://", "maru://"), "maru_pool_size": 8192 / (1 << 30), **extra}
        made.append(FakeEngine(config_of(**settings), metadata))
        assert made[-1].errors == []
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def test_workers_share_what_one_of_them_put(engine_of):
    first, second = engine_of(), engine_of()
    first.put_numbers(0, 1, 2)
    assert second.lookup("sync", keys_of(4)) == 3
    assert second.retrieve(keys_of(4)) == [0.0, 1.0, 2.0, None]
    assert first.backend.batched_remove(keys_of(3)) == 0
    second.lookup_unpin("sync")
    assert first.backend.batched_remove(keys_of(3)) == 3


def test_workers_of_both_doors_share(engine_of, marud):
    first, second = engine_of(), engine_of(maru_path=f"unix://{marud.socket}")
    first.put_numbers(0, 1)
    assert second.lookup("sync", keys_of(3)) == 2
    assert second.retrieve(keys_of(2)) == [0.0, 1.0]
    second.lookup_unpin("sync")
    second.put_numbers(2)
    assert first.lookup("sync", keys_of(3)) == 3


@pytest.mark.parametrize("used", [0, 3])
def test_the_asynchronous_path_leaves_no_pin(engine_of, used):
    first, second = engine_of(), engine_of()
    first.put_numbers(0, 1, 2)
    assert second.lookup_async("request", keys_of(4)) == 3
    assert first.backend.batched_remove(keys_of(3)) == 0
    assert second.retrieve_async("request", used) == [0.0, 1.0, 2.0][:used]
    second.lookup_unpin("request")
    # Objects let go of their pins without waiting for marud, so it hears of it a little later.
    left = set(keys_of(3))
    deadline = time.monotonic() + 30
    while left:
        left -= {key for key in left if first.backend.remove(key)}
        assert time.monotonic() < deadline


def test_a_chunk_stays_what_it_is_when_its_key_is_removed(engine_of):
    first, second = engine_of(), engine_of()
    first.put_numbers(1)
    tensor = second.backend.get_blocking(key_of(1)).tensor
    assert first.backend.remove(key_of(1)) is True
    for turn in range(2000):  # more than the pool has pages
        key = CacheEngineKey("filler", 1, 0, turn)
        for future in first.put([key], [first.write(99)]):
            assert future.result(timeout=30) == [True]
        first.seen.clear()
    assert set(tensor.flatten().tolist()) == {1.0}


def test_partial_chunks_and_groups_come_back_as_they_were_put(engine_of):
    shapes, dtypes = [torch.Size([2, 1, 8, 4]), torch.Size([2, 3, 8, 2])], [torch.float16, torch.float32]
    backend = engine_of(metadata_of(shapes=shapes, dtypes=dtypes)).backend
    cut = [torch.Size([*shape[:2], 5, shape[3]]) for shape in shapes]
    memory_obj = backend.allocate(cut, dtypes)
    for group in (0, 1):
        memory_obj.get_tensor(group).fill_(group + 1)
    assert backend.batched_submit_put_task([key_of(0)], [memory_obj])[0].result(timeout=30) == [True]
    found = backend.get_blocking(key_of(0))
    for group in (0, 1):
        assert found.get_tensor(group).shape == cut[group]
        assert set(found.get_tensor(group).flatten().tolist()) == {group + 1.0}


def test_a_marud_that_does_not_answer_leaves_nothing_under_way(engine_of, marud):
    engine = engine_of(maru_timeout_ms=300)
    memory_objs = [engine.write(number) for number in range(3)]
    marud.pause()
    try:
        one = engine.backend.submit_put_task(key_of(0), memory_objs[0])
        (two,) = engine.backend.batched_submit_put_task(keys_of(3)[1:], memory_objs[1:])
        with pytest.raises(TimeoutError):
            one.result(timeout=30)
        assert two.result(timeout=30) == [False, False]
        assert [obj.get_ref_count() for obj in memory_objs] == [1, 1, 1]
        assert engine.backend.put_tasks == set()
        assert engine.lookup_async("request", keys_of(3)) == 0
    finally:
        marud.resume()
    patient = engine_of()
    patient.put_numbers(0, 1, 2)
    assert patient.retrieve(keys_of(3)) == [0.0, 1.0, 2.0]


def test_a_killed_marud_comes_back_with_the_chunks_and_the_pins(engine_of, marud):
    engine = engine_of()
    engine.put_numbers(0, 1, 2)
    engine.lookup("request", keys_of(3))
    marud.kill()
    future = engine.put([key_of(9)], [engine.write(9)])[0]
    marud.start()
    assert future.result(timeout=30) == [True]
    assert engine.retrieve(keys_of(3)) == [0.0, 1.0, 2.0]
    other = engine_of()
    assert other.backend.batched_remove(keys_of(3)) == 0
    engine.lookup_unpin("request")
    assert other.backend.batched_remove(keys_of(3)) == 3


def test_closing_ends_pins_and_leaves_what_was_put(engine_of):
    first, second = engine_of(), engine_of()
    first.put_numbers(0)
    assert first.backend.pin(key_of(0)) is True
    assert second.backend.remove(key_of(0)) is False
    first.backend.close()
    assert second.retrieve([key_of(0)]) == [0.0]
    assert second.backend.remove(key_of(0)) is True
