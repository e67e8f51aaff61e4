"""The VapourSynth function, where VapourSynth is: its wheel asks for Python 3.12 or later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from strong import assert_close, frame, planes, spec
from vsr.errors import UsageError
from vsr.frame import Planes
from vsr.live.vapoursynth import SITES, upscale
from vsr.settings import EngineSettings
from vsr.upscaler import UpscaleStage


@pytest.fixture(scope="module")
def vs() -> Any:
    return pytest.importorskip("vapoursynth", reason="vapoursynth isn't installed; it needs Python 3.12 or later")


def clip_of(vs: Any, format: int, pictures: list[Planes], **props: int) -> Any:
    rows, columns = pictures[0][0].shape
    blank = vs.core.std.BlankClip(width=columns, height=rows, format=format, length=len(pictures))

    def paint(n: int, f: Any) -> Any:
        made = f.copy()
        for number, plane in enumerate(pictures[n]):
            np.copyto(np.asarray(made[number]), plane)
        made.props.update(props)
        return made

    return blank.std.ModifyFrame(clips=blank, selector=paint)


@pytest.mark.parametrize("location", [0, 1, 3])
@pytest.mark.parametrize(
    ("name", "chroma", "depth", "scale"),
    [("YUV420P8", "420", 8, 2), ("YUV420P10", "420", 10, 3), ("YUV422P8", "422", 8, 2), ("GRAY16", "grey", 16, 2)],
)
def test_it_gives_what_vsr_gives(vs: Any, name: str, chroma: str, depth: int, scale: int, location: int) -> None:
    width = 64 if depth == 8 else 38  # with gaps between rows and without
    what = spec(chroma, depth, (width, 22), SITES[location])
    pictures = [planes(what, seed) for seed in range(4)]
    clip = clip_of(vs, getattr(vs, name), pictures, _ChromaLocation=location, _Told=7)
    result = upscale(clip, scale, network="cubic")
    assert (result.width, result.height, result.num_frames) == (width * scale, 22 * scale, 4)
    with UpscaleStage(EngineSettings(scale=scale, network="cubic")) as stage:
        wanted = stage.frames(frame(what, seed) for seed in range(4))
        for got, expected in zip(result.frames(), wanted, strict=True):
            assert_close(tuple(np.asarray(got[plane]) for plane in range(len(expected.planes))), expected.planes)
            assert (got.props["_ChromaLocation"], got.props["_Told"]) == (location, 7)
            expected.release()


def test_what_cannot_be_upscaled_is_told(vs: Any) -> None:
    for format in (vs.RGB24, vs.YUV444PS, vs.YUV410P8):
        with pytest.raises(UsageError, match="YUV420P8"):
            upscale(vs.core.std.BlankClip(format=format, width=32, height=32))
    with pytest.raises(UsageError, match="no network 'nonesuch'"):
        upscale(vs.core.std.BlankClip(format=vs.GRAY8, width=32, height=32), network="nonesuch")


def test_without_vapoursynth_it_says_how() -> None:
    try:
        import vapoursynth  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match="pip install vapoursynth"):
            upscale(None)
