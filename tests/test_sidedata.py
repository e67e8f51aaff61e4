"""HDR metadata, captions and what else frames carry: in the output as in the source, or said before the first frame."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import PacketSideData, packet_sidedata_type_from_literal
from av.sidedata.sidedata import Type

import vsr
from clips import Clip, damaged
from vsr import messages, sei, sidedata
from vsr.errors import InputError, VerificationError
from vsr.frame import Colour, TrackFacts
from vsr.pipeline import run
from vsr.probe import probe
from vsr.report import Report
from vsr.sei import Message
from vsr.settings import RunSettings
from vsr.verify import verify

PQ = Colour(range=1, primaries=9, transfer=16, matrix=9)
# x, y of green, blue, red, white in 0.00002; most and least light in 0.0001 cd/m2
DISPLAY = (8500, 39850, 6550, 2300, 35400, 14600, 15635, 16450, 10_000_000, 50)
LIGHT = (1000, 400)
X26X = "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,50)"
SVT = "G(0.17,0.797)B(0.131,0.046)R(0.708,0.292)WP(0.3127,0.329)L(1000.0,0.005)"
HDR10: Mapping[str, Mapping[str, str]] = {
    "libx264": {"x264-params": f"mastering-display={X26X}:cll=1000,400"},
    "libx265": {"x265-params": f"log-level=error:master-display={X26X}:max-cll=1000,400"},
    "libsvtav1": {"preset": "12", "svtav1-params": f"mastering-display={SVT}:content-light=1000,400"},
}
SIZE = (64, 64)  # x265 takes nothing smaller
SLICE = b"\0\0\1\1"  # the first of an MPEG-2 picture
Upscale = Callable[..., Report]


@pytest.fixture
def upscale(repeat: dict[int, Path]) -> Upscale:
    """vsr.upscale with a model that repeats samples, exactly."""

    def go(source: Path, target: Path, **options: Any) -> Report:
        return vsr.upscale(source, target, **{"model": repeat[2], "precision": "float32"} | options)

    return go


# --- clips ----------------------------------------------------------------------------------------------------------


def clip(codec: str = "libx264", **more: Any) -> Clip:
    deep = {} if codec in ("libx264", "mpeg2video") else {"pix_fmt": "yuv420p10le"}
    return Clip(**{"codec": codec, "size": SIZE, "bframes": 2, "pts": range(8), **deep, **more})


def nal(payload: bytes, codec: str) -> bytes:
    """A T.35 SEI as H.264 and H.265 write it, by hand; payloads here have no two zeros in a row but in captions."""
    size = b"\xff" * (len(payload) // 255) + bytes([len(payload) % 255])
    body = b"\x04" + size + payload + b"\x80"
    escaped = bytearray()
    for byte in body:
        escaped += b"\3" if escaped[-2:] == b"\0\0" and byte < 4 else b""
        escaped.append(byte)
    return (b"\x06" if codec == "libx264" else b"\x4e\x01") + bytes(escaped)


def telling(path: Path, source: Clip, says: Callable[[int], list[bytes]]) -> Path:
    """The clip with T.35 payloads in front of each frame, by the frame's number in order of presentation."""
    plain = source.write(path.with_name(f"plain{path.suffix}"))
    with av.open(str(plain)) as one, av.open(str(path), "w") as two:
        track = two.add_stream_from_template(one.streams[0], opaque=True)
        coded = [p for p in one.demux(one.streams[0]) if p.size]
        first = min(packet.pts or 0 for packet in coded)
        for packet in coded:
            number = round(((packet.pts or 0) - first) * packet.time_base / source.time_base)
            new: Any = av.Packet(told(bytes(packet), says(number), source.codec))
            new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
            new.time_base, new.is_keyframe, new.stream = packet.time_base, packet.is_keyframe, track
            two.mux_one(new)
    return path


def told(packet: bytes, payloads: list[bytes], codec: str) -> bytes:
    if codec == "mpeg2video":  # user data without T.35's country and provider
        place = packet.index(SLICE)
        return packet[:place] + b"".join(b"\0\0\1\xb2" + payload[3:] for payload in payloads) + packet[place:]
    units = [nal(payload, codec) for payload in payloads]
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units) + packet


def cc(*pairs: int) -> bytes:
    """CEA-608 byte pairs of field 1."""
    return b"".join(b"\xfc" + pair.to_bytes(2, "big") for pair in pairs)


def caption(triplets: bytes) -> bytes:
    """ATSC A/53's message."""
    return b"\xb5\x00\x31GA94\x03" + bytes([0xC0 | len(triplets) // 3, 0xFF]) + triplets + b"\xff"


def hdr10_plus(scene: int, *, windows: int = 1, curve: int = 0, peaks: int = 0) -> bytes:
    """A message of CTA-861-H annex S whose numbers depend on the scene."""
    bits = f"{1:08b}{windows:02b}"
    for _ in range(1, windows):
        bits += "".join(f"{n:016b}" for n in (10, 20, 500, 300, 250, 150)) + f"{45:08b}"
        bits += "".join(f"{n:016b}" for n in (7, 9, 8)) + "1"
    table = f"1{peaks:05b}{peaks:05b}" + "".join(f"{n % 16:04b}" for n in range(peaks * peaks)) if peaks else "0"
    bits += f"{400 + scene:027b}" + table
    for window in range(windows):
        bits += "".join(f"{n + scene + window:017b}" for n in (60000, 70000, 100000, 12345)) + f"{2:04b}"
        bits += f"{1:07b}{17:017b}{99:07b}{99998:017b}{321:010b}"
    bits += table
    for _ in range(windows):
        bits += f"1{1000:012b}{2000:012b}{curve:04b}" + "".join(f"{n * 60 % 1024:010b}" for n in range(curve))
        bits += f"1{33:06b}" if curve else "0"
    bits += "0" * (-len(bits) % 8)
    return bytes.fromhex("b5003c000104") + int(bits, 2).to_bytes(len(bits) // 8, "big")


def carried(path: Path, kind: Type) -> dict[int, bytes]:
    """A kind of side data by the frame's number in order of presentation, as FFmpeg's decoder gives it."""
    with av.open(str(path)) as source:
        shown: Any = enumerate(source.decode(source.streams.video[0]))
        return {number: bytes(frame.side_data[kind]) for number, frame in shown if kind in frame.side_data}


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


def boxed(path: Path, entry: bytes, boxes: bytes) -> Path:
    """The MP4 with boxes added to its sample entry; the index is behind the media, so no offset changes."""
    data, begin, end = bytearray(path.read_bytes()), 0, path.stat().st_size
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", entry):
        while data[begin + 4 : begin + 8] != kind:
            begin += int.from_bytes(data[begin : begin + 4], "big")
        end = begin + int.from_bytes(data[begin : begin + 4], "big")
        data[begin : begin + 4] = (end - begin + len(boxes)).to_bytes(4, "big")
        begin += 16 if kind == b"stsd" else 8
    path.write_bytes(data[:end] + boxes + data[end:])
    return path


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


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


# --- from frame to frame --------------------------------------------------------------------------------------------


def words(number: int) -> list[bytes]:
    """Captions of one frame: none in each third, more than one message holds in frame 4, zeros in between."""
    if number == 4:
        return [caption(cc(*range(31))), caption(cc(0, 0, 0x4142))]
    return [caption(cc(0x9420 + number, 0))] if number % 3 else []


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


def rewritten(path: Path, target: Path, change: Callable[[int, bytes], bytes]) -> Path:
    with av.open(str(path)) as one, av.open(str(target), "w") as two:
        track = two.add_stream_from_template(one.streams[0], opaque=True)
        for number, packet in enumerate([p for p in one.demux(one.streams[0]) if p.size]):
            new: Any = av.Packet(change(number, bytes(packet)))
            new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
            new.time_base, new.is_keyframe, new.stream = packet.time_base, packet.is_keyframe, track
            two.mux_one(new)
    return target


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
    verify(str(made), str(rewritten(tmp_path / "out.mp4", tmp_path / "same.mp4", lambda number, packet: packet)), job)
    with pytest.raises(VerificationError) as error:
        verify(str(made), str(bad), job)
    assert reason in str(error.value)


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as source:
        return [bytes(packet) for packet in source.demux(source.streams[0]) if packet.size]


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


# --- messages by themselves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["h264", "hevc", "av1"])
@pytest.mark.parametrize("seed", range(20))
def test_a_message_comes_back_as_it_was(family: sei.Family, seed: int) -> None:
    random = np.random.default_rng(seed)
    payload = b"\xb5" + random.choice([0, 0, 0, 1, 2, 3, 255], int(random.integers(1, 600))).astype(np.uint8).tobytes()
    picture = {"h264": b"\0\0\1\x65pic\0\0\3\1", "hevc": b"\0\0\1\x26\1pic", "av1": b"\x12\0\x32\3pic"}[family]
    before = {"h264": b"\0\0\0\1\x09\xf0", "hevc": b"\0\0\0\1\x46\1\x50", "av1": b""}[family]
    packet = sei.insert(before + picture, family, [Message(sei.T35, payload), Message(sei.T35, b"\xb5second")])
    assert sei.read(packet, family, 0) == [Message(sei.T35, payload), Message(sei.T35, b"\xb5second")]
    assert packet.startswith(before)
    assert packet.endswith(picture if family != "av1" else picture[2:])


@pytest.mark.parametrize(
    ("family", "extradata", "size"),
    [
        ("h264", b"\1\x64\0\x1f\xff\xe1", 4),
        ("h264", b"\1\x64\0\x1f\xfd\xe1", 2),
        ("h264", b"\0\0\0\1\x67\x64\0\x1f", 0),
        ("hevc", b"\1\2" + bytes(19) + b"\x0f", 4),
        ("hevc", b"\0\2" + bytes(19) + b"\x0f", 4),
        ("hevc", b"\0\0\0\1\x40\1" + bytes(20), 0),
        ("hevc", b"\0\0\1\x40\1" + bytes(20), 0),
        ("hevc", b"", 0),
        ("av1", b"\x81" + bytes(30), 0),
    ],
)
def test_how_units_are_divided(family: sei.Family, extradata: bytes, size: int) -> None:
    assert sei.length_size(family, extradata) == size


@pytest.mark.parametrize("seed", range(50))
def test_damaged_packets_are_read_without_errors(seed: int) -> None:
    noise = np.random.default_rng(seed)
    packet = noise.choice([0, 0, 1, 4, 6, 39 << 1, 0x2A, 0xB5, 255], 300).astype(np.uint8).tobytes()
    for family in ("h264", "hevc", "av1", "mpeg2"):
        for size in (0, 1, 4):
            messages.contents(sei.read(packet, family, size))
    messages.contents([Message(sei.T35, caption(cc(1))[: seed % 12])])


def test_half_known_displays() -> None:
    numbers = [1, 2] * 10
    assert sidedata.mastering(struct.pack("=22i", *numbers, 1, 0)) == (25000,) * 8 + (0, 0)
    assert sidedata.mastering(struct.pack("=22i", *numbers, 0, 1)) == (0,) * 8 + (5000, 5000)
    assert sidedata.mastering(struct.pack("=22i", *numbers, 0, 0)) is None
    assert sidedata.mastering(b"short") is None


def test_static_messages() -> None:
    facts = TrackFacts(mastering=DISPLAY, light=LIGHT)
    found = messages.static_messages(sidedata.HELD["hevc"], facts, "hevc")
    assert [(m.kind, m.payload.hex()) for m in found] == [
        (137, "21349baa199608fc8a4839083d134042" + "0098968000000032"),
        (144, "03e80190"),
    ]
