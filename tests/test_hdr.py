"""HDR10, stereo, tags, Dolby Vision: in the output as in the source, or said before the first frame."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from av.sidedata.sidedata import Type

from telling import DISPLAY, HDR10, LIGHT, PQ, X26X, box, boxed, caption, carried, cc, clip, telling
from vsr import sidedata
from vsr.errors import InputError
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings

Upscale = Callable[..., Report]


# --- HDR10 ----------------------------------------------------------------------------------------------------------


def mastering(path: Path) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """What FFmpeg reads in the first frame: display in FFmpeg's order (red first), light levels."""
    display = carried(path, Type.MASTERING_DISPLAY_METADATA)[0]
    numbers = struct.unpack("=20i", display[:80])
    light = struct.unpack("=2I", carried(path, Type.CONTENT_LIGHT_LEVEL)[0][:8])
    return tuple(a / b for a, b in zip(numbers[::2], numbers[1::2], strict=True)), light


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("target", HDR10)
@pytest.mark.parametrize("source", HDR10)
def test_hdr10_reaches_the_output(tmp_path: Path, upscale: Upscale, source: str, target: str, suffix: str) -> None:
    if suffix == ".ts" and target == "libsvtav1":
        pytest.skip("transport streams have no AV1")
    made = clip(source, colour=PQ, options=HDR10[source]).write(tmp_path / "in.mp4")
    report = upscale(made, tmp_path / f"out{suffix}", codec=target)
    display, light = mastering(tmp_path / f"out{suffix}")
    assert light == LIGHT
    assert display == pytest.approx((0.708, 0.292, 0.17, 0.797, 0.131, 0.046, 0.3127, 0.329, 0.005, 1000), abs=2e-5)
    assert not [note for note in report.notes if "dropped" in note]
    assert {"HDR10 mastering display", "HDR10 content light level"} <= set(report.verified)


def test_hdr10_is_kept_in_whole_units(tmp_path: Path) -> None:
    made = clip("libx265", colour=PQ, options=HDR10["libx265"]).write(tmp_path / "in.mp4")
    facts = probe(RunSettings.of(input=str(made), output=str(tmp_path / "out.mp4"))).source.facts
    assert (facts.mastering, facts.light, facts.ambient) == (DISPLAY, LIGHT, None)


def test_what_the_user_sets_wins(tmp_path: Path, upscale: Upscale) -> None:
    made = clip("libx265", colour=PQ, options=HDR10["libx265"]).write(tmp_path / "in.mp4")
    own = {"x265-params": f"log-level=error:master-display={X26X.replace('10000000', '6000000')}"}
    upscale(made, tmp_path / "out.mp4", codec="libx265", options=own)
    display, light = mastering(tmp_path / "out.mp4")
    assert (display[-1], light) == (600, LIGHT)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "ffv1"), (".webm", "libvpx-vp9")])
def test_what_cannot_be_held_is_said_first(tmp_path: Path, suffix: str, codec: str) -> None:
    options = HDR10["libx264"]
    made = telling(tmp_path / "in.mp4", clip(options=options), lambda number: [caption(cc(0x9420))] * (number == 5))
    job = probe(RunSettings.of(input=str(made), output=str(tmp_path / f"out{suffix}"), codec=codec))
    dropped = [note for note in job.notes if note.startswith("dropped")]
    assert dropped == [
        "dropped: the closed captions (CEA-608/708)",
        "dropped: the HDR10 content light level",
        "dropped: the HDR10 mastering display",
    ]


def test_what_only_the_container_says(tmp_path: Path, upscale: Upscale) -> None:
    """Whole HDR10 and the stereo layout are written into the picture, a projection has no place there."""
    sphere = box(b"svhd", bytes(6)) + box(b"proj", box(b"prhd", bytes(16)) + box(b"equi", bytes(20)))
    boxes = box(b"mdcv", struct.pack(">8H2I", *DISPLAY)) + box(b"clli", struct.pack(">2H", *LIGHT))
    boxes += box(b"st3d", b"\0\0\0\0\2") + box(b"sv3d", sphere)
    made = boxed(clip("mpeg4", pix_fmt="yuv420p").write(tmp_path / "in.mp4"), b"mp4v", boxes)
    report = upscale(made, tmp_path / "out.mp4")
    assert [note for note in report.notes if "dropped" in note] == ["dropped: the 360° projection"]
    facts = probe(RunSettings.of(input=str(tmp_path / "out.mp4"), output=str(tmp_path / "again.mp4"))).source.facts
    assert (facts.mastering, facts.light, facts.stereo) == (DISPLAY, LIGHT, (3, 1))


def test_ambient_light(tmp_path: Path, upscale: Upscale, data: Path) -> None:
    source = data / "video" / "media" / "androidx_dolbyVision-hdr.MOV"
    kind = Type.AMBIENT_VIEWING_ENVIRONMENT
    for codec in ("libx264", "libx265"):
        upscale(source, tmp_path / f"{codec}.mp4", codec=codec, duration=0.05)
        assert sidedata.ambient(carried(tmp_path / f"{codec}.mp4", kind)[0]) == (3140000, 15635, 16450)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize(("packing", "views"), [("3", (1, 0)), ("4", (2, 0))])
def test_stereo_reaches_the_output(
    tmp_path: Path, upscale: Upscale, packing: str, views: tuple[int, int], codec: str
) -> None:
    made = clip(options={"x264-params": f"frame-packing={packing}"}).write(tmp_path / "in.mp4")
    upscale(made, tmp_path / "out.mp4", codec=codec)
    assert struct.unpack("=2i", carried(tmp_path / "out.mp4", Type.STEREO3D)[0][:8]) == views


@pytest.mark.parametrize(("packing", "suffix"), [("1", ".mp4"), ("3", ".webm")])
def test_stereo_that_cannot_be_held_is_said(tmp_path: Path, packing: str, suffix: str) -> None:
    made = clip(options={"x264-params": f"frame-packing={packing}"}).write(tmp_path / "in.mp4")
    job = probe(RunSettings.of(input=str(made), output=str(tmp_path / f"out{suffix}")))
    assert "dropped: the stereoscopic layout" in job.notes


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
@pytest.mark.parametrize(
    ("transfer", "height", "codec"), [(16, 32, "hevc"), (18, 32, "hevc"), (14, 32, "h264"), (16, 16, "h264")]
)
def test_hdr_becomes_hevc(
    tmp_path: Path, upscale: Upscale, transfer: int, height: int, codec: str, suffix: str
) -> None:
    """As H.264 of 10 bits plays on few devices; below what x265 takes it is all there is."""
    made = clip(pix_fmt="yuv420p10le", colour=replace(PQ, transfer=transfer), size=(48, height))
    upscale(made.write(tmp_path / "in.mkv"), tmp_path / f"out{suffix}")
    with av.open(str(tmp_path / f"out{suffix}")) as written:
        track = written.streams.video[0].codec_context
        assert (track.name, track.pix_fmt) == (codec, "yuv420p10le")
        if suffix in (".mp4", ".mov"):
            assert track.codec_tag == {"hevc": "hvc1", "h264": "avc1"}[codec]


# --- Dolby Vision ---------------------------------------------------------------------------------------------------


def dolby_vision(profile: int, *, full: bool = False, enhanced: bool = False, residual: bool = False) -> bytes:
    """FFmpeg's AVDOVIMetadata as far as it is read here: the header behind six numbers of eight bytes."""
    header = bytearray(18)
    header[4], header[10], header[13], header[15], header[16] = profile, full, 12, enhanced, not residual
    return struct.pack("=Q40x", 48) + bytes(header)


@pytest.mark.parametrize(
    ("metadata", "profile"),
    [
        (dolby_vision(0, full=True), 5),
        (dolby_vision(1), 8),
        (dolby_vision(1, enhanced=True, residual=True), 7),
        (b"", None),
        (b"\xff" * 40, None),
        (None, None),
    ],
)
def test_dolby_vision_profiles(metadata: bytes | None, profile: int | None) -> None:
    assert sidedata.dolby_vision_profile(metadata) == profile


def test_dolby_vision_without_a_base_is_refused(tmp_path: Path) -> None:
    made = clip("libx265", colour=replace(PQ, matrix=15)).write(tmp_path / "in.mp4")
    with pytest.raises(InputError, match="profile 5"):
        probe(RunSettings.of(input=str(made), output=str(tmp_path / "out.mp4")))


def test_dolby_vision_by_its_bitstream(tmp_path: Path, data: Path) -> None:
    """Profile 8.4 whose messages are changed to vdr_rpu_profile 0 of full range."""
    coded = (data / "video" / "media" / "androidx_dolbyVision-hdr.MOV").read_bytes()
    made = tmp_path / "in.mov"
    made.write_bytes(coded.replace(bytes.fromhex("1908090840613650"), bytes.fromhex("190809004061b650")))
    with pytest.raises(InputError, match="profile 5"):
        probe(RunSettings.of(input=str(made), output=str(tmp_path / "out.mp4")))


def test_dolby_vision_with_a_base(tmp_path: Path, data: Path) -> None:
    source = data / "video" / "media" / "androidx_dolbyVision-hdr.MOV"
    job = probe(RunSettings.of(input=str(source), output=str(tmp_path / "out.mp4")))
    assert "dropped: the Dolby Vision metadata; the base picture is upscaled and keeps its colour tags" in job.notes


# --- tags and the rest ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "transfer"),
    [
        ("torchcodec_testsrc2_hdr.mp4", 16),
        ("torchcodec_testsrc2_12bit_hdr.mp4", 16),
        ("torchcodec_nasa_13013_hdr.mp4", 16),
        ("androidx_hdr10-av1.mp4", 16),
        ("androidx_hlg10-color-test.mp4", 18),
    ],
)
def test_real_hdr_keeps_its_tags(tmp_path: Path, upscale: Upscale, data: Path, name: str, transfer: int) -> None:
    upscale(data / "video" / "media" / name, tmp_path / "out.mp4", codec="libx265", duration=0.1)
    with av.open(str(tmp_path / "out.mp4")) as written:
        frame: Any = next(written.decode(written.streams.video[0]))
    assert (frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range) == (9, transfer, 9, 1)
    assert frame.format.name == ("yuv420p12le" if "12bit" in name else "yuv420p10le")
