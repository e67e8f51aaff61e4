"""Tiles equal the whole, and the memory they are cut by is what an engine really takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slots import Failing, Repeating, repeated
from strong import assert_close, chosen, frame, luma_model, planes, spec
from vsr import Upscaler
from vsr.backends import open_engine
from vsr.backends.cuda import SlotEngine
from vsr.backends.memory import available
from vsr.backends.tiled import Grid, TiledEngine, Tiles, choose
from vsr.device.fake import FakeDevice
from vsr.device.protocol import DeviceError
from vsr.errors import MemoryLimitError
from vsr.frame import Planes
from vsr.models import Exact, processor_flags
from vsr.settings import EngineSettings

BF16 = {"avx512_bf16", "amx_bf16"} & processor_flags()
PRECISIONS: list[Exact] = ["int8", "float32", *(["bf16"] if BF16 else [])]  # type: ignore[list-item]
MIB = 1 << 20


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    path = chosen(tmp_path, luma_model(2), "float32").path
    return EngineSettings(model=path, precision="float32", threads=2)


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


WIDE = spec("420", 8, (96, 48))
GRID = Grid(spec=WIDE, width=16, height=16, halo=8)


def tiles(device: Any) -> Tiles:
    return Tiles(GRID, SlotEngine(device, Repeating(device, GRID.tile), GRID.tile, 2, slots=3), 2)


def results(count: int) -> list[Planes]:
    shapes = WIDE.format.shapes(2 * WIDE.width, 2 * WIDE.height)
    return [tuple(np.zeros(shape, np.uint8) for shape in shapes) for _ in range(count)]


def test_tiles_of_several_frames_are_on_their_way_at_once() -> None:
    for seed in range(20):
        device, places = FakeDevice(seed=seed), list(GRID.places())
        engine, (first, second) = tiles(device), results(2)
        begun = [engine.begin(first, frame(WIDE, 0), places[:2]), engine.begin(second, frame(WIDE, 1), places[2:3])]
        assert begun == [2, 3]
        assert not first[0].any(), "nothing was waited for"
        begun[1] = engine.begin(second, frame(WIDE, 1), [*places[:2], *places[3:]])
        engine.finish(begun[1])
        assert_close(second, repeated(WIDE, frame(WIDE, 1).planes))
        part = slice(0, 2 * 16), slice(0, 2 * 32)
        assert (first[0][part] == repeated(WIDE, frame(WIDE, 0).planes)[0][part]).all()
        engine.finish(begun[0])
        engine.close()


def test_tiles_lost_by_a_failure_are_never_taken_for_done() -> None:
    device = Failing(FakeDevice(), "upload", 3)
    engine, (first, second), places = tiles(device), results(2), list(GRID.places())
    begun = engine.begin(first, frame(WIDE), places[:2])
    with pytest.raises(DeviceError, match="as asked"):
        engine.begin(second, frame(WIDE, 1), places)
    for _ in range(2):
        with pytest.raises(DeviceError, match="as asked"):
            engine.finish(begun)
    engine.close()
