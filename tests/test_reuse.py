"""What isn't computed again comes out as if it had been, to the bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest

from strong import assert_close, chosen, frame, luma_model, planes, spec
from vsr.backends import open_engine
from vsr.backends.engine import Engine
from vsr.backends.reuse import ReusingEngine, reusing
from vsr.backends.tiled import Grid, Place
from vsr.backends.unchanged import OPENING, PERIOD, WATCHED, Watch, area, changed, grid_of
from vsr.errors import InputError, UsageError
from vsr.frame import Frame, PlanarFormat, Planes
from vsr.graph import FrameSpec
from vsr.models import Exact, ModelChoice, processor_flags
from vsr.settings import EngineSettings
from vsr.upscaler import UpscaleStage

BF16 = {"avx512_bf16", "amx_bf16"} & processor_flags()
PRECISIONS: list[Exact] = ["int8", "float32", *(["bf16"] if BF16 else [])]  # type: ignore[list-item]
FORMATS = [("420", 8), ("422", 8), ("444", 8), ("grey", 8), ("420", 10), ("422", 10), ("444", 10), ("grey", 10)]
RADIUS = 4  # of the networks of `luma_model`


class Opened:
    """Engines as a test wants them, and what was heard of them."""

    def __init__(self, folder: Path, what: FrameSpec, precision: Exact = "float32", scale: int = 2) -> None:
        self.settings = EngineSettings(scale=scale, threads=2)
        model = luma_model(scale, channels=16, int8=precision == "int8")
        self.choice: ModelChoice = chosen(folder, model, precision)
        self.spec, self.spared, self.said = what, list[float](), list[str]()

    def whole(self) -> Engine:
        return self.tiles(self.spec)

    def tiles(self, part: FrameSpec) -> Engine:
        return open_engine(self.settings, self.choice, part)

    def reusing(
        self, grid: Grid | None, tiles: Callable[[FrameSpec], Engine] | None = None, *, always: bool = True
    ) -> ReusingEngine:
        return ReusingEngine(
            self.spec,
            self.whole(),
            self.choice.scale,
            grid=grid,
            open_tiles=tiles or self.tiles,
            watch=Watch(count().__next__, always=always, tile=area(grid, 1) if grid else 1.0),
            spared=self.spared.append,
            say=self.said.append,
        )


def small(what: FrameSpec) -> Grid:
    return Grid(spec=what, width=16, height=24, halo=8)


def shown(what: FrameSpec, pictures: list[Planes]) -> list[Frame]:
    return [replace(frame(what, index), planes=each) for index, each in enumerate(pictures)]


def outputs(engine: Engine, frames: list[Frame]) -> Iterator[Frame]:
    """Results, the engine as full as it gets."""
    waiting = []
    for each in frames:
        waiting.append(engine.submit(each))
        while len(waiting) >= engine.capacity:
            yield engine.wait(waiting.pop(0))
    yield from engine.drain()


def compare(engine: ReusingEngine, whole: Engine, frames: list[Frame]) -> None:
    """Planes, order and times; closes both, so that a result that is still held anywhere is an error."""
    number = 0
    for result in outputs(engine, frames):
        expected = whole.wait(whole.submit(frames[number]))
        assert_close(result.planes, expected.planes)
        assert (result.index, result.pts, result.duration) == (expected.index, expected.pts, expected.duration)
        assert (result.width, result.format) == (expected.width, expected.format)
        expected.release()
        result.release()
        number += 1
    assert number == len(frames)
    engine.close()
    whole.close()


def edited(what: FrameSpec, edits: int, seed: int) -> list[Planes]:
    """Each picture is the one before it with something drawn: one sample, a block, much of it, or nothing."""
    random = np.random.default_rng(seed)
    pictures = [planes(what, seed)]
    for _ in range(edits):
        picture = tuple(plane.copy() for plane in pictures[-1])
        for plane in [picture[i] for i in random.choice(len(picture), random.integers(0, 3))]:
            (y, x), size = (random.integers(0, side) for side in plane.shape), int(random.choice([1, 1, 2, 9, 40]))
            block = plane[y : y + size, x : x + size]
            block[:] = random.choice([0, what.format.white, 1], block.shape)
        pictures.append(picture)
    return pictures


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("chroma", "depth"), FORMATS)
@pytest.mark.parametrize("size", [(155, 173), (192, 144)])
def test_random_edits(tmp_path: Path, precision: Exact, chroma: str, depth: int, size: tuple[int, int]) -> None:
    if precision == "int8" and depth > 8:
        pytest.skip("int8 networks are for 8 bits")
    opened = Opened(tmp_path, spec(chroma, depth, size), precision)
    frames = shown(opened.spec, edited(opened.spec, 24, depth + size[0]))
    compare(opened.reusing(small(opened.spec)), opened.whole(), frames)
    assert not opened.said
    assert {0.0, 1.0} < set(opened.spared), "nothing was made of tiles"


@pytest.mark.parametrize("scale", [2, 3])
def test_scrolling(tmp_path: Path, scale: int) -> None:
    """Of a part of the picture, one row a frame, and of all of it."""
    opened = Opened(tmp_path, spec("420", 8, (144, 240)), scale=scale)
    rolled = [tuple(p.copy() for p in planes(opened.spec))]
    for number in range(1, 9):
        rolled.append(tuple(p.copy() for p in rolled[-1]))
        for plane in rolled[-1]:
            part = plane if number > 6 else plane[: plane.shape[0] // 8]
            part[:] = np.roll(part, 1, 0)
    compare(opened.reusing(small(opened.spec)), opened.whole(), shown(opened.spec, rolled))
    assert sum(0 < spared < 1 for spared in opened.spared) >= 3
    assert opened.spared[-1] == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_single_samples_at_the_edges_of_tiles(tmp_path: Path, precision: Exact) -> None:
    """Each changes what is up to the radius away, in the next tiles too."""
    opened = Opened(tmp_path, spec("420", 8, (160, 196)), precision)
    pictures = [planes(opened.spec), planes(opened.spec, 1)]
    for at in [(0, 0), (23, 15), (24, 16), (23, 16), (24, 15), (47, 31), (48, 32), (31, 24), (195, 159), (71, 40)]:
        for index, plane in enumerate(planes(opened.spec)):
            row, column = at if index == 0 else (at[0] // 2, at[1] // 2)
            picture = tuple(p.copy() for p in pictures[-1])
            picture[index][row, column] = opened.spec.format.white - plane[row, column]
            pictures.append(picture)
    compare(opened.reusing(small(opened.spec)), opened.whole(), shown(opened.spec, pictures))
    assert sum(0 < spared < 1 for spared in opened.spared) > 12


def test_changed_places_are_those_that_see_the_change() -> None:
    what = spec("420", 8, (96, 96))
    grid, before = Grid(spec=what, width=16, height=16, halo=8), planes(what)

    def found(plane: int, row: int, column: int) -> set[tuple[int, int]]:
        now = tuple(p.copy() for p in before)
        now[plane][row, column] ^= 1
        return {(place.left, place.top) for place in changed(grid, now, before)}

    assert changed(grid, before, before) == []
    assert found(0, 40, 40) == {(32, 32), (32, 48), (48, 32), (48, 48)}
    assert found(1, 20, 20) == found(0, 40, 40)
    assert found(0, 33, 39) == {(16, 16), (16, 32), (32, 16), (32, 32)}
    assert found(0, 95, 95) == {(80, 80)}
    assert [place for place in changed(grid, planes(what, 1), before) if isinstance(place, Place)] == [*grid.places()]


def test_repeated_frames_are_one_result(tmp_path: Path) -> None:
    """Its buffer is given back when all who have it have released it."""
    opened = Opened(tmp_path, spec("420", 8, (33, 21)))
    one, other = planes(opened.spec), planes(opened.spec, 1)
    pictures = [one, one, tuple(p.copy() for p in one), other, one, one]
    engine = opened.reusing(None)
    results = list(outputs(engine, shown(opened.spec, pictures)))
    assert opened.spared == [0, 1, 1, 0, 0, 1]
    same = [a.planes[0] is b.planes[0] for a, b in pairwise(results)]
    assert same == [True, True, False, False, True]
    assert [result.index for result in results] == list(range(6))
    for result in results[:3] + results[4:]:
        result.release()
    with pytest.raises(RuntimeError, match="1 frames of 66x42 were never released"):
        engine.close()
    results[3].release()
    with pytest.raises(RuntimeError, match="released twice"):
        results[3].release()
    engine.close()


def test_one_sample_makes_another_frame(tmp_path: Path) -> None:
    opened = Opened(tmp_path, spec("444", 10, (40, 24)))
    pictures = [planes(opened.spec)]
    for index in range(3):
        pictures.append(tuple(p.copy() for p in pictures[-1]))
        pictures[-1][index][13, 21] ^= 1
    compare(opened.reusing(None), opened.whole(), shown(opened.spec, pictures))
    assert opened.spared == [0, 0, 0, 0]


def test_results_go_where_they_are_wanted(tmp_path: Path) -> None:
    opened = Opened(tmp_path, spec("420", 8, (192, 144)))
    engine, whole = opened.reusing(small(opened.spec)), opened.whole()
    pictures = edited(opened.spec, 10, 2)
    for each in shown(opened.spec, pictures):
        wanted = whole.wait(whole.submit(each))
        out = tuple(np.zeros_like(plane) for plane in wanted.planes)
        result = engine.wait(engine.submit(each, out))
        assert result.planes is out
        assert_close(out, wanted.planes)
        wanted.release()
        result.release()
    engine.close()
    whole.close()


def test_a_reset_forgets(tmp_path: Path) -> None:
    opened = Opened(tmp_path, spec("420", 8, (192, 144)))
    engine, whole = opened.reusing(small(opened.spec)), opened.whole()
    pictures = edited(opened.spec, 9, 3)
    for each in shown(opened.spec, pictures)[:5]:
        if len(opened.spared) + engine.capacity > each.index:
            engine.submit(each)
        engine.reset()
    compare(engine, whole, shown(opened.spec, pictures[4:]))
    assert opened.spared[0] == 0


def test_opacity(tmp_path: Path) -> None:
    what = replace(spec("420", 8, (192, 144)), format=PlanarFormat(chroma="420", alpha=True))
    opened = Opened(tmp_path, what)
    compare(opened.reusing(small(what)), opened.whole(), shown(what, edited(what, 14, 4)))
    assert any(0 < spared < 1 for spared in opened.spared)


def test_tiles_that_differ_are_left_alone(tmp_path: Path) -> None:
    """A network that sees further than it says is caught by the first frame made of tiles."""
    opened = Opened(tmp_path, spec("420", 8, (192, 144)))
    grid = Grid(spec=opened.spec, width=16, height=16, halo=0)
    compare(opened.reusing(grid), opened.whole(), shown(opened.spec, edited(opened.spec, 14, 5)))
    assert len(opened.said) == 1
    assert "only whole frames are reused" in opened.said[0]
    assert set(opened.spared) == {0.0, 1.0}


def test_tiles_that_cannot_be_opened_are_done_without(tmp_path: Path) -> None:
    opened = Opened(tmp_path, spec("420", 8, (192, 144)))

    def none(part: FrameSpec) -> Engine:
        raise InputError(f"the network doesn't take {part}")

    engine = opened.reusing(small(opened.spec), none)
    compare(engine, opened.whole(), shown(opened.spec, edited(opened.spec, 14, 5)))
    assert opened.said == ["only whole frames are reused, no parts of them: the network doesn't take yuv420p 32x40"]


class Times:
    """A clock that is told how long things take."""

    def __init__(self) -> None:
        self.now = 1.0

    def __call__(self) -> float:
        return self.now


def watched(shares: list[float], *, frame: float = 10.0, comparing: float = 1.0) -> list[bool]:
    clock = Times()
    watch, looked = Watch(clock, always=False, tile=0.1), []
    for share in shares:
        looked.append(watch.looks())
        if looked[-1]:
            clock.now += comparing
            watch.compared(round(10 * (1 - share)) if share else None)
        clock.now += frame * (1 - share)
        watch.finished(whole=share == 0)
    return looked


def test_comparing_goes_on_while_it_pays() -> None:
    assert all(watched([0.0, 0.0, 1.0, *[0.0, 1.0] * 40]))
    assert all(watched([0.0, 0.0, *[0.2, 0.2, 0.2, 0.0, 0.0, 0.0] * 10], comparing=0.5))


def test_comparing_rests_while_it_does_not() -> None:
    looked = watched([0.0] * 160)
    assert sum(looked) == 160 * WATCHED // PERIOD
    assert sum(watched([0.0, 0.0, *[0.0, 0.1, 0.0, 0.0] * 40], comparing=4.0)) < 80
    still = watched([0.0] * 100 + [1.0] * 60)
    assert all(still[100 + PERIOD :]), "a picture that stands still is noticed"


def test_tiles_are_opened_when_they_would_have_paid_for_that() -> None:
    clock = Times()
    watch = Watch(clock, always=False, tile=0.1)
    assert not watch.missed(0), "nobody knows yet what a frame takes"
    for _ in range(3):
        clock.now += OPENING
        watch.finished(whole=True)
    assert [watch.missed(7) for _ in range(5)] == [False, False, False, True, True]
    assert Watch(clock, always=True, tile=0.1).missed(9)


def test_what_tiles_cost_is_what_they_took() -> None:
    clock = Times()
    for always, expected in ((False, 0.8), (True, 0.4)):
        watch = Watch(clock, always=always, tile=0.1)
        for _ in range(2):
            clock.now += 2.0
            watch.finished(whole=True)
        watch.tried(10, 4.0)
        assert watch.cost(4) == pytest.approx(expected)


@pytest.mark.parametrize("reuse", ["auto", "frames", "tiles"])
def test_the_stage_gives_the_same(tmp_path: Path, reuse: str) -> None:
    what = spec("420", 8, (320, 192))
    path = chosen(tmp_path, luma_model(2), "float32").path
    settings = EngineSettings(model=path, precision="float32", threads=2)
    frames = shown(what, edited(what, 30, 6) + [planes(what)] * 5)
    off = UpscaleStage(replace(settings, reuse="off"))
    expected = [tuple(plane.copy() for plane in result.planes) for result in released(off, frames)]
    stage = UpscaleStage(replace(settings, reuse=reuse))  # type: ignore[arg-type]
    for wanted, result in zip(expected, released(stage, frames), strict=True):
        assert_close(result.planes, wanted)
    assert off.spared == 0
    assert stage.spared > (8 if reuse == "tiles" else 4)
    off.close()
    stage.close()


def released(stage: UpscaleStage, frames: list[Frame]) -> Iterator[Frame]:
    for result in stage.frames(frames):
        yield result
        result.release()


def test_which_engine(tmp_path: Path) -> None:
    opened = Opened(tmp_path, spec("420", 8, (320, 192)))
    whole = opened.whole()
    same = reusing(
        whole, opened.spec, opened.choice, "off", open_tiles=opened.tiles, spared=opened.spared.append, say=print
    )
    assert same is whole
    whole.close()
    assert grid_of(spec("420", 8, (64, 64)), RADIUS) is None
    assert grid_of(opened.spec, RADIUS) is not None
    with pytest.raises(UsageError, match="no reuse 'rows'; known: auto, off, frames, tiles"):
        EngineSettings(reuse="rows").validate()  # type: ignore[arg-type]
