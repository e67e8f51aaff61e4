"""The engines of all rungs, open and warm before the first frame, so that a change of rung costs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from vsr.backends.choice import Engines
from vsr.backends.engine import Engine
from vsr.device.protocol import DeviceError, run_all
from vsr.errors import VsrError
from vsr.frame import Colour, Frame, TrackFacts
from vsr.graph import FrameSpec
from vsr.live.controller import Rung, rung_of
from vsr.models import network_of
from vsr.report import Clock
from vsr.settings import EngineSettings

SMALLER = ("m10c16", "m4c16", "m4c8", "cubic")  # what may stand below the chosen network, dearest first
WARM = 6  # frames at least; the quickest counts, as the first ones pay for memory and others for what else runs
WARMING = 0.2  # seconds at least


Say = Callable[[str], None]


@dataclass(frozen=True)
class Opened:
    """An engine, its name for the screen, and what closes what it stands on."""

    name: str
    engine: Engine
    beneath: Callable[[], None] = lambda: None

    def close(self) -> None:
        run_all([self.engine.close, self.beneath])


Opener = Callable[[EngineSettings, FrameSpec, Say], Opened]


def opened(settings: EngineSettings, spec: FrameSpec, say: Say, *, engines: Callable[..., Engines] = Engines) -> Opened:
    """The best engine there is; why not a better one is said. Raises what `Engines.open` does."""
    found = engines(settings, say=say)
    try:
        choice, engine = found.open(spec)
    except BaseException:
        found.close()
        raise
    return Opened(f"{choice.network} {choice.precision}", engine, found.close)


class Ladder:
    """What frames of `spec` can be upscaled with, dearest first; one thread at a time.

    Args:
        fixed: the chosen network alone.
        say: gets each of the notes at once: opening engines may take minutes.
        opener: opens one engine; says what a user should hear.

    Attributes:
        rungs: with the time that each took when warmed up.
        notes: a line for each engine, and for each that was left out.

    Raises:
        VsrError: the chosen network can't be opened.
    """

    def __init__(
        self,
        settings: EngineSettings,
        spec: FrameSpec,
        *,
        fixed: bool = False,
        say: Say = lambda line: None,
        opener: Opener = opened,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.rungs: tuple[Rung, ...] = ()
        self.notes: list[str] = []
        self._opened: list[Opened] = []
        self._spec, self._say, self._clock = spec, say, clock
        try:
            self._add(opener(settings, spec, self._note))
            for wanted in () if fixed else below(settings):
                self._add_below(wanted, opener)
        except BaseException:
            with suppress(DeviceError):  # what went wrong first is told
                self.close()
            raise

    def _add_below(self, wanted: EngineSettings, opener: Opener) -> None:
        """What can't be opened isn't there, and the run does without."""
        try:
            self._add(opener(wanted, self._spec, self._note))
        except VsrError as error:  # no weights of this scale, say
            self._note(f"no rung {wanted.network}: {error}")

    def _add(self, found: Opened) -> None:
        try:
            seconds = round(warmed(found.engine, self._spec, self._clock), 6)
        except BaseException:
            with suppress(DeviceError):
                found.close()
            raise
        quick = f"{found.name}: {found.engine.label}, {1000 * seconds:.1f} ms a frame"
        if self.rungs and seconds >= self.rungs[-1].seconds:
            self._note(f"{quick}, left out: {self.rungs[-1].name} is as quick")
            found.close()
            return
        self._note(quick)
        self.rungs = (*self.rungs, Rung(found.name, seconds))
        self._opened.append(found)

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)
            self._say(line)

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
        opened, self._opened = self._opened, []
        run_all(found.close for found in opened)


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
