"""A clock that is told, a source in step with its sink, engines that repeat pixels: for tests of `vsr.live`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from vsr.backends.engine import QueuedEngine
from vsr.device.protocol import DeviceError
from vsr.errors import VsrError
from vsr.frame import Frame, FramePools, PlanarFormat, Planes
from vsr.graph import FrameSpec
from vsr.live.controller import Control
from vsr.live.ladder import Ladder, Opened, Say
from vsr.live.loop import Loop
from vsr.live.protocol import Captured, Console, Policy, Shown, Sound, Source
from vsr.live.stage import LiveStage
from vsr.live.stats import Meter
from vsr.settings import EngineSettings

WAIT = 30.0  # seconds after which a test gives up
FORMAT = PlanarFormat()


class FakeClock:
    """Seconds that pass when somebody says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeEngine(QueuedEngine[tuple[Frame, Planes | None]]):
    """Repeats every pixel; a frame takes `seconds` of a clock, and waits for `gate` where there is one."""

    def __init__(
        self, spec: FrameSpec, clock: FakeClock, seconds: float = 0.01, gate: threading.Event | None = None
    ) -> None:
        super().__init__(spec, 2, 2)
        self.label, self.clock, self.seconds, self.gate = "fake", clock, seconds, gate
        self.failures = list[DeviceError]()  # of the next frames

    def _start(self, frame: Frame, out: Planes | None) -> tuple[Frame, Planes | None]:
        return frame, out

    def _finish(self, handle: tuple[Frame, Planes | None], timeout: float | None) -> Frame:
        frame, out = handle
        if self.gate is not None:
            assert self.gate.wait(WAIT)
        if self.failures:
            raise self.failures.pop()
        result = self._result(frame, out)
        for small, large in zip(frame.planes, result.planes, strict=True):
            large[...] = small.repeat(2, 0).repeat(2, 1)[: large.shape[0], : large.shape[1]]
        self.clock.advance(self.seconds)
        frame.release()
        return result


class Opening:
    """Opens fake engines, which take what `seconds` says of a network."""

    def __init__(self, clock: FakeClock, **seconds: float) -> None:
        self.clock, self.seconds = clock, seconds or {"m4c16": 0.01, "m4c8": 0.005, "cubic": 0.001}
        self.engines: list[FakeEngine] = []
        self.gate: threading.Event | None = None

    def __call__(self, settings: EngineSettings, spec: FrameSpec, say: Say) -> Opened:
        name = "m4c16" if settings.network == "auto" else settings.network
        self.engines.append(FakeEngine(spec, self.clock, self.seconds[name]))
        return Opened(name, self.engines[-1])

    def ladder(self, spec: FrameSpec) -> Ladder:
        opened = Ladder(EngineSettings(), spec, opener=self, clock=self.clock)
        for engine in self.engines:  # after they were warmed up
            engine.gate = self.gate
        return opened


class FakeSink:
    """Keeps what it is shown: number, rung, whether repeated, mean of luma; asks what comes next `each` time."""

    label = "a test"

    def __init__(self, policy: Policy = "newest") -> None:
        self.policy: Policy = policy
        self.shown: list[tuple[int, str, bool]] = []
        self.means: list[float] = []
        self.heard: list[Sound] = []
        self.closed = self.unwanted = False
        self.idled = 0
        self.changed = threading.Condition()
        self.error: VsrError | None = None

    def begin(self, console: Console, source: Source) -> None:
        self.console = console

    def hear(self, sound: Sound) -> None:
        self.heard.append(sound)

    def show(self, shown: Shown) -> None:
        if self.error is not None:
            raise self.error
        assert shown.frame.width == 2 * shown.source.width
        with self.changed:
            self.shown.append((shown.number, shown.rung, shown.repeated))
            self.means.append(float(np.mean(shown.frame.planes[0])))
            self.changed.notify_all()

    def idle(self) -> None:
        self.idled += 1

    def wants(self) -> bool:
        return not self.unwanted

    def close(self) -> None:
        self.closed = True

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.shown) >= count, WAIT)


Picture = tuple[int, tuple[int, int]]  # a grey level and a size


class FakeSource:
    """Frames of one grey level each.

    Args:
        pictures: (level, size) of each, or an error to raise, or a packet of sound.
        before: called with the number of every one ahead of it; may wait for a sink.
        after: called when all were taken.
    """

    label = "a test"
    rate: Fraction | None = Fraction(30)
    sound: Any = None
    step = 1  # from one frame's number to the next one's: more where those between were dropped

    def __init__(
        self,
        pictures: Iterable[Picture | Exception | Sound],
        clock: FakeClock,
        before: Callable[[int], None],
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.pictures, self.clock, self.before, self.after = list(pictures), clock, before, after
        self.pools = FramePools()
        self.closed = threading.Event()

    def frames(self) -> Iterator[Captured | Sound]:
        number = 0
        for picture in self.pictures:
            if isinstance(picture, Exception):
                raise picture
            if isinstance(picture, Sound):
                yield picture
                continue
            self.before(number)
            yield Captured(self._frame(*picture, number), self.clock(), number * self.step)
            number += 1
        self.after()

    def _frame(self, level: int, size: tuple[int, int], number: int) -> Frame:
        planes, lease = self.pools.take(FORMAT, *size)
        for plane in planes:
            plane[...] = level
        return Frame(
            format=FORMAT, width=size[0], height=size[1], planes=planes, pts=number, duration=1,
            time_base=Fraction(1, 30), index=number, lease=lease,
        )  # fmt: skip

    def close(self) -> None:
        self.closed.set()

    @property
    def leased(self) -> int:
        return self.pools.leased


class Run:
    """A loop of fakes, and what it said and logged."""

    def __init__(
        self,
        pictures: Iterable[Picture | Exception | Sound],
        *,
        sink: FakeSink | None = None,
        before: Callable[[int], None] | None = None,
        after: Callable[[], None] = lambda: None,
        control: Control | None = None,
        opening: Opening | None = None,
        budget: float = 1 / 30,
        longest: float | None = None,
        stop: Callable[[], int] = lambda: 0,
    ) -> None:
        self.sink = sink or FakeSink()
        self.opening = opening or Opening(FakeClock())
        self.clock = self.opening.clock
        self.said: list[str] = []
        self.lines: list[dict[str, Any]] = []
        self.source = FakeSource(pictures, self.clock, before or self.sink.wait_for, after)
        self.meter = Meter(self.clock)
        self.stage = LiveStage(
            self.opening.ladder, budget, control, longest=longest, meter=self.meter, log=self.lines.append,
            say=self.said.append, clock=self.clock,
        )  # fmt: skip
        self.loop = Loop(
            self.source, self.sink, self.stage, meter=self.meter, log=self.lines.append, stop=stop, clock=self.clock
        )

    def __call__(self) -> Run:
        """Runs, and checks that all was closed and nothing kept."""
        try:
            self.loop.run()
        finally:
            assert self.sink.closed
            assert self.source.closed.is_set()
            assert self.source.leased == 0
            assert not any(engine.leased for engine in self.opening.engines)
        return self
