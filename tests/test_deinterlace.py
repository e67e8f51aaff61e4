"""Interlaced clips, woven from 50 moments a second: told, said, and made whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.codec.context import Flags
from av.filter import Graph
from av.video.frame import VideoFrame

import vsr
from clips import Clip, frames, video
from vsr.deinterlace import deinterlaced, fields, woven
from vsr.probe import probe
from vsr.settings import RunSettings

SIZE = (128, 96)
INTERLACED = int(Flags.interlaced_dct | Flags.interlaced_me)
X264 = {"preset": "ultrafast", "crf": "4"}
Array = np.ndarray[Any, Any]


def moment(number: int, size: tuple[int, int] = SIZE) -> Array:
    """One of 50 a second: a bright block moving right over a still texture."""
    y, x = np.mgrid[: size[1], : size[0]]
    luma = (90 + 40 * np.sin(x / 9) + 30 * np.sin(y / 13)).astype(np.uint8)
    left = 8 + 3 * number % (size[0] - 40)
    luma[size[1] // 4 : size[1] * 3 // 4, left : left + 20] = 230
    return luma


def weave(number: int, order: str, size: tuple[int, int] = SIZE) -> VideoFrame:
    """Frame `number` of 25 a second; order "tff", "bff", or "" for one whole moment."""
    early, late = moment(2 * number, size), moment(2 * number + 1, size)
    luma = early.copy()
    if order:
        luma[order == "tff" :: 2] = late[order == "tff" :: 2]
    grey = np.full((size[1] // 2, size[0]), 128, np.uint8)
    frame = VideoFrame.from_ndarray(np.vstack([luma, grey]), format="yuv420p")
    frame.pts, frame.time_base, frame.duration = number, Fraction(1, 25), 1
    return frame


def clip(path: Path, order: str, *, codec: str = "libx264", flagged: bool = True, count: int = 24, **more: Any) -> Path:
    """A clip whose frames are woven; `flagged`: coded as interlaced and said so."""
    size, options = more.get("size", SIZE), X264 if codec == "libx264" else {"qscale": "2"}
    with av.open(str(path), "w") as target:
        stream: Any = target.add_stream(codec, rate=25, options=options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = *size, "yuv420p"
        context.max_b_frames, context.gop_size, context.thread_count = 2, 8, 1
        context.flags |= INTERLACED if flagged else 0
        woven = (weave(number, order, size) for number in range(count))
        for frame in marked(woven, order) if flagged else woven:
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def marked(pictures: Iterable[VideoFrame], order: str) -> Iterator[VideoFrame]:
    """The same pictures, flagged as interlaced: PyAV can't, a filter can."""
    graph = Graph()
    source = graph.add_buffer(width=SIZE[0], height=SIZE[1], format="yuv420p", time_base=Fraction(1, 25))
    graph.link_nodes(source, graph.add("setfield", order), graph.add("buffersink")).configure()
    for picture in pictures:
        graph.vpush(picture)
        yield graph.vpull()


def combing(luma: Array) -> float:
    """How much more a line differs from its neighbours than those from each other: about 0 in whole pictures."""
    lines = luma.astype(int)
    near = abs(2 * lines[1:-1] - lines[:-2] - lines[2:])
    far = abs(lines[:-2] - lines[2:])
    return float(np.maximum(near - 2 * far - 20, 0).mean())


def seen(pictures: Iterator[VideoFrame], **more: Any) -> str:
    facts: Mapping[str, Any] = {"codec": "h264", "container": "mov", "rate": Fraction(25), "thorough": False} | more
    return fields(pictures, **facts)


@pytest.fixture
def upscale(repeat: dict[int, Path]) -> Any:
    return lambda source, target, **options: vsr.upscale(
        source, target, **{"model": repeat[2], "precision": "float32", "crf": 4} | options
    )


@pytest.mark.parametrize(
    ("codec", "suffix", "order"),
    [
        ("libx264", ".mp4", "tff"),
        ("libx264", ".mkv", "bff"),
        ("mpeg2video", ".ts", "tff"),
        ("mpeg2video", ".mkv", "bff"),
    ],
)
def test_flagged_clips_are_made_whole(tmp_path: Path, upscale: Any, codec: str, suffix: str, order: str) -> None:
    source, target = clip(tmp_path / f"in{suffix}", order, codec=codec), tmp_path / f"out{suffix}"
    report = upscale(source, target, deinterlace=True)
    assert "interlaced input: made whole by bwdif, one frame for each" in report.notes
    assert (report.exit_code, report.frames_written) == (0, 24)
    start = min(video(target).times) - min(video(source).times)
    assert sorted(t - start for t in video(target).times) == sorted(video(source).times)
    for number, shown in list(enumerate(frames(target)))[2:-2]:
        luma = shown.planes[0]
        assert combing(luma[::2, ::2]) < 0.3
        first, second = (moment(2 * number + late).repeat(2, 0).repeat(2, 1).astype(int) for late in (0, 1))
        assert 2 * abs(luma - first).mean() < abs(luma - second).mean()  # the field that came first stays
    with av.open(str(target)) as written:
        assert not any(frame.interlaced_frame for frame in written.decode(video=0))


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_without_the_option_it_is_said_and_left(tmp_path: Path, upscale: Any, order: str) -> None:
    source, target = clip(tmp_path / "in.mp4", order), tmp_path / "out.mp4"
    report = upscale(source, target)
    assert [note for note in report.notes if "--deinterlace makes the frames whole first" in note]
    assert combing(frames(target)[8].planes[0][::2]) > 1


def test_whole_clips_stay_as_they_are(tmp_path: Path, upscale: Any) -> None:
    source = clip(tmp_path / "in.mp4", "", flagged=False)
    plain = upscale(source, tmp_path / "plain.mp4")
    asked = upscale(source, tmp_path / "asked.mp4", deinterlace=True)
    assert not [note for note in plain.notes if "interlace" in note]
    assert [note for note in asked.notes if "the first frames are whole already" in note]
    for one, other in zip(frames(tmp_path / "plain.mp4"), frames(tmp_path / "asked.mp4"), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.planes, other.planes, strict=True))


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_tape_without_flags_is_seen(tmp_path: Path, upscale: Any, order: str) -> None:
    source = clip(tmp_path / "in.ts", order, codec="mpeg2video", flagged=False, size=(160, 480))
    settings = RunSettings(input=str(source), output=str(tmp_path / "out.ts"))
    job = probe(settings)
    assert job.source.fields == order
    assert "its frames are two moments woven" in job.notes[0]
    upscale(source, tmp_path / "out.ts", deinterlace=True, crf=8)
    shown = frames(tmp_path / "out.ts")[8].planes[0]
    first, second = (moment(16 + late, (160, 480)).repeat(2, 0).repeat(2, 1).astype(int) for late in (0, 1))
    assert 2 * abs(shown - first).mean() < abs(shown - second).mean()


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_what_idet_sees(order: str) -> None:
    assert woven(weave(number, order) for number in range(40)) == order
    assert woven(weave(number, "") for number in range(40)) == ""
    pulled = (weave(number, order if number % 5 in (2, 3) else "") for number in range(60))
    assert woven(pulled) == order  # film at 30 frames a second
    assert woven(iter(())) == ""
    shrinks = (weave(number, order, SIZE if number < 20 else (64, 32)) for number in range(40))
    assert woven(shrinks) == order  # by the frames before


def test_ordinary_clips_pay_one_frame() -> None:
    source = (weave(number, "tff") for number in range(500))
    assert seen(source) == ""
    assert next(source).pts == 1
    tall = (weave(number, "tff", (160, 480)) for number in range(500))
    assert seen(tall) == ""
    assert next(tall).pts == 8
    assert seen((weave(number, "tff") for number in range(500)), thorough=True) == "tff"
    assert seen((weave(number, "bff", (160, 576)) for number in range(500)), codec="dvvideo") == "bff"
    assert seen(iter(())) == ""


def test_every_picture_keeps_its_own_time() -> None:
    times = [0, 1, 5, 6, None, 30, 31]
    given = [weave(number, "tff") for number in range(7)]
    for picture, time in zip(given, times, strict=True):
        picture.pts = time
    assert [picture.pts for picture in deinterlaced(given, "tff")] == times
    assert [picture.pts for picture in deinterlaced(given[:1], "tff")] == [0]
    assert list(deinterlaced([], "tff")) == []


def test_a_change_of_size_loses_nothing() -> None:
    given = [weave(number, "tff", size) for number, size in enumerate([SIZE] * 3 + [(64, 32)] * 3 + [SIZE])]
    made = list(deinterlaced(given, "tff"))
    assert [(picture.pts, picture.width) for picture in made] == [(p.pts, p.width) for p in given]


def test_a_range_equals_the_whole(tmp_path: Path, upscale: Any) -> None:
    source = clip(tmp_path / "in.mp4", "tff")
    whole = upscale(source, tmp_path / "a.mkv", codec="ffv1", crf=None, deinterlace=True)
    upscale(source, tmp_path / "b.mkv", codec="ffv1", crf=None, deinterlace=True, start=0.4, duration=0.4)
    assert whole.frames_written == 24
    for one, other in zip(frames(tmp_path / "a.mkv")[10:19], frames(tmp_path / "b.mkv")[:9], strict=True):
        assert np.array_equal(one.planes[0], other.planes[0])


def test_pictures_too_small_for_the_filter_stay_as_they_are(tmp_path: Path, upscale: Any) -> None:
    source = Clip(size=(4, 4), pts=range(6)).write(tmp_path / "in.mkv")
    assert upscale(source, tmp_path / "out.mkv", deinterlace=True).frames_written == 6
