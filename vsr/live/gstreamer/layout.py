"""Where the samples of a raw picture lie in a buffer, and its planes as arrays over that memory."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vsr.frame import PlanarFormat, Planes


@dataclass(frozen=True)
class Component:
    """One component's samples, in bytes: where the first one lies, from row to row, from sample to sample."""

    offset: int
    stride: int
    step: int


@dataclass(frozen=True)
class Layout:
    """A raw picture, planar or with U and V interleaved, rows padded or not."""

    format: PlanarFormat
    width: int
    height: int
    components: tuple[Component, ...]

    def planes(self, memory: npt.NDArray[np.uint8]) -> Planes:
        """Y, U, V as they lie in `memory`, strided. Raises ValueError when they don't fit into it."""
        shapes = self.format.shapes(self.width, self.height)
        return tuple(
            np.ndarray(shape, self.format.dtype, memory.data, part.offset, (part.stride, part.step))
            for shape, part in zip(shapes, self.components, strict=True)
        )


def layout(format: PlanarFormat, info: Any, meta: Any = None) -> Layout:
    """The layout that a GstVideoInfo says; a GstVideoMeta of the buffer's own overrides offsets and strides."""
    told, samples = meta or info, info.finfo
    parts = []
    for number in range(samples.n_components):
        plane, step = samples.plane[number], samples.pixel_stride[number]
        parts.append(Component(told.offset[plane] + samples.poffset[number], told.stride[plane], step))
    return Layout(format, info.width, info.height, tuple(parts))


def memory_of(mapped: Any) -> npt.NDArray[np.uint8]:
    """The bytes of a mapped buffer, by address.

    The engine keeps its last input until the next one comes. An array made of the map's memoryview would keep that open
    and unmapping would fail; this one just must not be read after it.
    """
    address = np.frombuffer(mapped.data, np.uint8).ctypes.data
    return np.frombuffer((ctypes.c_uint8 * mapped.size).from_address(address), np.uint8)
