"""Never the same pixels twice: what didn't change since the last frame keeps its result, the rest is computed.

A result depends on the samples around it as far as the network sees and no further, so this changes no bit of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vsr.backends.engine import Engine, QueuedEngine, Ticket
from vsr.backends.tiled import Grid, Place, Tiles, landing
from vsr.backends.unchanged import MOST, Watch, area, changed, grid_of
from vsr.device.protocol import run_all
from vsr.errors import VsrError
from vsr.frame import Frame, Planes
from vsr.graph import FrameSpec
from vsr.models import ModelChoice
from vsr.settings import Reuse
from vsr.shared import held, same, shared

PARTS = 4  # in which a frame of tiles is timed: whole frames on their way or something else may slow some of them down
AHEAD = 8  # repeated frames that wait for the one they repeat, at most


@dataclass
class _Work:
    """A frame on its way: computed whole (`ticket`), in part (`kept` comes from the last result), or not at all."""

    frame: Frame
    out: Planes | None
    spared: float = 0.0  # share of a frame's work
    ticket: Ticket | None = None
    tiles: int = 0  # see `Tiles.begin`
    result: Frame | None = None
    kept: Sequence[Place] = ()
    trial: Frame | None = None  # the same made of tiles, to be compared

    def release(self) -> None:
        for frame in (self.result, self.trial):
            if frame is not None:
                frame.release()


class ReusingEngine(QueuedEngine[_Work]):
    """Engine before another one, equal to it to the bit; compares each frame with the one submitted before.

    Results may share planes: nobody may write to them. The last one is kept, and counted by `leased`.

    Args:
        spec: of the frames.
        whole: for them; belongs to this engine from now on.
        grid: how frames are cut; None spares only whole frames.
        open_tiles: opens an engine for `grid.tile` when it is first needed. Raises VsrError where it can't.
        watch: says which frames are compared.
        spared: gets, for each frame, the share of its work that was spared.
        say: gets why there are no tiles.
    """

    def __init__(
        self,
        spec: FrameSpec,
        whole: Engine,
        scale: int,
        *,
        grid: Grid | None,
        open_tiles: Callable[[FrameSpec], Engine],
        watch: Watch,
        spared: Callable[[float], None],
        say: Callable[[str], None],
    ) -> None:
        super().__init__(spec, scale, whole.capacity)
        self.label = whole.label
        self._whole, self._scale, self._grid, self._open_tiles = whole, scale, grid, open_tiles
        self._watch, self._spared, self._say = watch, spared, say
        self._tiles: Tiles | None = None
        self._proof: Literal["", "runs", "equal"] = ""  # that tiles give what a whole frame does
        buffer = np.empty(spec.format.nbytes(spec.width, spec.height), np.uint8)
        self._before = spec.format.views(buffer, spec.width, spec.height)
        self._known = False  # whether those are the samples of the frame submitted last
        self._last: Frame | None = None  # the result that came out last, shared
        self._repeated = 0  # frames in flight that are the one before them again

    @property
    def leased(self) -> int:
        return super().leased + self._whole.leased

    def reset(self) -> None:
        works, self._known, self._proof = self._flight.clear(), False, "equal" if self._proof == "equal" else ""
        for work in works:
            work.release()
        self._repeat(-self._repeated)
        last, self._last = self._last, None
        if last is not None:
            last.release()
        run_all([self._whole.reset, *([self._tiles.reset] if self._tiles else [])])

    def close(self) -> None:
        run_all([self.reset, self._close_tiles, self._whole.close, super().close])

    def _start(self, frame: Frame, out: Planes | None) -> _Work:
        work = _Work(frame, out)
        try:
            self._begin(work, self._places(frame))
        except BaseException:  # whoever submits it again must not meet it as the frame before
            self._known = False
            work.release()
            raise
        return work

    def _begin(self, work: _Work, places: list[Place] | None) -> None:
        if places == []:
            work.spared = 1.0
            work.frame.release()
            self._repeat(1)
        elif places and self._proof == "equal":
            self._patch(work, places)
            work.frame.release()
        else:
            if places and not self._proof and self._watch.missed(len(places)):
                self._try(work)
            work.ticket = self._whole.submit(work.frame)

    def _places(self, frame: Frame) -> list[Place] | None:
        """What is to be computed, in tiles; None for all of it, in one piece."""
        known, self._known = self._known, self._watch.looks()
        if not self._known:
            return None
        places = self._differing(frame) if known else None
        if places != []:
            for before, now in zip(self._before, frame.planes, strict=True):
                np.copyto(before, now)
        if known:
            self._watch.compared(None if places is None else len(places))
        return places

    def _differing(self, frame: Frame) -> list[Place] | None:
        if self._grid is None:
            return [] if same(frame.planes, self._before) else None
        places = changed(self._grid, frame.planes, self._before)
        return places if self._watch.cost(len(places)) < MOST else None

    def _repeat(self, change: int) -> None:
        """Frames that need no computing take no room from those that do: these are computed meanwhile."""
        self._repeated += change
        self._flight.capacity = self._whole.capacity + min(self._repeated, AHEAD)

    def _patch(self, work: _Work, places: list[Place]) -> None:
        assert self._tiles is not None
        work.spared, work.result = 1.0 - area(self._tiles.grid, len(places)), self._result(work.frame, None)
        work.tiles = self._tiles.begin(work.result.planes, work.frame, places)
        filled = set(places)
        work.kept = [place for place in self._tiles.grid.places() if place not in filled]

    def _try(self, work: _Work) -> None:
        """Opens the engine of the tiles, and makes all of a frame of them, once."""
        assert self._grid is not None
        try:
            self._tiles = self._tiles or Tiles(self._grid, self._open_tiles(self._grid.tile), self._scale)
        except VsrError as error:
            self._without_tiles(str(error))
            return
        self._proof, work.trial = "runs", self._result(work.frame, None)
        places = list(self._grid.places())
        for part in (places[first::PARTS] for first in range(PARTS)):
            begin = self._watch.clock()
            self._tiles.finish(self._tiles.begin(work.trial.planes, work.frame, part))
            self._watch.tried(len(part), self._watch.clock() - begin)

    def _without_tiles(self, why: str) -> None:
        self._grid = None
        self._close_tiles()
        self._say(f"only whole frames are reused, no parts of them: {why}")

    def _close_tiles(self) -> None:
        tiles, self._tiles, self._proof = self._tiles, None, ""
        if tiles is not None:
            tiles.close()

    def _finished(self, work: _Work) -> bool:
        try:
            self._collect(work, 0)
        except TimeoutError:
            return False
        return True

    def _collect(self, work: _Work, timeout: float | None) -> None:
        if self._tiles is not None:
            self._tiles.finish(work.tiles, timeout)
        if work.ticket is not None and work.result is None:
            work.result = self._whole.wait(work.ticket, timeout)

    def _finish(self, work: _Work, timeout: float | None) -> Frame:
        self._collect(work, timeout)
        if work.result is not None:
            self._judge(work, work.result)
            self._complete(work, work.result)
            self._keep(work.result)
        if work.spared == 1:
            self._repeat(-1)
        self._watch.finished(whole=work.ticket is not None)
        self._spared(work.spared)
        assert self._last is not None
        return self._given(work, held(self._last))

    def _judge(self, work: _Work, result: Frame) -> None:
        """Whether tiles may be used from now on."""
        trial, work.trial = work.trial, None
        if trial is None:
            return
        equal = same(trial.planes, result.planes)
        trial.release()
        if equal:
            self._proof = "equal"
        else:
            self._without_tiles(f"here {self.label} computes them a little differently")

    def _complete(self, work: _Work, result: Frame) -> None:
        """Copies what didn't change."""
        for place in work.kept:
            assert self._last is not None
            for index, (source, target) in enumerate(zip(self._last.planes, result.planes, strict=True)):
                part = landing(place, result.format, index, self._scale)
                target[part] = source[part]

    def _keep(self, result: Frame) -> None:
        last, self._last = self._last, shared(result)
        if last is not None:
            last.release()

    def _given(self, work: _Work, last: Frame) -> Frame:
        """The last result at the time of this frame, in the planes asked for."""
        planes, lease = last.planes, last.lease
        if work.out is not None:
            for target, source in zip(work.out, planes, strict=True):
                np.copyto(target, source)
            last.release()
            planes, lease = work.out, None
        return work.frame.like(format=last.format, width=last.width, height=last.height, planes=planes, lease=lease)


def reusing(
    engine: Engine,
    spec: FrameSpec,
    choice: ModelChoice,
    reuse: Reuse,
    *,
    open_tiles: Callable[[FrameSpec], Engine],
    spared: Callable[[float], None],
    say: Callable[[str], None],
) -> Engine:
    """The engine, or one before it that spares what `reuse` says: tiles on OpenVINO, whose tiles equal its frames."""
    if reuse == "off":
        return engine
    tiles = reuse != "frames" and choice.runner.library == "openvino" and choice.radius is not None
    grid = grid_of(spec, choice.radius) if tiles and choice.radius is not None else None
    watch = Watch(time.perf_counter, always=reuse != "auto", tile=area(grid, 1) if grid else 1.0)
    return ReusingEngine(
        spec, engine, choice.scale, grid=grid, open_tiles=open_tiles, watch=watch, spared=spared, say=say
    )
