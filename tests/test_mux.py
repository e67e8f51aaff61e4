"""Where the file grows, how it fails, how long its track says it is."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import pytest

from clips import Clip, Sound, end_of_picture, video
from vsr import chunkfile
from vsr.encode import encode_chunk
from vsr.errors import OutputError, UsageError, VerificationError
from vsr.job import Job
from vsr.mux import global_header, mux, writing
from vsr.pipeline import upscaling
from vsr.probe import probe
from vsr.report import Report
from vsr.resume import WorkFolder
from vsr.settings import RunSettings


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (av.error.OSError(errno.ENOSPC, "No space left on device"), OutputError, "No space left on device.*free some"),
        (
            av.error.PermissionError(errno.EACCES, "Permission denied"),
            OutputError,
            "can't be written .Permission denied",
        ),
        (VerificationError("wrong"), VerificationError, "wrong"),
        (KeyboardInterrupt("now"), KeyboardInterrupt, "now"),
        (RuntimeError("a frame was never released"), RuntimeError, "never released"),
    ],
)
def test_what_goes_wrong_is_one_line(error: BaseException, kind: type[BaseException], words: str) -> None:
    def fail() -> None:
        with writing("out.mp4"):
            raise error

    with pytest.raises(kind, match=words):
        fail()


def write(job: Job, settings: RunSettings, part: Path, report: Report) -> None:
    """The job's one chunk encoded and muxed, in this thread."""
    folder = part.with_suffix(".work")
    folder.mkdir()
    work = WorkFolder(folder, job)
    with upscaling(job, settings.engine, report, 0) as frames:
        coded = encode_chunk(job, frames, report, global_header=global_header(job))
        encoded = work.store(job.chunks[0], coded, report)
    mux(job, chunkfile.read([encoded], job.source.time_base), part, report)


def job_for(source: Path, output: Path, repeat: dict[int, Path], **options: Any) -> tuple[Job, RunSettings]:
    settings = RunSettings.of(input=str(source), output=str(output), model=repeat[2], **options)
    return probe(settings), settings


@pytest.mark.parametrize(("suffix", "apart"), [(".mp4", True), (".mkv", True), (".mov", True), (".ts", False)])
def test_where_the_encoders_header_goes(tmp_path: Path, repeat: dict[int, Path], suffix: str, apart: bool) -> None:
    job, _ = job_for(Clip(pts=range(2)).write(tmp_path / "in.mp4"), tmp_path / f"out{suffix}", repeat)
    assert global_header(job) is apart


def test_the_last_packet_ends_with_the_last_frame(tmp_path: Path, repeat: dict[int, Path]) -> None:
    """Without decoder or network: frames straight into encoder and muxer."""
    times = [0, 10, 400, 420, 430, 1200, 1210]
    source = Clip(pts=times, time_base=Fraction(1, 1000), last=77, bframes=2).write(tmp_path / "in.mp4")
    (job, settings), part = job_for(source, tmp_path / "out.mp4", repeat), tmp_path / "part"
    report = Report()
    write(job, settings, part, report)
    assert (report.frames_written, report.packets_copied) == (7, 0)
    assert end_of_picture(part) == Fraction(1287, 1000)
    track = video(part)
    assert sorted(track.times) == [Fraction(time, 1000) for time in times]
    assert all(decode <= shown for decode, shown in zip(track.decode_times, track.times, strict=True))


def test_only_what_the_job_says_is_copied(tmp_path: Path, repeat: dict[int, Path]) -> None:
    from dataclasses import replace

    source = Clip(sounds=[Sound(), Sound(codec="ac3", rate=48000)]).write(tmp_path / "in.mp4")
    (job, settings), part, report = job_for(source, tmp_path / "out.mp4", repeat), tmp_path / "part", Report()
    dropped = replace(job.tracks[0], action="drop")
    write(replace(job, tracks=(dropped, job.tracks[1])), settings, part, report)
    with av.open(str(part)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "ac3"]


def test_an_option_the_encoder_refuses_is_named(tmp_path: Path, repeat: dict[int, Path]) -> None:
    source = Clip(pts=range(2)).write(tmp_path / "in.mp4")
    job, _ = job_for(source, tmp_path / "out.mp4", repeat, preset="instant")
    with pytest.raises(UsageError, match=r"libx264 refuses 96x64 preset=instant crf=18"):
        mux(job, iter(()), tmp_path / "part", Report())


def test_titles_of_the_tool_that_made_the_input_are_left_out(tmp_path: Path, repeat: dict[int, Path]) -> None:
    metadata = {"title": "kept", "encoder": "Lavf1", "major_brand": "qt  ", "DURATION": "9"}
    source = Clip(metadata=metadata).write(tmp_path / "in.mkv")
    (job, settings), part, report = job_for(source, tmp_path / "out.mkv", repeat), tmp_path / "part", Report()
    write(job, settings, part, report)
    with av.open(str(part)) as container:
        said = {key.lower(): value for key, value in container.metadata.items()}
    assert said["title"] == "kept"
    assert said.get("major_brand") is None
    assert said["encoder"] != "Lavf1"
