"""For those who capture and show by themselves: frames in, the newest result out, nothing waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self, overload

from vsr.frame import Frame, PlanarFormat, Planes
from vsr.graph import FrameSpec
from vsr.live.controller import Control
from vsr.live.ladder import Ladder, Opener, opened
from vsr.live.mailbox import Mailbox
from vsr.live.protocol import Captured, Snapshot
from vsr.live.stage import LiveStage
from vsr.live.stats import TOTAL, Meter
from vsr.picture import Picture, format_of, joined, split
from vsr.report import Clock
from vsr.settings import EngineSettings

Kind = Literal["grey", "colour", "planes"]
COLOUR = PlanarFormat(chroma="444")


@dataclass(frozen=True)
class _Given:
    captured: Captured
    kind: Kind


class FrameUpscaler:
    """Upscales the newest frame it was given, on a thread of its own, with the network that keeps the deadline.

    Frames are pictures as `vsr.Upscaler` takes them; results are of the same kind, in memory of their own.

    Args:
        size: width and height of the frames; others open other engines, which takes a while.
        scale: 2, 3 or 4.
        budget_ms: a frame is to be ready so soon after its `submit`; cheaper networks are taken where it isn't.
        format: of the frames expected, 8-bit colour for BGR.
        engine: further settings, where `scale` doesn't count.
        fixed: keeps the network, however late it is.
        say: takes a line for the user.
        opener: opens one engine.

    Raises:
        UsageError, InputError, MemoryLimitError, DeviceError: no engine can be opened; later `submit` raises them.
    """

    def __init__(
        self,
        size: tuple[int, int],
        scale: int = 2,
        budget_ms: float = 1000 / 30,
        *,
        format: PlanarFormat = COLOUR,
        engine: EngineSettings | None = None,
        fixed: bool = False,
        say: Callable[[str], None] = lambda line: None,
        opener: Opener = opened,
        clock: Clock = time.monotonic,
    ) -> None:
        settings = replace(engine or EngineSettings(streams=1), scale=scale)
        settings.validate()
        self._clock, self._meter = clock, Meter(clock)
        self._stage = LiveStage(
            lambda spec: Ladder(settings, spec, fixed=fixed, say=say, opener=opener),
            budget_ms / 1000,
            None if fixed else Control(),
            meter=self._meter,
            log=lambda line: None,
            say=say,
            clock=clock,
        )
        self._given: Mailbox[_Given] = Mailbox(1)
        self._results: Mailbox[Picture | Planes] = Mailbox(1)
        self._error: BaseException | None = None
        self._number = 0
        self._stage.prepare(FrameSpec(format=format, width=size[0], height=size[1]))
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @overload
    def submit(self, frame: Picture, *, depth: int | None = None) -> Picture | None: ...
    @overload
    def submit(self, frame: Planes, *, depth: int | None = None) -> Planes | None: ...
    def submit(self, frame: Picture | Planes, *, depth: int | None = None) -> Picture | Planes | None:
        """Gives a frame, of which a copy is taken, and takes the newest result that wasn't taken yet; never waits long.

        A frame that a later one overtakes before its turn has no result; one that equals the one before has its again.

        Args:
            depth: bits of uint16 grey or planes, 9 to 16; default 16.

        Raises:
            ValueError: no picture that `vsr.Upscaler` would take. What the constructor raises, for another size.
        """
        if self._error is not None:
            raise self._error
        kind: Kind = "planes" if isinstance(frame, tuple) else "grey" if frame.ndim == 2 else "colour"
        planes: Any = tuple(plane.copy() for plane in frame) if isinstance(frame, tuple) else (frame.copy(),)
        planes = split(frame) if kind == "colour" and not isinstance(frame, tuple) else planes
        rows, columns = planes[0].shape
        given = Frame(format=format_of(planes, depth), width=columns, height=rows, planes=planes)
        self._meter.count("captured")
        late = self._given.put(_Given(Captured(given, self._clock(), self._number), kind))
        self._meter.count("dropped waiting", len(late))
        self._number += 1
        return self._results.take(0)

    def result(self, timeout: float | None = None) -> Picture | Planes | None:
        """The newest result that wasn't taken yet, waited for; None after `timeout` seconds. Raises as `submit`."""
        found = self._results.take(timeout)
        if self._error is not None:
            raise self._error
        return found

    def snapshot(self) -> Snapshot:
        """Frames a second, latency, rung and drops of the last seconds."""
        return self._meter.snapshot(*self._stage.rung, self._stage.decision)

    def close(self) -> None:
        """Ends the thread and frees the engines."""
        self._given.close()
        self._thread.join()
        self._stage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _work(self) -> None:
        try:
            while (given := self._given.take()) is not None:
                self._upscale(given)
        except BaseException as error:  # noqa: BLE001 - raised by the next `submit`
            self._error = error
        finally:
            self._results.close()

    def _upscale(self, given: _Given) -> None:
        shown = self._stage.take(given.captured)
        if shown is None:
            return
        planes: Any = shown.frame.planes
        if given.kind == "colour":
            made: Picture | Planes = joined(planes)
        else:
            copies = tuple(plane.copy() for plane in planes)
            made = copies if given.kind == "planes" else copies[0]
        shown.frame.release()
        shown.source.release()
        if not shown.repeated:
            self._meter.took("show", self._clock() - shown.ready)
            self._meter.took(TOTAL, self._clock() - shown.at)
        self._meter.count("shown")
        self._meter.count("dropped unshown", len(self._results.put(made)))
