"""When each frame is shown and each sound heard, in whole runs: as in the source but for one shift of all tracks.

Times are read here with PyAV alone, not by what vsr's verification is made of. Exactly equal in MP4 and MOV, to half a
tick elsewhere: differences between output and source, of all tracks, lie within one tick.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

import vsr
from clips import Clip, Sound, end_of_picture, uneven

MS = Fraction(1, 1000)
TICK = {".mp4": Fraction(0), ".mov": Fraction(0), ".mkv": MS, ".webm": MS, ".ts": Fraction(1, 90000)}
Times = list[Fraction]


def shown(path: Path) -> Times:
    """When each frame is presented, in order, as a player decodes the file."""
    with av.open(str(path)) as container:
        return sorted(frame.pts * frame.time_base for frame in container.decode(video=0) if frame.pts is not None)


def heard(path: Path) -> list[Times]:
    """When the packets of each sound track begin."""
    with av.open(str(path)) as container:
        found: dict[int, Times] = {track.index: [] for track in container.streams.audio}
        for packet in container.demux(*container.streams.audio) if found else ():
            if packet.pts is not None and packet.size:
                found[packet.stream.index].append(packet.pts * packet.time_base)
    return list(found.values())


def assert_in_time(found: list[Times], expected: list[Times], tick: Fraction) -> None:
    """Track by track the same number of times, all off by the same but for the rounding to a tick."""
    assert [len(times) for times in found] == [len(times) for times in expected]
    off = [b - a for one, other in zip(expected, found, strict=True) for a, b in zip(one, other, strict=True)]
    spread = max(off) - min(off)
    assert spread <= tick, f"{float(spread) * 1000:.3f} ms apart: {[float(o) for o in off[:9]]}"


@pytest.fixture
def upscaled(tmp_path: Path, repeat: dict[int, Path]) -> Callable[..., Path]:
    """The output of a run, which must end well."""

    def go(source: Path, suffix: str, code: int = 0, **options: Any) -> Path:
        target = tmp_path / f"out{suffix}"
        report = vsr.upscale(source, target, model=repeat[2], precision="float32", **options)
        assert report.exit_code == code, report.damage
        return target

    return go


def sound(suffix: str, **more: Any) -> Sound:
    """Of a codec that both the source and a target of this name take as it is."""
    return Sound(codec="libopus", rate=48000, **more) if suffix == ".webm" else Sound(codec="ac3", rate=48000, **more)


BASES = {
    "24000/1001": Fraction(1001, 24000),
    "30000/1001": Fraction(1001, 30000),
    "120000/1001": Fraction(1001, 120000),
    "25": Fraction(1, 25),
    "1/2": Fraction(2),
}


@pytest.mark.parametrize("target", TICK)
@pytest.mark.parametrize("rate", BASES)
def test_rates(tmp_path: Path, upscaled: Callable[..., Path], rate: str, target: str) -> None:
    base = BASES[rate]
    clip = Clip(pts=range(20), time_base=base, bframes=3, sounds=[sound(target, seconds=min(20 * base, Fraction(2)))])
    source = clip.write(tmp_path / "in.mp4")
    output = upscaled(source, target)
    assert shown(source) == clip.times
    assert_in_time([shown(output), *heard(output)], [shown(source), *heard(source)], TICK[target])
    with av.open(str(output)) as container:
        claimed = container.streams.video[0].average_rate
    if target in (".mp4", ".mov"):  # elsewhere readers guess it from rounded times
        assert claimed == 1 / base


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize("target", [".mp4", ".mov"])
def test_the_average_rate_of_rounded_times(
    tmp_path: Path, upscaled: Callable[..., Path], target: str, bframes: int
) -> None:
    """Whole milliseconds, as Matroska has them: not quite constant, and still 30 frames a second."""
    clip = Clip(pts=[round(n * 1000 / 30) for n in range(30)], time_base=MS, last=33, bframes=bframes)
    output = upscaled(clip.write(tmp_path / "in.mkv"), target)
    with av.open(str(output)) as container:
        claimed = container.streams.video[0].average_rate
    assert claimed is not None
    assert abs(claimed - 30) < 0.1


@pytest.mark.parametrize("target", TICK)
@pytest.mark.parametrize("bframes", [0, 2, 8])
@pytest.mark.parametrize("source", [".mp4", ".mkv", ".ts"])
def test_variable_frame_rate(
    tmp_path: Path, upscaled: Callable[..., Path], source: str, target: str, bframes: int
) -> None:
    sounds = [] if (source, target) == (".ts", ".webm") else [sound(target, seconds=Fraction(2))]
    clip = Clip(pts=uneven(30, step=30), time_base=MS, last=55, bframes=bframes, gop=12, sounds=sounds)
    before = clip.write(tmp_path / f"in{source}")
    output = upscaled(before, target)
    assert_in_time([shown(output), *heard(output)], [shown(before), *heard(before)], TICK[target])


@pytest.mark.parametrize("target", TICK)
@pytest.mark.parametrize("count", [1, 2])
def test_hardly_any_frames(tmp_path: Path, upscaled: Callable[..., Path], count: int, target: str) -> None:
    clip = Clip(pts=[700, 1234][:count], time_base=MS, last=321, sounds=[sound(target, start=Fraction(7, 10))])
    source = clip.write(tmp_path / "in.mkv")
    output = upscaled(source, target)
    assert_in_time([shown(output), *heard(output)], [shown(source), *heard(source)], TICK[target])


@pytest.mark.parametrize(("count", "last"), [(1, 321), (2, 40), (2, 2500), (9, 1), (9, 700)])
@pytest.mark.parametrize("target", [".mp4", ".mov"])
def test_the_last_frame_lasts(
    tmp_path: Path, upscaled: Callable[..., Path], target: str, count: int, last: int
) -> None:
    clip = Clip(pts=uneven(count, step=40, seed=last), time_base=MS, last=last, bframes=2)
    output = upscaled(clip.write(tmp_path / "in.mp4"), target)
    assert end_of_picture(output) - shown(output)[0] == (clip.pts[-1] + last - clip.pts[0]) * MS


@pytest.mark.parametrize("target", TICK)
@pytest.mark.parametrize(("picture", "begins"), [(0, Fraction(2, 5)), (400, Fraction(0)), (90000, Fraction(90))])
def test_sound_before_and_after_the_picture(
    tmp_path: Path, upscaled: Callable[..., Path], picture: int, begins: Fraction, target: str
) -> None:
    clip = Clip(pts=uneven(20, start=picture), time_base=MS, bframes=2, sounds=[sound(target, start=begins)])
    source = clip.write(tmp_path / "in.mkv")
    output = upscaled(source, target)
    assert_in_time([shown(output), *heard(output)], [shown(source), *heard(source)], TICK[target])


@pytest.mark.parametrize("target", TICK)
def test_times_below_zero(tmp_path: Path, upscaled: Callable[..., Path], target: str) -> None:
    sounds = [] if target == ".webm" else [sound(target, start=Fraction(-1, 5))]
    clip = Clip(
        pts=range(-400, 800, 40), time_base=MS, last=40, bframes=2, sounds=sounds,
        muxing={"mpegts_copyts": "1", "avoid_negative_ts": "disabled"},
    )  # fmt: skip
    source = clip.write(tmp_path / "in.ts")
    assert shown(source)[0] < 0
    output = upscaled(source, target)
    assert_in_time([shown(output), *heard(output)], [shown(source), *heard(source)], TICK[target])


@pytest.mark.parametrize("target", TICK)
def test_no_times_at_all(tmp_path: Path, upscaled: Callable[..., Path], target: str) -> None:
    source = Clip(pts=range(25), bframes=3).write(tmp_path / "in.h264")
    with av.open(str(source)) as container:
        assert all(packet.pts is None for packet in container.demux(video=0))
    assert_in_time([shown(upscaled(source, target))], [[Fraction(n, 25) for n in range(25)]], TICK[target])


@pytest.mark.parametrize("target", TICK)
@pytest.mark.parametrize("base", [Fraction(1, 25), Fraction(1001, 30000)])
def test_reordered_frames_in_avi(tmp_path: Path, upscaled: Callable[..., Path], base: Fraction, target: str) -> None:
    """AVI has no times: its frames are shown one after the other, whatever order they are stored in."""
    source = Clip(pts=range(25), time_base=base, bframes=3).write(tmp_path / "in.avi")
    assert_in_time([shown(upscaled(source, target))], [[n * base for n in range(25)]], TICK[target])


@pytest.mark.parametrize("target", TICK)
def test_the_clock_of_ts_runs_over(tmp_path: Path, upscaled: Callable[..., Path], target: str) -> None:
    """Its 33 bits end after 26.5 hours."""
    begin, sounds = 2**33 - 45000, []
    if target != ".webm":
        sounds = [sound(target, start=Fraction(begin, 90000))]
    clip = Clip(
        pts=range(begin, begin + 90000, 3600), time_base=Fraction(1, 90000), last=3600, bframes=2, sounds=sounds,
        muxing={"mpegts_copyts": "1"},
    )  # fmt: skip
    source = clip.write(tmp_path / "in.ts")
    assert_in_time([shown(source)], [clip.times], Fraction(0))
    output = upscaled(source, target)
    assert_in_time([shown(output), *heard(output)], [shown(source), *heard(source)], TICK[target])


@pytest.mark.parametrize("target", TICK)
@pytest.mark.parametrize("step", [0, 100])
def test_the_clock_of_ts_starts_again(tmp_path: Path, upscaled: Callable[..., Path], step: int, target: str) -> None:
    """Two recordings one after the other, the second from an earlier hour: it follows where the first ends."""
    parts = [Clip(pts=range(first, first + 20), gop=10).write(tmp_path / f"{first}.ts") for first in (step + 200, step)]
    source = tmp_path / "in.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    output = shown(upscaled(source, target))
    assert len(output) == 40
    for half in (output[:20], output[20:]):
        assert_in_time([half], [[Fraction(n, 25) for n in range(20)]], TICK[target])
    assert abs(output[20] - output[19] - Fraction(1, 25)) <= max(TICK[target], Fraction(1, 90000))


REAL: dict[str, float | None] = {  # seconds of it
    "androidx_edit_list_positive_shift.mp4": 0.5,
    "androidx_iibbibb_editlist_videoonly.mp4": None,
    "torchcodec_discard_first_keyframe.mp4": None,
    "torchcodec_test_non_zero_start.mp4": None,
    "androidx_bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4": 0.5,
}


@pytest.mark.parametrize("target", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("name", REAL)
def test_real_files(data: Path, upscaled: Callable[..., Path], name: str, target: str) -> None:
    source = data / "video" / "media" / name
    if not source.is_file():
        pytest.skip(f"no {source}")
    output = upscaled(source, target, duration=REAL[name])
    expected, sounds = shown(source), heard(source)
    if REAL[name]:
        begin, end = expected[0], expected[0] + Fraction(REAL[name])
        expected, *sounds = ([time for time in times if begin <= time < end] for times in (expected, *sounds))
    assert_in_time([shown(output), *heard(output)], [expected, *sounds], TICK[target])
