"""The stage and single pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from strong import assert_close, chosen, frame, luma_model, planes, spec
from vsr import Upscaler
from vsr.backends import open_engine
from vsr.errors import UsageError
from vsr.frame import Frame, FramePools
from vsr.graph import FrameSpec
from vsr.models import resolve
from vsr.settings import EngineSettings
from vsr.upscaler import ENGINES_KEPT, NO_CACHE, UpscaleStage


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    path = chosen(tmp_path, luma_model(2), "float32").path
    return EngineSettings(model=path, precision="float32", threads=2)


def counted(specs: Iterable[FrameSpec], pools: FramePools) -> Iterator[Frame]:
    """Frames of these sizes, their buffers counted in `pools`."""
    for index, what in enumerate(specs):
        original = frame(what, index)
        samples, lease = pools.take(what.format, what.width, what.height)
        for target, source in zip(samples, original.planes, strict=True):
            target[:] = source
        yield replace(original, planes=samples, lease=lease)


def test_stage_equals_one_engine_frame_by_frame(settings: EngineSettings) -> None:
    what, pools = spec("420", 8, (33, 21)), FramePools()
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
    assert pools.leased == 0
    engine.close()
    stage.close()


def test_stage_follows_changes_of_format_and_size(settings: EngineSettings) -> None:
    small, large, deep = spec("420", 8, (16, 16)), spec("420", 8, (24, 16)), spec("444", 10, (16, 16))
    order, pools = [small, small, large, deep, deep, small], FramePools()
    stage = UpscaleStage(settings)
    held = list(stage.frames(counted(order, pools)))
    assert [(r.index, r.format, r.width) for r in held] == [(i, s.format, 2 * s.width) for i, s in enumerate(order)]
    with pytest.raises(RuntimeError, match="never released"):
        UpscaleStage.close(stage)
    for result in held:
        result.release()
    assert pools.leased == 0
    assert len(stage.notes) == 4
    assert stage.notes[1].startswith("yuv420p 24x16: ")
    assert "openvino cpu float32" in stage.label


def test_stage_can_be_left_early(settings: EngineSettings) -> None:
    pools = FramePools()
    stage = UpscaleStage(settings)
    results = stage.frames(counted([spec()] * 9, pools))
    next(results).release()
    results.close()
    stage.close()
    assert pools.leased == 0


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


def test_pictures_that_may_only_be_read(upscaler: Upscaler) -> None:
    """Of a file mapped, of bytes."""
    picture = planes(spec("grey"))[0]
    sealed = np.frombuffer(picture.tobytes(), picture.dtype).reshape(picture.shape)
    assert np.array_equal(upscaler(sealed), upscaler(picture))


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
