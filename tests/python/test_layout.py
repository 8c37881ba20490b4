"""Goal: a chunk's layout knows its bytes and cuts its shapes to whole tokens only. Method: layouts by themselves."""

from __future__ import annotations

import pytest
import torch
from lmcache.v1.memory_management import MemoryFormat

from maru_lmcache.layout import ChunkLayout, tensor_bytes


def layout_of(*shapes, dtype=torch.float32, fmt=MemoryFormat.KV_2LTD):
    shapes = tuple(map(torch.Size, shapes))
    dtypes = (dtype,) * len(shapes)
    return ChunkLayout(shapes, dtypes, fmt, tensor_bytes(shapes, dtypes))


@pytest.mark.parametrize(
    "dtype, size", [(torch.uint8, 1), (torch.bfloat16, 2), (torch.float16, 2), (torch.float32, 4), (torch.int64, 8)]
)
def test_bytes_follow_the_dtype(dtype, size):
    assert tensor_bytes([torch.Size([3, 5])], [dtype]) == 15 * size


def test_as_many_dtypes_as_shapes_are_needed():
    with pytest.raises(ValueError):
        tensor_bytes([torch.Size([3])], [torch.uint8, torch.uint8])


def test_a_token_counts_in_all_groups():
    assert layout_of((2, 1, 8, 4), (2, 3, 8, 2)).token_bytes == (2 * 1 * 4 + 2 * 3 * 2) * 4


def test_no_tokens_without_a_dimension_for_them_in_every_group():
    assert layout_of((2, 1, 8, 4), (16,)).token_bytes == 0
    assert layout_of((2, 1, 0, 4)).token_bytes == 0


def test_shapes_are_cut_to_whole_tokens():
    layout = layout_of((2, 1, 8, 4), (2, 3, 8, 2))
    assert layout.cut_to(3 * layout.token_bytes, layout.token_bytes) == ((2, 1, 3, 4), (2, 3, 3, 2))
    for size in (0, layout.token_bytes - 1, layout.token_bytes + 1):
        assert layout.cut_to(size, layout.token_bytes) is None


def test_a_token_of_another_size_is_not_taken_for_this_layouts():
    layout = layout_of((2, 1, 8, 4))
    assert layout.cut_to(2 * layout.token_bytes, layout.token_bytes // 2) is None
    assert layout.cut_to(2 * layout.token_bytes, 0) is None


def test_nothing_is_cut_without_a_dimension_for_tokens():
    layout = layout_of((256,))
    assert layout.cut_to(512, 32) is None
    assert layout.cut_to(2048, 1024) is None
