"""Stands in for `lmcache.v1.memory_management`: chunks as tensors, with counts of who uses them."""

from __future__ import annotations

import abc
import threading
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import torch

from lmcache.logging import init_logger

logger = init_logger(__name__)


class MemoryFormat(Enum):
    UNDEFINED = 0
    KV_2LTD = auto()
    KV_T2D = auto()
    KV_2TD = auto()
    BINARY = auto()
    BINARY_BUFFER = auto()
    KV_MLA_FMT = auto()

    def token_dim(self) -> int:
        return {MemoryFormat.KV_2LTD: 2, MemoryFormat.KV_T2D: 1, MemoryFormat.KV_MLA_FMT: 2}.get(self, 0)


def _bytes(shape: torch.Size, dtype: torch.dtype) -> int:
    return shape.numel() * torch.empty(0, dtype=dtype).element_size()


@dataclass
class MemoryObjMetadata:
    shape: torch.Size
    dtype: torch.dtype | None
    address: int
    phy_size: int
    ref_count: int
    pin_count: int = 0
    fmt: MemoryFormat = MemoryFormat.UNDEFINED
    cached_positions: torch.Tensor | None = None
    shapes: list[torch.Size] | None = None
    dtypes: list[torch.dtype] | None = None


class MemoryObj(metaclass=abc.ABCMeta):
    @property
    @abc.abstractmethod
    def metadata(self) -> MemoryObjMetadata:
        ...

    @property
    @abc.abstractmethod
    def tensor(self) -> torch.Tensor | None:
        ...


class TensorMemoryObj(MemoryObj):
    def __init__(self, raw_data: torch.Tensor, metadata: MemoryObjMetadata, parent_allocator: Any) -> None:
        self.raw_data = raw_data
        self.meta = metadata
        self.valid = True
        self.lock = threading.Lock()
        self.parent_allocator = parent_allocator
        self._used_size_override: int | None = None
        # Fixed when the object is made, as in the original: metadata that changes later does not move the groups.
        self._group_ends = [0]
        shapes, dtypes = metadata.shapes or [metadata.shape], metadata.dtypes or [metadata.dtype]
        for shape, dtype in zip(shapes, dtypes, strict=True):
            self._group_ends.append(self._group_ends[-1] + _bytes(shape, dtype))

    def __del__(self) -> None:
        if getattr(self, "parent_allocator", None) is not None and self.valid:
            self.parent_allocator.free(self)

    @property
    def metadata(self) -> MemoryObjMetadata:
        with self.lock:
            return self.meta

    @property
    def tensor(self) -> torch.Tensor | None:
        if not self.valid:
            return None
        return self.raw_data[: self.get_size()].view(self.meta.dtype).view(self.meta.shape)

    def get_tensor(self, index: int) -> torch.Tensor | None:
        if not self.valid:
            return None
        assert self.meta.shapes is not None and self.meta.dtypes is not None
        group = self.raw_data[self._group_ends[index] : self._group_ends[index + 1]]
        return group.view(self.meta.dtypes[index]).view(self.meta.shapes[index])

    @property
    def byte_array(self) -> memoryview:
        return memoryview(self.raw_data.numpy())

    @property
    def data_ptr(self) -> int:
        return self.raw_data.data_ptr()

    def invalidate(self) -> None:
        self.valid = False

    def is_valid(self) -> bool:
        return self.valid

    def get_size(self) -> int:
        return self._group_ends[-1]

    def get_physical_size(self) -> int:
        return self.meta.phy_size

    def get_shape(self) -> torch.Size:
        return self.meta.shape

    def get_dtype(self) -> torch.dtype | None:
        return self.meta.dtype

    def get_shapes(self) -> list[torch.Size]:
        assert self.meta.shapes is not None
        return self.meta.shapes

    def get_dtypes(self) -> list[torch.dtype]:
        assert self.meta.dtypes is not None
        return self.meta.dtypes

    def get_memory_format(self) -> MemoryFormat:
        return self.metadata.fmt

    def get_num_tokens(self) -> int:
        return self.meta.shape[self.meta.fmt.token_dim()]

    def get_ref_count(self) -> int:
        with self.lock:
            return self.meta.ref_count

    def ref_count_up(self) -> None:
        with self.lock:
            self.meta.ref_count += 1

    def ref_count_down(self) -> None:
        with self.lock:
            self.meta.ref_count -= 1
            if self.meta.ref_count < 0:
                logger.warning("the ref count of %d is negative: it is set to 0", self.meta.address)
                self.meta.ref_count = 0
            if self.meta.ref_count == 0 and self.meta.pin_count == 0 and self.parent_allocator is not None:
                self.parent_allocator.free(self)

    def pin(self) -> bool:
        with self.lock:
            self.meta.pin_count += 1
        return True

    def unpin(self) -> bool:
        with self.lock:
            self.meta.pin_count -= 1
            if self.meta.pin_count < 0:
                logger.warning("the pin count of %d is negative: it is set to 0", self.meta.address)
                self.meta.pin_count = 0
        return True

    @property
    def is_pinned(self) -> bool:
        return self.metadata.pin_count > 0

    def parent(self) -> Any:
        return self.parent_allocator


class MemoryAllocatorInterface(metaclass=abc.ABCMeta):
    @abc.abstractmethod
    def allocate(
        self, shapes: Any, dtypes: Any, fmt: MemoryFormat = MemoryFormat.UNDEFINED, allocator_type: str | None = None
    ) -> MemoryObj | None:
        ...

    @abc.abstractmethod
    def batched_allocate(
        self,
        shapes: Any,
        dtypes: Any,
        batch_size: int,
        fmt: MemoryFormat = MemoryFormat.UNDEFINED,
        allocator_type: str | None = None,
    ) -> list[MemoryObj] | None:
        ...

    @abc.abstractmethod
    def free(self, memory_obj: MemoryObj, allocator_type: str | None = None) -> None:
        ...

    @abc.abstractmethod
    def batched_free(
        self, memory_objs: list[MemoryObj], allocator_type: str | None = None, update_stats: bool = True
    ) -> None:
        ...

    def close(self) -> None:
        return

    def memcheck(self) -> bool:
        return True

    @staticmethod
    def _adapt_shapes_and_dtypes(shapes: Any, dtypes: Any) -> tuple[list[torch.Size], list[torch.dtype]]:
        return (
            list(shapes) if isinstance(shapes, list) else [torch.Size(shapes)],
            list(dtypes) if isinstance(dtypes, list) else [dtypes],
        )
