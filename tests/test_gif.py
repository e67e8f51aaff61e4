"""Animated pictures: GIF read and written, APNG read."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph
from av.video.frame import VideoFrame

from clips import Clip, frames, uneven, video
from vsr import gif, stills
from vsr.errors import InputError, OutputError, UsageError, VerificationError
from vsr.frame import Colour
from vsr.probe import probe
from vsr.settings import RunSettings

CENTI = Fraction(1, 100)
TIMES = [0, 3, 7, 10, 20, 22, 50, 150]
Array = np.ndarray[Any, Any]


def disc(number: int, size: tuple[int, int] = (48, 40), *, clear: bool = False) -> Array:
    """RGBA: a disc of one colour that moves over grey, or over nothing."""
    y, x = np.mgrid[: size[1], : size[0]]
    inside = (x - 12 - 3 * number) ** 2 + (y - 20) ** 2 < 81
    picture = np.full((size[1], size[0], 4), (128, 128, 128, 0 if clear else 255), np.uint8)
    picture[inside] = (220, 40 + 20 * number, 30, 255)
    return picture


def animation(path: Path, times: list[int], *, clear: bool = False, last: int = 7) -> Path:
    """An animated GIF or APNG; times in hundredths."""
    codec, pix_fmt = ("gif", "pal8") if path.suffix == ".gif" else ("apng", "rgba")
    with av.open(str(path), "w", format=codec) as target:
        stream: Any = target.add_stream(codec, rate=100)
        stream.width, stream.height, stream.pix_fmt = 48, 40, pix_fmt
        stream.codec_context.time_base = CENTI
        graph = palette()
        for number, (time, end) in enumerate(zip(times, [*times[1:], times[-1] + last], strict=True)):
            frame = VideoFrame.from_ndarray(disc(number, clear=clear), format="rgba")
            frame.pts, frame.time_base, frame.duration = time, CENTI, end - time
            if codec == "gif":
                graph.vpush(frame.reformat(format="bgra"))
                frame = graph.vpull()
            for packet in stream.encode(frame):
                packet.duration = end - time
                target.mux(packet)
        target.mux(stream.encode(None))
    return path


def palette() -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=48, height=40, format=VideoFrame(48, 40, "bgra").format, time_base=CENTI)
    split, chosen = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    mapped = graph.add("paletteuse", "new=1:dither=none")
    source.link_to(split)
    split.link_to(mapped, 0, 0)
    split.link_to(chosen, 1, 0)
    chosen.link_to(mapped, 0, 1)
    mapped.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def shown(path: Path) -> list[tuple[Fraction, Array]]:
    """(time, RGBA) of every frame."""
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        return [
            ((frame.pts or 0) * (stream.time_base or 1), frame.to_ndarray(format="rgba").astype(int))
            for frame in source.decode(stream)
        ]


def length(path: Path) -> Fraction:
    with av.open(str(path)) as source:
        stream: Any = source.streams.video[0]
        return Fraction(stream.duration * stream.time_base)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_a_gif_becomes_a_video_at_its_own_pace(tmp_path: Path, upscale: Any, suffix: str) -> None:
    source, target = animation(tmp_path / "in.gif", TIMES), tmp_path / f"out{suffix}"
    assert upscale(source, target).frames_written == len(TIMES)
    assert sorted(video(target).times) == [time * CENTI for time in TIMES]
    if suffix in (".mp4", ".mov"):
        assert length(target) == length(source)
    for number, (_, picture) in enumerate(shown(target)):
        wanted = disc(number).repeat(2, 0).repeat(2, 1)[..., :3].astype(int)
        assert abs(picture[..., :3] - wanted).mean() < 8


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_animations_become_gif(tmp_path: Path, upscale: Any, suffix: str) -> None:
    source, target = animation(tmp_path / f"in{suffix}", TIMES), tmp_path / "out.gif"
    report = upscale(source, target)
    assert (report.exit_code, report.frames_written) == (0, len(TIMES))
    assert report.verified == [f"{len(TIMES)} frames, times to 0.005 s", "96x80"]
    assert [time for time, _ in shown(target)] == [time * CENTI for time in TIMES]
    for number, (_, picture) in enumerate(shown(target)):
        wanted = disc(number).repeat(2, 0).repeat(2, 1)[..., :3].astype(int)
        assert abs(picture[..., :3] - wanted).mean() < 8
    assert b"NETSCAPE2.0\x03\x01\x00\x00" in target.read_bytes()  # repeats for ever


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(24000, 1001), Fraction(50), Fraction(12)])
def test_no_error_of_time_adds_up(tmp_path: Path, upscale: Any, rate: Fraction) -> None:
    clip = Clip(pts=range(60), time_base=1 / rate, size=(16, 16))
    report = upscale(clip.write(tmp_path / "in.mp4"), tmp_path / "out.gif")
    assert report.frames_written == 60
    assert all(abs(time - number / rate) <= CENTI / 2 for number, (time, _) in enumerate(shown(tmp_path / "out.gif")))


def test_uneven_times_and_the_last(tmp_path: Path, upscale: Any) -> None:
    clip = Clip(pts=uneven(20, step=40), time_base=Fraction(1, 1000), last=300, size=(16, 16))
    upscale(clip.write(tmp_path / "in.mp4"), tmp_path / "out.gif")
    for wanted, (time, _) in zip(clip.times, shown(tmp_path / "out.gif"), strict=True):
        assert abs(time - (wanted - clip.times[0])) <= CENTI / 2
    assert abs(length(tmp_path / "out.gif") - (clip.times[-1] - clip.times[0] + Fraction(3, 10))) <= CENTI


def test_frames_too_fast_for_gif_are_left_out_and_said(tmp_path: Path, upscale: Any) -> None:
    clip = Clip(pts=range(60), time_base=Fraction(1, 60), size=(16, 16))
    report = upscale(clip.write(tmp_path / "in.mp4"), tmp_path / "out.gif")
    assert [note for note in report.notes if "GIF shows 50 frames a second at most" in note]
    assert [note for note in report.notes if note.startswith(f"{60 - report.frames_written} frames left out")]
    times = [time for time, _ in shown(tmp_path / "out.gif")]
    assert len(times) == report.frames_written > 20
    assert min(b - a for a, b in pairwise(times)) >= 2 * CENTI


def test_what_gif_has_no_place_for_is_said(tmp_path: Path, upscale: Any) -> None:
    from clips import Sound

    source = Clip(sounds=[Sound()], aspect=Fraction(2)).write(tmp_path / "in.mp4")
    report = upscale(source, tmp_path / "out.gif")
    assert report.notes[0] == "dropped: audio track 1, aac has no place in .gif"
    assert ".gif has only square pixels: 192x64 (input 2 wide)" in report.notes
    assert shown(tmp_path / "out.gif")[0][1].shape[:2] == (64, 192)


@pytest.mark.parametrize("matrix", [8, 14])
def test_a_matrix_that_rgb_cannot_be_made_by_is_said(tmp_path: Path, upscale: Any, matrix: int) -> None:
    source = Clip(colour=Colour(range=1, primaries=9, transfer=14, matrix=matrix)).write(tmp_path / "in.mp4")
    plain = Clip(colour=Colour(range=1, matrix=5)).write(tmp_path / "plain.mp4")
    report = upscale(source, tmp_path / "out.gif")
    assert f"colours will look wrong: RGB can't be made by the input's matrix ({matrix})" in report.notes
    assert not any("colours" in note for note in upscale(plain, tmp_path / "plain.gif").notes if "256" not in note)
    assert abs(shown(tmp_path / "out.gif")[0][1] - shown(tmp_path / "plain.gif")[0][1]).mean() < 2


def test_a_quarter_turn_is_made(tmp_path: Path, upscale: Any) -> None:
    upright = Clip(size=(48, 32)).write(tmp_path / "a.mp4")
    turned = Clip(size=(48, 32), matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)).write(tmp_path / "b.mp4")
    upscale(upright, tmp_path / "a.gif")
    upscale(turned, tmp_path / "b.gif")
    for (_, one), (_, other) in zip(shown(tmp_path / "a.gif"), shown(tmp_path / "b.gif"), strict=True):
        assert abs(np.rot90(one, -1) - other).mean() < 4


@pytest.mark.parametrize(
    ("options", "kind", "reason"),
    [
        ({"codec": "libx264"}, UsageError, "--codec, --crf"),
        ({"overwrite": False}, OutputError, "exists already"),
        ({"scale": 4, "overwrite": True, "size": (70000, 40)}, OutputError, "too large|times the input"),
    ],
)
def test_what_is_refused(tmp_path: Path, options: dict[str, Any], kind: type[Exception], reason: str) -> None:
    source = animation(tmp_path / "in.gif", TIMES)
    (tmp_path / "out.gif").write_bytes(b"old")
    with pytest.raises((kind, UsageError), match=reason):
        probe(RunSettings.of(input=str(source), output=str(tmp_path / "out.gif"), **{"overwrite": True} | options))
    assert (tmp_path / "out.gif").read_bytes() == b"old"


def test_a_wrong_gif_is_found(tmp_path: Path, upscale: Any) -> None:
    source = animation(tmp_path / "in.gif", TIMES)
    job = probe(RunSettings(input=str(source), output=str(tmp_path / "out.gif")))
    upscale(source, tmp_path / "out.gif")
    assert gif.check(job, tmp_path / "out.gif", TIMES)
    for times in (TIMES[:-1], [*TIMES[:-1], 151], [*TIMES, 200]):
        with pytest.raises(VerificationError, match="are wrong"):
            gif.check(job, tmp_path / "out.gif", times)


def test_nothing_is_left_of_a_failure(tmp_path: Path, upscale: Any) -> None:
    source = animation(tmp_path / "in.gif", TIMES)
    source.write_bytes(source.read_bytes()[:40])
    with pytest.raises(InputError):
        upscale(source, tmp_path / "out.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["in.gif"]


def test_a_webp_animation_is_refused_in_one_line(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.webp"), "w", format="webp") as target:
        stream: Any = target.add_stream("libwebp_anim", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 40, "bgra"
        for number in range(4):
            frame = VideoFrame.from_ndarray(disc(number), format="rgba").reformat(format="bgra")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    with pytest.raises(InputError, match="animated") as caught:
        stills.run(RunSettings(input=str(tmp_path / "in.webp"), output=str(tmp_path / "out.png")))
    assert "\n" not in str(caught.value)


def test_the_frames_of_a_gif_as_numbered_pictures(tmp_path: Path, upscale: Any) -> None:
    source = animation(tmp_path / "in.gif", TIMES)
    assert upscale(source, tmp_path / "f%02d.png").frames_written == len(TIMES)
    assert len(frames(tmp_path / "f%02d.png".replace("%02d", "01"))) == 1


def test_an_animated_png_is_a_video_whatever_its_name(tmp_path: Path, upscale: Any) -> None:
    source = animation(tmp_path / "in.apng", TIMES).rename(tmp_path / "in.png")
    assert not stills.is_still(str(source))
    assert upscale(source, tmp_path / "out.mkv").frames_written == len(TIMES)


def test_what_is_clear_stays_clear(tmp_path: Path, upscale: Any) -> None:
    source = animation(tmp_path / "in.gif", TIMES, clear=True)
    for target in (tmp_path / "out.gif", tmp_path / "f%02d.png"):
        report = upscale(source, target)
        assert not [note for note in report.notes if "dropped" in note]
    for number, (_, picture) in enumerate(shown(tmp_path / "out.gif")):
        wanted = disc(number, clear=True).repeat(2, 0).repeat(2, 1).astype(int)
        assert abs(picture[..., 3] - wanted[..., 3]).mean() < 8
        assert abs((picture - wanted)[wanted[..., 3] == 255]).mean() < 16
    report = upscale(source, tmp_path / "f%02d.jpg")
    assert "dropped: the alpha channel (.jpg has none)" in report.notes
    assert shown(tmp_path / "f01.png")[0][1][0, 0, 3] == 0


def test_a_frame_shown_for_minutes_is_repeated_and_said(tmp_path: Path, upscale: Any) -> None:
    clip = Clip(codec="ffv1", pts=[0, 4, 200_004, 200_008], time_base=CENTI).write(tmp_path / "in.mkv")
    report = upscale(clip, tmp_path / "out.gif")
    assert "frames shown for more than 655.35 s are repeated: GIF can't say so long" in report.notes
    shown = frames(tmp_path / "out.gif")
    assert [round(100 * frame.time) for frame in shown] == [0, 4, 65_539, 131_074, 196_609, 200_004, 200_008]


def test_a_frame_shown_for_days_is_refused(tmp_path: Path, upscale: Any) -> None:
    clip = Clip(codec="ffv1", pts=[0, 100 * 90_000 * 24], time_base=CENTI).write(tmp_path / "in.mkv")
    with pytest.raises(OutputError, match="can't wait days"):
        upscale(clip, tmp_path / "out.gif")
