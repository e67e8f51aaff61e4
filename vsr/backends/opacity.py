"""Frames with a plane of opacity: the picture and its opacity go through two engines and come back as one frame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from vsr.backends.engine import Engine, QueuedEngine, Ticket
from vsr.device.protocol import run_all
from vsr.frame import Frame, PlanarFormat, Plane, Planes
from vsr.graph import FrameSpec


def split(spec: FrameSpec) -> tuple[FrameSpec, FrameSpec]:
    """What the engines of the picture and of its opacity, which is grey to a network, are opened for."""
    grey = PlanarFormat(chroma="grey", depth=spec.format.depth)
    return replace(spec, format=spec.format.opaque), replace(spec, format=grey)


class OpacityEngine(QueuedEngine["_Pair"]):
    """Engine made of two others.

    Opacity is kept between its neighbours (see `hold`), so that what is clear or opaque stays exactly so.

    Args:
        spec: of the frames, with alpha.
        picture, opacity: engines for the two parts that `split` gives.
        scale: theirs.
    """

    def __init__(self, spec: FrameSpec, picture: Engine, opacity: Engine, scale: int) -> None:
        super().__init__(spec, scale, min(picture.capacity, opacity.capacity))
        self._engines = (picture, opacity)
        self.label = f"{picture.label}, alpha too"

    def reset(self) -> None:
        pairs = self._flight.clear()
        try:
            run_all(engine.reset for engine in self._engines)
        finally:
            for pair in pairs:
                pair.given.release()
                pair.result.release()

    def close(self) -> None:
        run_all([self.reset, *(engine.close for engine in self._engines), super().close])

    def _start(self, frame: Frame, out: Planes | None) -> _Pair:
        result = self._result(frame, out)
        parts = zip(self._engines, _parts(frame), (result.planes[:-1], result.planes[-1:]), strict=True)
        try:
            running = deque((engine, engine.submit(part, target)) for engine, part, target in parts)
        except BaseException:  # what was submitted goes with the next reset
            result.release()
            raise
        return _Pair(frame, result, running)

    def _finished(self, pair: _Pair) -> bool:
        try:
            pair.collect(0)
        except TimeoutError:
            return False
        return True

    def _finish(self, pair: _Pair, timeout: float | None) -> Frame:
        pair.collect(timeout)
        hold(pair.given.planes[-1], pair.result.planes[-1])
        pair.given.release()
        return pair.result


@dataclass(frozen=True)
class _Pair:
    """A frame on its way: its result's planes are being written, and which engines still have to say that they did."""

    given: Frame
    result: Frame
    running: deque[tuple[Engine, Ticket]]

    def collect(self, timeout: float | None) -> None:
        while self.running:
            engine, ticket = self.running[0]
            engine.wait(ticket, timeout)
            self.running.popleft()


def _parts(frame: Frame) -> tuple[Frame, Frame]:
    """The picture and its opacity as frames that own no buffer: the whole one is released when both are done."""
    grey = PlanarFormat(chroma="grey", depth=frame.format.depth)
    return (
        replace(frame, format=frame.format.opaque, planes=frame.planes[:-1], lease=None),
        replace(frame, format=grey, planes=frame.planes[-1:], lease=None),
    )


def hold(given: Plane, upscaled: Plane) -> None:
    """Clips each sample of `upscaled` to the range of the 3x3 samples of `given` around the one it comes from.

    A network rings at edges and is off by a code here and there, which nobody sees in a picture; in opacity it shows
    as a veil over what should be clear, or a hole in what should be opaque.
    """
    scale = upscaled.shape[0] // given.shape[0]
    least, most = _around(given, np.minimum), _around(given, np.maximum)
    for row in range(scale):
        for column in range(scale):
            phase = upscaled[row::scale, column::scale]
            np.clip(phase, least, most, out=phase)


def _around(plane: Plane, extreme: np.ufunc) -> Plane:
    """The extreme of each sample's 3x3 neighbourhood."""
    padded = np.pad(plane, 1, "edge")
    lines = extreme(extreme(padded[:-2], padded[1:-1]), padded[2:])
    found: Plane = extreme(extreme(lines[:, :-2], lines[:, 1:-1]), lines[:, 2:])
    return found
