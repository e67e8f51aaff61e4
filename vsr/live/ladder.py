"""The engines of all rungs, open and warm before the first frame, so that a change of rung costs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from vsr.backends.choice import Engines
from vsr.backends.engine import Engine
from vsr.errors import UsageError
from vsr.frame import Colour, Frame, TrackFacts
from vsr.graph import FrameSpec
from vsr.live.controller import Rung, rung_of
from vsr.models import network_of
from vsr.report import Clock
from vsr.settings import EngineSettings

SMALLER = ("m10c16", "m4c16", "m4c8", "cubic")  # what may stand below the chosen network, dearest first
WARM = 6  # frames at least; the quickest counts, as the first ones pay for memory and others for what else runs
WARMING = 0.2  # seconds at least


@dataclass(frozen=True)
class Opened:
    """An engine, its name for the screen, what to say of it, and what to close after it."""

    name: str
    engine: Engine
    notes: Sequence[str] = ()
    close: Callable[[], None] = lambda: None


Opener = Callable[[EngineSettings, FrameSpec], Opened]


def opened(settings: EngineSettings, spec: FrameSpec) -> Opened:
    """The best engine there is. Raises UsageError, InputError, MemoryLimitError or DeviceError."""
    engines = Engines(settings)
    choice, engine = engines.open(spec)
    return Opened(f"{choice.network} {choice.precision}", engine, engines.notes, engines.close)


class Ladder:
    """What frames of `spec` can be upscaled with, dearest first; one thread at a time.

    Args:
        fixed: the chosen network alone.
        opener: opens one engine.

    Attributes:
        rungs: with the time that each took when warmed up.
        notes: a line for each engine, and for each that was left out.

    Raises:
        UsageError, InputError, MemoryLimitError, DeviceError: the chosen network can't be opened.
    """

    def __init__(
        self,
        settings: EngineSettings,
        spec: FrameSpec,
        *,
        fixed: bool = False,
        opener: Opener = opened,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.rungs: tuple[Rung, ...] = ()
        self.notes: list[str] = []
        self._opened: list[Opened] = []
        self._spec, self._clock = spec, clock
        self._add(opener(settings, spec))
        for wanted in () if fixed else below(settings):
            try:
                found = opener(wanted, spec)
            except UsageError as error:  # no weights of this scale, say
                self.notes.append(f"no rung {wanted.network}: {error}")
            else:
                self._add(found)

    def _add(self, found: Opened) -> None:
        seconds = round(warmed(found.engine, self._spec, self._clock), 6)
        quick = f"{found.name}: {found.engine.label}, {1000 * seconds:.1f} ms a frame"
        self.notes += [note for note in found.notes if note not in self.notes]
        if self.rungs and seconds >= self.rungs[-1].seconds:
            self.notes.append(f"{quick}, left out: {self.rungs[-1].name} is as quick")
            found.engine.close()
            found.close()
            return
        self.notes.append(quick)
        self.rungs = (*self.rungs, Rung(found.name, seconds))
        self._opened.append(found)

    @property
    def leased(self) -> int:
        """How many results weren't released yet."""
        return sum(found.engine.leased for found in self._opened)

    def upscale(self, frame: Frame, level: int) -> Frame:
        """The result; the frame is released. Levels as in `controller`. Raises DeviceError where a GPU fails."""
        engine = self._opened[rung_of(level, len(self.rungs))[0]].engine
        return engine.wait(engine.submit(frame))

    def close(self) -> None:
        """Frees the engines. Raises RuntimeError when a result was never released."""
        with ExitStack() as all_of_them:  # also when one fails
            for found in self._opened:
                all_of_them.callback(found.close)
                all_of_them.callback(found.engine.close)
            self._opened = []


def below(settings: EngineSettings) -> list[EngineSettings]:
    """What may be tried below the chosen network, in order."""
    chosen = "" if settings.model else network_of(settings)
    names = SMALLER[SMALLER.index(chosen) + 1 :] if chosen in SMALLER else SMALLER
    small = replace(settings, model=None, precision="auto")
    return [replace(small, network=name, weights="auto" if name == "cubic" else small.weights) for name in names]


def warmed(engine: Engine, spec: FrameSpec, clock: Clock) -> float:
    """Seconds the quickest of a few frames took."""
    grey = np.full(spec.format.nbytes(spec.width, spec.height), 128, np.uint8)
    facts = TrackFacts(colour=Colour(chroma_location=spec.location))
    planes = spec.format.views(grey, spec.width, spec.height)
    frame = Frame(format=spec.format, width=spec.width, height=spec.height, planes=planes, facts=facts)
    taken: list[float] = []
    while len(taken) < WARM or sum(taken) < WARMING:
        begin = clock()
        engine.wait(engine.submit(frame)).release()
        taken.append(clock() - begin)
    return min(taken)
