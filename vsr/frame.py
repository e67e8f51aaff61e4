"""Frame: one decoded or upscaled picture, planar, with its time and its track's facts.

A frame is checked when it is made and never changes. Its planes belong to it until `release()`; whoever wants to keep
samples longer copies them. Buffers come from a `FramePool`, which counts what is out: a frame released twice, or never,
is an error that tests see.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from vsr.surface import Surface

Plane = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Planes = tuple[Plane, ...]
Memory = Callable[[int], npt.NDArray[np.uint8]]
Chroma = Literal["grey", "420", "422", "444"]
ChromaLocation = Literal["unspecified", "left", "center", "topleft", "top", "bottomleft", "bottom"]

# In half luma samples right of and below the first luma sample, H.273 figure 1.
CHROMA_SITES: Mapping[ChromaLocation, tuple[int, int]] = MappingProxyType(
    {
        "unspecified": (0, 1),
        "left": (0, 1),
        "center": (1, 1),
        "topleft": (0, 0),
        "top": (1, 0),
        "bottomleft": (0, 2),
        "bottom": (1, 2),
    }
)
LIMITED, FULL = 1, 2  # ranges, FFmpeg's AVCOL_RANGE
PLANE_ALIGNMENT = 256  # bytes; what CUDA's and AVX-512's fastest copies ask for
SUBSAMPLING: Mapping[Chroma, tuple[int, int]] = MappingProxyType({"420": (2, 2), "422": (2, 1), "444": (1, 1)})


@dataclass(frozen=True, kw_only=True)
class PlanarFormat:
    """Sample layout: planar Y, U, V of one bit depth, or a single plane of grey; opacity may follow as the last plane.

    Args:
        chroma: "420", "422", "444" or "grey" (no chroma planes).
        depth: bits per sample, 8 to 16; above 8 a sample is a little-endian uint16 with the value in its low bits.
        alpha: a plane of opacity of luma's size follows; 0 is clear, `white` opaque, whatever the range of luma.
    """

    chroma: Chroma = "420"
    depth: int = 8
    alpha: bool = False

    def __post_init__(self) -> None:
        if self.chroma not in ("grey", "420", "422", "444") or not 8 <= self.depth <= 16:
            raise ValueError(f"no planar format {self.chroma} of {self.depth} bits (grey, 420, 422, 444; 8 to 16 bits)")

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.depth == 8 else np.uint16)

    @property
    def white(self) -> int:
        """The largest code value, 2^depth - 1."""
        return (1 << self.depth) - 1

    @property
    def pix_fmt(self) -> str:
        """FFmpeg's name, e.g. `yuv420p10le`; it has none for some depths with alpha, and packs grey with alpha."""
        if self.chroma == "grey":
            name = f"ya{self.depth}" if self.alpha else "gray" if self.depth == 8 else f"gray{self.depth}"
            return name if self.depth == 8 else f"{name}le"
        name = f"yuv{'a' * self.alpha}{self.chroma}p"
        return name if self.depth == 8 else f"{name}{self.depth}le"

    @property
    def opaque(self) -> PlanarFormat:
        """The same without the plane of opacity."""
        return replace(self, alpha=False)

    @classmethod
    def of(cls, pix_fmt: str) -> PlanarFormat | None:
        """The format FFmpeg calls `pix_fmt`; None when that isn't one of these. `yuvj` names map to `yuv`."""
        return _BY_NAME.get(pix_fmt.replace("yuvj", "yuv"))

    @property
    def shift(self) -> int:
        """By how many bits samples are moved up where chroma comes in pairs: P010's lie in the high bits."""
        return 0 if self.depth == 8 else 16 - self.depth

    def shapes(self, width: int, height: int, *, paired: bool = False) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of each plane; chroma of odd sizes is rounded up, as in FFmpeg.

        Args:
            paired: as decoders leave pictures on a GPU, NV12 or P010: U and V take turns in one plane.
        """
        luma = (height, width)
        chroma: tuple[tuple[int, int], ...] = ()
        if self.chroma != "grey":
            across, down = SUBSAMPLING[self.chroma]
            rows, columns = -(-height // down), -(-width // across)
            chroma = ((rows, 2 * columns),) if paired else ((rows, columns),) * 2
        return (luma, *chroma, *((luma,) if self.alpha else ()))

    def nbytes(self, width: int, height: int, *, paired: bool = False) -> int:
        """Bytes of one dense buffer that holds every plane at a 256-byte offset."""
        return sum(self._sizes(width, height, paired))

    def offsets(self, width: int, height: int, *, paired: bool = False) -> tuple[int, ...]:
        """Where each plane begins in such a buffer, in bytes."""
        sizes = self._sizes(width, height, paired)
        return tuple(sum(sizes[:index]) for index in range(len(sizes)))

    def views(self, buffer: npt.NDArray[np.uint8], width: int, height: int, *, paired: bool = False) -> Planes:
        """The planes inside a dense `buffer` of `nbytes(width, height)` bytes; paired ones apart, with strides."""
        offsets = self.offsets(width, height, paired=paired)
        planes = []
        for (rows, columns), offset in zip(self.shapes(width, height, paired=paired), offsets, strict=True):
            size = rows * columns * self.dtype.itemsize
            planes.append(buffer[offset : offset + size].view(self.dtype).reshape(rows, columns))
        return (planes[0], planes[1][:, 0::2], planes[1][:, 1::2]) if paired else tuple(planes)

    def _sizes(self, width: int, height: int, paired: bool) -> list[int]:
        shapes = self.shapes(width, height, paired=paired)
        return [_aligned(rows * columns * self.dtype.itemsize) for rows, columns in shapes]


_CHROMAS: tuple[Chroma, ...] = ("grey", "420", "422", "444")
_BY_NAME = {
    f.pix_fmt: f
    for f in (PlanarFormat(chroma=c, depth=d, alpha=a) for c in _CHROMAS for d in range(8, 17) for a in (False, True))
}


def _aligned(size: int) -> int:
    return -(-size // PLANE_ALIGNMENT) * PLANE_ALIGNMENT


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Colour tags as code points of ITU-T H.273; 2 = unspecified. They are carried, never converted.

    Args:
        range: 0 unspecified, 1 limited ("studio"), 2 full; FFmpeg's AVCOL_RANGE.
        primaries, transfer, matrix: H.273 sections 8.1, 8.2, 8.3.
        chroma_location: where a chroma sample sits among its luma samples; "unspecified" means left (H.273 8.7).
    """

    range: int = 0
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    chroma_location: ChromaLocation = "unspecified"

    @property
    def hdr(self) -> bool:
        """PQ or HLG, H.273 table 3."""
        return self.transfer in (16, 18)


@dataclass(frozen=True, kw_only=True)
class TrackFacts:
    """What holds for every frame of a track.

    Args:
        colour: tags.
        aspect: sample aspect ratio, width over height; 1 when unknown.
        display_matrix: nine integers of ISO/IEC 14496-12 8.2.2 (16.16 and 2.30 fixed point), or None for upright.
        mastering: SMPTE ST 2086 as in H.265 D.2.28: x, y of green, blue, red and white in 0.00002, maximum and minimum
            luminance in 0.0001 candelas a square metre; None when unknown.
        light: maximum content and frame-average light level in candelas a square metre, CTA-861.3.
        ambient: illuminance in 0.0001 lux, x and y in 0.00002, H.274 8.7.
        stereo: how two views share a picture, as frame_packing_arrangement_type (3 side by side, 4 one above the other)
            and content_interpretation_type (1 left view first, 2 right), H.264 D.2.26.
    """

    colour: Colour = field(default_factory=Colour)
    aspect: Fraction = Fraction(1)
    display_matrix: tuple[int, ...] | None = None
    mastering: tuple[int, ...] | None = None
    light: tuple[int, ...] | None = None
    ambient: tuple[int, ...] | None = None
    stereo: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.aspect <= 0:
            raise ValueError(f"sample aspect ratio {self.aspect} must be above 0 (1 when unknown)")
        if self.display_matrix is not None and len(self.display_matrix) != 9:
            raise ValueError(f"a display matrix has 9 numbers, not {len(self.display_matrix)}")


class Lease:
    """The right to use one buffer until `release()`; a second release raises RuntimeError."""

    def __init__(self, pool: FramePool, buffer: npt.NDArray[np.uint8]) -> None:
        self._pool: FramePool | None = pool
        self.buffer = buffer  # all planes, dense

    def release(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            raise RuntimeError("frame released twice")
        pool._give_back(self.buffer)


class Loan(Lease):
    """A lease that somebody else keeps: `release()` gives nothing back."""

    def __init__(self, lease: Lease) -> None:
        self.buffer = lease.buffer

    def release(self) -> None:
        pass


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One picture.

    Args:
        format: sample layout.
        width, height: of the luma plane, in samples.
        planes: Y, U, V (or grey) as (rows, columns) arrays of `format.dtype`; rows dense (C order).
        pts: presentation time in ticks of `time_base`.
        duration: in ticks; 0 when unknown.
        time_base: seconds per tick.
        index: position among the track's presented frames, from 0.
        key, corrupt, interlaced: as the decoder said.
        side_data: what may differ from frame to frame (captions, HDR10+), raw, by FFmpeg's type name.
        facts: what holds for the whole track.
        lease: the buffer's lease, or None when the planes belong to someone else.
        surface: where the samples are on a GPU; `planes` hold none then until they are `landed`.

    Raises:
        ValueError: planes that don't fit format, width and height.
    """

    format: PlanarFormat
    width: int
    height: int
    planes: Planes
    pts: int = 0
    duration: int = 0
    time_base: Fraction = Fraction(1, 1000)
    index: int = 0
    key: bool = False
    corrupt: bool = False
    interlaced: bool = False
    side_data: Mapping[str, bytes] = field(default_factory=dict)
    facts: TrackFacts = field(default_factory=TrackFacts)
    lease: Lease | None = None
    surface: Surface | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"frame size {self.width}x{self.height} must be at least 1x1")
        expected = self.format.shapes(self.width, self.height)
        given = tuple(plane.shape for plane in self.planes)
        if given != expected:
            raise ValueError(f"{self.format.pix_fmt} {self.width}x{self.height} needs planes {expected}, not {given}")
        for plane in self.planes:
            if plane.dtype != self.format.dtype or not plane.flags.c_contiguous:
                raise ValueError(f"{self.format.pix_fmt} needs dense {self.format.dtype} planes, not {plane.dtype}")

    def release(self) -> None:
        """Gives the buffer back; the planes must not be read afterwards. Raises RuntimeError the second time."""
        if self.lease is not None:
            self.lease.release()

    def lent(self) -> Self:
        """The same frame for somebody who may release it, while whoever lends it keeps the buffer."""
        return self if self.lease is None else replace(self, lease=Loan(self.lease))

    def landed(self) -> Self:
        """The same frame with its samples in `planes`, wherever they were. Raises SurfaceError."""
        if self.surface is None:
            return self
        self.surface.land(self.planes)
        return replace(self, surface=None)

    def like(self, *, format: PlanarFormat, width: int, height: int, planes: Planes, lease: Lease | None) -> Self:
        """Another picture at this frame's time: new samples, everything else carried over."""
        return replace(self, format=format, width=width, height=height, planes=planes, lease=lease, surface=None)


class FramePool:
    """Reusable dense buffers for frames of one format and size; any thread may take and release.

    The pool never blocks: what bounds the number of buffers is the depth of the queues that hold frames.

    Args:
        memory: makes a buffer of so many bytes, 256-byte aligned; pinned memory for a GPU, say.
    """

    def __init__(self, format: PlanarFormat, width: int, height: int, memory: Memory | None = None) -> None:
        self.format, self.width, self.height = format, width, height
        self._memory = memory or aligned_buffer
        self._free: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()
        self.leased = 0

    def take(self) -> tuple[Planes, Lease]:
        """Planes of undefined content, and the lease to put into the frame that carries them."""
        with self._lock:
            buffer = self._free.pop() if self._free else None
        if buffer is None:
            buffer = self._memory(self.format.nbytes(self.width, self.height))
        with self._lock:
            self.leased += 1
        return self.format.views(buffer, self.width, self.height), Lease(self, buffer)

    def close(self) -> None:
        """Frees the buffers. Raises RuntimeError when a frame is still out: somebody forgot `release()`."""
        self._free.clear()
        if self.leased:
            raise RuntimeError(f"{self.leased} frames of {self.width}x{self.height} were never released")

    def _give_back(self, buffer: npt.NDArray[np.uint8]) -> None:
        with self._lock:
            self.leased -= 1
            self._free.append(buffer)


class FramePools:
    """A pool for each format and size that comes; one thread takes, any may release.

    Args:
        memory: as a pool's, and then every buffer is kept for its size to come again; None: any, and what an earlier
            size left idle is freed.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory
        self._pools: dict[tuple[PlanarFormat, int, int], FramePool] = {}

    @property
    def leased(self) -> int:
        """Frames nobody has released yet."""
        return sum(pool.leased for pool in self._pools.values())

    def take(self, format: PlanarFormat, width: int, height: int) -> tuple[Planes, Lease]:
        """As `FramePool.take`."""
        key = (format, width, height)
        if key not in self._pools:
            if self._memory is None:
                self._pools = {key: pool for key, pool in self._pools.items() if pool.leased}
            self._pools[key] = FramePool(format, width, height, self._memory)
        return self._pools[key].take()

    def close(self) -> None:
        """As `FramePool.close`."""
        for pool in self._pools.values():
            pool.close()


def aligned_buffer(size: int) -> npt.NDArray[np.uint8]:
    """Memory of the system's, as `FramePool` takes it."""
    raw = np.empty(size + PLANE_ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % PLANE_ALIGNMENT
    return raw[start : start + size]
