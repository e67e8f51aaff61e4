"""Chroma location: from headers of real encoders, of FFmpeg's rewriter and of random ones, damaged ones, and on output.

Headers and decoder are read independently (`extradata`, `siting.measured`), so each proves the other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from clips import Clip
from vsr.extradata import LOCATIONS, BitReader, chroma_location
from vsr.frame import Colour
from vsr.pipeline import upscale
from vsr.probe import probe
from vsr.settings import RunSettings
from vsr.siting import measured, read_location

KNOWN = {*LOCATIONS, "unspecified"}
CODECS = ("h264", "hevc", "libdav1d")


def stated(path: Path) -> tuple[str, str, str]:
    """(by headers, by decoder, both together) of a file's first frame."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        frame = next(source.decode(stream))
        context = stream.codec_context
        headers = chroma_location(context.name, context.extradata, frame.format.name)
        return headers, measured(frame), read_location(stream, frame)


def located(location: str, **fields: Any) -> Clip:
    options = {**fields.pop("options", {}), "chroma_sample_location": location}
    return Clip(pts=range(5), options=options, **fields)


def x265(params: str = "", **options: str) -> dict[str, Any]:
    """A clip of a size that x265 bears: at 48 samples and less across, the one in PyAV 18.1 writes past its buffers."""
    quiet = f"log-level=none:{params}".strip(":")
    return {"codec": "libx265", "size": (64, 48), "options": {"x265-params": quiet, **options}}


VARIATIONS: dict[str, dict[str, Any]] = {
    "x264": {},
    "x264 10 bit": {"pix_fmt": "yuv420p10le"},
    "x264 tags": {"colour": Colour(range=2, primaries=9, transfer=16, matrix=9), "aspect": Fraction(37, 31)},
    "x264 hrd": {"options": {"x264-params": "nal-hrd=cbr:vbv-maxrate=300:vbv-bufsize=300:bitrate=300:overscan=show"}},
    "x264 scaling lists": {"options": {"preset": "medium", "x264-params": "cqm=jvt:8x8dct=1:videoformat=pal"}},
    "x264 interlaced": {"options": {"preset": "medium", "x264-params": "interlaced=1"}, "bframes": 2},
    "x264 cropped": {"size": (50, 34), "options": {"preset": "slower"}, "bframes": 3},
    "x265": x265(),
    "x265 10 bit": {"pix_fmt": "yuv420p10le"} | x265(preset="medium"),
    "x265 12 bit": {"pix_fmt": "yuv420p12le"} | x265(),
    "x265 medium": {"aspect": Fraction(37, 31)} | x265("bframes=4:ref=4", preset="medium"),
    "x265 slower": x265("scaling-list=default:amp=1:sao=1", preset="slower"),
    "x265 layers": x265("temporal-layers=3:bframes=3:b-adapt=0", preset="fast"),
    "x265 hrd": x265("hrd=1:vbv-maxrate=900:vbv-bufsize=900:bitrate=500:overscan=crop:videoformat=pal"),
    "x265 cropped": x265() | {"size": (70, 50)},
}


@pytest.mark.parametrize("variation", VARIATIONS)
def test_headers_of_x264_and_x265(tmp_path: Path, variation: str) -> None:
    for number, location in enumerate(LOCATIONS):
        suffix = ("mp4", "mkv", "ts")[number % 3]
        path = located(location, **VARIATIONS[variation]).write(tmp_path / f"{location}.{suffix}")
        seen = "unspecified" if location == "center" else location
        assert stated(path) == (location, seen, location), f"{variation} in {suffix}"


@pytest.mark.parametrize(
    ("codec", "suffix", "kept"),
    [
        ("libsvtav1", "mp4", {"left", "topleft"}),
        ("libsvtav1", "mkv", {"left", "topleft", "top"}),
        ("libvpx-vp9", "webm", {"left", "topleft", "top"}),
        ("libvpx-vp9", "mp4", set()),
        ("ffv1", "mkv", {"left", "topleft", "top"}),
    ],
)
def test_codecs_that_state_some(tmp_path: Path, codec: str, suffix: str, kept: set[str]) -> None:
    for location in LOCATIONS:
        clip = located(location, codec=codec, size=(64, 64), options={"preset": "12"} if codec == "libsvtav1" else {})
        expected = location if location in kept else "unspecified"
        assert stated(clip.write(tmp_path / f"{location}.{suffix}"))[2] == expected


@pytest.mark.parametrize(
    ("codec", "suffix", "location"),
    [
        ("mpeg1video", "mkv", "center"),
        ("mpeg2video", "ts", "left"),
        ("mpeg4", "mp4", "left"),
        ("mjpeg", "mkv", "center"),
    ],
)
def test_codecs_with_one_location(tmp_path: Path, codec: str, suffix: str, location: str) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = Clip(codec=codec, pix_fmt=pix_fmt, size=(64, 64)).write(tmp_path / f"clip.{suffix}")
    assert stated(path) == (location, "unspecified" if location == "center" else location, location)


@pytest.mark.parametrize(("tag", "location"), [("420jpeg", "center"), ("420mpeg2", "left"), ("420paldv", "topleft")])
def test_y4m_files(tmp_path: Path, tag: str, location: str) -> None:
    path = tmp_path / "clip.y4m"
    path.write_bytes(f"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C{tag}\n".encode() + b"FRAME\n" + bytes(384))
    assert stated(path)[2] == location


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p"])
def test_other_layouts_have_none(tmp_path: Path, pix_fmt: str) -> None:
    assert stated(Clip(pix_fmt=pix_fmt).write(tmp_path / "clip.mp4"))[2] == "unspecified"


@pytest.mark.parametrize("size", [(32, 32), (33, 17), (2, 2), (48, 48)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_measuring_leaves_the_picture_alone(tmp_path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    clip = located("top", codec="ffv1", pix_fmt=pix_fmt, size=size, options={"g": "5"})
    with av.open(str(clip.write(tmp_path / "clip.mkv"))) as source:
        for frame in source.decode(video=0):
            before = [bytes(plane) for plane in frame.planes]
            assert measured(frame) == "top"
            assert [bytes(plane) for plane in frame.planes] == before


def test_tags_that_swscale_refuses(tmp_path: Path) -> None:
    for matrix in range(15):
        clip = located("topleft", codec="ffv1", colour=Colour(primaries=matrix, transfer=matrix, matrix=matrix))
        assert stated(clip.write(tmp_path / f"{matrix}.mkv"))[2] in ("topleft", "unspecified")


# -- headers no encoder here makes


class Writer:
    """Bits of a header, by hand."""

    def __init__(self) -> None:
        self.bits = ""

    def u(self, width: int, value: int) -> None:
        self.bits += f"{value:0{width}b}" if width else ""

    def ue(self, *values: int) -> None:
        for value in values:
            self.bits += "0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}"

    def se(self, *values: int) -> None:
        self.ue(*(2 * value - 1 if value > 0 else -2 * value for value in values))

    def unit(self, head: bytes) -> bytes:
        """A NAL unit: stop bit, emulation prevention (H.264 7.3.1, 7.3.2.11)."""
        bits = self.bits + "1"
        bits += "0" * (-len(bits) % 8)
        raw, unit = int(bits, 2).to_bytes(len(bits) // 8, "big"), bytearray(head)
        for byte in raw:
            if byte <= 3 and unit[-2:] == b"\0\0":
                unit.append(3)
            unit.append(byte)
        return bytes(unit)


def random_vui(w: Writer, chance: random.Random, location: int | None, after: int) -> None:
    """VUI with anything before the location and nothing after it."""
    w.u(1, 1)
    w.u(1, aspect := chance.randrange(2))
    if aspect:
        w.u(8, kind := chance.choice([1, 16, 255]))
        w.u(32, chance.getrandbits(32) | 0x10001) if kind == 255 else None
    w.u(1, overscan := chance.randrange(2))
    w.u(overscan, overscan)
    w.u(1, signal := chance.randrange(2))
    if signal:
        w.u(4, chance.randrange(12))
        w.u(1, described := chance.randrange(2))
        w.u(24 * described, 0x010101 * chance.randrange(1, 9) * described)
    w.u(1, location is not None)
    if location is not None:
        w.ue(location, location)
    w.u(after, 0)


def random_h264(chance: random.Random, location: int | None) -> bytes:
    """A sequence parameter set by H.264 7.3.2.1.1."""
    w = Writer()
    profile = chance.choice([66, 77, 88, 100, 110])
    w.u(24, profile << 16 | 30)
    w.ue(0)
    if profile >= 100:
        w.ue(1, chance.randrange(3), chance.randrange(3))
        w.u(2, matrices := chance.randrange(2))
        for number in range(8 * matrices):
            w.u(1, present := chance.randrange(2))
            h264_scaling_list(w, chance, (16 if number < 6 else 64) * present)
    w.ue(chance.randrange(13), order := chance.randrange(3))
    if order == 0:
        w.ue(chance.randrange(13))
    if order == 1:
        w.u(1, chance.randrange(2))
        w.se(chance.randrange(-9999, 9999), chance.randrange(-99, 99))
        w.ue(count := chance.choice([0, 1, 255]))
        w.se(*(chance.randrange(-99999, 99999) for _ in range(count)))
    w.ue(chance.randrange(17))
    w.u(1, 0)
    w.ue(chance.randrange(120), chance.randrange(68))
    w.u(1, frames := chance.randrange(2))
    w.u(1 - frames, 0)
    w.u(1, 1)
    w.u(1, cropped := chance.randrange(2))
    w.ue(*[0, 1, 2, 3][: 4 * cropped])
    random_vui(w, chance, location, 5)
    return w.unit(b"\x67")


def h264_scaling_list(w: Writer, chance: random.Random, size: int) -> None:
    last = 8
    for _ in range(size):
        scale = chance.choice([0, 1, 16, 255]) if chance.random() < 0.1 else chance.randrange(1, 256)
        delta = (scale - last + 128) % 256 - 128
        w.se(delta)
        if scale == 0:
            return
        last = scale


def random_hevc(chance: random.Random, location: int | None) -> bytes:
    """A sequence parameter set by H.265 7.3.2.2."""
    w = Writer()
    layers = chance.randrange(7)
    w.u(8, layers << 1 | 1)
    w.u(96, 0x01600000009000000000001E)
    present = [(chance.randrange(2), chance.randrange(2)) for _ in range(layers)]
    for profile, level in present:
        w.u(2, profile << 1 | level)
    w.u(2 * (8 - layers) if layers else 0, 0)
    for profile, level in present:
        w.u(88 * profile, 0x0160000000900000000000 * profile)
        w.u(8 * level, 30 * level)
    w.ue(0, 1, 640, 360)
    w.u(1, window := chance.randrange(2))
    w.ue(*[0, 1, 2, 3][: 4 * window])
    w.ue(chance.choice([0, 2]), 0, order_bits := chance.randrange(13))
    w.u(1, ordered := chance.randrange(2))
    w.ue(*(15, 2, 0) * (layers + 1 if ordered else 1))
    w.ue(0, 3, 0, 3, chance.randrange(4), chance.randrange(4))
    w.u(1, scaled := chance.randrange(2))
    w.u(scaled, listed := scaled * chance.randrange(2))
    hevc_scaling_lists(w, chance) if listed else None
    w.u(2, chance.randrange(4))
    w.u(1, pcm := chance.randrange(2))
    if pcm:
        w.u(8, 0x77)
        w.ue(0, 1)
        w.u(1, 0)
    w.ue(count := chance.choice([0, 1, 5, 64]))
    before: tuple[list[int], list[int]] = ([], [])
    for index in range(count):
        before = hevc_references(w, chance, before, index)
    w.u(1, long := chance.randrange(2))
    if long:
        w.ue(terms := chance.choice([0, 3, 32]))
        for _ in range(terms):
            w.u(order_bits + 5, chance.getrandbits(order_bits + 5))
    w.u(2, chance.randrange(4))
    random_vui(w, chance, location, 6)
    w.u(1, 0)
    return w.unit(b"\x42\x01")


def hevc_video_parameters() -> bytes:
    """A video parameter set of seven sub-layers, H.265 7.3.2.1, which the random sequences may have."""
    w = Writer()
    w.u(32, 0x0C0DFFFF)
    w.u(96, 0x01600000009000000000001E)
    w.u(16, 0)
    w.u(1, 0)
    w.ue(15, 2, 0)
    w.u(6, 0)
    w.ue(0)
    w.u(2, 0)
    return w.unit(b"\x40\x01")


def hevc_scaling_lists(w: Writer, chance: random.Random) -> None:
    for size in range(4):
        for matrix in range(0, 6, 3 if size == 3 else 1):
            w.u(1, explicit := chance.randrange(2))
            if not explicit:
                w.ue(chance.randrange(matrix // (3 if size == 3 else 1) + 1))
                continue
            w.se(*[chance.randrange(-7, 248)][: size > 1])
            w.se(*(chance.randrange(-128, 128) for _ in range(min(64, 1 << (4 + 2 * size)))))


def hevc_references(
    w: Writer, chance: random.Random, before: tuple[list[int], list[int]], index: int
) -> tuple[list[int], list[int]]:
    """Writes st_ref_pic_set number `index`; returns DeltaPocS0 and S1, by equations 7-61 and 7-62 as they stand."""
    if index:
        w.u(1, predicted := chance.randrange(2))
        if predicted:
            return hevc_predicted(w, chance, *before)
    steps = [[chance.randrange(3) for _ in range(chance.randrange(4))] for _ in range(2)]
    w.ue(len(steps[0]), len(steps[1]))
    for step in (*steps[0], *steps[1]):
        w.ue(step)
        w.u(1, chance.randrange(2))
    s0, s1 = (np.cumsum([step + 1 for step in part]).tolist() for part in steps)
    return [-delta for delta in s0], s1


def hevc_predicted(w: Writer, chance: random.Random, s0: list[int], s1: list[int]) -> tuple[list[int], list[int]]:
    count, shift = len(s0) + len(s1), chance.choice([-3, -2, -1, 1, 2, 3])
    w.u(1, shift < 0)
    w.ue(abs(shift) - 1)
    use = []
    for _ in range(count + 1):
        w.u(1, used := chance.randrange(2))
        w.u(1 - used, kept := 0 if used else chance.randrange(2))
        use.append(used or kept)
    negative, positive = [], []
    for i in reversed(range(len(s1))):
        if (d := s1[i] + shift) < 0 and use[len(s0) + i]:
            negative.append(d)
    if shift < 0 and use[count]:
        negative.append(shift)
    for i in range(len(s0)):
        if (d := s0[i] + shift) < 0 and use[i]:
            negative.append(d)
    for i in reversed(range(len(s0))):
        if (d := s0[i] + shift) > 0 and use[i]:
            positive.append(d)
    if shift > 0 and use[count]:
        positive.append(shift)
    for i in range(len(s1)):
        if (d := s1[i] + shift) > 0 and use[len(s0) + i]:
            positive.append(d)
    return negative, positive


def avcc(unit: bytes) -> bytes:
    return b"\1" + unit[1:4] + b"\xff\xe1" + len(unit).to_bytes(2, "big") + unit + b"\0"


def hvcc(unit: bytes) -> bytes:
    vps = b"\x40\1\x0c\1\xff\xff\1\x60"
    arrays = [b"\xa0\0\1" + len(vps).to_bytes(2, "big") + vps, b"\xa1\0\1" + len(unit).to_bytes(2, "big") + unit]
    return b"\1" + bytes(21) + b"\2" + b"".join(arrays)


HEADERS: dict[str, tuple[Callable[[random.Random, int | None], bytes], Callable[[bytes], bytes], str, str]] = {
    "h264": (random_h264, avcc, "libx264", "h264_metadata"),
    "hevc": (random_hevc, hvcc, "libx265", "hevc_metadata"),
}


@pytest.mark.parametrize("codec", HEADERS)
def test_random_headers(codec: str) -> None:
    make, boxed, _, _ = HEADERS[codec]
    for seed in range(200):
        location = (*range(6), None)[seed % 7]
        unit = make(random.Random(seed), location)
        expected = LOCATIONS[location or 0]
        assert chroma_location(codec, b"\0\0\0\1" + unit, "yuv420p") == expected, seed
        assert chroma_location(codec, boxed(unit), "yuv420p10le") == expected, seed
        assert chroma_location(codec, boxed(unit), "yuv422p") == "unspecified", seed


@pytest.mark.parametrize("codec", HEADERS)
def test_headers_rewritten_by_ffmpeg(tmp_path: Path, codec: str) -> None:
    """FFmpeg parses random headers too, puts another location in, and this is found."""
    make, _, encoder, filter = HEADERS[codec]
    path = Clip(pts=range(5), **(x265() if encoder == "libx265" else {}))
    with av.open(str(path.write(tmp_path / "clip.ts"))) as source:
        for seed in range(60):
            rewrite = BitStreamFilterContext(f"{filter}=chroma_sample_loc_type={seed % 6}", source.streams.video[0])
            unit = make(random.Random(1000 + seed), (seed + 1) % 6)
            before = b"\0\0\0\1" + hevc_video_parameters() if codec == "hevc" else b""
            (packet,) = rewrite.filter(av.Packet(before + b"\0\0\0\1" + unit))
            assert chroma_location(codec, bytes(packet), "yuv420p") == LOCATIONS[seed % 6], seed


# -- damage


def samples(tmp_path: Path) -> list[tuple[str, bytes]]:
    found = []
    for codec, (make, boxed, encoder, _) in HEADERS.items():
        found += [(codec, boxed(make(random.Random(seed), seed % 6))) for seed in range(4)]
        found += [(codec, b"\0\0\1" + make(random.Random(seed), seed % 6)) for seed in range(6)]
        clip = located("top", **(x265() if encoder == "libx265" else {}))
        with av.open(str(clip.write(tmp_path / "clip.mp4"))) as source:
            found.append((codec, bytes(source.streams.video[0].codec_context.extradata)[:400]))
    return [*found, ("libdav1d", bytes.fromhex("81000e000a0a00000002aff7805f0088"))]


def test_damaged_headers(tmp_path: Path) -> None:
    """Cut anywhere, bits flipped anywhere, read as another codec's: an answer, at once."""
    chance = random.Random(5)
    for codec, data in samples(tmp_path):
        for end in range(len(data)):
            assert chroma_location(codec, data[:end], "yuv420p") in KNOWN
        for flips in (1, 1, 2, 4, 16) * 8:
            broken = bytearray(data)
            for _ in range(flips):
                broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            for reader in CODECS:
                assert chroma_location(reader, bytes(broken), "yuv420p") in KNOWN


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\0\0\1", b"\0\0\3", b"\x67", b"\x42\1"])
def test_hostile_headers_end_soon(fill: bytes) -> None:
    began = time.perf_counter()
    body = fill * (1_000_000 // len(fill))
    heads = (b"", b"\1", b"\0\0\1\x67", b"\0\0\1\x42\1", b"\1" + bytes(4) + b"\xff", b"\1" + bytes(21) + b"\xff")
    for codec in CODECS:
        for head in heads:
            assert chroma_location(codec, head + body, "yuv420p") in KNOWN
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("data", [None, b"", b"\0", b"\1", b"\0\0\1", b"\0\0\1\x67", b"\x81"])
def test_no_headers(data: bytes | None) -> None:
    for codec in (*CODECS, "vp9", "nonsense"):
        assert chroma_location(codec, data, "yuv420p") == "unspecified"


def test_bit_reader() -> None:
    w = Writer()
    values = [0, 1, 2, 254, 65535, 2**32 - 2]
    w.ue(*values)
    w.se(0, 1, -1, 2**31 - 1, -(2**31) + 1)
    bits = BitReader(w.unit(b""))
    assert [bits.ue() for _ in values] == values
    assert [bits.se() for _ in range(5)] == [0, 1, -1, 2**31 - 1, -(2**31) + 1]
    assert BitReader(b"\x12\0\0\3\0\0\3\1").u(48) == 0x120000_000001
    for reader in (BitReader(b""), BitReader(b"\0\0\0\0\0\0"), BitReader(b"\0\0\0\0\x7f\xff\xff\xff\xff\xff")):
        with pytest.raises(ValueError, match=r"allowed|ends"):
            reader.ue()


# -- on output


@pytest.mark.parametrize(
    ("location", "name", "options", "expected"),
    [
        ("topleft", "out.mp4", {}, "topleft"),
        ("bottom", "out.ts", {"codec": "libx264"}, "bottom"),
        ("topleft", "out.mkv", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}, "topleft"),
        ("topleft", "out.webm", {}, "topleft"),
        ("topleft", "out.mkv", {"codec": "ffv1"}, "topleft"),
        ("bottom", "out.webm", {}, "unspecified"),
    ],
)
def test_upscaled(tmp_path: Path, location: str, name: str, options: dict[str, Any], expected: str) -> None:
    source = located(location).write(tmp_path / "in.mp4")
    upscale(source, tmp_path / name, **options)
    assert stated(tmp_path / name)[2] == expected


@pytest.mark.parametrize(("pix_fmt", "expected"), [("yuv444p", "center"), ("yuv422p", "left")])
def test_subsampled_on_output(tmp_path: Path, pix_fmt: str, expected: str) -> None:
    """What swscale subsamples itself lies elsewhere, and the file says so."""
    upscale(Clip(pix_fmt=pix_fmt, pts=range(5)).write(tmp_path / "in.mp4"), tmp_path / "out.mp4", pix_fmt="yuv420p")
    assert stated(tmp_path / "out.mp4")[2] == expected


@pytest.mark.parametrize(("location", "said"), [("left", False), ("topleft", False), ("bottom", True)])
def test_what_may_be_lost_is_said(tmp_path: Path, location: str, said: bool) -> None:
    source = located(location).write(tmp_path / "in.mp4")
    notes: Sequence[str] = probe(RunSettings(input=str(source), output=str(tmp_path / "out.webm"))).notes
    assert any("chroma" in note for note in notes) == said


def test_real_clips(data: Path) -> None:
    """Where the decoder passes on what a header says, it is what the header was read to say."""
    for path in sorted((data / "video").glob("media/*.*")):
        headers, decoder, _ = stated(path)
        assert "unspecified" in (headers, decoder) or headers == decoder, path.name
