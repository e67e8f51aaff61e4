"""Size, samples, range, matrix or pixel aspect change in mid-stream: fitted to the first ones, and said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import vsr
from clips import Clip, Shown, frames
from strong import assert_close, frame, spec
from vsr import fit
from vsr.changes import SAID, Changes
from vsr.convert import copy_in, samples
from vsr.errors import InputError
from vsr.frame import Colour, FramePool, PlanarFormat
from vsr.job import Job
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings

Upscale = Callable[..., Report]
BT709, BT601 = Colour(matrix=1, primaries=1, transfer=1, range=1), Colour(matrix=5, primaries=1, transfer=1, range=1)
FULL = replace(BT709, range=2)


@pytest.fixture
def upscale(repeat: dict[int, Path]) -> Upscale:
    def go(source: Path, target: Path, **options: Any) -> Report:
        return vsr.upscale(source, target, 2, **{"model": repeat[2], "precision": "float32", "codec": "ffv1"} | options)

    return go


def spliced(folder: Path, *clips: Clip) -> Path:
    """One elementary stream of H.264 after the other."""
    parts = [clip.write(folder / f"{number}.h264").read_bytes() for number, clip in enumerate(clips)]
    path = folder / "in.h264"
    path.write_bytes(b"".join(parts))
    return path


def remuxed(source: Path, target: Path) -> Path:
    """The packets of an elementary stream in a container, 40 ms each."""
    with av.open(str(source)) as given, av.open(str(target), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0], opaque=True)
        for number, packet in enumerate(packet for packet in given.demux(video=0) if packet.size):
            packet.pts = packet.dts = number * 40
            packet.duration, packet.time_base, packet.stream = 40, Fraction(1, 1000), stream
            made.mux_one(packet)
    return target


def joined(target: Path, *clips: Clip) -> Path:
    """Packets of several VP9 clips in one track."""
    files = [clip.write(target.with_suffix(f".{number}.webm")) for number, clip in enumerate(clips)]
    with av.open(str(files[0])) as first, av.open(str(target), "w") as made:
        stream, count = made.add_stream_from_template(first.streams.video[0], opaque=True), 0
        for file in files:
            with av.open(str(file)) as given:
                for packet in given.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = count * 40
                        packet.duration, packet.time_base, packet.stream = 40, Fraction(1, 1000), stream
                        made.mux_one(packet)
                        count += 1
    return target


def changes(report: Report) -> list[str]:
    return [note for note in report.notes if note.startswith("the input changes")]


def luma(shown: Shown) -> Any:
    return shown.planes[0].astype(float)


SMALL, LARGE = Clip(pts=range(5), colour=BT709), Clip(size=(96, 64), pts=range(5), colour=BT709)


@pytest.mark.parametrize("container", [".h264", ".ts", ".mkv"])
@pytest.mark.parametrize(("first", "then"), [(SMALL, LARGE), (LARGE, SMALL)], ids=["grows", "shrinks"])
def test_another_size_is_stretched(tmp_path: Path, upscale: Upscale, first: Clip, then: Clip, container: str) -> None:
    before, after = spliced(tmp_path, first, then), tmp_path / "out.mkv"
    if container != ".h264":
        before = remuxed(before, tmp_path / f"in{container}")
    report = upscale(before, after)
    shown = frames(after)
    assert [one.size for one in shown] == [(2 * first.size[0], 2 * first.size[1])] * 10
    sizes = [f"{size[0]}x{size[1]}" for size in (first.size, then.size)]
    (said,) = changes(report)
    assert said.startswith("the input changes at frame 5 (")
    assert said.endswith(f" s): {sizes[0]} to {sizes[1]}; fitted to the first size and samples")
    for one, other in zip(shown[:5], shown[5:], strict=True):  # both show the same gradients
        assert abs(luma(one)[:8] - luma(other)[:8]).mean() < 8
        assert abs(luma(one).mean() - luma(other).mean()) < 4


def test_vp9_in_matroska(tmp_path: Path, upscale: Upscale) -> None:
    clips = [Clip(codec="libvpx-vp9", size=size, pts=range(4)) for size in ((48, 32), (96, 64), (48, 32))]
    before, after = joined(tmp_path / "in.mkv", *clips), tmp_path / "out.webm"
    report = upscale(before, after, codec="libvpx-vp9")
    assert [one.size for one in frames(after)] == [(96, 64)] * 12
    assert len(changes(report)) == 2


@pytest.mark.parametrize(
    ("size", "inner"),
    [((64, 32), (96, 48)), ((32, 32), (64, 64)), ((48, 33), (94, 64)), ((480, 321), (96, 64)), ((1000, 34), (96, 4))],
)
def test_another_shape_keeps_it(size: tuple[int, int], inner: tuple[int, int]) -> None:
    job = job_for((48, 32), PlanarFormat())
    given = frame(spec("420", 8, size, "left"))
    assert fit.inside(given, job, (96, 64)) == inner
    picture = fit.picture(replace(given, planes=tuple(np.full_like(p, 200) for p in given.planes)), job)
    shown = samples(picture, PlanarFormat())
    (left, top), (width, height) = ((96 - inner[0]) // 4 * 2, (64 - inner[1]) // 4 * 2), inner
    expected = np.full((64, 96), 16)
    expected[top : top + height, left : left + width] = 200
    assert abs(shown[0].astype(int) - expected).max() <= 1
    expected = np.full((32, 48), 128)
    expected[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2] = 200
    assert abs(shown[1].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("chroma", ["420", "422"])
@pytest.mark.parametrize("outer", [(95, 63), (96, 63), (95, 64)])
def test_luma_and_chroma_of_another_shape_stay_together(outer: tuple[int, int], chroma: str) -> None:
    format = PlanarFormat(chroma=chroma)  # type: ignore[arg-type]
    job = replace(job_for((48, 32), format), encoder=None, fit=outer)
    for size in ((64, 32), (32, 32), (48, 33), (30, 80), (200, 34)):
        given = frame(spec(chroma, 8, size, "left"))
        shown = fit.planes(replace(given, planes=tuple(np.full_like(p, 200) for p in given.planes)), job)
        for step, axis in ((2, 1), (2 if chroma == "420" else 1, 0)):
            luma_ends, chroma_ends = (np.flatnonzero((plane > 160).any(1 - axis))[[0, -1]] for plane in shown[:2])
            assert (luma_ends // step == chroma_ends).all()


def job_for(size: tuple[int, int], format: PlanarFormat, **more: Any) -> Job:
    """A job that upscales twice from `size`, into FFV1."""
    from vsr.frame import TrackFacts
    from vsr.job import Encoder, Network, Source

    source = Source(
        path="in", bytes=1, modified_ns=0, stream=0, width=size[0], height=size[1], format=format,
        pix_fmt=format.pix_fmt, codec="ffv1", facts=TrackFacts(), time_base=Fraction(1, 25), rate=Fraction(25),
        untimed=False, nominal=1, frames=None, start=0, end=None, trimmed=False, origin=Fraction(0), last_end=None,
    )  # fmt: skip
    encoder = Encoder(codec="ffv1", pix_fmt=format.pix_fmt, width=2 * size[0], height=2 * size[1], aspect=Fraction(1),
                      options={}, threads=1, **more)  # fmt: skip
    network = Network(name="", path="", scale=2, weights="clean", precision="", backend="", sha256="")
    return Job(version="", source=source, network=network, output="out.mkv", sink="", encoder=encoder, tracks=(),
               chunks=(), notes=())  # fmt: skip


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p10le", "gray", "yuva420p", "ya8", "yuva444p12le", "yuv422p"])
def test_every_layout_is_padded(pix_fmt: str) -> None:
    format = PlanarFormat.of(pix_fmt)
    assert format is not None
    job, given = job_for((48, 32), format), frame(spec(format.chroma, format.depth, (64, 32)))
    planes, _ = FramePool(format, 64, 32).take()
    for plane in planes:
        plane.fill(format.white)
    shown = samples(fit.picture(replace(given, format=format, planes=planes), job), format)
    assert shown[0][0, 0] == 16 << (format.depth - 8)
    assert shown[0][32, 48] == format.white
    if format.alpha:
        assert (shown[-1][:8] == 0).all()
        assert (shown[-1][8:56] == format.white).all()


def test_the_frame_itself_where_nothing_changes() -> None:
    job, given = job_for((20, 12), PlanarFormat()), frame(spec("420", 8, (40, 24)))
    assert all(a is b for a, b in zip(fit.planes(given, job), given.planes, strict=True))
    assert_close(tuple(samples(fit.picture(given, job), PlanarFormat())), given.planes)
    other = fit.planes(frame(spec("420", 8, (80, 48))), job)
    assert [plane.shape for plane in other] == [(24, 40), (12, 20), (12, 20)]


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p", "yuv422p10le"])
@pytest.mark.parametrize("forth", [True, False])
def test_other_samples_are_converted(tmp_path: Path, upscale: Upscale, pix_fmt: str, forth: bool) -> None:
    clips = [replace(SMALL, pix_fmt=name, options={"crf": "1"}) for name in ("yuv420p", pix_fmt)]
    before, after = spliced(tmp_path, *clips[:: 1 if forth else -1]), tmp_path / "out.mkv"
    report = upscale(before, after)
    shown, first = frames(after), "yuv420p" if forth else pix_fmt
    assert [one.pix_fmt for one in shown] == [first] * 10
    assert len(changes(report)) == 1
    for one, other in zip(shown[:5], shown[5:], strict=True):
        for a, b in zip(one.planes, other.planes, strict=True):
            assert abs(a.astype(float) - b).mean() < PlanarFormat.of(first).white / 40  # type: ignore[union-attr]


@pytest.mark.parametrize(("first", "then"), [(BT709, FULL), (FULL, BT709)], ids=["widens", "narrows"])
def test_another_range_is_converted(tmp_path: Path, upscale: Upscale, first: Colour, then: Colour) -> None:
    clips = [replace(SMALL, colour=colour, options={"crf": "1"}) for colour in (first, then)]
    before, after = spliced(tmp_path, *clips), tmp_path / "out.mkv"
    report = upscale(before, after)
    shown = frames(after)
    assert {one.colour.range for one in shown} == {first.range}
    assert "full range" in changes(report)[0]
    for one, other in zip(shown[:5], shown[5:], strict=True):  # the same codes, which mean something else
        codes = luma(one)
        meant = codes * 219 / 255 + 16 if first.range == 1 else (codes - 16) * 255 / 219
        assert abs(luma(other) - meant.clip(0, 255)).mean() < 3


def test_another_matrix_is_converted() -> None:
    """One colour in BT.601 and BT.709, by their own equations (BT.601-7 2.5, BT.709-6 3.2)."""
    red, green, blue = 0.7, 0.4, 0.2

    def coded(kr: float, kb: float) -> tuple[int, int, int]:
        y = kr * red + (1 - kr - kb) * green + kb * blue
        return round(16 + 219 * y), round(128 + 112 * (blue - y) / (1 - kb)), round(128 + 112 * (red - y) / (1 - kr))

    given = av.VideoFrame(32, 16, "yuv444p")
    for plane, value in zip(given.planes, coded(0.299, 0.114), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    given.colorspace, given.color_range = BT601.matrix, 1
    planes, _ = FramePool(PlanarFormat(chroma="444"), 32, 16).take()
    copy_in(given, PlanarFormat(chroma="444"), planes, BT709)
    for plane, value in zip(planes, coded(0.2126, 0.0722), strict=True):
        assert abs(plane.astype(int) - value).max() <= 1
    copy_in(given, PlanarFormat(chroma="444"), planes, BT601)
    for plane, value in zip(planes, coded(0.299, 0.114), strict=True):
        assert (plane == value).all()


def test_another_pixel_aspect_is_another_shape(tmp_path: Path, upscale: Upscale) -> None:
    before = spliced(tmp_path, SMALL, replace(SMALL, aspect=Fraction(4, 3)))
    report = upscale(before, tmp_path / "out.mkv")
    shown = frames(tmp_path / "out.mkv")
    assert {one.size for one in shown} == {(96, 64)}
    assert "pixels 1.333 times as wide" in changes(report)[0]
    assert (luma(shown[0])[:6] > 20).all()
    assert (luma(shown[5])[:6] == 16).all(), "a wider picture has black above and below"


def test_size_and_shape_that_change_together_stay_whole(tmp_path: Path, upscale: Upscale) -> None:
    """As broadcasters do: fewer samples across, each as much wider."""
    before = spliced(tmp_path, LARGE, replace(SMALL, size=(64, 64), aspect=Fraction(3, 2)))
    upscale(before, tmp_path / "out.mkv")
    for shown in frames(tmp_path / "out.mkv"):
        assert (luma(shown)[:6] > 20).all()
        assert (luma(shown)[:, :6] > 20).all()


def test_pipes_get_one_size(tmp_path: Path, repeat: dict[int, Path], capfdbinary: Any) -> None:
    before = spliced(tmp_path, SMALL, LARGE)
    settings = RunSettings.of(input=str(before), output="-", model=repeat[2], precision="float32")
    from vsr.pipeline import run

    report = run(probe(settings), settings)
    out = capfdbinary.readouterr().out
    assert report.frames_written == 10
    assert out.count(b"FRAME\n") == 10
    assert len(out) == out.index(b"\n") + 1 + 10 * (6 + 96 * 64 * 3 // 2)


def test_many_changes_are_counted() -> None:
    report = Report()
    watch = Changes(report, lambda: Fraction(1))
    for number in range(30):
        watch.seen(av.VideoFrame(16 + number % 2, 16, "yuv420p"), number, number / 25)
    watch.close()
    assert len(report.notes) == SAID + 1
    assert report.notes[-1].startswith("the input changes 29 times")


def test_rows_from_the_bottom_up() -> None:
    """rawvideo gives such frames where its extradata says so; PyAV's buffers run away from theirs."""
    for pix_fmt, refused in (("gray", True), ("bgr24", False)):
        decoder: Any = av.CodecContext.create("rawvideo", "r")
        decoder.extradata, decoder.width, decoder.height, decoder.pix_fmt = b"BottomUp\0", 32, 16, pix_fmt
        rows = np.repeat(np.arange(16, dtype=np.uint8)[:, None] * 10, 32 * (1 if refused else 3), axis=1)
        (given,) = decoder.decode(av.Packet(rows.tobytes()))
        assert given.planes[0].line_size < 0
        format = PlanarFormat(chroma="grey" if refused else "444")
        planes, _ = FramePool(format, 32, 16).take()
        if refused:
            with pytest.raises(InputError, match="from the bottom up"):
                copy_in(given, format, planes)
        else:
            copy_in(given, format, planes)
            assert (np.diff(planes[0][:, 0].astype(int)) < 0).all()
