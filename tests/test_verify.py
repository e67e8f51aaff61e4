"""A good file passes, and each thing that can be wrong is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from clips import Clip, Sound, damaged, uneven
from tampering import TURNED, TURNED_TWICE, Change, Rewriting, altered, later, moved, same, without
from vsr.errors import VerificationError
from vsr.frame import Colour, TrackFacts
from vsr.job import Job
from vsr.pipeline import run
from vsr.probe import probe
from vsr.report import counted
from vsr.settings import RunSettings
from vsr.verify import verify
from vsr.verify.times import expected_times


@pytest.fixture(scope="module", params=[".mp4", ".mkv", ".ts"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, repeat: dict[int, Path]) -> Any:
    """(output, job) of a finished run."""
    folder, suffix = tmp_path_factory.mktemp("verify"), request.param
    clip = Clip(
        pts=uneven(20), time_base=Fraction(1, 1000), last=150, bframes=2, aspect=Fraction(8, 9), language="jpn",
        matrix=None if suffix == ".ts" else TURNED, colour=Colour(range=1, primaries=9, transfer=16, matrix=9),
        sounds=[Sound(language="deu"), Sound(codec="ac3", rate=48000, language="fra")],
    )  # fmt: skip
    source, output = clip.write(folder / "in.mp4"), folder / f"out{suffix}"
    settings = RunSettings.of(input=str(source), output=str(output), model=repeat[2])
    job = probe(settings)
    run(job, settings)
    return output, job


def remuxed(
    path: Path, target: Path, change: Change = same, languages: Mapping[int, str] = MappingProxyType({})
) -> Path:
    """The same tracks written again, but for what `change` does to packets."""
    matrix = None if path.suffix == ".ts" else TURNED_TWICE
    return Rewriting(change=change, languages=languages, matrix=matrix).write(path, target)


def test_the_finished_file_passes_and_says_what_was_checked(done: tuple[Path, Job]) -> None:
    output, job = done
    lines = verify(str(output), job)
    assert lines[0] == "20 frames, every pts"
    assert [line.split(":")[0] for line in lines[2:4]] == ["audio track 1, aac (deu)", "audio track 2, ac3 (fra)"]
    assert lines[4:] == ["20 of 20 frames decoded"]
    assert verify(str(output), job, mode="full")[4:] == [*lines[4:], "2 sound tracks decoded"]
    assert verify(str(output), job, mode="none") == []


def test_written_again_without_change_it_still_passes(done: tuple[Path, Job], tmp_path: Path) -> None:
    output, job = done
    verify(str(remuxed(output, tmp_path / output.name)), job)


def flipped(data: bytearray) -> None:
    data[-3] ^= 1


def blanked(data: bytearray) -> None:
    data[:] = bytes(len(data))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without(0, 7), r"picture track: 19 instead of 20"),
        (without(0, 19), r"picture track: 19 instead of 20"),
        (later(0, 7, 1), r"picture track: number \d+ is .* ms off"),
        (without(1, 5), r"audio track 1, aac \(deu\): \d+ packets instead of \d+"),
        (without(2, 0), r"audio track 2, ac3 \(fra\): \d+ packets instead of \d+"),
        (altered(1, 5, change=flipped), r"audio track 1, aac \(deu\): packets differ in content"),
        (altered(2, 9, change=flipped), r"audio track 2, ac3 \(fra\): packets differ in content"),
    ],
    ids=["frame", "last frame", "pts", "sound", "first sound", "content", "content2"],
)
def test_what_is_lost_or_moved_is_named(done: tuple[Path, Job], tmp_path: Path, change: Change, reason: str) -> None:
    output, job = done
    if "ms off" in reason and output.suffix != ".mp4":
        pytest.skip("elsewhere a tick more may be the rounding")
    with pytest.raises(VerificationError, match=reason) as caught:
        verify(str(remuxed(output, tmp_path / output.name, change)), job)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", [Fraction(-1, 100), Fraction(1, 100)])
def test_sound_out_of_step_is_named(done: tuple[Path, Job], tmp_path: Path, seconds: Fraction) -> None:
    output, job = done

    with pytest.raises(VerificationError, match=r"audio track 1, aac \(deu\): up to .*10\.\d+ ms out of time"):
        verify(str(remuxed(output, tmp_path / output.name, moved(1, seconds))), job)


def test_a_lost_language_is_named(done: tuple[Path, Job], tmp_path: Path) -> None:
    output, job = done
    wrong = remuxed(output, tmp_path / output.name, languages={1: "und", 2: "ita"})
    with pytest.raises(
        VerificationError, match=r"track 1, aac \(deu\): language is .*track 2, ac3 \(fra\): language is ita"
    ):
        verify(str(wrong), job)


def test_a_lost_track_is_named(done: tuple[Path, Job], tmp_path: Path) -> None:
    output, job = done
    more = replace(job, tracks=(*job.tracks, replace(job.tracks[1])))
    with pytest.raises(VerificationError, match="3 tracks instead of 4"):
        verify(str(output), more)


def of(job: Job, **changes: Any) -> Job:
    """The job with other facts of its source's track."""
    return replace(job, source=replace(job.source, facts=replace(job.source.facts, **changes)))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda job: of(job, colour=Colour(range=2, primaries=9, transfer=16, matrix=9)), "range is 1 instead of 2"),
        (
            lambda job: of(job, colour=Colour(range=1, primaries=1, transfer=16, matrix=9)),
            "primaries is 9 instead of 1",
        ),
        (lambda job: of(job, colour=Colour(range=1, primaries=9, transfer=1, matrix=9)), "transfer is 16 instead of 1"),
        (lambda job: of(job, colour=Colour(range=1, primaries=9, transfer=16)), "matrix is 9 instead of 2"),
        (lambda job: replace(job, encoder=replace(job.encoder, aspect=Fraction(1))), "aspect is 8/9 instead of 1"),
        (lambda job: replace(job, encoder=replace(job.encoder, width=98)), r"size is \(96, 64\) instead of \(98, 64\)"),
        (
            lambda job: replace(job, encoder=replace(job.encoder, pix_fmt="yuv422p")),
            "pixel format is yuv420p instead of",
        ),
    ],
)
def test_wrong_tags_are_named(done: tuple[Path, Job], wrong: Callable[[Job], Job], reason: str) -> None:
    output, job = done
    with pytest.raises(VerificationError, match=reason):
        verify(str(output), wrong(job))


def test_a_wrong_rotation_is_named(done: tuple[Path, Job]) -> None:
    output, job = done
    wrong = of(job, display_matrix=(-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30))
    if output.suffix == ".ts":
        verify(str(output), wrong)  # has no place for it, and that was said
        return
    with pytest.raises(VerificationError, match="rotation is"):
        verify(str(output), wrong)


def test_everything_wrong_is_in_one_line(done: tuple[Path, Job], tmp_path: Path) -> None:
    output, job = done
    wrong = replace(of(job, colour=Colour()), tracks=job.tracks[:1])
    with pytest.raises(VerificationError) as caught:
        verify(str(remuxed(output, tmp_path / output.name, without(0, 3))), wrong)
    assert all(word in str(caught.value) for word in ("picture track", "primaries", "transfer", "matrix", "3 tracks"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{job.output} was not written")


def test_the_end_of_the_picture_is_checked(done: tuple[Path, Job]) -> None:
    output, job = done
    end = job.source.last_end
    assert end is not None
    wrong = replace(job, source=replace(job.source, last_end=end + round(Fraction(1, 5) / job.source.time_base)))
    if output.suffix != ".mp4":
        verify(str(output), wrong)  # other containers don't say when a track ends
        return
    with pytest.raises(VerificationError, match=r"the picture ends at \S+ s instead of"):
        verify(str(output), wrong)


def test_a_file_that_cannot_be_decoded(done: tuple[Path, Job], tmp_path: Path) -> None:
    output, job = done

    if output.suffix == ".ts":
        pytest.skip("the muxer itself refuses such packets")
    with pytest.raises(VerificationError, match="no frame can be decoded"):
        verify(str(remuxed(output, tmp_path / output.name, altered(0, *range(20), change=blanked))), job)


def test_a_file_that_cannot_be_read_back_is_named_by_its_final_name(done: tuple[Path, Job], tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"nothing")
    with pytest.raises(
        VerificationError, match=r"out\.\w+ was not written; read back, the file: can't be read as video"
    ) as told:
        verify(str(part), done[1])
    assert str(part) not in str(told.value)


def test_a_pipe_is_counted(tmp_path: Path, repeat: dict[int, Path]) -> None:
    source, output = Clip(pts=range(20)).write(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    settings = RunSettings.of(input=str(source), output=str(output), model=repeat[2])
    run(job := probe(settings), settings)
    piped = replace(job, source=replace(job.source, path="-", time_base=Fraction(1, 25), start=0, last_end=None))
    verify(str(output), piped, upscaled=20)
    with pytest.raises(VerificationError, match="picture track: 20 instead of 21"):
        verify(str(output), piped, upscaled=21)
    with pytest.raises(VerificationError, match=r"picture track: number \d+ is \S+ ms off"):
        verify(str(output), replace(piped, source=replace(piped.source, time_base=Fraction(1, 24))), upscaled=20)


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_source_is_measured_by_its_decoder(tmp_path: Path, repeat: dict[int, Path], seed: int) -> None:
    whole = Clip(pts=range(40), gop=8, bframes=2).write(tmp_path / "whole.mp4")
    source, output = damaged(whole, tmp_path / "in.mp4", flips=30, seed=seed, keep=1500), tmp_path / "out.mkv"
    settings = RunSettings.of(input=str(source), output=str(output), model=repeat[2])
    job = probe(settings)
    report = run(job, settings)
    assert report.damaged_packets
    assert len(expected_times(job, decode=True)) == report.frames_written
    with pytest.raises(VerificationError, match="picture track"):
        verify(str(remuxed(output, tmp_path / "less.mkv", without(0, 3))), job)


def test_facts_that_nobody_states_are_no_mistake(tmp_path: Path, repeat: dict[int, Path]) -> None:
    source, output = Clip(pts=range(3)).write(tmp_path / "in.mp4"), tmp_path / "out.webm"
    settings = RunSettings.of(input=str(source), output=str(output), model=repeat[2])
    job = probe(settings)
    assert job.source.facts == TrackFacts(colour=job.source.facts.colour)
    run(job, settings)
    verify(str(output), job)


def test_one_of_a_thing_is_said_as_one(tmp_path: Path, repeat: dict[int, Path]) -> None:
    clip = Clip(pts=[0], metadata={"title": "one"}, subtitles=["eng"], chapters=[(0, 1)])
    settings = RunSettings.of(
        input=str(clip.write(tmp_path / "in.mkv")), output=str(tmp_path / "out.mkv"), model=repeat[2]
    )
    lines = run(probe(settings), settings).verified
    assert {"1 frame, every pts", "1 title", "1 chapter"} <= set(lines)
    assert counted(0, "cue") == "0 cues"
