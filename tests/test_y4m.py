"""y4m: what is written is read back, headers of other programs are understood, broken ones refused in a line."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clips import frames as decoded
from vsr.errors import InputError, OutputError
from vsr.frame import Colour, Frame, FramePool, PlanarFormat, TrackFacts
from vsr.report import Report
from vsr.y4m import Reader, Writer, read_header

RATE = Fraction(30000, 1001)


def frame(format: PlanarFormat, size: tuple[int, int], index: int, facts: TrackFacts | None = None) -> Frame:
    planes, _ = FramePool(format, *size).take()
    random = np.random.default_rng(index)
    for plane in planes:
        plane[...] = random.integers(0, format.white, plane.shape, endpoint=True)
    width, height = size
    return Frame(format=format, width=width, height=height, planes=planes, index=index, facts=facts or TrackFacts())


def written(frames: list[Frame], rate: Fraction = RATE) -> bytes:
    stream = io.BytesIO()
    writer = Writer(stream, rate)
    for one in frames:
        writer.write(one)
    return stream.getvalue()


def read(data: bytes, report: Report | None = None) -> tuple[Any, list[tuple[int, Any]]]:
    stream = io.BytesIO(data)
    header = read_header(stream)
    reader, got = Reader(stream, header, report or Report()), []
    for one in reader.frames():
        got.append((one.pts, [plane.copy() for plane in one.planes]))
        assert one.time_base == 1 / header.rate
        one.release()
    reader.close()
    return header, got


FORMATS = [(chroma, depth) for chroma in ("grey", "420", "422", "444") for depth in (8, 10, 12, 16)]


@pytest.mark.parametrize(("chroma", "depth"), FORMATS)
@pytest.mark.parametrize("size", [(16, 8), (15, 7), (1, 1)])
def test_there_and_back(chroma: Any, depth: int, size: tuple[int, int]) -> None:
    format = PlanarFormat(chroma=chroma, depth=depth)
    frames = [frame(format, size, index, TrackFacts(aspect=Fraction(64, 45))) for index in range(3)]
    header, got = read(written(frames))
    assert (header.width, header.height, header.rate, header.format) == (*size, RATE, format)
    assert header.facts.aspect == Fraction(64, 45)
    assert [pts for pts, _ in got] == [0, 1, 2]
    for one, (_, planes) in zip(frames, got, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.planes, planes, strict=True))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "gray10le", "yuv444p12le"])
def test_ffmpeg_reads_it(tmp_path: Path, pix_fmt: str) -> None:
    format = PlanarFormat.of(pix_fmt)
    assert format is not None
    frames, path = [frame(format, (30, 14), index) for index in range(3)], tmp_path / "a.y4m"
    path.write_bytes(written(frames))
    shown = decoded(path)
    assert [one.pix_fmt for one in shown] == [pix_fmt] * 3
    assert [one.time for one in shown] == [index / RATE for index in range(3)]
    for one, other in zip(frames, shown, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "yuv444p12le"])
def test_what_ffmpeg_writes_is_read(tmp_path: Path, pix_fmt: str) -> None:
    from clips import Clip

    clip = Clip(codec="wrapped_avframe", pix_fmt=pix_fmt, size=(30, 14), muxing={"strict": "-1"})
    path = clip.write(tmp_path / "a.y4m")
    header, got = read(path.read_bytes())
    assert (header.format.pix_fmt, header.facts.aspect, header.rate) == (pix_fmt, 1, 25)
    for (_, planes), other in zip(got, decoded(path), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes, other.planes, strict=True))


@pytest.mark.parametrize(
    ("tag", "pix_fmt", "location"),
    [
        ("", "yuv420p", "center"),
        (" C420", "yuv420p", "unspecified"),
        (" C420jpeg", "yuv420p", "center"),
        (" C420mpeg2", "yuv420p", "left"),
        (" C420paldv", "yuv420p", "topleft"),
        (" C420p10 XYSCSS=420P10", "yuv420p10le", "unspecified"),
        (" C422", "yuv422p", "unspecified"),
        (" C444p16", "yuv444p16le", "unspecified"),
        (" Cmono", "gray", "unspecified"),
        (" Cmono12", "gray12le", "unspecified"),
    ],
)
def test_layouts(tag: str, pix_fmt: str, location: str) -> None:
    header = read_header(io.BytesIO(f"YUV4MPEG2 W4 H2 F25:1 Ip A0:0{tag}\n".encode()))
    assert header.format.pix_fmt == pix_fmt
    assert header.facts.colour.chroma_location == location
    assert header.facts.aspect == 1


@pytest.mark.parametrize(("word", "code"), [("FULL", 2), ("LIMITED", 1), ("", 0)])
def test_range(word: str, code: int) -> None:
    extra = f" XCOLORRANGE={word}" if word else " Xsomething"
    header = read_header(io.BytesIO(f"YUV4MPEG2 W4 H2 F25:1{extra}\n".encode()))
    assert header.facts.colour.range == code
    facts = TrackFacts(colour=Colour(range=code, chroma_location="left"))
    again = read_header(io.BytesIO(written([frame(PlanarFormat(), (4, 2), 0, facts)])))
    assert again.facts == facts


@pytest.mark.parametrize("location", ["left", "center", "topleft", "unspecified"])
def test_the_location_of_chroma_is_kept(location: Any) -> None:
    facts = TrackFacts(colour=Colour(chroma_location=location))
    again = read_header(io.BytesIO(written([frame(PlanarFormat(), (4, 2), 0, facts)])))
    assert again.facts.colour.chroma_location == ("left" if location == "unspecified" else location)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "is not y4m"),
        (b"RIFF....AVI ", "is not y4m"),
        (b"YUV4MPEG2 H2 F25:1\n", "can't be read.*W"),
        (b"YUV4MPEG2 W4 Hx\n", "can't be read"),
        (b"YUV4MPEG2 W0 H2\n", "must be above 0"),
        (b"YUV4MPEG2 W4 H-2\n", "must be above 0"),
        (b"YUV4MPEG2 W4 H2 F0:1\n", "must be above 0"),
        (b"YUV4MPEG2 W4 H2 F25:0\n", "can't be read"),
        (b"YUV4MPEG2 W4 H2 A-1:1\n", "must be above 0"),
        (b"YUV4MPEG2 W4 H2 C411\n", "unknown layout 411"),
        (b"YUV4MPEG2 W4 H2 C444alpha\n", "unknown layout 444alpha"),
        (b"YUV4MPEG2 W4 H2 C420p99\n", "no planar format 420 of 99 bits"),
        (b"YUV4MPEG2 W4 H2 It\n", "interlaced; deinterlace it first"),
    ],
)
def test_headers_that_are_refused(header: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_header(io.BytesIO(header))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lost", [1, 5, 100])
def test_a_last_frame_cut_short_is_counted(lost: int) -> None:
    report = Report()
    data = written([frame(PlanarFormat(), (16, 8), index) for index in range(3)])
    assert len(read(data[:-lost], report)[1]) == 2
    assert report.damage == ["y4m ends inside frame 2"]
    assert report.exit_code == 5


def test_garbage_between_frames_is_an_error() -> None:
    data = written([frame(PlanarFormat(), (16, 8), index) for index in range(2)])
    with pytest.raises(InputError, match="frame 1 doesn't start with FRAME"):
        read(data.replace(b"FRAME", b"FRAME Ip", 1)[: -16 * 12 - 6] + b"garbage\n")


def test_parameters_of_frames_are_passed_over() -> None:
    data = written([frame(PlanarFormat(), (16, 8), index) for index in range(2)])
    assert len(read(data.replace(b"FRAME\n", b"FRAME Ip XA=1\n"))[1]) == 2


def test_a_pipe_that_gives_little_at_a_time() -> None:
    class Trickle(io.RawIOBase):
        """At most seven bytes a read."""

        def __init__(self, data: bytes) -> None:
            self.data, self.at = data, 0

        def readable(self) -> bool:
            return True

        def readinto(self, target: Any) -> int:
            part = self.data[self.at : self.at + min(7, len(target))]
            target[: len(part)] = part
            self.at += len(part)
            return len(part)

    one = frame(PlanarFormat(depth=10), (15, 7), 0)
    stream: Any = Trickle(written([one, one]))
    reader = Reader(stream, read_header(stream), Report())
    for got in reader.frames():
        assert all(np.array_equal(a, b) for a, b in zip(one.planes, got.planes, strict=True))
        got.release()
    reader.close()


def test_a_change_of_size_cannot_be_written() -> None:
    writer = Writer(io.BytesIO(), RATE)
    writer.write(frame(PlanarFormat(), (16, 8), 0))
    with pytest.raises(OutputError, match="can't change to 8x8 yuv420p mid-stream"):
        writer.write(frame(PlanarFormat(), (8, 8), 1))


def test_the_header_says_what_the_frame_says() -> None:
    facts = TrackFacts(colour=Colour(range=1, chroma_location="topleft"), aspect=Fraction(8, 9))
    one = frame(PlanarFormat(), (6, 4), 0, facts)
    assert written([one]).startswith(b"YUV4MPEG2 W6 H4 F30000:1001 Ip A8:9 C420paldv XCOLORRANGE=LIMITED\nFRAME\n")
    deep = frame(PlanarFormat(chroma="grey", depth=10), (6, 4), 0, replace(facts, colour=Colour()))
    assert written([deep]).startswith(b"YUV4MPEG2 W6 H4 F30000:1001 Ip A8:9 Cmono10\nFRAME\n")
