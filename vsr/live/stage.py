"""From captured to shown: duplicates found before the network, the rung that control says, its time told to control."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from vsr.device.protocol import DeviceError
from vsr.frame import Frame
from vsr.graph import FrameSpec
from vsr.live.controller import (
    LOOKED_BACK,
    Control,
    State,
    Timing,
    allowed,
    follow,
    header,
    moved,
    named,
    rung_of,
)
from vsr.live.ladder import Ladder
from vsr.live.protocol import Captured, Shown
from vsr.live.stats import Meter
from vsr.report import Clock
from vsr.shared import held, same, shared

BREAKS = 3  # of a GPU that are gone on after
DIGITS = 6  # of the seconds that control sees and the log has


@dataclass(frozen=True)
class _Last:
    """The last frame upscaled, and its result; both held."""

    source: Frame
    result: Frame
    rung: str

    def release(self) -> None:
        self.source.release()
        self.result.release()


class LiveStage:
    """Upscales what it is given at once, on the rung that keeps the deadline. One thread takes and closes.

    Args:
        ladder: opens the engines for frames of one kind.
        budget: seconds a frame may take, where every captured frame is new.
        longest: seconds it may take where few are; None: `budget`.
        waiting: frames that may wait before it: it is late when ready more than so many budgets after capture.
        control: None keeps the chosen network.
        log: takes a line of JSON: rungs, frames, decisions.
        say: takes a line for the user.
    """

    def __init__(
        self,
        ladder: Callable[[FrameSpec], Ladder],
        budget: float,
        control: Control | None,
        *,
        longest: float | None = None,
        waiting: int = 1,
        meter: Meter,
        log: Callable[[dict[str, Any]], None],
        say: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._open, self._control = ladder, control
        self._budget, self._longest, self._waiting = budget, longest or budget, waiting
        self._news: deque[bool] = deque(maxlen=LOOKED_BACK)
        self._number: int | None = None  # of the last captured frame looked at
        self._meter, self._log, self._say, self._clock = meter, log, say, clock
        self._spec: FrameSpec | None = None
        self._ladder: Ladder | None = None
        self._retired: list[Ladder] = []
        self._last: _Last | None = None
        self._state = State()
        self._asked: deque[int] = deque()  # steps by hand, not taken yet
        self._odd = False
        self._breaks = 0
        self.since = 0.0  # when engines were open: frames that waited for them aren't late, and aren't measured
        self.opened = threading.Event()  # for the first time
        self.opening = False  # engines, which takes a while; read from any thread
        self.decision = ""  # the last change of rung, in words

    def take(self, captured: Captured) -> Shown | None:
        """The result, with its source; whoever takes it releases both. None where this frame is left out.

        Raises UsageError, InputError or MemoryLimitError when no engine can be opened for a new size, DeviceError when
        a GPU fails again and again.
        """
        frame, begin = captured.frame, self._clock()
        if FrameSpec.of(frame) != self._spec:
            try:
                self.prepare(FrameSpec.of(frame))
            except BaseException:  # whatever it is: the frame is still ours
                frame.release()
                raise
            begin = self._clock()
        self._step(begin)
        repeated = self._last is not None and same(frame.planes, self._last.source.planes)
        self._heard(captured.number, new=not repeated)
        if self._last is not None and repeated:
            frame.release()
            self._meter.count("repeated")
            return self._shown(captured, self._last, self._clock(), repeated=True)
        self._meter.count("new")
        if self._left_out():
            frame.release()
            self._meter.count("dropped by control")
            return None
        return self._upscaled(captured, begin)

    def step(self, by: int) -> None:
        """Asks for so many rungs down (up where negative); from any thread."""
        self._asked.append(by)

    @property
    def rung(self) -> tuple[str, int]:
        """(what upscales now, 1 or 2: every new frame or every second); from any thread."""
        ladder, level = self._ladder, self._state.level
        if ladder is None:
            return "", 1
        number, every = rung_of(level, len(ladder.rungs))
        return ladder.rungs[number].name, every

    def close(self) -> None:
        """Frees engines and frames, once all results were released. Raises RuntimeError when one wasn't."""
        self._forget()
        ladders = [*self._retired, *([self._ladder] if self._ladder else [])]
        self._retired, self._ladder, self._spec = [], None, None
        for ladder in ladders:
            with suppress(DeviceError):  # one that broke, once more
                ladder.close()

    def prepare(self, spec: FrameSpec) -> None:
        """Opens engines for frames of another kind; nothing of what was before counts any more."""
        self._forget()
        if self._spec is not None:
            self._say(f"{self._spec} becomes {spec}")
        if self._ladder is not None:
            self._retired.append(self._ladder)
        idle = [ladder for ladder in self._retired if not ladder.leased]
        self._retired = [ladder for ladder in self._retired if ladder.leased]
        for ladder in idle:
            with suppress(DeviceError):
                ladder.close()
        self._news.clear()
        self._number = None
        self._ladder, self._state, self.opening = None, State(), True
        self._ladder, self._spec = self._open(spec), spec
        self.opening, self.since = False, self._clock()
        self.opened.set()
        self._log(header(self._ladder.rungs, self._control))

    def _forget(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            last.release()

    def _step(self, now: float) -> None:
        assert self._ladder is not None
        while self._asked:
            lowest = len(self._ladder.rungs) if self._control else 0
            level = min(max(self._state.level + self._asked.popleft(), 0), lowest)
            if level != self._state.level:
                self._state = moved(self._state, round(now, DIGITS), level)
                self._log({"kind": "step", "time": round(now, DIGITS), "level": level})
                self._changed(level, "by hand")

    def _heard(self, number: int, *, new: bool) -> None:
        """Those dropped since the last one count as new: if they are, the network is too slow, not the game."""
        dropped = 0 if self._number is None else min(number - self._number - 1, LOOKED_BACK)
        self._news.extend([True] * dropped + [new])
        self._number = number

    def _left_out(self) -> bool:
        """Whether this new frame is one of those that a level of every second frame passes over."""
        self._odd = self.rung[1] == 2 and not self._odd
        return self._odd and self._last is not None

    def _upscaled(self, captured: Captured, begin: float) -> Shown | None:
        assert self._ladder is not None
        level, source = self._state.level, shared(captured.frame, 2)  # held by the network and to compare with
        try:
            result = shared(self._ladder.upscale(source, level))
        except DeviceError as error:
            source.release()
            self._broke(error)
            return None
        ready = self._clock()
        self._forget()
        self._last = _Last(source, result, named(level, self._ladder.rungs))
        if captured.at >= self.since:
            self._meter.took("wait", begin - captured.at)
        self._meter.took("upscale", ready - begin)
        budget = allowed(self._budget, self._longest, self._news)
        due = min(begin + budget, max(captured.at, self.since) + self._waiting * budget)
        time, deadline, taken = (round(t, DIGITS) for t in (ready, due, ready - begin))
        self._told(Timing(time, deadline, taken, level))
        return self._shown(captured, self._last, ready, repeated=False)

    def _broke(self, error: DeviceError) -> None:
        """A GPU failed: the next frame opens engines anew, on what works then. Raises the error when it fails often."""
        self._breaks += 1
        if self._breaks > BREAKS:
            raise error
        self._meter.count("dropped by a failing device")
        self._say(f"{error}; opening engines anew")
        self._spec = None

    def _told(self, timing: Timing) -> None:
        """Tells control how a frame went."""
        assert self._ladder is not None
        self._log({"kind": "frame", **asdict(timing)})
        if self._control is None:
            return
        self._state, decision = follow(self._state, timing, self._ladder.rungs, self._control)
        if decision is not None:
            self._log({"kind": "decision", **asdict(decision)})
            self._changed(decision.level, decision.reason)

    def _changed(self, level: int, reason: str) -> None:
        assert self._ladder is not None
        self._meter.count("changes of rung")
        self.decision = f"{named(level, self._ladder.rungs)}: {reason}"
        self._say(self.decision)

    def _shown(self, captured: Captured, last: _Last, ready: float, *, repeated: bool) -> Shown:
        return Shown(
            frame=replace(held(last.result), pts=captured.frame.pts, index=captured.frame.index),
            source=held(last.source),
            at=captured.at,
            number=captured.number,
            ready=ready,
            rung=last.rung,
            repeated=repeated,
        )
