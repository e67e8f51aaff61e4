"""What probe decides, refuses and says before anything is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from clips import Clip, Sound, uneven
from vsr.errors import InputError, OutputError, UsageError
from vsr.job import Job
from vsr.probe import probe
from vsr.scan import scan
from vsr.settings import RunSettings
from vsr.target import check_output

MS = Fraction(1, 1000)


def job_for(path: Path, output: str = "", **options: Any) -> Job:
    sink = {} if output else {"sink": "null"}
    target = str(path.parent / output) if output else ""
    return probe(RunSettings.of(input=str(path), output=target, network="m4c8", **sink, **options))


def test_what_it_finds_out(tmp_path: Path) -> None:
    clip = Clip(pts=range(50, 80), gop=10, bframes=2, pix_fmt="yuv422p10le", aspect=Fraction(8, 9), sounds=[Sound()])
    source = job_for(clip.write(tmp_path / "in.mp4"), "out.mp4").source
    assert (source.width, source.height, source.pix_fmt, source.codec) == (48, 32, "yuv422p10le", "h264")
    assert (source.frames, source.rate, source.facts.aspect, source.untimed) == (30, 25, Fraction(8, 9), False)
    assert (source.start * source.time_base, source.end) == (2, None)
    assert source.nominal * source.time_base == Fraction(1, 25)
    assert source.last_end is not None
    assert source.last_end * source.time_base == Fraction(80, 25)
    assert source.bytes == (tmp_path / "in.mp4").stat().st_size


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".mov"])
def test_the_scan_sees_every_frame_and_key(tmp_path: Path, suffix: str) -> None:
    clip = Clip(pts=range(24), gop=8, bframes=2)
    with av.open(str(clip.write(tmp_path / f"in{suffix}"))) as container:
        found = scan(container, container.streams.video[0])
        base = container.streams.video[0].time_base
    assert base is not None
    first = found.pts[0]
    assert [round((pts - first) * base * 25) for pts in found.pts] == list(range(24))
    assert [round((key.pts - first) * base * 25) for key in found.keys] == [0, 8, 16]
    assert [key.packet for key in found.keys] == [0, 8, 16]
    assert not found.untimed


def test_raw_streams_are_counted_at_the_rate_they_claim(tmp_path: Path) -> None:
    job = job_for(Clip(pts=range(10), time_base=Fraction(1, 30)).write(tmp_path / "in.h264"), "out.mp4")
    assert job.source.untimed
    assert any(note.startswith("no usable timestamps in the input") for note in job.notes)


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24), Fraction(120)])
def test_the_rate(tmp_path: Path, rate: Fraction) -> None:
    path = Clip(pts=range(20), time_base=1 / rate).write(tmp_path / "in.mp4")
    assert job_for(path).source.rate == rate


def test_the_rate_of_uneven_frames_is_their_mean(tmp_path: Path) -> None:
    times = uneven(30)
    path = Clip(pts=times, time_base=MS).write(tmp_path / "in.mkv")
    assert float(job_for(path).source.rate) == pytest.approx(29000 / (times[-1] - times[0]), rel=0.01)


def test_two_frames_an_hour_apart(tmp_path: Path) -> None:
    job = job_for(Clip(pts=[0, 3_600_000], time_base=MS, last=40).write(tmp_path / "in.mkv"), "out.mkv")
    assert job.source.frames == 2
    assert job.source.rate > 0


@pytest.mark.parametrize(
    ("start", "duration", "frames", "first"),
    [(0.0, None, 30, 0), (0.5, None, 17, 13), (0.0, 0.4, 10, 0), (0.52, 0.04, 1, 13), (1.0, 99.0, 5, 25)],
)
def test_the_part_asked_for(tmp_path: Path, start: float, duration: float | None, frames: int, first: int) -> None:
    path = Clip(pts=range(30)).write(tmp_path / "in.mp4")
    source = job_for(path, "out.mp4", start=start, duration=duration).source
    assert source.frames == frames
    assert source.trimmed == (start > 0 or duration is not None)
    assert source.origin * 25 == first


@pytest.mark.parametrize(
    ("suffix", "times", "end"),
    [(".mp4", [0, 100, 150, 700], 740), (".mov", [40, 80, 400], 440), (".mkv", [0, 40, 80], None)],
)
def test_where_the_last_frame_ends(tmp_path: Path, suffix: str, times: list[int], end: int | None) -> None:
    clip = Clip(pts=times, time_base=MS, last=40, bframes=2)
    source = job_for(clip.write(tmp_path / f"in{suffix}")).source
    if end is not None:
        assert source.last_end is not None
        assert source.last_end * source.time_base == end * MS
    cut = job_for(tmp_path / f"in{suffix}", duration=0.05).source
    assert cut.last_end == cut.end


@pytest.mark.parametrize(
    ("options", "scale", "size"),
    [
        ({"scale": 3}, 3, (144, 96)),
        ({"size": (96, 64)}, 2, (96, 64)),
        ({"size": (97, 64)}, 3, (98, 64)),
        ({"size": (60, 40)}, 2, (60, 40)),
        ({"height": 128}, 4, (192, 128)),
        ({"height": 65}, 3, (98, 66)),
    ],
)
def test_the_factor_reaches_the_size(
    tmp_path: Path, repeat: dict[int, Path], options: dict[str, Any], scale: int, size: tuple[int, int]
) -> None:
    path = Clip().write(tmp_path / "in.mp4")
    settings = RunSettings.of(input=str(path), output=str(tmp_path / "out.mp4"), model=repeat[scale], **options)
    job = probe(settings)
    assert (job.network.scale, job.size) == (scale, size)


def test_nothing_is_written(tmp_path: Path) -> None:
    path = Clip(sounds=[Sound()]).write(tmp_path / "in.mp4")
    job_for(path, "out.mp4")
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.mp4"]


def test_a_track_without_a_frame(tmp_path: Path) -> None:
    path = Clip(pts=range(3)).write(tmp_path / "in.mkv")
    data = path.read_bytes()
    packet = av.open(str(path))
    with packet as container:
        payloads = [bytes(p) for p in container.demux() if p.size]
    for payload in payloads:
        data = data.replace(payload, b"\x55" * len(payload))
    path.write_bytes(data)
    with pytest.raises(InputError, match="not one frame of track 0 can be decoded"):
        job_for(path)


# --- outputs --------------------------------------------------------------------------------------------------------


def test_outputs_that_are_refused(tmp_path: Path) -> None:
    source, other = tmp_path / "in.mp4", tmp_path / "there.mp4"
    source.write_bytes(b"x")
    other.write_bytes(b"y")
    (tmp_path / "soft.mp4").symlink_to(source)
    (tmp_path / "hard.mp4").hardlink_to(source)
    (tmp_path / "folder").mkdir()
    refused = {
        "in.mp4": "is the input itself",
        "folder/../in.mp4": "is the input itself",
        "soft.mp4": "is the input itself",
        "hard.mp4": "is the input itself",
        "there.mp4": "exists already",
        "folder": "is a folder; name a file",
        "missing/out.mp4": "no such folder",
        "in.mp4/out.mp4": "no such folder",
    }
    for name, reason in refused.items():
        with pytest.raises(OutputError, match=reason):
            check_output(str(source), str(tmp_path / name), overwrite=False)
    for name in ("in.mp4", "soft.mp4", "hard.mp4", "folder"):
        with pytest.raises(OutputError, match=refused[name]):
            check_output(str(source), str(tmp_path / name), overwrite=True)
    check_output(str(source), str(other), overwrite=True)
    check_output(str(source), str(tmp_path / "new.mp4"), overwrite=False)
    check_output(str(source), "-", overwrite=False)
    check_output("-", str(tmp_path / "new.mp4"), overwrite=False)


def test_the_input_through_a_link_is_still_the_input(tmp_path: Path) -> None:
    path = Clip(pts=range(2)).write(tmp_path / "in.mp4")
    (tmp_path / "link.mp4").symlink_to(path)
    with pytest.raises(OutputError, match="is the input itself"):
        job_for(tmp_path / "link.mp4", "in.mp4", overwrite=True)


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.png"])
def test_an_unknown_container(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="unknown container"):
        job_for(Clip(pts=range(2)).write(tmp_path / "in.mp4"), name)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = Clip(codec="png", pix_fmt="rgb24", pts=[0]).write(tmp_path / "cover.mov")
    target = tmp_path / "in.mp4"
    with av.open(str(path)) as one, av.open(str(target), "w") as two:
        copy = two.add_stream_from_template(one.streams[0], opaque=True)
        copy.disposition = type(copy.disposition).attached_pic
        for packet in one.demux():
            if packet.size:
                packet.stream = copy
                two.mux(packet)
    with pytest.raises(InputError, match="no video track"):
        job_for(target)


# --- real files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("media/torchcodec_nasa_13013_rotated.mp4", {"rotated": True}),
        ("media/androidx_sample_with_chapters.mkv", {"untimed": False}),
        ("media/openh264_Static.264", {"untimed": True}),
        ("media/nemo_roadtrip-vp92-10bit.webm", {"frames": 72}),  # of 80 packets eight are never shown
        ("media/torchcodec_testsrc2_odd_height_and_width_444_10bit.mp4", {"pix_fmt": "yuv444p10le"}),
    ],
)
def test_real_files(data: Path, name: str, facts: dict[str, Any]) -> None:
    path = data / "video" / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    source = probe(RunSettings.of(input=str(path), output="", sink="null", network="m4c8")).source
    found = {
        "rotated": source.facts.display_matrix is not None,
        "untimed": source.untimed,
        "frames": source.frames,
        "pix_fmt": source.pix_fmt,
    }
    assert {key: found[key] for key in facts} == facts


def test_a_part_of_an_untimed_input_has_no_known_count(tmp_path: Path) -> None:
    path = Clip(pts=range(10), time_base=Fraction(1, 30)).write(tmp_path / "in.avi")
    raw = Clip(pts=range(10), time_base=Fraction(1, 30)).write(tmp_path / "in.h264")
    assert job_for(path).source.frames == 10
    for settings in ({"start": 0.1}, {"duration": 0.2}):
        assert probe(RunSettings.of(input=str(raw), output="", sink="null", **settings)).source.frames is None
