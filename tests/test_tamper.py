"""A good output, spoilt in one way: verification names it, and nothing appears under the output's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from av.stream import Disposition

from clips import Clip, Sound, frames, video
from tampering import TURNED, TURNED_TWICE, Rewriting, altered, later, moved, replaced, twice, without
from vsr.cli.run import main
from vsr.errors import VerificationError
from vsr.frame import Colour
from vsr.job import Job
from vsr.pipeline import run
from vsr.probe import probe
from vsr.settings import RunSettings
from vsr.signature import Signatures, signature
from vsr.verify import verify
from vsr.verify.description import check_length

OTHERWISE = (0, -65536, 0, 65536, 0, 0, 0, 48 << 16, 1 << 30)
FRAMES = 115  # of 12 groups of 10: 0, 10 and 11 are decoded
PQ = Colour(range=1, primaries=9, transfer=16, matrix=9)
DISPLAY = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
HDR10 = {"x264-params": f"mastering-display={DISPLAY}:cll=1000,400"}


@dataclass(frozen=True)
class Good:
    """A finished run."""

    output: Path
    job: Job


def finished(clip: Clip, folder: Path, suffix: str, model: Path, name: str = "in.mkv", **options: Any) -> Good:
    source, output = clip.write(folder / name), folder / f"{Path(name).stem}.out{suffix}"
    coding = {"codec": "libx264", "options": {"g": "10", "sc_threshold": "0"}, "pix_fmt": "yuv420p"} | options
    settings = RunSettings.of(input=str(source), output=str(output), model=model, **coding)
    job = probe(settings)
    run(job, settings)
    return Good(output, job)


def film(**more: Any) -> Clip:
    sounds = [Sound(language="deu", seconds=Fraction(2)), Sound(language="deu", rate=48000, seconds=Fraction(3, 2))]
    rest: dict[str, Any] = {
        "chapters": [(0, 1.2), (1.2, 3)], "attachments": ["one.ttf", "two.ttf"], "metadata": {"title": "A film"},
        "colour": PQ, "pts": range(FRAMES), "bframes": 2, "sounds": sounds, "language": "jpn",
    }  # fmt: skip
    return Clip(**rest | more)


@pytest.fixture(scope="module", params=[".mkv", ".mp4"])
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, repeat: dict[int, Path]) -> Good:
    folder, suffix = tmp_path_factory.mktemp("tamper"), request.param
    more = {} if suffix == ".mkv" else {"attachments": [], "matrix": TURNED}
    return finished(film(**more), folder, suffix, repeat[2], "in.mkv" if suffix == ".mkv" else "in.mp4")


def matrix(good: Good) -> tuple[int, ...] | None:
    return TURNED_TWICE if good.output.suffix == ".mp4" else None


def complaint(good: Good, rewriting: Rewriting, folder: Path, job: Job | None = None) -> str:
    """What verification says of a file written again."""
    if rewriting.matrix is None:
        rewriting = replace(rewriting, matrix=matrix(good))
    target = rewriting.write(good.output, folder / good.output.name)
    with pytest.raises(VerificationError) as caught:
        verify(str(target), job or good.job)
    said = str(caught.value)
    assert said.startswith(f"{good.job.output} was not written; read back, it was wrong: ")
    assert "\n" not in said
    return said.partition("wrong: ")[2]


def test_the_same_again_is_right(good: Good, tmp_path: Path) -> None:
    target = Rewriting(matrix=matrix(good)).write(good.output, tmp_path / good.output.name)
    lines = verify(str(target), good.job)
    assert lines == verify(str(good.output), good.job)
    assert "115 frames, every pts" in lines
    assert "1 title" in lines
    assert "2 chapters" in lines
    assert ("2 attachments" in lines) == (good.output.suffix == ".mkv")
    assert "25 of 115 frames decoded" in lines


def spoilt(data: bytearray) -> None:
    data[5:] = bytes(len(data) - 5)


DEU = r"audio track \d, aac \(deu\): "
CASES: dict[str, tuple[Rewriting, str]] = {
    "a frame gone": (Rewriting(change=without(0, 57)), "picture track: 114 instead of 115"),
    "a frame more": (Rewriting(change=twice(0, 114)), "picture track: 116 instead of 115"),
    "picture late": (Rewriting(change=moved(0, Fraction(1, 25))), "out of time|start .* off"),
    "sound gone": (Rewriting(order=(0, 1)), "tracks instead of"),
    "sound swapped": (Rewriting(order=(0, 2, 1)), "packets instead of"),
    "language gone": (Rewriting(languages={1: "und"}), f"{DEU}language is (None|und)"),
    "a packet of sound less": (Rewriting(change=without(1, 30)), rf"{DEU}\d+ packets instead of \d+"),
    "a packet of sound more": (Rewriting(change=twice(2, 40)), rf"{DEU}\d+ packets instead of \d+"),
    "sound late": (Rewriting(change=moved(1, Fraction(1, 50))), f"{DEU}up to .* ms out of time"),
    "sound spoilt": (Rewriting(change=altered(2, 9, change=spoilt)), f"{DEU}packets differ in content"),
    "chapters gone": (Rewriting(chapters=[]), "0 chapters instead of 2"),
    "title gone": (Rewriting(titles={"comment": "x"}), "title is None instead of 'A film'"),
    "another title": (Rewriting(titles={"title": "Film"}), "title is 'Film' instead of 'A film'"),
    "default moved": (
        Rewriting(dispositions={1: 0, 2: int(Disposition.default)}),
        "played by default is",
    ),
    "last group spoilt": (Rewriting(change=altered(0, 112, 113, change=spoilt)), "picture from 4.400 s can't be"),
    "a group amid spoilt": (Rewriting(change=altered(0, 103, 104, change=spoilt)), "picture from 4.000 s can't be"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_named(good: Good, tmp_path: Path, case: str) -> None:
    rewriting, reason = CASES[case]
    said = complaint(good, rewriting, tmp_path)
    assert re.search(reason, said), said


def chapter(number: int, start: int, end: int, title: str) -> dict[str, Any]:
    return {"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}


def test_a_chapter_moved_or_renamed(good: Good, tmp_path: Path) -> None:
    wrong = [chapter(0, 0, 1300, "part 0"), chapter(1, 1300, 3000, "part one")]
    said = complaint(good, Rewriting(chapters=wrong), tmp_path)
    assert said == "chapter 1 begins at 1.300 s instead of 1.200 s; chapter 1 is 'part one' instead of 'part 1'"


def test_a_frame_one_tick_later(good: Good, tmp_path: Path) -> None:
    if good.output.suffix == ".mkv":
        ticks = 20  # a millisecond is within the rounding
        assert "ms off" in complaint(good, Rewriting(change=later(0, 57, ticks)), tmp_path)
        return
    assert "picture track: number" in complaint(good, Rewriting(change=later(0, 57, 1)), tmp_path)


def test_all_tracks_late(good: Good, tmp_path: Path) -> None:
    """Where times are exact, the file begins when the job says; elsewhere muxers shift all tracks alike."""

    def change(stream: int, number: int, packet: Any) -> Sequence[Any]:
        return moved(stream, Fraction(1, 25))(stream, number, packet)

    if good.output.suffix == ".mkv":
        verify(
            str(
                Rewriting(
                    change=change, chapters=[chapter(0, 0, 1240, "part 0"), chapter(1, 1240, 3040, "part 1")]
                ).write(good.output, tmp_path / "late.mkv")
            ),
            good.job,
        )
        return
    assert "all tracks start +0.040000 s off" in complaint(good, Rewriting(change=change), tmp_path)


def test_attachments(good: Good, tmp_path: Path) -> None:
    if good.output.suffix == ".mp4":
        pytest.skip("has no place for them")
    with av.open(str(good.output)) as container:
        kept = {s.metadata["filename"]: s.data for s in container.streams.attachments}
    assert "1 attachments instead of 2" in complaint(
        good, Rewriting(attachments={"one.ttf": kept["one.ttf"]}), tmp_path
    )
    assert "attachment track 4" in complaint(good, Rewriting(attachments=kept | {"two.ttf": b"other"}), tmp_path)
    assert "'no.ttf' isn't 'one.ttf'" in complaint(
        good, Rewriting(attachments={"no.ttf": kept["one.ttf"], "two.ttf": kept["two.ttf"]}), tmp_path
    )


def test_rotation(good: Good, tmp_path: Path) -> None:
    said = complaint(good, Rewriting(matrix=OTHERWISE), tmp_path)
    assert "rotation is (0, -65536, 65536, 0) instead of" in said
    if good.output.suffix == ".mp4":
        upright = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
        assert "rotation is None" in complaint(good, Rewriting(matrix=upright), tmp_path)


def test_a_file_cut_short(good: Good, tmp_path: Path) -> None:
    data = good.output.read_bytes()
    cut = tmp_path / good.output.name
    cut.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(VerificationError, match=r"picture track: \d+ instead of 115"):
        verify(str(cut), good.job)


def test_another_range(good: Good, tmp_path: Path, repeat: dict[int, Path]) -> None:
    other = finished(
        film(colour=replace(PQ, range=2), attachments=[], matrix=good.job.source.facts.display_matrix),
        tmp_path, good.output.suffix, repeat[2],
    )  # fmt: skip
    with pytest.raises(VerificationError, match="range is 2 instead of 1"):
        verify(str(other.output), good.job)


def test_pcm_may_be_off_by_its_sources_tick_and_no_more(tmp_path: Path, repeat: dict[int, Path]) -> None:
    clip = Clip(pts=range(25), sounds=[Sound(codec="pcm_s16le", rate=44100)])
    good = finished(clip, tmp_path, ".mov", repeat[2])  # MOV counts samples, the source's times are milliseconds
    late = Rewriting(change=moved(1, Fraction(2, 1000)))
    assert re.search("audio track 1, pcm_s16le:? starts 2.0 ms off", complaint(good, late, tmp_path))


def test_sound_that_cannot_be_decoded(good: Good, tmp_path: Path) -> None:
    noise = altered(1, 9, change=lambda data: data.__setitem__(slice(None), b"\xff" * 50))
    target = Rewriting(change=noise, matrix=matrix(good)).write(good.output, tmp_path / good.output.name)
    with pytest.raises(VerificationError, match="sound track 0: 1 packets can't be decoded"):
        verify(str(target), good.job, mode="full")


@pytest.mark.parametrize(
    ("name", "seconds", "found"), [("a.mkv", "1.5", True), ("a.mkv", "1", False), ("a.ts", "2", False)]
)
def test_a_file_that_says_it_is_shorter(name: str, seconds: str, found: bool) -> None:
    job: Any = SimpleNamespace(output=name)
    written: Any = SimpleNamespace(duration=1_000_000, start_time=0)
    wrong: list[str] = []
    check_length(job, written, Fraction(seconds), wrong)
    assert wrong == ["the file ends at 1.000 s, before its last packet at 1.500 s"] * found


def test_hdr_metadata(tmp_path: Path, repeat: dict[int, Path]) -> None:
    clips = [Clip(colour=PQ, pix_fmt="yuv420p10le", pts=range(20), options=options) for options in (HDR10, {})]
    with_it, without_it = (
        finished(clip, tmp_path, ".mkv", repeat[2], f"{number}.mkv") for number, clip in enumerate(clips)
    )
    verify(str(with_it.output), with_it.job)
    with pytest.raises(VerificationError, match=r"mastering|light"):
        verify(str(without_it.output), with_it.job)


def test_through_the_command_line(tmp_path: Path, repeat: dict[int, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """An encoder told behind the job's back to say full range."""
    source, output = Clip(pts=range(5)).write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    words = [str(source), str(output), "--model", str(repeat[2]), "-x", "color_range=pc"]
    assert main([*words, "--quiet"]) == 7
    assert capsys.readouterr().err == (
        f"vsr-run: {output} was not written; read back, it was wrong: range is 2 instead of 1\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
    output.write_bytes(b"old")
    assert main([*words, "--overwrite", "--quiet"]) == 7
    assert output.read_bytes() == b"old"
    assert main([*words, "--overwrite", "--quiet", "--verify", "none"]) == 0


def test_pictures_that_decode_but_are_others(tmp_path: Path, repeat: dict[int, Path]) -> None:
    """All are key frames: any payload decodes in any place."""
    clip = Clip(codec="ffv1", pix_fmt="gray", size=(96, 64), pts=range(30))
    source, output = clip.write(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    settings = RunSettings.of(input=str(source), output=str(output), model=repeat[2], codec="ffv1", options={"g": "1"})
    job = probe(settings)
    assert "4 of 30 frames decoded and seen to be right" in run(job, settings).verified  # 0, 10, 20 and the last
    encoded, payloads = Signatures(), video(output).payloads
    for number, frame in enumerate(frames(output)):
        encoded.add(number, signature(frame.planes[0], 8))
    frozen: dict[int, bytes] = dict.fromkeys((10, 11, 12), payloads[9])
    for other, found in ((frozen, r"1 of 4 .* the first is frame 10 at 0.400 s"), ({29: payloads[3]}, "frame 29")):

        def change(stream: int, number: int, packet: Any, other: dict[int, bytes] = other) -> Any:
            return (replaced(packet, other.get(number, bytes(packet))),)

        wrong = Rewriting(change=change).write(output, tmp_path / "wrong.mkv")
        verify(str(wrong), job)  # nothing else is wrong with it
        with pytest.raises(VerificationError, match=f"decoded pictures aren't those encoded, .*{found}|{found}"):
            verify(str(wrong), job, encoded=encoded)
