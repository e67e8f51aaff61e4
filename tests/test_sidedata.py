"""What differs from frame to frame, captions and HDR10+: in the output as in the source, and missed where it isn't."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import PacketSideData, packet_sidedata_type_from_literal
from av.sidedata.sidedata import Type

from clips import Clip, damaged
from telling import (
    DISPLAY,
    HDR10,
    LIGHT,
    PQ,
    SIZE,
    caption,
    carried,
    cc,
    clip,
    hdr10_plus,
    packets,
    rewritten,
    telling,
    words,
)
from vsr.errors import VerificationError
from vsr.pipeline import run
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings
from vsr.verify import verify

Upscale = Callable[..., Report]


# --- from frame to frame --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("source", ["libx264", "libx265", "mpeg2video"])
def test_captions_frame_by_frame(tmp_path: Path, upscale: Upscale, source: str, target: str) -> None:
    says = words if source != "mpeg2video" else lambda number: words(number)[:1]
    made = telling(tmp_path / f"in.{'ts' if source == 'mpeg2video' else 'mp4'}", clip(source), says)
    expected = carried(made, Type.A53_CC)
    assert sorted(expected) == [1, 2, 4, 5, 7]
    report = upscale(made, tmp_path / "out.mp4", codec=target)
    found = carried(tmp_path / "out.mp4", Type.A53_CC)
    if target == "libsvtav1":  # FFmpeg's decoder shows the last message of a frame only
        found[4] = expected[4][: -len(found[4])] + found[4]
    assert found == expected
    assert "closed captions (CEA-608/708), every frame's" in report.verified


def test_captions_of_a_part(tmp_path: Path, upscale: Upscale) -> None:
    made = telling(tmp_path / "in.mp4", clip(pts=range(30), gop=10), words)
    expected = carried(made, Type.A53_CC)
    upscale(made, tmp_path / "out.mkv", start=0.48, duration=0.4)
    assert carried(tmp_path / "out.mkv", Type.A53_CC) == {n - 12: d for n, d in expected.items() if 12 <= n < 22}


class Lost(Exception):
    """A crash."""


def test_a_run_that_goes_on_carries_the_same(tmp_path: Path, repeat: dict[int, Path]) -> None:
    made = telling(tmp_path / "in.mp4", clip(pts=range(60), gop=10, options=HDR10["libx264"]), words)
    settings = RunSettings.of(input=str(made), output=str(tmp_path / "out.mp4"), model=repeat[2], chunk=0.4)
    job = probe(settings)
    assert len(job.chunks) > 3

    def crash(report: Report) -> None:
        if report.frames_upscaled == 40:
            raise Lost

    with pytest.raises(Lost):
        run(job, settings, crash)
    assert run(job, settings).frames_resumed > 0
    assert carried(tmp_path / "out.mp4", Type.A53_CC) == carried(made, Type.A53_CC)
    assert len(carried(tmp_path / "out.mp4", Type.CONTENT_LIGHT_LEVEL)) >= len(job.chunks)


@pytest.mark.parametrize("begin", [b"CC\x01\xf8\x81", b"\x03\x81"])
def test_captions_of_dvds_and_cable(tmp_path: Path, upscale: Upscale, begin: bytes) -> None:
    """Only the decoder reads these forms; they are found all the same, carried and compared."""
    pair = {5: b"\xff\x94\x2c\xfe\x80\x80", 2: bytes.fromhex("7e51ac0d7f")}[len(begin)]
    made = telling(
        tmp_path / "in.ts", clip("mpeg2video"), lambda number: [b"\xb5\x00\x31" + begin + pair] if number > 2 else []
    )
    expected = carried(made, Type.A53_CC)
    assert len(expected) == 5
    assert probe(RunSettings.of(input=str(made), output=str(tmp_path / "out.mkv"), codec="ffv1")).notes[0] == (
        "dropped: the closed captions (CEA-608/708)"
    )
    report = upscale(made, tmp_path / "out.mp4")
    assert carried(tmp_path / "out.mp4", Type.A53_CC) == expected
    assert "closed captions (CEA-608/708), every frame's" in report.verified


def test_captions_of_interlaced_pictures(tmp_path: Path, upscale: Upscale) -> None:
    made = telling(tmp_path / "in.mp4", clip(options={"x264-params": "interlaced=1:tff=1"}), words)
    upscale(made, tmp_path / "out.mp4", deinterlace=True)
    assert carried(tmp_path / "out.mp4", Type.A53_CC) == carried(made, Type.A53_CC)


def test_captions_without_times(tmp_path: Path, upscale: Upscale) -> None:
    made = telling(tmp_path / "timed.mp4", clip(pts=range(16)), words)
    bare = rewritten(made, tmp_path / "in.h264", lambda number, packet: packet)
    report = upscale(bare, tmp_path / "out.mp4")
    assert carried(tmp_path / "out.mp4", Type.A53_CC) == carried(made, Type.A53_CC)
    assert "closed captions (CEA-608/708), every frame's" in report.verified


@pytest.mark.parametrize("seed", range(3, 6))
def test_captions_of_a_damaged_file(tmp_path: Path, upscale: Upscale, seed: int) -> None:
    """Seed 4 loses frames."""
    made = telling(tmp_path / "whole.mp4", clip(pts=range(60), size=(128, 128), gop=15), words)
    report = upscale(damaged(made, tmp_path / "in.mp4", flips=8, seed=seed, keep=2000), tmp_path / "out.mp4")
    assert report.exit_code == 5
    assert "closed captions (CEA-608/708), every frame's" in report.verified


@pytest.mark.parametrize("target", ["libx265", "libsvtav1"])
def test_hdr10_plus(tmp_path: Path, upscale: Upscale, target: str) -> None:
    scenes = [hdr10_plus(n // 3, windows=1 + n % 3, curve=n, peaks=3 if n == 2 else 0) for n in range(8)]
    made = telling(tmp_path / "in.mp4", clip("libx265", colour=PQ), lambda number: [scenes[number]])
    expected = carried(made, Type.DYNAMIC_HDR_PLUS)
    assert len(set(expected.values())) == 8
    upscale(made, tmp_path / "out.mkv", codec=target)
    assert carried(tmp_path / "out.mkv", Type.DYNAMIC_HDR_PLUS) == expected


def test_hdr10_plus_beside_the_picture(tmp_path: Path, upscale: Upscale) -> None:
    """VP9 has no place for it in its bitstream, Matroska has."""
    scenes = telling(tmp_path / "scenes.mp4", clip("libx265"), lambda number: [hdr10_plus(number)])
    expected = carried(scenes, Type.DYNAMIC_HDR_PLUS)
    plain = Clip(codec="libvpx-vp9", size=SIZE, pts=range(8)).write(tmp_path / "plain.mkv")
    kind = packet_sidedata_type_from_literal("dynamic_hdr10_plus")
    with av.open(str(plain)) as one, av.open(str(tmp_path / "in.mkv"), "w") as two:
        track = two.add_stream_from_template(one.streams[0], opaque=True)
        for number, packet in enumerate([p for p in one.demux(one.streams[0]) if p.size]):
            beside: Any = PacketSideData(kind, len(expected[number]))  # type: ignore[call-arg]
            beside.update(expected[number])
            packet.set_sidedata(beside)
            packet.stream = track
            two.mux_one(packet)
    report = upscale(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert carried(tmp_path / "out.mp4", Type.DYNAMIC_HDR_PLUS) == expected
    assert "HDR10+ metadata, every frame's" in report.verified


@pytest.mark.parametrize(
    ("says", "suffix", "codec"),
    [
        (hdr10_plus(0), ".mp4", "libx265"),
        (caption(cc(0x9420)), ".mp4", "libx264"),
        (caption(cc(0x9420)), ".webm", "libsvtav1"),
        (b"\xb5unknown", ".webm", "libvpx-vp9"),
    ],
)
def test_an_encoder_is_chosen_that_loses_none(tmp_path: Path, says: bytes, suffix: str, codec: str) -> None:
    made = telling(tmp_path / "in.mp4", clip("libx265", pix_fmt="yuv420p"), lambda number: [says])
    job = probe(RunSettings.of(input=str(made), output=str(tmp_path / f"out{suffix}")))
    assert job.encoder is not None
    assert job.encoder.codec == codec


def test_hdr10_plus_said_once_holds_on(tmp_path: Path, upscale: Upscale) -> None:
    says = {0: hdr10_plus(0), 5: hdr10_plus(7)}
    made = telling(tmp_path / "in.mp4", clip("libx265"), lambda number: [says[number]] if number in says else [])
    upscale(made, tmp_path / "out.mp4", codec="libx265")
    expected, found = (carried(path, Type.DYNAMIC_HDR_PLUS) for path in (made, tmp_path / "out.mp4"))
    assert found == expected
    assert len(found) == 8


def test_active_format(tmp_path: Path, upscale: Upscale) -> None:
    made = telling(tmp_path / "in.mp4", clip(), lambda number: [b"\xb5\x00\x31DTG1\x41" + bytes([0xF8 + number // 4])])
    upscale(made, tmp_path / "out.mp4")
    assert list(carried(tmp_path / "out.mp4", Type.AFD).values()) == [b"\x08"] * 4 + [b"\x09"] * 4


@pytest.mark.parametrize(
    "name",
    ["androidx_fragmented_captions.mp4", "androidx_fragmented_captions_h265.mp4", "androidx_sd-hls0000000000.ts",
     "shaka_fileSequence0.ts"],
)  # fmt: skip
def test_real_captions(tmp_path: Path, upscale: Upscale, data: Path, name: str) -> None:
    report = upscale(data / "video" / "media" / name, tmp_path / "out.mp4", duration=1.5)
    assert "closed captions (CEA-608/708), every frame's" in report.verified
    assert carried(tmp_path / "out.mp4", Type.A53_CC)


# --- what is wrong is named -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"\xfc\x94\x22", b"\xfc\x94\x2f", "closed captions (CEA-608/708): 1 of 5 differ"),
        (b"GA94\x03\xc2\xff\xfc\x94\x22", b"GA95\x03\xc2\xff\xfc\x94\x22", "(CEA-608/708): 4 instead of 5"),
        (b"GA94", b"GA95", "closed captions (CEA-608/708): 0 instead of 5"),
        (struct.pack(">8H", *DISPLAY[:8]), struct.pack(">8H", 1, *DISPLAY[1:8]), "HDR10 mastering display is (0, "),
        (struct.pack(">2H", *LIGHT), struct.pack(">2H", 1001, 400), "light level is (1001, 400) instead of"),
    ],
)
def test_what_is_lost_or_changed_is_named(
    tmp_path: Path, repeat: dict[int, Path], old: bytes, new: bytes, reason: str
) -> None:
    made = telling(tmp_path / "in.mp4", clip(options=HDR10["libx264"]), words)
    settings = RunSettings.of(input=str(made), output=str(tmp_path / "out.mp4"), model=repeat[2])
    job = probe(settings)
    run(job, settings)
    assert any(old in bytes(packet) for packet in packets(tmp_path / "out.mp4"))
    bad = rewritten(tmp_path / "out.mp4", tmp_path / "bad.mp4", lambda number, packet: packet.replace(old, new))
    verify(str(rewritten(tmp_path / "out.mp4", tmp_path / "same.mp4", lambda number, packet: packet)), job)
    with pytest.raises(VerificationError) as error:
        verify(str(bad), job)
    assert reason in str(error.value)
