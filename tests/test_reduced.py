"""A video reduced, and coded in between, as networks are judged by it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from clips import Clip, frames
from vsr.errors import InputError
from vsr.metrics import imresize, to_uint8
from vsr.reduced import reduced
from vsr.training.coding import Coding

LOSSLESS = {"libx264": {"qp": "0"}, "ffv1": dict[str, str]()}


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize(("codec", "pix_fmt"), [("libx264", "yuv420p"), ("ffv1", "yuv422p10le"), ("ffv1", "gray")])
def test_frames_are_cut_rounded_and_reduced(tmp_path: Path, codec: str, pix_fmt: str, scale: int) -> None:
    size = (98, 82) if codec == "libx264" else (97, 81)
    clip = Clip(codec=codec, pix_fmt=pix_fmt, size=size, pts=[0, 2, 3, 7], options=LOSSLESS[codec])
    path = clip.write(tmp_path / "in.mkv")
    seen = reduced(str(path), scale, frames=3)
    assert seen.times == pytest.approx((0, 0.08, 0.12))
    deep = 4 if "10" in pix_fmt else 1
    height, width = (side - side % (2 * scale) for side in size[::-1])
    for shown, high, low in zip(frames(path), seen.high, seen.low, strict=False):
        rounded = np.floor(shown.planes[0][:height, :width] / deep + 0.5).clip(0, 255)
        np.testing.assert_array_equal(high, rounded)
        np.testing.assert_array_equal(low, to_uint8(imresize(high, 1 / scale)))
    assert len(seen.low) == len(seen.high) == 3


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "gray"])
def test_coding_keeps_order_and_loses_by_crf(tmp_path: Path, pix_fmt: str) -> None:
    path = Clip(codec="ffv1", pix_fmt=pix_fmt, size=(96, 64), pts=range(9)).write(tmp_path / "in.mkv")
    plain = reduced(str(path), 2, frames=9).low
    errors, bits = [], []
    for crf in (0, 20, 40):
        clip = reduced(str(path), 2, frames=9, crf=crf)
        errors.append(np.mean([(a.astype(float) - b) ** 2 for a, b in zip(plain, clip.low, strict=True)]))
        bits.append(clip.bits)
    assert errors[0] == 0  # crf 0 is lossless in 8 bit
    assert errors[0] < errors[1] < errors[2]
    assert 12 > bits[0] > bits[1] > bits[2] > 0


def test_the_encoder_sees_colour(tmp_path: Path) -> None:
    path = Clip(codec="ffv1", size=(96, 64), pts=range(5)).write(tmp_path / "in.mkv")
    frames_small = []
    for shown in frames(path):
        small = VideoFrame(48, 32, "yuv420p")
        for plane, samples in zip(small.planes, shown.planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            rows[:, : plane.width] = to_uint8(imresize(samples, 0.5))
            plane.update(rows.tobytes())
        frames_small.append(small.to_ndarray())
    coding = Coding("libx264", {"crf": "20", "preset": "medium"}, Fraction(25))
    bits = 8 * sum(packet.size for packet in coding.packets(frames_small))
    assert reduced(str(path), 2, frames=5, crf=20).bits == bits / (5 * 48 * 32)


def test_what_is_too_small_is_said(tmp_path: Path) -> None:
    path = Clip(codec="ffv1", size=(16, 6)).write(tmp_path / "in.mkv")
    with pytest.raises(InputError, match="16x6 are too small to be reduced by 4"):
        reduced(str(path), 4, frames=1)
    with pytest.raises(InputError, match="no such file"):
        reduced(str(tmp_path / "none.mkv"), 2, frames=1)


def test_a_change_of_size_is_said(tmp_path: Path) -> None:
    parts = [Clip(size=(size, 32), pts=range(3)).write(tmp_path / f"{size}.h264") for size in (48, 64)]
    both = tmp_path / "in.h264"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert len(reduced(str(both), 2, frames=3).low) == 3
    with pytest.raises(InputError, match="changes at frame 3"):
        reduced(str(both), 2, frames=4)
