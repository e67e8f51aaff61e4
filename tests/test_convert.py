"""Samples come in and go out unchanged; what isn't planar YUV or grey becomes it by the right matrix."""

from __future__ import annotations

import numpy as np
import pytest
from av.video.format import VideoFormat, names
from av.video.frame import VideoFrame

from clips import picture
from vsr.convert import copy_in, copy_out, has_alpha, is_rgb, planar_format
from vsr.errors import InputError
from vsr.frame import FramePool, PlanarFormat, Planes


@pytest.mark.parametrize(
    ("pix_fmt", "expected"),
    [
        ("yuv420p", "yuv420p"),
        ("yuvj422p", "yuv422p"),
        ("yuv444p16le", "yuv444p16le"),
        ("gray", "gray"),
        ("gray14le", "gray14le"),
        ("nv12", "yuv420p"),
        ("nv16", "yuv422p"),
        ("nv24", "yuv444p"),
        ("yuyv422", "yuv422p"),
        ("uyvy422", "yuv422p"),
        ("p010le", "yuv420p10le"),
        ("p210le", "yuv422p10le"),
        ("y210le", "yuv422p10le"),
        ("p016le", "yuv420p16le"),
        ("yuv411p", "yuv422p"),
        ("yuv410p", "yuv420p"),
        ("yuv440p", "yuv444p"),
        ("yuva420p", "yuv420p"),
        ("yuva444p10le", "yuv444p10le"),
        ("yuv420p10be", "yuv420p10le"),
        ("rgb24", "yuv444p"),
        ("bgra", "yuv444p"),
        ("gbrp10le", "yuv444p10le"),
        ("rgb48le", "yuv444p16le"),
        ("rgb565le", "yuv444p"),
        ("pal8", "yuv444p"),
        ("ya8", "gray"),
        ("ya16le", "gray16le"),
        ("monob", "gray"),
    ],
)
def test_the_format_that_holds_every_sample(pix_fmt: str, expected: str) -> None:
    assert planar_format(VideoFormat(pix_fmt, 16, 16)).pix_fmt == expected


@pytest.mark.parametrize(
    "pix_fmt", ["gbrpf32le", "grayf32le", "bayer_rggb8", "gbrpf16le", "grayf16le", "yaf16le", "cuda", "vaapi"]
)
def test_samples_that_are_no_integers_of_a_picture(pix_fmt: str) -> None:
    with pytest.raises(InputError, match=f"{pix_fmt} is not supported"):
        planar_format(VideoFormat(pix_fmt, 16, 16))


@pytest.mark.parametrize(("pix_fmt", "alpha"), [("yuva420p", True), ("rgba", True), ("ya8", True), ("yuv420p", False)])
def test_alpha_is_noticed(pix_fmt: str, alpha: bool) -> None:
    assert has_alpha(pix_fmt) is alpha


def random_planes(format: PlanarFormat, size: tuple[int, int], seed: int = 0) -> Planes:
    """Random samples, a third of them 0, a third the maximum."""
    random, (planes, _) = np.random.default_rng(seed), FramePool(format, *size).take()
    for plane in planes:
        plane[...] = random.choice([0, format.white, -1], plane.shape).clip(0)
        plane[plane == 0] = random.integers(0, format.white, np.count_nonzero(plane == 0), endpoint=True)
    return planes


def back(frame: VideoFrame, format: PlanarFormat) -> Planes:
    planes, _ = FramePool(format, frame.width, frame.height).take()
    copy_in(frame, format, planes)
    return planes


@pytest.mark.parametrize("chroma", ["grey", "420", "422", "444"])
@pytest.mark.parametrize("depth", [8, 10, 16])
@pytest.mark.parametrize("size", [(64, 48), (47, 33), (1, 1), (2, 3)])
def test_out_and_in_again(chroma: str, depth: int, size: tuple[int, int]) -> None:
    format = PlanarFormat(chroma=chroma, depth=depth)  # type: ignore[arg-type]
    planes, frame = random_planes(format, size), VideoFrame(*size, format.pix_fmt)
    copy_out(planes, frame)
    assert all(np.array_equal(a, b) for a, b in zip(planes, back(frame, format), strict=True))


@pytest.mark.parametrize("chroma", ["420", "422"])
@pytest.mark.parametrize("size", [(47, 33), (47, 32), (48, 33), (1, 1)])
def test_the_edge_is_repeated_into_a_frame_made_even(chroma: str, size: tuple[int, int]) -> None:
    format = PlanarFormat(chroma=chroma)  # type: ignore[arg-type]
    planes, frame = (
        random_planes(format, size),
        VideoFrame(size[0] + size[0] % 2, size[1] + size[1] % 2, format.pix_fmt),
    )
    copy_out(planes, frame)
    for small, large in zip(planes, back(frame, format), strict=True):
        rows, columns = (b - a for a, b in zip(small.shape, large.shape, strict=True))
        assert np.array_equal(large, np.pad(small, ((0, rows), (0, columns)), "edge"))


@pytest.mark.parametrize(
    ("rgb", "yuv"),  # ITU-R BT.709-6, 3.4: 16 to 235 and 16 to 240
    [
        ((0, 0, 0), (16, 128, 128)),
        ((255, 255, 255), (235, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
@pytest.mark.parametrize("pix_fmt", ["rgb24", "bgr0", "gbrp", "rgba"])
def test_rgb_becomes_bt709(rgb: tuple[int, int, int], yuv: tuple[int, int, int], pix_fmt: str) -> None:
    frame = VideoFrame.from_ndarray(np.full((8, 8, 3), rgb, np.uint8), "rgb24").reformat(format=pix_fmt)
    planes = back(frame, planar_format(frame.format))
    assert is_rgb(frame.format)
    for plane, value in zip(planes, yuv, strict=True):
        assert abs(plane.astype(int) - value).max() <= 1


@pytest.mark.parametrize("pix_fmt", ["nv12", "nv16", "nv24", "yuyv422", "p010le", "yuva420p", "yuv420p10be"])
@pytest.mark.parametrize("size", [(64, 48), (46, 34)])
def test_packed_and_interleaved_layouts_keep_every_sample(pix_fmt: str, size: tuple[int, int]) -> None:
    format = planar_format(VideoFormat(pix_fmt, 16, 16))
    for seed in range(20):  # swscale's threads, were there several, would go wrong now and then
        planes, planar = random_planes(format, size, seed), VideoFrame(*size, format.pix_fmt)
        copy_out(planes, planar)
        other = planar.reformat(format=pix_fmt, threads=1)
        assert other.format.name == pix_fmt
        assert all(np.array_equal(a, b) for a, b in zip(planes, back(other, format), strict=True))


@pytest.mark.parametrize("full", [1, 2])
def test_a_layout_change_keeps_the_range(full: int) -> None:
    frame = picture("yuv420p", (64, 48), 0)
    planes = back(frame, PlanarFormat())
    other = frame.reformat(format="nv12")
    other.color_range = full
    assert all(np.array_equal(a, b) for a, b in zip(planes, back(other, PlanarFormat()), strict=True))


def test_every_format_of_ffmpeg_is_converted_or_refused() -> None:
    """Luma of the same picture, whatever it is stored as; formats of few levels are dithered, so only their mean is."""
    y, x = np.mgrid[:32, :48]
    given = VideoFrame.from_ndarray(np.dstack([90 + y * 3, 160 - y * 2, 60 + x * 2]).astype(np.uint8), "rgb24")
    expected, converted = back(given, PlanarFormat(chroma="444"))[0].astype(float), 0
    for name in sorted(names):
        try:
            format = planar_format(VideoFormat(name, 48, 32), alpha=True)
            frame = given.reformat(format=name, dst_colorspace="ITU709", dst_color_range="MPEG", threads=1)
        except (InputError, OSError):  # refused, or swscale doesn't make it
            continue
        try:
            luma = back(frame, format)[0] / 2.0 ** (format.depth - 8)
        except InputError as error:
            assert f"pixel format {name} can't be converted here" in str(error)  # noqa: PT017
            continue
        converted += 1
        bits = max(component.bits for component in frame.format.components)
        assert abs(luma.mean() - expected.mean()) < 16, name
        assert bits < 5 or abs(luma - expected).mean() < 5, name
    assert converted > 150


@pytest.mark.parametrize(("pix_fmt", "depth"), [("gbrp", 8), ("gbrp10le", 10), ("gbrp12le", 12), ("gbrp14le", 14),
                                                ("gbrp16le", 16), ("rgb48be", 16), ("rgb24", 8)])  # fmt: skip
def test_rgb_keeps_its_depth_and_nothing_wraps(pix_fmt: str, depth: int) -> None:
    """Against BT.709-6 3.2 and 3.4, on samples of which two thirds are 0 or the maximum."""
    white, scale = (1 << depth) - 1, 1 << (depth - 8)
    random, planar = np.random.default_rng(depth), VideoFrame(32, 16, "gbrp" if depth == 8 else f"gbrp{depth}le")
    green, blue, red = (random.choice([0, white, white // 3], (16, 32)) for _ in range(3))
    for plane, values in zip(planar.planes, (green, blue, red), strict=True):
        kind = np.dtype(np.uint8 if depth == 8 else np.uint16)
        lines = np.zeros((16, plane.line_size // kind.itemsize), kind)
        lines[:, :32] = values
        plane.update(lines.tobytes())
    format = planar_format(VideoFormat(pix_fmt, 16, 16))
    assert format == PlanarFormat(chroma="444", depth=depth)
    found = back(planar.reformat(format=pix_fmt, threads=1), format)
    r, g, b = red / white, green / white, blue / white
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    expected = (219 * luma + 16, 224 * (b - luma) / 1.8556 + 128, 224 * (r - luma) / 1.5748 + 128)
    for plane, wanted in zip(found, expected, strict=True):
        assert abs(plane / scale - wanted).max() < 1.01
