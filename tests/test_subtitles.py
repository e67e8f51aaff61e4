"""Text subtitles in another form: the same words at the same times."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from clips import Clip
from vsr.demux import open_input
from vsr.report import Report
from vsr.subtitles import AT_ONCE, Cue, decode, in_sequence
from vsr.verify.subtitles import check_subtitles

Upscale = Callable[..., Report]
SCRIPT = """1
00:00:00,200 --> 00:00:00,700
<i>Hello</i> <b>you</b>
second line

2
00:00:00,700 --> 00:00:01,100
äöü – Tom & Jerry <3 日本

3
00:00:01,500 --> 00:00:02,750
{at} the\\hend

4
00:00:04,500 --> 00:00:05,000
beyond
"""
SAID = [
    (0.2, 0.7, "Hello you second line"),
    (0.7, 1.1, "äöü – Tom & Jerry <3 日本"),
    (1.5, 2.75, "{at} the end"),
    (4.5, 5.0, "beyond"),
]


def cues(path: Path, index: int = 1) -> list[tuple[float, float, str]]:
    with open_input(str(path)) as container:
        stream = container.streams[index]
        found = [decode(stream, packet, Report()) for packet in container.demux(stream) if packet.size]
    return [(float(cue.start), float(cue.end), cue.plain) for cue in found if cue]


@pytest.mark.parametrize(("name", "encoder"), [("a.mp4", "mov_text"), ("a.mov", "mov_text"), ("a.webm", "webvtt")])
def test_there_and_back(tmp_path: Path, upscale: Upscale, name: str, encoder: str) -> None:
    source = Clip(pts=range(75), subtitles=["fra"], script=SCRIPT).write(tmp_path / "in.mkv")
    there = upscale(source, tmp_path / name)
    muxer = {"a.mp4": "mp4", "a.mov": "mov", "a.webm": "webm"}[name]
    assert there.notes[0] == f"converted: subtitle track 1, srt (fra) can't be stored in {muxer}: to {encoder}"
    assert f"to {encoder}, 4 cues in time" in "; ".join(there.verified)
    assert cues(tmp_path / name) == SAID
    with av.open(str(tmp_path / name)) as written:
        assert "{at} the\u00a0end".encode() in b"".join(map(bytes, written.demux(written.streams[1])))
    back = upscale(tmp_path / name, tmp_path / "back.mkv")
    if encoder == "mov_text":
        assert back.notes[0].endswith("can't be stored in matroska: to subrip")
    assert cues(tmp_path / "back.mkv") == SAID
    with av.open(str(tmp_path / "back.mkv")) as written:
        assert written.streams[1].language == "fra"


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.webm"])
def test_a_part_has_what_is_shown_in_it(tmp_path: Path, upscale: Upscale, name: str) -> None:
    source = Clip(pts=range(75), subtitles=["fra"], script=SCRIPT).write(tmp_path / "in.mkv")
    upscale(source, tmp_path / name, start=0.4, duration=1.6)
    said = [(0, 0.3, SAID[0][2]), (0.3, 0.7, SAID[1][2]), (1.1, 1.6, SAID[2][2])]
    assert [(round(start, 3), round(end, 3), text) for start, end, text in cues(tmp_path / name)] == said


def test_ts_has_no_text(tmp_path: Path, upscale: Upscale) -> None:
    source = Clip(subtitles=["fra"]).write(tmp_path / "in.mkv")
    report = upscale(source, tmp_path / "out.ts")
    assert report.notes[0] == "dropped: subtitle track 1, srt (fra) can't be stored in mpegts"


def test_styles_of_the_header_do_not_hide_the_text(data: Path, tmp_path: Path, upscale: Upscale) -> None:
    source = data / "video/media/androidx_sample_with_ass_subtitles.mkv"
    report = upscale(source, tmp_path / "out.mp4")
    assert "to mov_text, without its styles" in report.notes[0]
    with open_input(str(tmp_path / "out.mp4")) as container:
        stream = container.streams[2]
        (cue,) = [c for c in (decode(stream, p, Report()) for p in container.demux(stream) if p.size) if c]
    assert cue.text == b"This is the first subtitle."


def cue(start: float, end: float, text: str) -> Cue:
    return Cue(Fraction(start), Fraction(end), text.encode())


def test_overlapping_cues_become_one_after_the_other() -> None:
    given = [cue(0, 3, "a"), cue(1, 2, "b"), cue(1, 4, "c"), cue(6, 7, "d"), cue(7, 8, "e")]
    expected = [
        cue(0, 1, "a"), cue(1, 2, r"a\Nb\Nc"), cue(2, 3, r"a\Nc"), cue(3, 4, "c"), cue(6, 7, "d"), cue(7, 8, "e"),
    ]  # fmt: skip
    assert in_sequence(given) == expected
    assert in_sequence([cue(1, 2, "a"), cue(0, 3, "late")]) == [cue(1, 2, r"a\Nlate"), cue(2, 3, "late")]
    assert in_sequence([]) == []


def test_the_oldest_of_very_many_cues_ends_early() -> None:
    crowd = in_sequence(cue(number, 1000, str(number)) for number in range(100))
    assert max(one.text.count(rb"\N") for one in crowd) == AT_ONCE - 1
    assert crowd[-1].text.endswith(rb"98\N99")


def test_overlapping_cues_are_all_shown_in_mp4(tmp_path: Path, upscale: Upscale) -> None:
    script = "1\n00:00:00,200 --> 00:00:01,700\nlong\n\n2\n00:00:00,700 --> 00:00:01,100\nshort\n"
    source = Clip(pts=range(75), subtitles=["fra"], script=script).write(tmp_path / "in.mkv")
    upscale(source, tmp_path / "out.mp4")
    assert cues(tmp_path / "out.mp4") == [(0.2, 0.7, "long"), (0.7, 1.1, "long short"), (1.1, 1.7, "long")]


def test_what_is_read_is_compared() -> None:
    planned, tick = [cue(0, 1, r"{\i1}a{\i0}\Nb"), cue(2, 3, "c")], Fraction(1, 1000)
    assert check_subtitles(planned, [cue(0, 1, "a b"), cue(2, 3, "c")], tick, Fraction(0)) == ""
    assert check_subtitles(planned, [cue(1, 2, "a b"), cue(3, 4, "c")], tick, Fraction(1)) == ""
    assert check_subtitles(planned, [cue(0, 1, "a b")], tick, Fraction(0)) == "1 cues instead of 2"
    assert check_subtitles(planned, [cue(0, 1, "a b"), cue(2, 3, "d")], tick, Fraction(0)) == "'d' instead of 'c'"
    late = [cue(0, 1, "a b"), cue(2.25, 3, "c")]
    assert check_subtitles(planned, late, tick, Fraction(0)) == "'c' is shown from 2.250 to 3.000 s"
