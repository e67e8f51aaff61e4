"""When NVDEC decodes, and that it gives what software gives; on fakes, and on a GPU where there is one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.hwaccel import HWAccel

from clips import Clip
from strong import planes, spec
from vsr.convert import copy_in
from vsr.errors import InputError, UsageError
from vsr.frame import PlanarFormat
from vsr.hardware import LAYOUTS, Shown, accelerated, first_frames, obstacle
from vsr.job import Source
from vsr.probe import probe
from vsr.settings import RunSettings

SHIFTS = {"nv12": 0, "p010le": 6, "p016le": 4}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    path = Clip(bframes=2, size=(50, 38)).write(tmp_path / "in.mp4")
    return probe(RunSettings(input=str(path), output="", sink="null")).source


def here() -> bool:
    return True


def software(source: Source, accelerator: HWAccel | None) -> Shown:
    """What a GPU would give, if it decoded as software does."""
    found = first_frames(source, None)
    return found if accelerator is None else [("nv12", given) for _, given in found]


def test_it_decodes_what_it_decodes_the_same(source: Source) -> None:
    assert obstacle(source, 0, driver=here, first=software) == ""


def test_it_doesnt_where_it_isnt_the_same(source: Source) -> None:
    def wrong(source: Source, accelerator: HWAccel | None) -> Shown:
        found = software(source, accelerator)
        if accelerator:
            found[-1][1][2][-1, -1] ^= 1
        return found

    def fewer(source: Source, accelerator: HWAccel | None) -> Shown:
        return software(source, accelerator)[: None if accelerator is None else -1]

    def elsewhere(source: Source, accelerator: HWAccel | None) -> Shown:
        return first_frames(source, None)  # FFmpeg fell back to its own decoder

    def broken(source: Source, accelerator: HWAccel | None) -> Shown:
        raise InputError("in.mp4: can't be read") from av.error.PermissionError(1, "Operation not permitted")

    for first, why in (
        (wrong, "aren't those of the software decoder"),
        (fewer, "aren't those of the software decoder"),
        (elsewhere, "no decoder for h264 in yuv420p"),
        (broken, "doesn't open here (Operation not permitted)"),
    ):
        assert why in obstacle(source, 0, driver=here, first=first)
    assert "no NVIDIA GPU" in obstacle(source, 0, driver=lambda: False)


def test_what_it_isnt_for(tmp_path: Path) -> None:
    path = Clip().write(tmp_path / "in.mp4")
    whole = probe(RunSettings(input=str(path), output="", sink="null", deinterlace=True)).source
    assert "deinterlacing" in obstacle(whole, 0, driver=here, first=software)


def test_nobody_asked(source: Source) -> None:
    assert source.hwaccel == "none"
    assert accelerated(source, "none", 0) == ("none", [])


def test_asked_for_where_it_cant_be(source: Source) -> None:
    """The GPU numbered 99, on a machine with or without others."""
    with pytest.raises(UsageError, match="--hwaccel cuda: "):
        accelerated(source, "cuda", 99)
    assert accelerated(source, "auto", 99)[0] == "none"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(64, 48), (50, 38), (6, 4), (35, 21), (1280, 720)])
def test_its_layouts_become_planes_without_a_change(layout: str, size: tuple[int, int]) -> None:
    shift = SHIFTS[layout]
    what = spec("420", 16 - shift if shift else 8, size)
    given, picture = planes(what), av.VideoFrame(*size, layout)
    y, uv = (np.frombuffer(memoryview(plane), what.format.dtype).reshape(plane.height, -1) for plane in picture.planes)
    y[:, : size[0]] = given[0] << shift
    for index in (1, 2):
        uv[:, index - 1 : 2 * given[index].shape[1] : 2] = given[index] << shift
    found = what.format.views(np.empty(what.format.nbytes(*size), np.uint8), *size)
    copy_in(picture, what.format, found)
    for wanted, got in zip(given, found, strict=True):
        assert np.array_equal(wanted, got)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("libx264", "yuv420p"), ("libx265", "yuv420p"), ("libx265", "yuv420p10le")]
)
def test_nvdec_gives_the_frames_of_software(gpu: str, tmp_path: Path, codec: str, pix_fmt: str) -> None:
    clip = Clip(codec=codec, pix_fmt=pix_fmt, size=(322, 242), bframes=2, pts=range(24), time_base=Fraction(1, 25))
    path = clip.write(tmp_path / "in.mkv")
    given = probe(RunSettings(input=str(path), output="", sink="null", hwaccel="cuda")).source
    assert given.hwaccel == "cuda"
    assert given.format == PlanarFormat.of(pix_fmt)
