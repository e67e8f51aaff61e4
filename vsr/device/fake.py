"""FakeDevice: the device protocol in NumPy, as unkind as the protocol allows.

Nothing enqueued runs until somebody synchronises or polls, or by chance during any other call, and which stream
advances is random by the seed. A copy reads and writes memory when it runs. New and closed memory is full of 0xA5, and
no address is ever used twice. What the protocol forbids raises DeviceError and is kept in `misuses`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import cast

import numpy as np

from vsr.device.fake_objects import (
    POISON,
    Closable,
    FakeBuffer,
    FakeEvent,
    FakeGraph,
    FakePinned,
    FakeStream,
    Operation,
)
from vsr.device.protocol import Bytes, DeviceBuffer, DeviceError, DeviceMemoryError, Stream, require_fit, require_room
from vsr.frame import aligned_buffer
from vsr.surface import Rows


class FakeDevice:
    """One made-up GPU.

    Args:
        seed: of the order in which streams advance, and of how eagerly.
        memory, pinned: bytes there are of device and of pinned memory.
        fail_at: the call or operation, counted from 0 in `steps`, that fails: a call fails once or for good, by the
            seed; an operation for good, so that every later call but `close` fails too.
        captures: whether `capture` works.
        copied: bytes in a simulated second, each way.
        eager: chance that an operation runs before a call; by the seed where None.

    Attributes:
        open: what was made and not closed, by kind ("stream", "event", "pinned", "device", "graph").
        misuses: what was done against the protocol, in words.
        steps: calls and operations so far.
        default: the default stream, for who plays a decoder.
    """

    name, index, compute_capability, layer = "Fake GPU", 0, (9, 0), "fake"

    def __init__(
        self,
        seed: int = 0,
        *,
        memory: int = 1 << 30,
        pinned: int = 1 << 30,
        fail_at: int | None = None,
        captures: bool = True,
        copied: float = 10e9,
        eager: float | None = None,
    ) -> None:
        self.captures = captures
        self.open: Counter[str] = Counter()
        self.misuses: list[str] = []
        self.steps = 0
        self.room = {"device": memory, "pinned": pinned}
        self.now = 0.0  # simulated seconds, as the host has seen them go by
        self.lock = threading.RLock()
        self.dead: DeviceError | None = None
        self._memory, self._fail_at, self._copied = memory, fail_at, copied
        self._random = Random(seed)
        self._eager = self._random.choice([0.0, 0.2, 0.7]) if eager is None else eager
        self.default = FakeStream(self, 0)  # always there, in order with no other
        self.open.clear()
        self._streams = [self.default]
        self._free_at = {"upload": 0.0, "compute": 0.0, "download": 0.0}
        self._buffers: dict[int, Bytes] = {}
        self._pinned: list[Bytes] = []
        self._next = 0x7F00_0000_0000
        self._thread = threading.local()
        self._closed = False

    @contextmanager
    def current(self) -> Iterator[None]:
        if self._closed:
            raise self.misused("current() of a closed device")
        self._thread.depth = getattr(self._thread, "depth", 0) + 1
        try:
            yield
        finally:
            self._thread.depth -= 1

    def memory(self) -> tuple[int, int]:
        with self.call("memory"):
            return self.room["device"], self._memory

    def stream(self) -> FakeStream:
        with self.call("stream"):
            self._streams.append(FakeStream(self, len(self._streams)))
            return self._streams[-1]

    def event(self, *, timed: bool = False) -> FakeEvent:
        with self.call("event"):
            return FakeEvent(self, timed)

    def pinned(self, nbytes: int, *, write_combined: bool = False) -> FakePinned:
        with self.call("pinned"):
            self._take("pinned", nbytes)
            self._pinned.append(aligned_buffer(nbytes))
            return FakePinned(self, self._pinned[-1])

    def allocate(self, nbytes: int) -> FakeBuffer:
        with self.call("allocate"):
            self._take("device", nbytes)
            address, self._next = self._next, self._next + -(-nbytes // 256) * 256 + 4096
            self._buffers[address] = np.empty(nbytes, np.uint8)
            return FakeBuffer(self, self._buffers[address], address)

    def upload(self, target: DeviceBuffer, source: Bytes, stream: Stream) -> None:
        self._check(source, target, "upload")
        address = target.address

        def copy(_: float) -> None:
            self.bytes(address, source.nbytes)[:] = source

        self._enqueue(stream, Operation("upload", copy, "upload", source.nbytes / self._copied))

    def download(self, target: Bytes, source: DeviceBuffer, stream: Stream) -> None:
        self._check(target, source, "download")
        address = source.address

        def copy(_: float) -> None:
            target[:] = self.bytes(address, target.nbytes)

        self._enqueue(stream, Operation("download", copy, "download", target.nbytes / self._copied))

    def gather(self, target: DeviceBuffer, offset: int, source: Rows, stream: Stream) -> None:
        require_room(target, offset, source)
        address = target.address + offset

        def copy(_: float) -> None:
            into = self.bytes(address, source.nbytes * source.count).reshape(source.count, source.nbytes)
            for index, row in enumerate(into):
                row[:] = self.bytes(source.address + index * source.pitch, source.nbytes)

        self._enqueue(stream, Operation("gather", copy, "compute", 1e-6))

    def compute(self, stream: Stream, work: Callable[[], None], *, seconds: float = 1e-3) -> None:
        """Enqueues `work`, for an executor that runs here; it reaches device memory by `bytes`, when it runs."""
        self._enqueue(stream, Operation("compute", lambda _: work(), "compute", seconds))

    def bytes(self, address: int, nbytes: int) -> Bytes:
        """What is at an address; DeviceError when that isn't inside one open buffer."""
        for start, buffer in self._buffers.items():
            if start <= address and address + nbytes <= start + buffer.nbytes:
                return buffer[address - start : address - start + nbytes]
        raise self.misused(f"{nbytes} bytes at {address:#x} are in no open buffer")

    def capture(self, stream: Stream, work: Callable[[], None]) -> FakeGraph:
        stream = cast(FakeStream, stream)
        if not self.captures:
            raise DeviceError("capture: this device has no graphs")
        captured: list[Operation] = []
        with self.call("capture", stream):
            stream.captured = captured
        try:
            work()
        finally:
            kept, stream.captured = stream.captured, None
        if kept is not captured:
            raise DeviceError("capture: something in it can't be captured")
        with self.call("instantiate", stream):
            return FakeGraph(self, captured)

    def close(self) -> None:
        if not self._closed and self.open.total():
            self.misused(f"the device was closed with {dict(+self.open)} open")
        self._closed = True

    @contextmanager
    def call(self, name: str, *used: Closable) -> Iterator[None]:
        """One call of the protocol: its thread, context and objects are right, and by chance work goes on before it."""
        with self.lock:
            self.inside(name)
            if any(thing.closed for thing in used):
                raise self.misused(f"{name} of something closed")
            while self._random.random() < self._eager and self._advance():
                pass
            self._count(name)
            if self.dead:
                raise self.dead
            yield

    def inside(self, name: str) -> None:
        """DeviceError when the calling thread is not within `current()`."""
        if not getattr(self._thread, "depth", 0):
            raise self.misused(f"{name} outside current()")

    def misused(self, what: str) -> DeviceError:
        self.misuses.append(what)
        return DeviceError(what)

    def run_until(self, done: Callable[[], bool]) -> None:
        while not self.dead and not done():
            if not self._advance():
                raise self.misused("a wait that nothing enqueued can end")
        if self.dead:
            raise self.dead

    def run_by_chance(self) -> None:
        if self._random.random() < 0.5:
            self._advance()

    def give_back(self, kind: str, memory: Bytes) -> None:
        """Memory of an object that was closed: poisoned, and no longer there."""
        memory[:] = POISON
        self.room[kind] += memory.nbytes
        self._buffers = {address: kept for address, kept in self._buffers.items() if kept is not memory}
        self._pinned = [kept for kept in self._pinned if kept is not memory]

    def _take(self, kind: str, nbytes: int) -> None:
        if nbytes < 1:
            raise DeviceError(f"{nbytes} bytes of {kind} memory: at least 1 is needed")
        if nbytes > self.room[kind]:
            raise DeviceMemoryError(f"{nbytes} bytes of {kind} memory: {self.room[kind]} are free")
        self.room[kind] -= nbytes

    def _check(self, host: Bytes, buffer: DeviceBuffer, name: str) -> None:
        require_fit(host, buffer)
        with self.lock:
            if not any(np.may_share_memory(host, memory) for memory in self._pinned):
                raise self.misused(f"{name}: the host's side lies in no open pinned buffer")

    def _enqueue(self, stream: Stream, operation: Operation) -> None:
        ours = cast(FakeStream, stream)
        with self.call(operation.name, ours):
            ours.push(operation)

    def _count(self, name: str) -> None:
        step, self.steps = self.steps, self.steps + 1
        if step == self._fail_at and not self.dead:
            error = DeviceError(f"{name}: failed at step {step}, as asked")
            if self._random.random() < 0.5:
                self.dead = error
            raise error

    def _advance(self) -> bool:
        """Runs one operation of a random stream; False when none can run."""
        able = [stream for stream in self._streams if stream.able()]
        if self.dead or not able:
            return False
        stream = self._random.choice(able)
        operation = stream.queue.popleft()
        begin = max(stream.clock, operation.issued)
        if operation.event:
            begin = max(begin, operation.event[0].times[operation.event[1]])
        if operation.unit:
            begin = max(begin, self._free_at[operation.unit])
            self._free_at[operation.unit] = begin + operation.seconds
        stream.clock = begin + operation.seconds
        try:
            self._count(operation.name)
            if operation.graph and operation.graph.closed:
                raise self.misused(f"{operation.name} of a closed graph ran")
            operation.run(stream.clock)
        except DeviceError as error:
            self.dead = error
        return True
