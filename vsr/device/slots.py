"""A slot: all that one frame in flight needs on a device, and when the device did what for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from vsr.device.protocol import (
    Bytes,
    Closable,
    Device,
    DeviceError,
    DeviceMemoryError,
    Event,
    Executor,
    Graph,
    PinnedBuffer,
    run_all,
)
from vsr.frame import Frame

_POLL = 2e-4  # seconds between two looks at an event, with a time limit


@dataclass(frozen=True)
class FrameTimes:
    """When the device did what for one frame, in seconds since the engine was opened.

    Args:
        begin: the upload could start, as far as the slot's stream goes.
        uploaded, computed, downloaded: that step was done.
    """

    begin: float
    uploaded: float
    computed: float
    downloaded: float


def overlap(together: Sequence[FrameTimes], alone: Sequence[FrameTimes]) -> float:
    """The share of the copies' time that hides behind computing: 1 - (total - compute) / copies.

    Args:
        together: of frames in a row, with every slot in use.
        alone: of frames each submitted when the one before was back: what computing and copying take by themselves.
    """
    compute = sum(times.computed - times.uploaded for times in alone) / len(alone)
    copies = sum(times.downloaded - times.begin for times in alone) / len(alone) - compute
    total = max(times.downloaded for times in together) - min(times.begin for times in together)
    return 1 - (total / len(together) - compute) / copies


class Slot:
    """A stream, memory on the device for a frame and its result, a network bound to them, and events.

    Everything is called inside `device.current()`.

    Args:
        capture: keep the network's launches as a graph; where that fails they are launched one by one.
        timed: let `times` be asked for.
        paired: the executor takes chroma in pairs, and frames may come on the device.

    Attributes:
        obstacle: why there is no graph, where `capture` asked for one.

    Raises:
        DeviceError: something can't be made; nothing is left open then.
    """

    def __init__(self, device: Device, executor: Executor, *, capture: bool, timed: bool, paired: bool = False) -> None:
        self._device, self._paired = device, paired
        self.obstacle = ""
        self._stream = device.stream()
        self._made: list[Closable] = [self._stream]
        self._staging: PinnedBuffer | None = None
        self._graph: Graph | None = None
        try:
            self._source = device.allocate(executor.input_nbytes)
            self._made.append(self._source)
            self._target = device.allocate(executor.output_nbytes)
            self._made.append(self._target)
            self._bound = executor.bind(self._source, self._target, self._stream)
            self._made.append(self._bound)
            self._marks: list[Event] = []
            for _ in range(4 if timed else 1):
                self._marks.append(device.event(timed=timed))
                self._made.append(self._marks[-1])
            self._warm(capture)
        except BaseException:
            with suppress(DeviceError):
                self.close()
            raise

    def start(self, frame: Frame, result: Bytes, *, direct: bool) -> None:
        """Enqueues all that is to be done for a frame. When this raises, nothing of it is left enqueued.

        Args:
            result: pinned, as large as the executor's output.
            direct: upload from the frame's buffer, or copy from its surface, which stay in use until `done`, and not
                from a copy of its planes.
        """
        try:
            if frame.surface is None:
                source = frame.lease.buffer[: self._source.nbytes] if direct and frame.lease else self._staged(frame)
                self._mark(0)
                self._device.upload(self._source, source, self._stream)
            else:
                self._mark(0)
                offsets = frame.format.offsets(frame.width, frame.height, paired=True)
                for rows, offset in zip(frame.surface.rows, offsets, strict=True):
                    self._device.gather(self._source, offset, rows, self._stream)
            self._mark(1)
            self._launch()
            self._mark(2)
            self._device.download(result, self._target, self._stream)
            self._marks[-1].record(self._stream)
        except BaseException:
            with suppress(DeviceError):
                self.settle()
            raise

    def done(self) -> bool:
        """Whether the result is there. DeviceError when the work failed."""
        return self._marks[-1].done()

    def wait(self, timeout: float | None) -> None:
        """Until the result is there; TimeoutError after `timeout` seconds, DeviceError when the work failed."""
        if timeout is None:
            self._marks[-1].synchronize()
            return
        end = time.monotonic() + timeout
        while not self.done():
            if time.monotonic() >= end:
                raise TimeoutError(f"no result within {timeout} s")
            time.sleep(_POLL)

    def settle(self) -> None:
        """Until nothing enqueued is left, whatever became of it."""
        self._stream.synchronize()

    def times(self, opening: Event) -> FrameTimes:
        """Of the frame that is done, from `opening` on."""
        return FrameTimes(*(mark.since(opening) for mark in self._marks))

    def opened(self, event: Event) -> None:
        """Records `event` in the slot's stream, and waits for it."""
        event.record(self._stream)
        event.synchronize()

    def close(self) -> None:
        made, self._made = self._made, []
        if made:
            run_all([self.settle, *(thing.close for thing in reversed(made))])

    def _warm(self, capture: bool) -> None:
        """Libraries load kernels, choose among them and take memory at the first launch."""
        self._bound.launch()
        self._stream.synchronize()
        try:
            self._graph = self._device.capture(self._stream, self._bound.launch) if capture else None
        except DeviceMemoryError:
            raise
        except DeviceError as error:
            self.obstacle = str(error)
        if self._graph is not None:
            self._made.append(self._graph)

    def _launch(self) -> None:
        if self._graph is None:
            self._bound.launch()
        else:
            self._graph.launch(self._stream)

    def _mark(self, step: int) -> None:
        if len(self._marks) > 1:
            self._marks[step].record(self._stream)

    def _staged(self, frame: Frame) -> Bytes:
        """A copy of the frame's planes that can be uploaded; the slot is idle, so the last one was."""
        if self._staging is None:
            self._staging = self._device.pinned(self._source.nbytes, write_combined=True)
            self._made.append(self._staging)
            self._staging.array[:] = 0  # what pads a plane, see PinnedMemory
        staged = self._staging.array[: self._source.nbytes]
        shift = frame.format.shift if self._paired else 0
        views = frame.format.views(staged, frame.width, frame.height, paired=self._paired)
        for target, plane in zip(views, frame.planes, strict=True):
            np.copyto(target, plane << shift if shift else plane)
        return staged
