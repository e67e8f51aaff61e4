"""The fate of every track, decided and said before the run begins."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from av.stream import Disposition

from clips import Clip, Sound
from vsr.carry import Copying, add_tracks, kept_chapters
from vsr.errors import UsageError
from vsr.tags import DISPOSITIONS, FILE_TAGS, stored_language
from vsr.tracks import CONTAINERS, container_for, plan


@pytest.mark.parametrize("name", ["a.mp4", "A.MKV", "dir.x/b.WebM", "c.m4v", "d.mov", "e.ts"])
def test_known_containers(name: str) -> None:
    assert container_for(name) is CONTAINERS[Path(name).suffix.lower()]


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.", ".mp4", "a.mp4.bak"])
def test_an_unknown_container_names_the_known(name: str) -> None:
    with pytest.raises(UsageError, match=r"unknown container.*\.mp4, \.m4v, \.mov, \.mkv, \.webm, \.ts"):
        container_for(name)


def fates(path: Path, output: str) -> list[tuple[str, str, str]]:
    with av.open(str(path)) as source:
        return [(t.kind, t.codec, t.action) for t in plan(source, 0, container_for(output))]


CODECS = ["aac", "flac", "pcm_s16le", "libopus", "ac3", "libmp3lame"]


@pytest.mark.parametrize(
    ("output", "converted"),
    [
        ("a.mkv", []),
        ("a.mp4", ["pcm_s16le"]),
        ("a.mov", ["flac", "pcm_s16le", "libopus"]),  # FFmpeg says it supports them, then refuses the header
        ("a.webm", ["aac", "flac", "pcm_s16le", "ac3", "libmp3lame"]),
        ("a.ts", ["flac", "pcm_s16le"]),
    ],
)
def test_sound_is_copied_or_converted(tmp_path: Path, output: str, converted: list[str]) -> None:
    for codec in CODECS:
        sound = Sound(codec=codec, rate=48000, seconds=Fraction(1, 10))
        path = Clip(pts=range(2), sounds=[sound]).write(tmp_path / "in.mkv")
        assert [fate[2] for fate in fates(path, output)] == ["convert" if codec in converted else "copy"]


def test_sound_without_a_packet_is_dropped_and_said(tmp_path: Path) -> None:
    whole = Clip(pts=range(25, 50), size=(320, 240), sounds=[Sound(start=Fraction(3))]).write(tmp_path / "whole.ts")
    cut = tmp_path / "in.ts"
    cut.write_bytes(whole.read_bytes()[: 188 * 30])
    with av.open(str(cut)) as source:
        (track,) = plan(source, 0, container_for("a.mp4"))
    assert (track.kind, track.action) == ("audio", "drop")


def test_other_tracks_are_dropped_and_why(tmp_path: Path) -> None:
    path = Clip(subtitles=["eng"], attachments=["a.ttf"]).write(tmp_path / "in.mkv")
    assert [fate[2] for fate in fates(path, "a.mkv")] == ["copy", "copy"]
    with av.open(str(path)) as source:
        dropped = [f"{t}: {t.why}" for t in plan(source, 0, container_for("a.mp4")) if t.action == "drop"]
    assert dropped == ["attachment track 2, a.ttf: has no place in mp4"]


@pytest.mark.parametrize(("output", "action"), [("a.mkv", "copy"), ("a.ts", "copy"), ("a.webm", "drop")])
def test_further_picture_tracks_are_copied_where_they_can_be(tmp_path: Path, output: str, action: str) -> None:
    path = Clip().write(tmp_path / "in.mp4")
    with av.open(str(path)) as source:
        (track,) = plan(source, 7, container_for(output))
    assert (track.kind, track.action) == ("video", action)


def copied(source: Path, target: Path, purpose: Disposition | None = None) -> tuple[str, Disposition]:
    """Language and purpose of the clip's sound track in another container."""
    container = container_for(target.name)
    options: dict[str, Any] = {"format": container.muxer}
    with av.open(str(source)) as one, av.open(str(target), "w", **options) as two:
        streams = add_tracks(one, two, plan(one, 0, container), container)
        if purpose is not None:
            streams[1].disposition = purpose
        for packet in one.demux(one.streams[1]):
            if packet.size:
                packet.stream = streams[1]
                two.mux_one(packet)
    with av.open(str(target)) as written:
        return written.streams[0].language or "und", written.streams[0].disposition


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv", ".ts"])
def test_the_language_planned_is_the_language_read(tmp_path: Path, suffix: str) -> None:
    muxer = container_for(f"a{suffix}").muxer
    for language in ["eng", "fra", "deu", "zho", "swe", "ger", "cze", "xyz", "nob", ""]:
        source = Clip(pts=range(2), sounds=[Sound(language=language)]).write(tmp_path / "in.mkv")
        assert copied(source, tmp_path / f"out{suffix}")[0] == (stored_language(language, muxer) or "und")


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mov", "aac"), (".mkv", "aac"), (".webm", "libopus")])
def test_the_purposes_planned_are_the_purposes_read(tmp_path: Path, suffix: str, codec: str) -> None:
    source = Clip(pts=range(2), sounds=[Sound(codec=codec, rate=48000)]).write(tmp_path / "in.mkv")
    for name in DISPOSITIONS[container_for(f"a{suffix}").muxer].split():
        assert Disposition[name] in copied(source, tmp_path / f"out{suffix}", Disposition[name])[1]


@pytest.mark.parametrize("muxer", ["mp4", "mov"])
def test_the_tags_planned_are_the_tags_read(tmp_path: Path, muxer: str) -> None:
    values = {
        "creation_time": "2020-01-01T00:00:00.000000Z",
        "location": "+48.1000+011.5000/",
        "timecode": "01:00:00:00",
    }
    said = {name: values.get(name, "1") for name in (FILE_TAGS[muxer] or "").split()}
    path = Clip(pts=range(2), metadata=said).write(tmp_path / f"in.{muxer}")
    with av.open(str(path)) as written:
        read = {**written.metadata, **written.streams[0].metadata}
    assert {name: read.get(name) for name in said} == said


def chapters(times: list[tuple[float, float]], source: Any) -> list[tuple[int, int]]:
    """Those kept, in ms."""
    given = [{"id": i, "start": round(a * 1e3), "end": round(b * 1e3), "time_base": Fraction(1, 1000), "metadata": {}}
             for i, (a, b) in enumerate(times)]  # fmt: skip
    container: Any = SimpleNamespace(chapters=lambda: given)
    return [(chapter["start"], chapter["end"]) for chapter in kept_chapters(container, source)]


def part(start: float, end: float | None, *, trimmed: bool = True) -> Any:
    base = Fraction(1, 1000)
    last = None if end is None else round(end * 1000)
    first = round(start * 1000)
    ends = (first * base, None if last is None else last * base) if trimmed else (None, None)
    return SimpleNamespace(range=ends, origin=first * base)


def test_chapters_move_with_the_start_and_end_with_the_part() -> None:
    times = [(0, 1.0), (1.0, 2.0), (2.0, 3.5)]
    assert chapters(times, part(0, None, trimmed=False)) == [(0, 1000), (1000, 2000), (2000, 3500)]
    assert chapters(times, part(1.5, 2.5)) == [(0, 500), (500, 1000)]
    assert chapters(times, part(1.0, 2.0)) == [(0, 1000)]
    assert chapters(times, part(2.5, None)) == [(0, 1000)]
    assert chapters(times, part(5, None)) == []
    assert chapters([(0.2, 0.2)], part(0, None, trimmed=False)) == [(200, 200)]


def test_chapters_without_gaps_begin_at_zero_and_have_titles() -> None:
    given = [{"id": i, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": m}
             for i, (a, b, m) in enumerate([(500, 900, {"title": "b"}), (100, 500, {})])]  # fmt: skip
    container: Any = SimpleNamespace(chapters=lambda: given)
    kept = kept_chapters(container, part(0, None, trimmed=False), gapless=True)
    assert [(c["start"], c["end"], c["metadata"]["title"]) for c in kept] == [
        (0, 100, ""),
        (100, 500, ""),
        (500, 900, "b"),
    ]


def test_a_duration_below_zero_is_none() -> None:
    stream: Any = SimpleNamespace(index=1, type="audio")
    job: Any = SimpleNamespace(source=SimpleNamespace(range=(None, None), origin=Fraction(0), holds=lambda time: True),
                               output="a.mp4")  # fmt: skip
    copying = Copying(job, {1: stream})
    found = []
    for pts, duration in ((0, 1024), (1024, 0), (2048, (1 << 32) - 896)):
        packet: Any = SimpleNamespace(pts=pts, dts=pts, duration=duration, stream=stream, time_base=Fraction(1, 22050))
        assert copying.takes(packet)
        found.append(packet.duration)
    assert found == [1024, 1024, 1024]
