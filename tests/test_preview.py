"""The look before the run: one frame side by side, and an estimate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import vsr
from clips import Clip, Sound, frames
from vsr import preview
from vsr.errors import InputError, OutputError, UsageError
from vsr.frame import Colour
from vsr.settings import RunSettings


def settings(source: Path, target: Path | str, repeat: dict[int, Path], scale: int = 2, **options: Any) -> RunSettings:
    return RunSettings.of(
        input=str(source), output=str(target), scale=scale, model=repeat[scale], precision="float32", **options
    )


@pytest.mark.parametrize("scale", [2, 3])
def test_before_and_after_side_by_side(tmp_path: Path, repeat: dict[int, Path], scale: int) -> None:
    clip = Clip(codec="ffv1", pix_fmt="gray", pts=range(20))
    source, target = clip.write(tmp_path / "in.mkv"), tmp_path / "look.png"
    preview.write(settings(source, target, repeat, scale), 0.4)
    got = cv2.imread(str(target), cv2.IMREAD_GRAYSCALE)
    assert got is not None
    assert got.shape == (32 * scale, 2 * 48 * scale)
    shown = frames(source)[10].planes[0].repeat(scale, 0).repeat(scale, 1).astype(int)
    assert abs(got[:, 48 * scale :] - shown).mean() < 1.5
    assert abs(got[:, : 48 * scale] - shown).mean() < 8
    assert not np.array_equal(got[:, : 48 * scale], got[:, 48 * scale :])


def test_colours_are_those_of_the_tags(tmp_path: Path, repeat: dict[int, Path]) -> None:
    looks = []
    for matrix in (1, 5):
        clip = Clip(pts=range(2), pix_fmt="yuv444p", colour=Colour(range=1, matrix=matrix), options={"qp": "0"})
        preview.write(settings(clip.write(tmp_path / f"{matrix}.mp4"), tmp_path / f"{matrix}.png", repeat), 0)
        looks.append(cv2.imread(str(tmp_path / f"{matrix}.png")))
    assert looks[0] is not None
    assert looks[1] is not None
    assert abs(looks[0].astype(int) - looks[1]).max() > 10


def test_a_quarter_turn_is_made(tmp_path: Path, repeat: dict[int, Path]) -> None:
    clip = Clip(pts=range(2), matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    preview.write(settings(clip.write(tmp_path / "in.mp4"), tmp_path / "look.png", repeat), 0)
    got = cv2.imread(str(tmp_path / "look.png"))
    assert got is not None
    assert got.shape == (96, 128, 3)


@pytest.mark.parametrize(
    ("target", "at", "kind", "reason"),
    [
        ("look.jpg", 0, UsageError, "--preview writes a PNG"),
        ("there.png", 0, OutputError, "exists already"),
        ("none/look.png", 0, OutputError, "no such folder"),
        ("look.png", 5, UsageError, "past the end"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, repeat: dict[int, Path], target: str, at: float, kind: type[Exception], reason: str
) -> None:
    source = Clip(pts=range(3)).write(tmp_path / "in.mp4")
    (tmp_path / "there.png").write_bytes(b"old")
    with pytest.raises(kind, match=reason):
        preview.write(settings(source, tmp_path / target, repeat), at)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "there.png"]


def test_past_the_end_of_a_stream_of_unknown_length(tmp_path: Path, repeat: dict[int, Path]) -> None:
    source = Clip(pts=range(3)).write(tmp_path / "in.h264")
    with pytest.raises(UsageError, match="--preview 5 is past the end"):
        preview.write(settings(source, tmp_path / "look.png", repeat), 5)
    with pytest.raises(InputError, match="no frame in the part asked for"):
        vsr.upscale(source, tmp_path / "out.mp4", start=5.0, model=repeat[2])
    assert [path.name for path in tmp_path.iterdir()] == ["in.h264"]


@pytest.mark.parametrize(("count", "timed"), [(7, 7), (24, 24), (60, 24)])
def test_an_estimate(tmp_path: Path, repeat: dict[int, Path], count: int, timed: int) -> None:
    source = Clip(pts=range(count), sounds=[Sound(seconds=Fraction(1, 5))]).write(tmp_path / "in.mp4")
    found = preview.estimate(settings(source, tmp_path / "out.mp4", repeat))
    estimate = found["estimate"]
    assert estimate["timed_frames"] == timed
    assert estimate["engine"].startswith("repeat_x2 openvino")
    assert estimate["fps"] > 0
    assert estimate["seconds"] == pytest.approx(count / estimate["fps"], abs=0.1)
    assert estimate["bytes"] > 500
    assert found["job"]["source"]["frames"] == count
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_an_estimate_without_encoder(tmp_path: Path, repeat: dict[int, Path]) -> None:
    source = Clip(pts=range(9)).write(tmp_path / "in.mp4")
    estimate = preview.estimate(settings(source, "", repeat, sink="null"))["estimate"]
    assert (estimate["timed_frames"], estimate["bytes"]) == (9, None)
