"""Frames carry their samples and their time; damage is skipped, concealed and counted."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from av.packet import Packet

from clips import Clip, Shown, damaged, frames, uneven
from vsr.decode import FrameSource, Timeline, in_range, is_hidden, lasting, pictures
from vsr.demux import open_input, packets, video_stream
from vsr.frame import Frame, PlanarFormat, TrackFacts
from vsr.report import LISTED, Report

MS = Fraction(1, 1000)


def stamps(timeline: Timeline, given: list[tuple[int | None, int | None, int]]) -> list[tuple[int, int]]:
    return [timeline.stamp(*one) for one in given]


def test_good_times_are_left_alone() -> None:
    timeline = Timeline(MS, None, 40)
    given = [(-5, -90, 40), (35, -50, 7), (42, 0, 1), (43, 1, 900)]
    assert stamps(timeline, given) == [(pts, length) for pts, _, length in given]
    assert timeline.repaired == 0


def test_a_missing_pts_is_the_dts_else_where_the_last_frame_ended() -> None:
    timeline = Timeline(MS, None, 40)
    given = [(None, None, 0), (None, None, 0), (None, 85, 10), (None, None, 0)]
    assert stamps(timeline, given) == [(0, 40), (40, 40), (85, 10), (95, 40)]


@pytest.mark.parametrize(("bad", "moved"), [(100, 101), (60, 101), (-539, 101), (-540, 130), (-9000, 130)])
def test_a_slip_moves_by_a_tick_another_clock_follows_the_last_frame(bad: int, moved: int) -> None:
    timeline = Timeline(MS, None, 40)
    assert stamps(timeline, [(100, None, 30), (bad, None, 30), (200, None, 30)]) == [(100, 30), (moved, 30), (200, 30)]
    assert timeline.repaired == 1


def test_random_times_rise_strictly_and_only_bad_ones_change() -> None:
    random = np.random.default_rng(0)
    timeline, last = Timeline(MS, None, 40), -(10**9)
    for _ in range(500):
        pts = None if random.random() < 0.1 else int(random.integers(0, 5000))
        before = timeline.repaired
        got, length = timeline.stamp(pts, None, int(random.integers(0, 50)))
        assert got > last
        assert length > 0
        assert timeline.repaired > before or got == pts or pts is None
        last = got


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(25), Fraction(1000, 7)])
def test_without_timestamps_the_rate_counts(rate: Fraction) -> None:
    timeline = Timeline(Fraction(1, 90000), rate, 0)
    got = stamps(timeline, [(7, 7, 7), (7, 7, 7), (None, None, 0)] * 100)
    assert all(abs(pts * Fraction(1, 90000) - n / rate) <= Fraction(1, 180000) for n, (pts, _) in enumerate(got))
    assert all(a + length == b for (a, length), (b, _) in pairwise(got))


def decoded(path: Path, report: Report, nominal: int = 1) -> Iterator[Frame]:
    """Frames of a file, each valid until the next."""
    with open_input(str(path)) as container:
        stream = video_stream(container, str(path))
        source = FrameSource(Timeline(stream.time_base or MS, None, nominal), TrackFacts(), report)
        for frame in source.frames(pictures(stream, packets(container, [stream], report), report)):
            yield frame
            frame.release()
        source.close()


def assert_same(frame: Frame, shown: Shown) -> None:
    assert frame.pts * frame.time_base == shown.time
    assert frame.duration * frame.time_base == shown.duration
    assert (frame.width, frame.height) == shown.size
    assert all(np.array_equal(a, b) for a, b in zip(frame.planes, shown.planes, strict=True))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "gray", "gray12le", "yuv420p16le"])
@pytest.mark.parametrize("size", [(48, 32), (47, 33), (1, 1)])
def test_frames_are_the_decoders(tmp_path: Path, pix_fmt: str, size: tuple[int, int]) -> None:
    clip = Clip(codec="ffv1", pix_fmt=pix_fmt, size=size, pts=uneven(6), time_base=MS, last=150)
    path, report = clip.write(tmp_path / "a.mkv"), Report()
    for index, (frame, shown) in enumerate(zip(decoded(path, report), frames(path), strict=True)):
        assert_same(frame, shown)
        assert (frame.index, frame.format.pix_fmt) == (index, pix_fmt)
        assert all(plane.ctypes.data % 256 == 0 for plane in frame.planes)
    assert report.frames_decoded == 6
    assert report.exit_code == 0


def test_reordered_frames_come_in_order_with_the_last_ones(tmp_path: Path) -> None:
    clip = Clip(bframes=3, pts=uneven(30), time_base=MS, last=150, gop=12)
    path = clip.write(tmp_path / "a.mp4")
    got = list(decoded(path, Report()))
    assert [frame.pts * frame.time_base for frame in got] == clip.times
    assert [frame.key for frame in got].count(True) == 3


def test_two_frames_of_one_time_are_told_apart_and_said(tmp_path: Path) -> None:
    """Packets of Matroska may share a millisecond."""
    clip = Clip(codec="ffv1", pts=range(3), time_base=Fraction(1, 4000), last=1)
    report = Report()
    assert [frame.pts for frame in decoded(clip.write(tmp_path / "a.mkv"), report)] == [0, 1, 2]
    assert [note[:32] for note in report.notes] == ["times repaired: 2 of the frames "]


def test_a_frame_kept_back_is_found(tmp_path: Path) -> None:
    path = Clip(pts=range(4)).write(tmp_path / "a.mp4")
    with open_input(str(path)) as container:
        stream = video_stream(container, str(path))
        source = FrameSource(Timeline(MS, None, 1), TrackFacts(), Report())
        kept = list(source.frames(pictures(stream, packets(container, [stream], Report()), Report())))
        for frame in kept[1:]:
            frame.release()
        with pytest.raises(RuntimeError, match="1 frames of 48x32 were never released"):
            source.close()
        kept[0].release()
        source.close()
        with pytest.raises(RuntimeError, match="released twice"):
            kept[0].release()


def test_one_buffer_serves_all_when_each_is_released(tmp_path: Path) -> None:
    path = Clip().write(tmp_path / "a.mp4")
    assert len({frame.planes[0].ctypes.data for frame in decoded(path, Report())}) == 1


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bytes_are_counted_and_the_rest_goes_on(tmp_path: Path, seed: int) -> None:
    whole = Clip(pts=range(40), gop=8, bframes=2).write(tmp_path / "whole.mp4")
    path, report = damaged(whole, tmp_path / "bad.mp4", flips=12, seed=seed, keep=1200), Report()
    got = [(frame.pts, frame.corrupt) for frame in in_range(decoded(path, report, 512), 0, None, report)]
    assert len(got) >= 20
    assert got == sorted(set(got))
    assert report.damaged_packets >= sum(corrupt for _, corrupt in got)
    assert report.damaged_packets > 0
    assert report.exit_code == 5
    assert len(report.damage) == min(LISTED, report.damaged_packets)
    assert not any("\n" in line for line in report.damage)


class Refusing:
    """A stream whose decoder fails at every third packet."""

    def __init__(self, error: Exception) -> None:
        self.codec_context, self.error, self.fed = self, error, 0

    def decode(self, packet: Any) -> list[Any]:
        self.fed += 1
        if self.fed % 3 == 0:
            raise self.error
        return [packet] if packet is not None else ["rest"]


class Numbered:
    """A packet with nothing but a pts."""

    def __init__(self, pts: int) -> None:
        self.pts = pts


def test_a_packet_that_fails_is_skipped_named_and_counted() -> None:
    import av.error

    report, coded = Report(), [Numbered(10 * n) for n in range(7)]
    stream: Any = Refusing(av.error.InvalidDataError(1094995529, "Invalid data found"))
    assert list(pictures(stream, coded, report)) == [coded[n] for n in (0, 1, 3, 4, 6)] + ["rest"]  # type: ignore[arg-type]
    assert report.damaged_packets == 2
    assert report.damage == ["packet at pts 20: Invalid data found", "packet at pts 50: Invalid data found"]


def test_an_error_that_is_no_damage_is_not_swallowed() -> None:
    stream: Any = Refusing(MemoryError())
    coded: Any = [Numbered(n) for n in range(3)]
    with pytest.raises(MemoryError):
        list(pictures(stream, coded, Report()))


def test_a_size_change_gives_frames_of_both_sizes(tmp_path: Path) -> None:
    parts = [Clip(size=size, pts=range(5)).write(tmp_path / f"{size[0]}.h264") for size in ((48, 32), (64, 48))]
    path = tmp_path / "both.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert [(f.width, f.height) for f in decoded(path, Report())] == [(48, 32)] * 5 + [(64, 48)] * 5


def numbered(times: list[int], released: list[int]) -> Iterator[Frame]:
    """Frames at `times` that say when they are released."""

    class Lease:
        def __init__(self, pts: int) -> None:
            self.pts = pts

        def release(self) -> None:
            released.append(self.pts)

    grey, dot = PlanarFormat(chroma="grey"), np.zeros((1, 1), np.uint8)
    for pts in times:
        lease: Any = Lease(pts)
        yield Frame(format=grey, width=1, height=1, planes=(dot,), pts=pts, duration=5, lease=lease)


@pytest.mark.parametrize(("end", "last"), [(None, 5), (60, 18), (42, 5), (7, 5)])
def test_a_frame_lasts_until_the_next(end: int | None, last: int) -> None:
    got = list(lasting(numbered([-3, 0, 1, 42], []), end))
    assert [(frame.pts, frame.duration) for frame in got] == [(-3, 3), (0, 1), (1, 41), (42, last)]
    assert list(lasting(numbered([], []), end)) == []


def test_the_frame_held_back_is_released_when_nobody_asks_on() -> None:
    released: list[int] = []
    shown = lasting(numbered([0, 1, 2, 3], released), None)
    taken = [next(shown), next(shown)]
    shown.close()
    assert released == [2]
    assert [frame.pts for frame in taken] == [0, 1]


def test_damage_before_the_range_is_not_told(tmp_path: Path) -> None:
    whole = Clip(pts=range(40), gop=8, bframes=2).write(tmp_path / "whole.mp4")
    path = damaged(whole, tmp_path / "bad.mp4", flips=12, seed=1, keep=1200)
    told = {}
    for begin in (0, 20 * 512):
        report = Report()
        with open_input(str(path)) as container:
            stream = video_stream(container, str(path))
            source = FrameSource(Timeline(MS, None, 512), TrackFacts(), report)
            shown = source.frames(pictures(stream, packets(container, [stream], report), report, since=begin))
            for frame in in_range(shown, begin, None, report):
                frame.release()
            source.close()
        told[begin] = report.damage
    assert 0 < len(told[20 * 512]) < len(told[0])
    assert set(told[20 * 512]) < set(told[0])


def test_the_same_damage_counts_once() -> None:
    report = Report()
    for line in ("packet at pts 3: bad", "packet at pts 4: bad", "packet at pts 3: bad"):
        report.damaged(line)
    assert (report.damaged_packets, len(report.damage)) == (2, 2)
    for number in (*range(2 * LISTED), *range(2 * LISTED)):
        report.damaged(f"packet {number}: bad")
    assert (report.damaged_packets, len(report.damage)) == (2 + 2 * LISTED, LISTED)


@pytest.mark.parametrize(
    ("codec", "content", "hidden"),
    [
        ("vp8", "10", False),
        ("vp8", "01", True),
        ("vp8", "11", False),
        ("vp9", "82 00", False),  # a key frame
        ("vp9", "86 00", False),
        ("vp9", "84 00", True),
        ("vp9", "88 00", False),  # an earlier frame, shown now
        ("vp9", "84 00 c1", False),  # a superframe
        ("vp9", "b2 00", True),  # profile 3
        ("vp9", "b3 00", False),
        ("vp9", "b4 00", False),
        ("h264", "00", False),
    ],
)
def test_frames_that_are_never_shown(codec: str, content: str, hidden: bool) -> None:
    assert is_hidden(codec, Packet(bytes.fromhex(content))) is hidden
