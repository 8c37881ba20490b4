"""Goal: chunks get to readers whole where the bytes must be made visible by software, and their checksums fit.

Method: a real marud whose pool asks for both, a writer and a reader. The machine is coherent: that nothing is left out is
what tests/crash/shim_test.cpp is for.
"""

from __future__ import annotations

import random

import pytest
from marud import Marud

CHUNK = 64 << 10


@pytest.fixture(scope="module")
def marud():
    server = Marud("16MiB", "--visibility", "software", "--payload-checksums", "verify")
    yield server
    server.remove()


@pytest.fixture
def reader(connect):
    return connect()


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, CHUNK - 1, CHUNK])
class TestAChunk:
    def test_stored_as_data_is_read_whole(self, handler, reader, key, size):
        data = random.Random(size).randbytes(size)
        assert handler.store(key(), data=data) is True
        assert bytes(reader.retrieve(key()).view) == data

    def test_stored_as_data_of_a_batch_is_read_whole(self, handler, reader, key, size):
        data = [random.Random(size + i).randbytes(size) for i in range(3)]
        keys = [key(i) for i in range(3)]
        assert handler.batch_store(keys, data) == [True] * 3
        assert [bytes(info.view) for info in reader.batch_retrieve(keys)] == data

    def test_written_in_place_is_read_whole(self, handler, reader, key, size):
        data = random.Random(size).randbytes(size)
        page = handler.alloc(size)
        page.buf[:] = data
        assert handler.store(key(), page) is True
        assert bytes(reader.retrieve(key()).view) == data


def test_a_page_that_was_data_before_can_be_written_in_place(handler, reader, key):
    """The second store of a key gives its page back, and the next one writes there."""
    assert handler.store(key("a"), data=b"x" * CHUNK) is True
    for turn in range(64):
        assert handler.store(key("a"), data=b"y" * CHUNK) is True
        page = handler.alloc(CHUNK)
        page.buf[:] = bytes([turn]) * CHUNK
        assert handler.store(key(turn), page) is True
        assert bytes(reader.retrieve(key(turn)).view) == bytes([turn]) * CHUNK
    assert bytes(reader.retrieve(key("a")).view) == b"x" * CHUNK
