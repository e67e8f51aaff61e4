"""A constant rate made of results that come when they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from vsr.frame import Frame
from vsr.live.protocol import Console, Shown

NEAR = 0.75  # of a frame that a result may be off its place before it counts as another's
LAG = 1.0  # seconds after which a source that brings nothing is written on without


class Pace:
    """Gives every place of a grid in time one frame: the result that falls there, else the one before again.

    Places count from the first result, by its pts; a result that comes too late for its place, or as the second for
    one, is dropped and counted.

    Args:
        write: takes a frame and its place; the frame is the caller's again afterwards.
    """

    def __init__(self, rate: Fraction, write: Callable[[Frame, int], None]) -> None:
        self._rate, self._write = rate, write
        self._last: Shown | None = None
        self._next = 0
        self._origin = self._place = 0.0  # seconds of the first result's pts; place of the last one

    @property
    def origin(self) -> float:
        """Seconds of pts that place 0 stands for."""
        return self._origin

    def show(self, shown: Shown, console: Console) -> None:
        seconds = float(shown.frame.pts * shown.frame.time_base)
        if self._last is None:
            self._origin = seconds
        self._place = place = float((seconds - self._origin) * self._rate)
        if place <= self._next - NEAR:
            console.count("dropped by the constant rate")
            self._last = shown
            return
        if place >= self._next + NEAR:
            self._repeat(round(place) - self._next, console)
        self._put(shown.frame)
        self._last = shown

    def idle(self, now: float, console: Console) -> None:
        """Goes on with the last result where none has come for a while."""
        if self._last is None:
            return
        due = int(self._place + (now - self._last.ready - LAG) * self._rate)
        if due > self._next:
            self._repeat(due - self._next, console)

    def _repeat(self, times: int, console: Console) -> None:
        assert self._last is not None
        console.count("repeated for the constant rate", times)
        for _ in range(times):
            self._put(self._last.frame)

    def _put(self, frame: Frame) -> None:
        self._write(replace(frame, pts=self._next, duration=1, time_base=1 / self._rate), self._next)
        self._next += 1
