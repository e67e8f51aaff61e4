"""Where results go, besides a window: nowhere, or raw into a pipe."""

from __future__ import annotations

import time
from typing import BinaryIO

from vsr import fit, y4m
from vsr.errors import OutputError
from vsr.frame import Frame
from vsr.live.goal import Goal, plain
from vsr.live.pace import Pace
from vsr.live.protocol import RATE, Console, Policy, Shown, Sound, Source
from vsr.report import Clock


class NullSink:
    """Takes results and does nothing with them: capture and network by themselves."""

    label = "nowhere"

    def __init__(self, policy: Policy = "newest") -> None:
        self.policy: Policy = policy

    def begin(self, console: Console, source: Source) -> None:
        pass

    def hear(self, sound: Sound) -> None:
        pass

    def show(self, shown: Shown) -> None:
        pass

    def idle(self) -> None:
        pass

    def wants(self) -> bool:
        return True

    def close(self) -> None:
        pass


class PipeSink:
    """y4m at a constant rate into a program that shows it, as mpv or ffplay.

    Args:
        stream: flushed after every frame, closed by whoever opened it.
    """

    label = "y4m"
    policy: Policy = "newest"

    def __init__(self, stream: BinaryIO, clock: Clock = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._wanted = True
        self._goal: Goal | None = None

    def begin(self, console: Console, source: Source) -> None:
        rate = source.rate or RATE
        self._console, self._pace = console, Pace(rate, self._write)
        self._writer = y4m.Writer(self._stream, rate)

    def hear(self, sound: Sound) -> None:
        pass

    def show(self, shown: Shown) -> None:
        self._pace.show(shown, self._console)

    def idle(self) -> None:
        self._pace.idle(self._clock(), self._console)

    def wants(self) -> bool:
        return self._wanted

    def close(self) -> None:
        pass

    def _write(self, frame: Frame, place: int) -> None:
        """A program that was closed ends the run; that is how one leaves a player."""
        if not self._wanted:
            return
        self._goal = self._goal or plain(frame)
        try:
            self._writer.write(fit.frame(frame, self._goal))
            self._stream.flush()
        except BrokenPipeError:
            self._wanted = False
        except OSError as error:
            raise OutputError(f"the pipe can't be written ({error.strerror})") from error
