"""The stages put together: decode -> upscale -> encode -> mux, verified, then renamed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vsr import sinks, y4m
from vsr.decode import FrameSource, Timeline, lasting, pictures
from vsr.deinterlace import deinterlaced
from vsr.demux import open_input, packets
from vsr.encode import packets as encoded
from vsr.errors import InputError
from vsr.frame import Frame
from vsr.job import Job, Source
from vsr.mux import global_header, mux, part_name, writing
from vsr.prefetch import prefetch
from vsr.probe import check_output, probe
from vsr.report import Clock, LeftOut, Report
from vsr.settings import EngineSettings, RunSettings
from vsr.upscaler import UpscaleStage
from vsr.verify import verify

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

AHEAD = 4  # frames waiting between two stages: enough that none starves, little memory
Progress = Callable[[Report], None]


def upscale(src: str | os.PathLike[str], dst: str | os.PathLike[str], scale: int = 2, **options: object) -> Report:
    """Upscales a video file.

    Args:
        src, dst: input and output paths; the container is chosen by the name of `dst` (mp4, mkv, mov, webm, ts).
        scale: 2, 3 or 4.
        options: further fields of `EngineSettings`, `EncodeSettings` and `RunSettings` by name, e.g. `codec="libx265"`.

    Returns:
        What was done, read back and found right.

    Raises:
        VsrError: a subclass says what (see `vsr.errors`); `dst` is then as it was.
    """
    settings = RunSettings.of(input=os.fspath(src), output=os.fspath(dst), scale=scale, **options)
    return run(probe(settings), settings)


def upscaled_frames(src: str | os.PathLike[str], scale: int = 2, **options: object) -> Iterator[Frame]:
    """Upscaled frames of a video file in presentation order.

    A frame's planes are valid until the next one is asked for; copy what you keep. `options` as for `upscale`.
    """
    settings = RunSettings.of(input=os.fspath(src), output="", sink="null", scale=scale, **options)
    job, report = probe(settings), Report()
    with upscaling(job, settings.engine, report) as frames:
        for frame in frames:
            yield frame
            frame.release()


def run(
    job: Job,
    settings: RunSettings,
    progress: Progress = lambda report: None,
    clock: Clock = time.perf_counter,
) -> Report:
    """Does a job. The output appears under its name only complete and verified.

    Args:
        progress: called after every frame.
        clock: what times in the report are read from.

    Raises:
        VsrError: nothing was left under the output's name.
    """
    report = Report(input=job.source.path, output=job.output or job.sink, notes=list(job.notes), clock=clock)
    begin = clock()
    if job.sink:
        with upscaling(job, settings.engine, report) as frames:
            _into_sink(job, _watched(job, frames, report, progress), report, sys.stdout.buffer)
    else:
        part = part_name(job.output)
        with writing(part, job.output):
            with upscaling(job, settings.engine, report) as frames:
                watched = _watched(job, frames, report, progress)
                coded = encoded(job, watched, report, global_header=global_header(job))
                left_out = mux(job, coded, part, report)
            publish(job, part, report, settings, left_out)
    report.seconds = clock() - begin
    return report


def publish(job: Job, part: Path, report: Report, settings: RunSettings, left_out: Set[LeftOut]) -> None:
    """Verifies the finished part, then gives it its name."""
    with report.stage("verify"):
        report.verified = verify(
            job.source.path, str(part), job, left_out, mode=settings.verify, upscaled=report.frames_upscaled
        )
    if settings.verify == "none":
        report.note("not verified (--verify none)")
    check_output(job.source.path, job.output, overwrite=settings.overwrite)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(job.output)


@contextmanager
def upscaling(job: Job, engine: EngineSettings, report: Report, depth: int = AHEAD) -> Iterator[Iterator[Frame]]:
    """The upscaled frames of a job; decoder and network run in threads of their own, ahead of the consumer.

    Depth 0 runs everything in the caller's thread: same pixels, and the tests' oracle.
    """
    stage = UpscaleStage(replace(engine, scale=job.network.scale))
    with decoded(job, report) as frames:
        waiting = prefetch(frames, depth, Frame.release)
        with closing(prefetch(_labelled(stage, waiting, report), depth, Frame.release)) as results:
            yield results
        stage.close()


def _labelled(stage: UpscaleStage, upstream: Generator[Frame], report: Report) -> Generator[Frame]:
    with closing(upstream), closing(stage.frames(upstream)) as results:
        while True:
            with report.stage("network"):
                frame = next(results, None)
            if frame is None:
                break
            report.engine = stage.label
            yield frame
    for line in stage.notes:
        report.note(line)


@contextmanager
def decoded(job: Job, report: Report) -> Iterator[Generator[Frame]]:
    """Decoded frames inside the job's range."""
    source = job.source
    if source.path == "-":
        reader = y4m.Reader(sys.stdin.buffer, _y4m_header(source), report)
        yield _in_range(reader.frames(), source)
        reader.close()
        return
    with open_input(source.path, source.limits) as container:
        stream = next(s for s in container.streams.video if s.index == source.stream)
        stream.thread_type = "AUTO"
        timeline = Timeline(source.time_base, source.rate if source.untimed else None, source.nominal)
        frames = FrameSource(timeline, source.facts, report)
        shown: Iterable[VideoFrame] = pictures(stream, packets(container, [stream], report), report)
        if source.deinterlace:
            shown = deinterlaced(shown, source.fields)
        yield lasting(_in_range(frames.frames(shown), source), source.last_end)
        frames.close()


def _in_range(frames: Iterable[Frame], source: Source) -> Generator[Frame]:
    for frame in frames:
        if frame.pts < source.start:
            frame.release()
        elif source.end is not None and frame.pts >= source.end:
            frame.release()
            return
        else:
            yield frame


def _y4m_header(source: Source) -> y4m.Header:
    return y4m.Header(
        width=source.width, height=source.height, rate=source.rate, format=source.format, facts=source.facts
    )


def _watched(job: Job, frames: Iterable[Frame], report: Report, progress: Progress) -> Iterator[Frame]:
    for frame in frames:
        report.frames_upscaled += 1
        yield frame
        progress(report)
    planned = job.source.frames
    if planned is not None and planned != report.frames_upscaled:  # lost in damage nobody named, or never coded
        report.note(f"{planned} packets gave {report.frames_upscaled} frames")
    if not report.frames_upscaled:
        raise InputError(f"{report.input}: no frame in the part asked for")


def _into_sink(job: Job, frames: Iterator[Frame], report: Report, pipe: BinaryIO) -> None:
    if job.sink == "null":
        sinks.null(frames, report)
    elif job.sink == "md5":
        sinks.md5(frames, report)
    else:
        sinks.raw(job, frames, pipe, report)
