"""A CUDA device behind the Engine contract: 2 to 4 frames in flight, whatever library runs the network.

While one frame computes, the next is uploaded and the one before downloaded, each in a slot with a stream of its own:

    decoded planes -> [staging, unless decoded into pinned memory] -> device -> network -> device -> pinned result
    surface of a decoder's on the device ----------------------------^

A frame in memory goes each way in one copy, its planes side by side in one buffer. A result is downloaded to where
whoever takes it will read it, so it holds no slot, however long it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import numpy as np

from vsr.backends.engine import QueuedEngine
from vsr.device.memory import PinnedMemory, address_of
from vsr.device.protocol import Closable, Device, DeviceError, DeviceMemoryError, Executor, run_all
from vsr.device.slots import FrameTimes, Slot
from vsr.frame import Frame, Lease, Planes
from vsr.graph import FrameSpec
from vsr.report import counted

SLOTS = 3


class SlotEngine(QueuedEngine["_Running"]):
    """Engine on a CUDA device; whoever uses it need not be inside `device.current()`.

    Args:
        device: the caller's, and closed after this.
        executor: for frames of `spec`; taken over, and closed too where opening fails.
        slots: frames in flight; where memory is short, as many as there is memory for.
        pinned: frames decoded into this memory are uploaded from where they are; the caller's, and closed after this.
        capture: keep the network's launches as a graph, where the device has graphs.
        timed: fill `times`.

    Attributes:
        notes: what a user should hear: fewer slots, no graph.
        times: of every frame finished, for measuring.

    Raises:
        DeviceMemoryError: there is no memory for a single slot.
    """

    def __init__(
        self,
        device: Device,
        executor: Executor,
        spec: FrameSpec,
        scale: int,
        *,
        slots: int = SLOTS,
        pinned: PinnedMemory | None = None,
        capture: bool = True,
        timed: bool = False,
    ) -> None:
        self._device, self._pinned = device, pinned
        self._results = PinnedMemory(device)
        self.notes: list[str] = []
        self.times: list[FrameTimes] = []
        self._made: list[Closable] = [executor]
        self._failed = False
        with device.current():
            try:
                _check(executor, spec, scale)
                kind = partial(Slot, device, executor, timed=timed, paired=spec.surfaces)
                self._free = self._open(kind, slots, capture=capture and device.captures)
                self._opening = device.event(timed=True) if timed else None
                if self._opening is not None:
                    self._made.append(self._opening)
                    self._free[0].opened(self._opening)
            except BaseException:
                with suppress(DeviceError):
                    run_all(thing.close for thing in reversed(self._made))
                raise
        count = len(self._free)
        super().__init__(spec, scale, count, self._results)
        self.takes_surfaces = spec.surfaces
        entry = ", chroma in pairs" if spec.surfaces else ""
        self.label = f"{executor.label}, {counted(count, 'slot')}, {device.layer}{entry}"

    @property
    def leased(self) -> int:
        return self._pool.leased - len(self._flight)

    def reset(self) -> None:
        with self._inside(closing=True):
            self._drop()

    def close(self) -> None:
        """See `Engine`; while results aren't released their memory stays, and another `close()` frees it."""
        run_all([self._close_slots, self._close_results])

    def _close_slots(self) -> None:
        made, self._made = self._made, []
        with self._inside(closing=True):
            run_all([self._drop, *(thing.close for thing in reversed(made))])

    def _close_results(self) -> None:
        self._pool.close()
        with self._inside(closing=True):
            self._results.close()

    def _drop(self) -> None:
        """Waits for what is in flight, whatever becomes of it, and gives its frames and buffers back."""
        flying = self._flight.clear()
        try:
            run_all(running.slot.settle for running in flying)
        finally:
            for running in flying:
                self._over(running)
                running.lease.release()

    def _start(self, frame: Frame, out: Planes | None) -> _Running:
        with self._inside():
            planes, lease = self._pool.take()
            direct = frame.surface is not None or self._dense(frame)
            try:
                self._free[-1].start(frame, lease.buffer, direct=direct)
            except BaseException:
                lease.release()
                raise
        if not direct:
            frame.release()
        return _Running(frame, direct, self._free.pop(), planes, lease, out)

    def _finished(self, running: _Running) -> bool:
        with self._inside():
            return running.slot.done()

    def _finish(self, running: _Running, timeout: float | None) -> Frame:
        with self._inside():
            running.slot.wait(timeout)
            if self._opening is not None:
                self.times.append(running.slot.times(self._opening))
        planes, lease = running.planes, running.lease if running.out is None else None
        if running.out is not None:
            for target, plane in zip(running.out, planes, strict=True):
                np.copyto(target, plane)
            planes = running.out
            running.lease.release()
        self._over(running)
        width, height = self._size
        return running.frame.like(format=running.frame.format, width=width, height=height, planes=planes, lease=lease)

    def _over(self, running: _Running) -> None:
        """The slot is idle."""
        if running.direct:
            running.frame.release()
        self._free.append(running.slot)

    def _dense(self, frame: Frame) -> bool:
        """Whether a frame can be uploaded from where it is: pinned, and its planes where the device expects them."""
        if self._pinned is None or frame.lease is None or self.takes_surfaces:
            return False
        buffer = frame.lease.buffer[: frame.format.nbytes(frame.width, frame.height)]
        if not self._pinned.owns(buffer):
            return False
        expected = frame.format.views(buffer, frame.width, frame.height)
        return all(address_of(a) == address_of(b) for a, b in zip(frame.planes, expected, strict=True))

    @contextmanager
    def _inside(self, *, closing: bool = False) -> Iterator[None]:
        """In the device's context. The first error is raised; what it leads to while `closing` is not."""
        with self._device.current():
            try:
                yield
            except DeviceError as error:
                if closing and self._failed:
                    return
                self._failed |= not isinstance(error, DeviceMemoryError)
                raise

    def _open(self, kind: Callable[..., Slot], slots: int, *, capture: bool) -> list[Slot]:
        """As many slots as there is memory for."""
        opened: list[Slot] = []
        while len(opened) < slots:
            try:
                slot = kind(capture=capture)
            except DeviceMemoryError as error:
                if not opened:
                    raise
                self.notes.append(f"memory for {len(opened)} of {slots} slots ({error})")
                break
            opened.append(slot)
            self._made.append(slot)
            if slot.obstacle:
                self.notes.append(f"the network's launches can't be kept as a graph ({slot.obstacle})")
                capture = False
        return opened


@dataclass(frozen=True)
class _Running:
    """A frame on its way: its samples are still read where `direct`; its result comes into the buffer of `lease`."""

    frame: Frame
    direct: bool
    slot: Slot
    planes: Planes
    lease: Lease
    out: Planes | None


def _check(executor: Executor, spec: FrameSpec, scale: int) -> None:
    given = spec.format.nbytes(spec.width, spec.height, paired=spec.surfaces)
    wanted = spec.format.nbytes(spec.width * scale, spec.height * scale)
    if (executor.input_nbytes, executor.output_nbytes) != (given, wanted):
        raise ValueError(f"{executor.label} isn't for {spec} and scale {scale}")
