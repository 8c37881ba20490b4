"""`ChunkLayout`: the tensors of a full chunk, and of one with fewer tokens."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lmcache.v1.memory_management import MemoryFormat


@functools.cache
def _item_bytes(dtype: torch.dtype) -> int:
    return torch.empty(0, dtype=dtype).element_size()  # dtype.itemsize is not there before torch 2.1


def tensor_bytes(shapes: Sequence[torch.Size], dtypes: Sequence[torch.dtype]) -> int:
    """The bytes of tensors that follow each other. ValueError where their shapes and dtypes are not as many."""
    return sum(torch.Size(shape).numel() * _item_bytes(dtype) for shape, dtype in zip(shapes, dtypes, strict=True))


@dataclass(frozen=True)
class ChunkLayout:
    """One tensor for each KV group, one after the other, in the `chunk_size` bytes of a page.

    ValueError where they do not fit. Shared by threads: nothing in it changes.
    """

    shapes: tuple[torch.Size, ...]
    dtypes: tuple[torch.dtype, ...]
    fmt: MemoryFormat
    chunk_size: int

    def __post_init__(self) -> None:
        if not self.shapes:
            raise ValueError("a chunk needs at least one shape")
        if self.full_bytes > self.chunk_size:
            raise ValueError(f"the shapes of a chunk need {self.full_bytes} bytes, its page has {self.chunk_size}")

    @functools.cached_property
    def full_bytes(self) -> int:
        """What a full chunk needs."""
        return tensor_bytes(self.shapes, self.dtypes)

    @functools.cached_property
    def token_bytes(self) -> int:
        """What one token needs in all groups together; 0 where a shape has no dimension for tokens."""
        dimension = self.fmt.token_dim()
        if any(dimension >= len(shape) for shape in self.shapes):
            return 0
        tokens = self.shapes[0][dimension]
        return self.full_bytes // tokens if tokens else 0

    def cut_to(self, size: int, token_bytes: int) -> tuple[torch.Size, ...] | None:
        """The shapes of a chunk of only `size` bytes, at `token_bytes` a token; None where no number of tokens has
        that size."""
        dimension = self.fmt.token_dim()
        tokens = size // token_bytes if token_bytes > 0 else 0
        if not tokens or not self.token_bytes:
            return None
        cut = tuple(torch.Size([*shape[:dimension], tokens, *shape[dimension + 1 :]]) for shape in self.shapes)
        return cut if tensor_bytes(cut, self.dtypes) == size else None
