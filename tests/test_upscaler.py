"""The stage, tiles and single pictures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strong import assert_close, chosen, frame, luma_model, planes, spec
from vsr import Upscaler
from vsr.backends import open_engine
from vsr.backends.memory import available
from vsr.backends.tiled import Grid, TiledEngine, choose
from vsr.errors import MemoryLimitError, UsageError
from vsr.frame import Frame, FramePool
from vsr.graph import FrameSpec
from vsr.models import Exact, processor_flags, resolve
from vsr.settings import EngineSettings
from vsr.upscaler import ENGINES_KEPT, NO_CACHE, UpscaleStage

BF16 = {"avx512_bf16", "amx_bf16"} & processor_flags()
PRECISIONS: list[Exact] = ["int8", "float32", *(["bf16"] if BF16 else [])]  # type: ignore[list-item]
MIB = 1 << 20


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    path = chosen(tmp_path, luma_model(2), "float32").path
    return EngineSettings(model=path, precision="float32", threads=2)


def counted(specs: Iterable[FrameSpec], pools: list[FramePool]) -> Iterator[Frame]:
    """Frames of these sizes, their buffers counted in `pools`."""
    for index, what in enumerate(specs):
        if not pools or not pools[-1].fits(what.format, what.width, what.height):
            pools.append(FramePool(what.format, what.width, what.height))
        original = frame(what, index)
        samples, lease = pools[-1].take()
        for target, source in zip(samples, original.planes, strict=True):
            target[:] = source
        yield replace(original, planes=samples, lease=lease)


def test_stage_equals_one_engine_frame_by_frame(settings: EngineSettings) -> None:
    what, pools = spec("420", 8, (33, 21)), list[FramePool]()
    engine = open_engine(settings, resolve(settings, 8), what)
    stage = UpscaleStage(settings)
    results = []
    for result in stage.frames(counted([what] * 7, pools)):
        alone = engine.wait(engine.submit(frame(what, result.index)))
        assert_close(result.planes, alone.planes)
        results.append((result.index, result.pts, result.duration, result.width, result.height))
        alone.release()
        result.release()
    assert results == [(i, 1001 * i, 1001, 66, 42) for i in range(7)]
    assert pools[0].leased == 0
    engine.close()
    stage.close()


def test_stage_follows_changes_of_format_and_size(settings: EngineSettings) -> None:
    small, large, deep = spec("420", 8, (16, 16)), spec("420", 8, (24, 16)), spec("444", 10, (16, 16))
    order, pools = [small, small, large, deep, deep, small], list[FramePool]()
    stage = UpscaleStage(settings)
    held = list(stage.frames(counted(order, pools)))
    assert [(r.index, r.format, r.width) for r in held] == [(i, s.format, 2 * s.width) for i, s in enumerate(order)]
    with pytest.raises(RuntimeError, match="never released"):
        UpscaleStage.close(stage)
    for result in held:
        result.release()
    assert all(pool.leased == 0 for pool in pools)
    assert len(stage.notes) == 4
    assert stage.notes[1].startswith("yuv420p 24x16: ")
    assert "openvino cpu float32" in stage.label


def test_stage_can_be_left_early(settings: EngineSettings) -> None:
    pools: list[FramePool] = []
    stage = UpscaleStage(settings)
    results = stage.frames(counted([spec()] * 9, pools))
    next(results).release()
    results.close()
    stage.close()
    assert pools[0].leased == 0


def test_stage_says_when_nothing_can_be_kept(
    settings: EngineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "file" / "below"))
    stage = UpscaleStage(settings)
    for size in ((16, 16), (20, 16)):
        for result in stage.frames([frame(spec("420", 8, size))]):
            result.release()
    assert stage.notes.count(NO_CACHE) == 1
    stage.close()


def test_nothing_in_nothing_out(settings: EngineSettings) -> None:
    stage = UpscaleStage(settings)
    assert list(stage.frames([])) == []
    assert stage.label == ""
    stage.close()


@pytest.mark.parametrize(
    ("precision", "chroma", "depth", "size"),
    [
        (precision, chroma, depth, size)
        for precision in PRECISIONS
        for chroma, depth, size in (
            ("420", 8, (75, 61)),
            ("420", 10, (96, 40)),
            ("422", 8, (57, 64)),
            ("444", 8, (70, 33)),
            ("grey", 16, (65, 65)),
        )
        if precision != "int8" or depth == 8
    ],
)
@pytest.mark.parametrize("scale", [2, 3])
def test_tiles_equal_the_whole(
    tmp_path: Path, precision: Exact, chroma: str, depth: int, size: tuple[int, int], scale: int
) -> None:
    """To the bit, whatever the precision."""
    what = spec(chroma, depth, size)
    choice = chosen(tmp_path, luma_model(scale, channels=16, int8=precision == "int8"), precision)
    settings = EngineSettings(scale=scale, threads=2)
    whole = open_engine(settings, choice, what)
    expected = whole.wait(whole.submit(frame(what)))
    for width, height in ((16, 24), (32, 16)):
        grid = Grid(spec=what, width=width, height=height, halo=8)
        tiled = TiledEngine(grid, open_engine(settings, choice, grid.tile), scale)
        result = tiled.wait(tiled.submit(frame(what)))
        assert_close(result.planes, expected.planes)
        result.release()
        tiled.close()
    expected.release()
    whole.close()


def test_tiles_cover_the_frame_once() -> None:
    for size in ((16, 16), (17, 16), (100, 75), (23, 130)):
        grid = Grid(spec=spec("420", 8, size), width=16, height=24, halo=8)
        covered = np.zeros(size[::-1], int)
        for place in grid.places():
            covered[place.top : place.bottom, place.left : place.right] += 1
            assert place.x % 2 == place.y % 2 == 0
            assert place.x + grid.tile.width <= size[0]
            assert place.x == 0 or place.left - place.x >= 8
            assert place.x + grid.tile.width == size[0] or place.x + grid.tile.width - place.right >= 8
        assert (covered == 1).all()


def test_the_coarsest_grid_that_fits_is_chosen() -> None:
    what = spec("420", 8, (640, 360))
    assert choose(what, 6, lambda _: True, "") is None
    grid = choose(what, 6, lambda s: s.width * s.height <= 40_000, "")
    assert grid is not None
    assert (grid.width, grid.height, grid.halo) == (160, 184, 8)
    with pytest.raises(MemoryLimitError, match="even in tiles of yuv420p 32x32"):
        choose(what, 6, lambda s: s.width < 30, "1 MiB")
    with pytest.raises(MemoryLimitError, match="sees too far for tiles"):
        choose(what, None, lambda _: False, "1 MiB")


def test_memory_makes_tiles(settings: EngineSettings) -> None:
    given = planes(spec("420", 8, (160, 120)))
    with (
        Upscaler(model=settings.model, precision="float32") as free,
        Upscaler(model=settings.model, precision="float32", memory=2 * MIB, threads=2) as bound,
    ):
        assert_close(bound(given), free(given))
        assert "tiles" not in free.label
        assert bound.label.endswith("in 2 tiles of 96x120")
    with Upscaler(model=settings.model, memory=1000) as none, pytest.raises(MemoryError, match="allow more memory"):
        none(given)


MEASURE = """
import sys
from pathlib import Path
import numpy as np
sys.path[:0] = [{tests!r}]
from strong import chosen, luma_model, spec
from vsr.backends import memory
from vsr.backends.openvino import OpenVINOEngine
from vsr.frame import Frame

def highest():
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

model = luma_model(2, channels=16, int8={int8})
choice = chosen(Path({folder!r}), model, {precision!r})

def run(width, height):
    what = spec("420", {depth}, (width, height), "unspecified")
    sizes = (width, height), (2 * width, 2 * height)
    views = [what.format.views(np.ones(what.format.nbytes(*size), np.uint8), *size) for size in sizes]
    before = highest()
    engine = OpenVINOEngine(choice, what, threads=2)
    for _ in range(2):
        for _ in range(engine.capacity):
            engine.submit(Frame(format=what.format, width=width, height=height, planes=views[0]), views[1])
        engine.drain()
    return highest() - before, memory.predicted(model, what, {precision!r}, streams=2, requests=engine.capacity)

run(64, 64)
print(*run(1600, 1200))
"""


@pytest.mark.parametrize(("precision", "depth"), [(p, 8) for p in PRECISIONS] + [("float32", 10)])
def test_memory_is_predicted_within_a_fifth(tmp_path: Path, precision: Exact, depth: int) -> None:
    program = MEASURE.format(
        tests=str(Path(__file__).parent),
        folder=str(tmp_path),
        precision=precision,
        int8=precision == "int8",
        depth=depth,
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    measured, predicted = map(int, run.stdout.split())
    assert 0.8 < predicted / measured < 1.2, f"{predicted / MIB:.0f} MiB predicted, {measured / MIB:.0f} MiB measured"


def test_there_is_memory() -> None:
    assert 64 * MIB < available() < 1 << 50


@pytest.fixture
def upscaler(settings: EngineSettings) -> Iterator[Upscaler]:
    with Upscaler(model=settings.model, precision="float32") as opened:
        yield opened


@pytest.mark.parametrize("depth", [8, 10, 16])
@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_planes(upscaler: Upscaler, settings: EngineSettings, chroma: str, depth: int) -> None:
    what = spec(chroma, depth, (35, 22), "unspecified")
    engine = open_engine(settings, resolve(settings, depth), what)
    expected = engine.wait(engine.submit(frame(what)))
    assert_close(upscaler(planes(what), depth=depth), expected.planes)
    expected.release()
    engine.close()


def test_grey_pictures(upscaler: Upscaler) -> None:
    for depth, kind in ((8, np.uint8), (10, np.uint16), (16, np.uint16)):
        given = planes(spec("grey", depth, (20, 30)))[0]
        result = upscaler(given, depth=depth)
        assert (result.shape, result.dtype) == ((60, 40), kind)
        assert result.max() < 1 << depth
    assert_close([upscaler(given.T)], [upscaler(np.ascontiguousarray(given.T))])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_colour_pictures(tmp_path: Path, kind: type[np.generic]) -> None:
    """Grey stays grey; the corners of the colour cube come back as near as YCrCb of that depth can say them."""
    white = int(np.iinfo(kind).max)
    cube = np.array([[b, g, r] for b in (0, white) for g in (0, white) for r in (0, white)], kind)
    picture = cube[:, None].repeat(8, 0).repeat(16, 1).reshape(64, 16, 3)
    path = chosen(tmp_path, luma_model(2, zero=True), "float32").path
    with Upscaler(model=path, precision="float32") as upscaler:
        result = upscaler(picture)
        assert (result.shape, result.dtype) == ((128, 32, 3), kind)
        middles = result[8::16].astype(np.int64)
        assert np.abs(middles - cube[:, None]).max() <= 2 * white / 255 + 2
        grey = np.random.default_rng(0).integers(0, white, (9, 7, 1), kind).repeat(3, 2)
        assert (np.ptp(upscaler(grey).astype(np.int64), axis=2) == 0).all()


def test_upscaler_keeps_few_engines(upscaler: Upscaler) -> None:
    for size in range(20, 40, 2):
        assert upscaler(np.zeros((size, size), np.uint8)).shape == (2 * size, 2 * size)
    assert len(vars(upscaler)["_engines"]) == ENGINES_KEPT
    assert "openvino cpu float32" in upscaler.label
    upscaler.close()
    assert upscaler(np.zeros((8, 8), np.uint8)).shape == (16, 16)


@pytest.mark.parametrize(
    ("picture", "depth", "message"),
    [
        (np.zeros((4, 4), np.float32), None, "uint8 or all uint16"),
        (np.zeros((4, 4, 4), np.uint8), None, "BGR"),
        (np.zeros((4, 4, 3), np.float32), None, "BGR"),
        (np.zeros((4,), np.uint8), None, "BGR"),
        (np.zeros((4, 4), np.uint8), 10, "doesn't hold samples of 10 bits"),
        (np.zeros((4, 4), np.uint16), 8, "doesn't hold samples of 8 bits"),
        (np.zeros((4, 4), np.uint16), 17, "no planar format"),
        ((np.zeros((4, 4), np.uint8),) * 2, None, r"planes are \(Y, U, V\)"),
        ((np.zeros((4, 4), np.uint8), *(np.zeros((1, 4), np.uint8),) * 2), None, "no 4:2:0"),
        ((np.zeros((4, 4), np.uint8), *(np.zeros((2, 2), np.uint16),) * 2), None, "all uint8"),
    ],
)
def test_pictures_that_are_none(upscaler: Upscaler, picture: object, depth: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        upscaler(picture, depth=depth)  # type: ignore[call-overload]


def test_arguments_that_cant_be_meant() -> None:
    with pytest.raises(UsageError, match="scale 5"):
        Upscaler(scale=5)
    with pytest.raises(UsageError, match="either --network or --model"):
        Upscaler(network="m4c8", model="x.onnx")
