"""What is compared: the contract of a peer, and how one that works in Python is run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from vsr.bench.once import peak
from vsr.errors import Unavailable
from vsr.frame import Frame, Plane, Planes
from vsr.pipeline import AHEAD, decoded
from vsr.prefetch import prefetch
from vsr.probe import probe
from vsr.report import Clock, Report
from vsr.settings import RunSettings

CORES = len(os.sched_getaffinity(0))
Luma = NDArray[np.uint8]
Upscale = Callable[[Planes], Planes]  # Y, U, V in 8 bit; each plane `scale` times as large
Network = Callable[[Plane], NDArray[np.float32]]  # 8-bit luma; as large as the result, white = 1, unclipped


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What is upscaled, and what it should become.

    Args:
        path: of the video, 8 bit 4:2:0, `width` x `height`.
        truth: of a NumPy array, luma of its first frames `scale` times as large: (frames, rows, columns).
    """

    path: str
    truth: str
    width: int
    height: int
    scale: int


class Stopwatch:
    """Times from the first frame that is done to the last one.

    Args:
        seconds: after which it has `expired`.
    """

    def __init__(self, seconds: float, clock: Clock = time.perf_counter) -> None:
        self._seconds, self._clock = seconds, clock
        self._first: tuple[int, float] | None = None
        self._last = 0, 0.0

    def seen(self, frames: int) -> None:
        """So many are done now; told after each frame, or now and then."""
        if frames:
            self._last = frames, self._clock()
            self._first = self._first or self._last

    @property
    def frames(self) -> int:
        """After the first."""
        return self._last[0] - self._first[0] if self._first else 0

    @property
    def expired(self) -> bool:
        return self.frames > 0 and self._last[1] - cast(tuple[int, float], self._first)[1] >= self._seconds

    @property
    def fps(self) -> float:
        """Raises Unavailable where there is nothing to tell."""
        if not self.frames or self._first is None:
            raise Unavailable("fewer than two frames came out, there is nothing to time")
        return self.frames / (self._last[1] - self._first[1])


@dataclass(frozen=True, kw_only=True)
class Ran:
    """Library, version and precision that really ran; resident memory at its highest."""

    engine: str
    peak_mib: float


class Peer(Protocol):
    """One way to upscale a video.

    Both methods raise Unavailable, with the reason in a line, where this machine hasn't what it needs.
    """

    @property
    def name(self) -> str: ...

    def timed(self, clip: Clip, watch: Stopwatch) -> Ran:
        """Decodes, upscales and drops the clip's frames, telling `watch`; ends early once that has expired."""

    def lumas(self, clip: Clip, count: int) -> list[Luma]:
        """Of the first `count` frames, upscaled."""


@dataclass(frozen=True)
class InProcess:
    """A peer that takes planes: decoded as in vsr-run, ahead in a thread of its own.

    Args:
        open: makes it ready for frames of a clip; with what runs in words. Raises Unavailable.
    """

    name: str
    open: Callable[[Clip], tuple[Upscale, str]]

    def timed(self, clip: Clip, watch: Stopwatch) -> Ran:
        upscale, engine = self.open(clip)
        with _frames(clip) as frames:
            for number, frame in enumerate(frames, 1):
                upscale(frame.planes)
                frame.release()
                watch.seen(number)
                if watch.expired:
                    break
        return Ran(engine=engine, peak_mib=peak())

    def lumas(self, clip: Clip, count: int) -> list[Luma]:
        upscale, _ = self.open(clip)
        result = []
        with _frames(clip) as frames:
            for frame in islice(frames, count):
                result.append(cast(Luma, upscale(frame.planes)[0].copy()))
                frame.release()
        return result


@contextmanager
def _frames(clip: Clip) -> Iterator[Iterator[Frame]]:
    job = probe(RunSettings(input=clip.path, output="", sink="null"))
    with decoded(job, Report()) as frames, closing(prefetch(frames, AHEAD, Frame.release)) as waiting:
        yield waiting


def resized(plane: Plane, scale: int, interpolation: int) -> Luma:
    """By OpenCV."""
    return cast(Luma, cv2.resize(plane, None, fx=scale, fy=scale, interpolation=interpolation))


def with_chroma(network: Network, scale: int) -> Upscale:
    """Luma by a network, chroma by OpenCV's bicubic: the same for all that run a network in another library."""

    def upscale(planes: Planes) -> Planes:
        luma, *chroma = planes
        up = cast(Any, network(luma))
        codes = cv2.addWeighted(up, 255, up, 0, 0, dtype=cv2.CV_8U)  # rounds half to even and clips, in one pass
        return cast(Luma, codes), *(resized(plane, scale, cv2.INTER_CUBIC) for plane in chroma)

    return upscale
