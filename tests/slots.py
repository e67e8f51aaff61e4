"""What tests of the slots share: executors for the fake device, frames that poison, random schedules."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from onnx import ModelProto

from strong import assert_close, planes, spec
from vsr.backends.cuda import SlotEngine
from vsr.backends.engine import Ticket
from vsr.backends.pytorch.executor import DenseNetwork
from vsr.device.fake import POISON, FakeDevice
from vsr.device.memory import PinnedMemory
from vsr.device.protocol import Device, DeviceBuffer, DeviceError, Stream
from vsr.frame import Colour, Frame, FramePool, Lease, Planes, TrackFacts
from vsr.graph import FrameSpec

SPECS = [
    spec(chroma, depth, size)
    for chroma, depth, size in [
        ("420", 8, (6, 4)),
        ("420", 8, (7, 5)),
        ("420", 10, (33, 9)),
        ("422", 10, (5, 3)),
        ("422", 8, (1, 1)),
        ("444", 8, (40, 7)),
        ("444", 12, (3, 5)),
        ("grey", 8, (17, 16)),
        ("grey", 16, (4, 2)),
    ]
]


def repeated(what: FrameSpec, given: Planes) -> Planes:
    """What `Repeating` computes: the negative, twice as large."""
    shapes = what.format.shapes(2 * what.width, 2 * what.height)
    negative = [(what.format.white - plane).astype(plane.dtype) for plane in given]
    return tuple(
        p.repeat(2, 0).repeat(2, 1)[:rows, :columns] for p, (rows, columns) in zip(negative, shapes, strict=True)
    )


class Repeating:
    """An executor for the fake device: scale 2, quick, and every sample counts."""

    label = "repeating"

    def __init__(self, device: FakeDevice, what: FrameSpec) -> None:
        self.device, self.what, self.bound, self.closed = device, what, 0, False
        self.input_nbytes = what.format.nbytes(what.width, what.height, paired=what.surfaces)
        self.output_nbytes = what.format.nbytes(2 * what.width, 2 * what.height)

    def bind(self, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> _Repeating:
        return _Repeating(self, source, target, stream)

    def close(self) -> None:
        assert not self.bound, "the executor was closed before what it bound"
        self.closed = True


class _Repeating:
    def __init__(self, executor: Repeating, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> None:
        self.executor, self.source, self.target, self.stream = executor, source, target, stream
        self.scratch = executor.device.allocate(executor.output_nbytes)
        executor.bound += 1

    def launch(self) -> None:
        self.executor.device.compute(self.stream, self._compute)

    def _compute(self) -> None:
        device, what = self.executor.device, self.executor.what
        source = device.bytes(self.source.address, self.source.nbytes)
        given = what.format.views(source, what.width, what.height, paired=what.surfaces)
        if what.surfaces:
            shift = what.format.shift
            given = tuple((plane >> shift) + (plane & (1 << shift) - 1) for plane in given)  # where 0 belongs
        result = device.bytes(self.target.address, self.target.nbytes)
        wanted = what.format.views(result, 2 * what.width, 2 * what.height)
        for target, plane in zip(wanted, repeated(what, given), strict=True):
            target[:] = plane

    def close(self) -> None:
        if not self.scratch.closed:
            self.scratch.close()
            self.executor.bound -= 1


class OnFake:
    """`DenseNetwork` on the CPU, as an executor of the fake device."""

    label = "torch on the fake device"

    def __init__(self, device: FakeDevice, described: ModelProto) -> None:
        self.device, self.network = device, DenseNetwork(described, fused=True)
        self.input_nbytes, self.output_nbytes = self.network.input_nbytes, self.network.output_nbytes

    def bind(self, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> _OnFake:
        return _OnFake(self, source, target, stream)

    def close(self) -> None: ...


class _OnFake:
    def __init__(self, executor: OnFake, source: DeviceBuffer, target: DeviceBuffer, stream: Stream) -> None:
        self.executor, self.buffers, self.stream = executor, (source, target), stream

    def launch(self) -> None:
        device = self.executor.device

        def compute() -> None:
            source, target = (torch.from_numpy(device.bytes(b.address, b.nbytes)) for b in self.buffers)
            self.executor.network.between(source, target)()

        device.compute(self.stream, compute)

    def close(self) -> None: ...


class Failing:
    """A device of which one kind of call fails at its n-th time."""

    def __init__(self, device: Device, name: str, at: int) -> None:
        self._device, self._name, self._left = device, name, at

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._device, name)
        if name != self._name:
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise DeviceError(f"{name}: as asked")
            return value(*arguments, **options)

        return call


class PoisonedLease(Lease):
    """Whoever reads a frame's samples after its release reads nonsense."""

    def __init__(self, pool: FramePool, lease: Lease, planes: Planes) -> None:
        super().__init__(pool, lease.buffer)
        self.planes = planes

    def release(self) -> None:
        for plane in self.planes:
            plane.view(np.uint8)[:] = POISON
        super().release()


def pooled(pool: FramePool, what: FrameSpec, index: int) -> Frame:
    """A frame of `planes(what, index)` in a buffer of the pool's."""
    given, lease = pool.take()
    for target, source in zip(given, planes(what, index), strict=True):
        target[:] = source
    return Frame(
        format=what.format,
        width=what.width,
        height=what.height,
        planes=given,
        pts=1001 * index,
        index=index,
        facts=TrackFacts(colour=Colour(chroma_location=what.location)),
        lease=PoisonedLease(pool, lease, given),
    )


@dataclass
class Held:
    """A result whoever took it hasn't released yet."""

    frame: Frame
    expected: Planes

    def release(self) -> None:
        assert_close(self.frame.planes, self.expected)
        self.frame.release()


class Schedule:
    """Random use of an engine on a fake device, everything compared with what NumPy computes at once.

    Args:
        seed: of everything.
        kind: the engine.
    """

    def __init__(self, seed: int, kind: type[SlotEngine] = SlotEngine) -> None:
        self.random = Random(seed)
        self.what = self.random.choice(SPECS)
        self.device = FakeDevice(seed, captures=self.random.random() < 0.7)
        self.pinned = PinnedMemory(self.device)
        self.pools = [FramePool(self.what.format, self.what.width, self.what.height, m) for m in (self.pinned, None)]
        self.executor = Repeating(self.device, self.what)
        slots = self.random.choice([2, 3, 4])
        self.engine = kind(self.device, self.executor, self.what, 2, slots=slots, pinned=self.pinned)
        assert self.engine.capacity == slots
        self.flying: deque[tuple[Ticket, int, Planes | None]] = deque()
        self.held: list[Held] = []
        self.next = 0

    def run(self, actions: int = 25) -> None:
        for _ in range(actions):
            name = self.random.choices(
                ["submit", "ready", "wait", "release", "drain", "reset"], [8, 3, 4, 3, 0.5, 0.3]
            )[0]
            getattr(self, name)()
        self.finish()

    def submit(self) -> None:
        if len(self.flying) == self.engine.capacity:
            return
        what, out = self.what, None
        if self.random.random() < 0.4:
            size = 2 * what.width, 2 * what.height
            out = what.format.views(np.full(what.format.nbytes(*size), POISON, np.uint8), *size)
        ticket = self.engine.submit(pooled(self.random.choice(self.pools), what, self.next), out)
        self.flying.append((ticket, self.next, out))
        self.next += 1

    def ready(self) -> None:
        for result in self.engine.ready():
            self.take(result)

    def wait(self) -> None:
        if self.flying:
            timeout = self.random.choice([None, 0, 0.001])
            try:
                self.take(self.engine.wait(self.flying[0][0], timeout))
            except TimeoutError:
                assert timeout is not None

    def drain(self) -> None:
        for result in self.engine.drain():
            self.take(result)
        assert not self.flying

    def reset(self) -> None:
        self.engine.reset()
        self.flying.clear()
        assert not any(pool.leased for pool in self.pools)

    def take(self, result: Frame) -> None:
        _, index, out = self.flying.popleft()
        expected = repeated(self.what, planes(self.what, index))
        assert (result.index, result.pts) == (index, 1001 * index)
        assert_close(result.planes, expected)
        if out is None:
            self.held.append(Held(result, expected))
        else:
            assert result.planes is out
            assert result.lease is None

    def release(self) -> None:
        if self.held:
            self.held.pop(self.random.randrange(len(self.held))).release()

    def finish(self) -> None:
        assert self.engine.leased == len(self.held)
        while self.held:
            self.release()
        self.engine.close()
        assert self.engine.leased == 0
        for pool in self.pools:
            pool.close()
        self.pinned.close()
        assert self.executor.closed
        assert not +self.device.open, f"left open: {self.device.open}"
        self.device.close()
        assert not self.device.misuses
