"""What a FakeDevice hands out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from vsr.device.protocol import Bytes, DeviceError, Event, Stream

if TYPE_CHECKING:
    from vsr.device.fake import FakeDevice

POISON = 0xA5


@dataclass(frozen=True, eq=False)
class Operation:
    """Something enqueued: it starts after what is before it in its stream, after `event`, and when its unit is free."""

    name: str
    run: Callable[[float], None]  # given the simulated time at its end
    unit: str = ""  # "upload", "compute", "download"; one operation at a time each; "" for marks, which take no time
    seconds: float = 0.0
    event: tuple[FakeEvent, int] | None = None
    graph: FakeGraph | None = None
    issued: float = 0.0


class Closable:
    """Something of the device's that is open until `close()`."""

    def __init__(self, device: FakeDevice, kind: str) -> None:
        self.device, self.kind, self.closed = device, kind, False
        device.open[kind] += 1

    def close(self) -> None:
        with self.device.lock:
            if self.closed:
                return
            self.device.inside(f"close of a {self.kind}")
            self.closed = True
            self.device.open[self.kind] -= 1
            self._closing()

    def _closing(self) -> None: ...


class FakeStream(Closable):
    def __init__(self, device: FakeDevice, handle: int) -> None:
        super().__init__(device, "stream")
        self._handle = handle
        self.queue: deque[Operation] = deque()
        self.captured: list[Operation] | None = None
        self.clock = 0.0  # simulated time at which what has run was done

    @property
    def handle(self) -> int:
        if self.closed:
            raise self.device.misused("a closed stream's handle")
        return self._handle

    def wait(self, event: Event) -> None:
        ours = cast(FakeEvent, event)
        with self.device.call("wait", self, ours):
            self.not_captured("wait")
            if ours.recorded:
                self.push(Operation("wait", lambda _: None, event=(ours, ours.recorded)))

    def synchronize(self) -> None:
        with self.device.call("synchronize", self):
            self.not_captured("synchronize")
            self.device.run_until(lambda: not self.queue)
            self.device.now = max(self.device.now, self.clock)

    def push(self, operation: Operation) -> None:
        if self.captured is not None:
            self.captured.append(operation)
        else:
            self.queue.append(replace(operation, issued=self.device.now))

    def able(self) -> bool:
        """Whether its next operation, if any, can run."""
        event = self.queue[0].event if self.queue else None
        return bool(self.queue) and (event is None or event[1] in event[0].times)

    def not_captured(self, name: str) -> None:
        if self.captured is not None:
            self.captured = []  # another list: the capture sees that it was broken off
            raise DeviceError(f"{name}: the stream is being captured")

    def _closing(self) -> None:
        if self.queue and not self.device.dead:
            self.device.misused("a stream was closed with work in it")
        self.queue.clear()


class FakeEvent(Closable):
    def __init__(self, device: FakeDevice, timed: bool) -> None:
        super().__init__(device, "event")
        self.timed = timed
        self.recorded = 0  # how often
        self.times: dict[int, float] = {}  # simulated, of each record that has happened

    def record(self, stream: Stream | None) -> None:
        ours = self.device.default if stream is None else cast(FakeStream, stream)
        with self.device.call("record", ours, self):
            ours.not_captured("record")
            self.recorded = number = self.recorded + 1
            ours.push(Operation("record", lambda time: self.times.update({number: time})))

    def done(self) -> bool:
        with self.device.call("done", self):
            self.device.run_by_chance()
            if self.device.dead:
                raise self.device.dead
            return self._happened()

    def synchronize(self) -> None:
        with self.device.call("synchronize", self):
            self.device.run_until(self._happened)
            self.device.now = max(self.device.now, self.times.get(self.recorded, 0.0))

    def since(self, earlier: Event) -> float:
        start = cast(FakeEvent, earlier)
        with self.device.call("since", self, start):
            for event in (self, start):
                if not (event.timed and event.recorded and event._happened()):
                    raise DeviceError("since: both events are to be timed, recorded and done")
            return self.times[self.recorded] - start.times[start.recorded]

    def _happened(self) -> bool:
        return not self.recorded or self.recorded in self.times

    def _closing(self) -> None:
        if not self._happened() and not self.device.dead:
            self.device.misused("an event was closed before it happened")


class FakePinned(Closable):
    def __init__(self, device: FakeDevice, memory: Bytes) -> None:
        super().__init__(device, "pinned")
        memory[:] = POISON
        self._memory = memory

    @property
    def array(self) -> Bytes:
        if self.closed:
            raise self.device.misused("a closed pinned buffer's array")
        return self._memory

    def _closing(self) -> None:
        self.device.give_back("pinned", self._memory)


class FakeBuffer(Closable):
    def __init__(self, device: FakeDevice, memory: Bytes, address: int) -> None:
        super().__init__(device, "device")
        memory[:] = POISON
        self._memory, self._address = memory, address
        self.nbytes = memory.nbytes

    @property
    def address(self) -> int:
        if self.closed:
            raise self.device.misused("a closed device buffer's address")
        return self._address

    def _closing(self) -> None:
        self.device.give_back("device", self._memory)


class FakeGraph(Closable):
    def __init__(self, device: FakeDevice, operations: list[Operation]) -> None:
        super().__init__(device, "graph")
        self._operations = [replace(operation, graph=self) for operation in operations]

    def launch(self, stream: Stream) -> None:
        ours = cast(FakeStream, stream)
        with self.device.call("launch", ours, self):
            for operation in self._operations:
                ours.push(operation)
