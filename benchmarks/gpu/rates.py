"""One network at one size: infer alone, with copies, and end to end through the engine's slots."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from itertools import cycle
from typing import Any

from benchmarks.gpu.timing import Run, percentile
from vsr.backends.cuda import SLOTS, SlotEngine
from vsr.device.memory import PinnedMemory
from vsr.device.protocol import Device, Executor, Stream
from vsr.frame import Frame, FramePool

Feed = Callable[[], Frame]
ALONE = 50  # frames, for the latency of one at a time


def launches(device: Device, executor: Executor, frame: Frame, opened: ExitStack) -> Run:
    """The network alone, one frame after the other on one stream, its memory left where it is."""
    stream = opened.enter_context(closing(device.stream()))
    launch = _enqueued(device, executor, frame, stream, opened)

    def run(count: int) -> None:
        with device.current():
            for _ in range(count):
                launch()
            stream.synchronize()

    return run


def _enqueued(
    device: Device, executor: Executor, frame: Frame, stream: Stream, opened: ExitStack, *, copies: bool = False
) -> Callable[[], None]:
    """What enqueues one frame on `stream`, captured where the device can, after it ran once."""
    source = opened.enter_context(closing(device.allocate(executor.input_nbytes)))
    target = opened.enter_context(closing(device.allocate(executor.output_nbytes)))
    bound = opened.enter_context(closing(executor.bind(source, target, stream)))
    given = opened.enter_context(closing(device.pinned(executor.input_nbytes)))
    result = opened.enter_context(closing(device.pinned(executor.output_nbytes)))
    views = frame.format.views(given.array, frame.width, frame.height)
    for plane, samples in zip(views, frame.planes, strict=True):
        plane[:] = samples
    device.upload(source, given.array[: executor.input_nbytes], stream)
    bound.launch()
    stream.synchronize()
    launch = bound.launch
    if device.captures:
        graph = opened.enter_context(closing(device.capture(stream, bound.launch)))
        launch = lambda: graph.launch(stream)  # noqa: E731

    def whole() -> None:
        device.upload(source, given.array[: executor.input_nbytes], stream)
        launch()
        device.download(result.array[: executor.output_nbytes], target, stream)

    return whole if copies else launch


def with_copies(device: Device, executor: Executor, frame: Frame, opened: ExitStack, slots: int = SLOTS) -> Run:
    """Upload, network, download from and to the same pinned memory, `slots` streams in turn; no frames, no engine."""
    lanes = []
    for _ in range(slots):
        stream = opened.enter_context(closing(device.stream()))
        done = opened.enter_context(closing(device.event()))
        lanes.append((stream, done, _enqueued(device, executor, frame, stream, opened, copies=True)))

    def run(count: int) -> None:
        with device.current():
            for index in range(count):
                stream, done, work = lanes[index % slots]
                done.synchronize()
                work()
                done.record(stream)
            for stream, _, _ in lanes:
                stream.synchronize()

    return run


class EndToEnd:
    """Decoded frames through an engine, results dropped, as a run with a null sink does.

    Attributes:
        waited: seconds from submit to result of every frame.
    """

    def __init__(self, engine: SlotEngine, feed: Feed, depth: int = 0) -> None:
        self.engine, self.feed = engine, feed
        self.depth = depth or engine.capacity
        self.waited: list[float] = []

    def __call__(self, count: int) -> None:
        flight: deque[tuple[Any, float]] = deque()
        for _ in range(count):
            begin = time.perf_counter()
            flight.append((self.engine.submit(self.feed()), begin))
            if len(flight) == self.depth:
                self._collect(*flight.popleft())
        while flight:
            self._collect(*flight.popleft())

    def _collect(self, ticket: Any, begin: float) -> None:
        self.engine.wait(ticket).release()
        self.waited.append(time.perf_counter() - begin)

    def latency(self) -> dict[str, float]:
        """Milliseconds, median and 95th percentile, of the frames since it was asked last."""
        waited, self.waited = self.waited, []
        return {f"p{p}": round(1000 * percentile(waited, p), 4) for p in (50, 95)}


def pinned(frames: Sequence[Frame], memory: PinnedMemory) -> Feed:
    """The same frames as a decoder leaves them in pinned memory; an engine with that memory uploads them from there."""
    first = frames[0]
    format, width, height = first.format, first.width, first.height
    pool = FramePool(format, width, height, memory)
    leases = []
    for frame in frames:
        planes, lease = pool.take()
        leases.append(lease)
        for plane, samples in zip(planes, frame.planes, strict=True):
            plane[:] = samples
    for lease in leases:
        lease.release()

    def feed() -> Frame:
        planes, lease = pool.take()
        return first.like(format=format, width=width, height=height, planes=planes, lease=lease)

    return feed


def pageable(frames: Sequence[Frame]) -> Feed:
    """Frames in ordinary memory, in turn."""
    return cycle(frames).__next__
