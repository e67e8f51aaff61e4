"""The stages put together: decode -> upscale -> encode -> mux, verified, then renamed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from vsr import chunkfile, exports, sinks, y4m
from vsr.changes import Changes, present_aspect
from vsr.chunkfile import Encoded, sync_folder
from vsr.chunks import Chunk, split
from vsr.decode import FrameSource, Timeline, in_range, lasting, pictures
from vsr.deinterlace import deinterlaced
from vsr.demux import open_input, packets
from vsr.encode import encode_chunk
from vsr.errors import InputError, Interrupted
from vsr.frame import Frame
from vsr.graph import FrameSpec
from vsr.job import Job, Source, unchanged
from vsr.mux import global_header, mux, rehearse, writing
from vsr.prefetch import prefetch
from vsr.probe import probe
from vsr.report import Clock, LeftOut, Report, counted
from vsr.resume import WorkFolder, work_folder
from vsr.settings import EngineSettings, RunSettings
from vsr.signature import Signatures
from vsr.target import check_output, partial_name
from vsr.upscaler import UpscaleStage
from vsr.verify import verify

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

AHEAD = 4  # frames waiting between two stages: enough that none starves, little memory
PRIMING = Fraction(10)  # seconds before the first frame in which sound may begin
Progress = Callable[[Report], None]
Stop = Callable[[], int]


def upscale(src: str | os.PathLike[str], dst: str | os.PathLike[str], scale: int = 2, **options: object) -> Report:
    """Upscales a video file.

    Args:
        src, dst: input and output paths; the name of `dst` chooses the container (mp4, mkv, mov, webm, ts, gif, y4m, or
            numbered pictures, `%04d.png`). For single pictures there is `Upscaler`.
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
    stop: Stop = lambda: 0,
) -> Report:
    """Does a job. The output appears under its name only complete and verified.

    Args:
        progress: called after every frame.
        clock: what times in the report are read from.
        stop: asked after every frame; the number of the signal that asks for an end, or 0. What is done until then is
            written beside the output. (An exception ends the run too, without that.)

    Raises:
        VsrError: nothing was left under the output's name. Finished chunks are kept where the run can be gone on with.
    """
    report = Report(input=job.source.path, output=job.output or job.sink, notes=list(job.notes), clock=clock)
    begin = clock()
    if job.source.damage:
        report.damaged(job.source.damage)
    if job.sink:
        with upscaling(job, settings.engine, report) as frames:
            whole = _to_the_end(job, _watched(frames, report, progress, stop), report, stop)
            _into_sink(job, whole, report, settings)
    else:
        with work_folder(job, settings.resume, report) as work:
            _into_file(job, work, settings, report, progress, stop)
    report.seconds = clock() - begin
    return report


def _into_file(
    job: Job, work: WorkFolder, settings: RunSettings, report: Report, progress: Progress, stop: Stop
) -> None:
    rehearse(job)
    header = global_header(job)
    for chunks in work.missing():
        with upscaling(job, settings.engine, report, chunks=chunks) as frames:
            for chunk, group in split(_watched(frames, report, progress, stop), chunks):
                with writing(job.output):
                    encoded = work.store(chunk, encode_chunk(job, group, report, global_header=header), report)
                if stop():
                    _write_partial(job, work, encoded, settings, report)
                    raise Interrupted(f"stopped; {partial_name(job.output)} has what was done", signum=stop())
                with writing(job.output):
                    work.finish(encoded)
                needed, free = work.room()
                if needed > free:
                    report.note(f"the disk may run full: about {needed / 1e6:.0f} MB are needed")
    _check_count(job, report)
    signatures = Signatures()
    left_out = mux(job, signatures.seen(chunkfile.read(work.finished(), job.source.time_base)), work.part, report)
    publish(job, work.part, report, settings, left_out, signatures)


def publish(
    job: Job, part: Path, report: Report, settings: RunSettings, left_out: Set[LeftOut], signatures: Signatures
) -> None:
    """Verifies the finished part, then gives it its name.

    Raises:
        InputError: the input is no longer what it was at the start. VerificationError: the part isn't as planned.
    """
    source = job.source
    if not unchanged(source):
        raise InputError(f"{source.path}: changed while it was read, nothing was written; start again once it is whole")
    with report.stage("verify"):
        report.verified = verify(
            str(part),
            job,
            left_out,
            mode=settings.verify,
            upscaled=report.frames_upscaled,
            spoilt=report.damaged,
            damaged=bool(report.damaged_packets),
            encoded=signatures,
        )
    if settings.verify == "none":
        report.note("not verified (--verify none)")
    check_output(source.path, job.output, overwrite=settings.overwrite)
    with writing(job.output):
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(job.output)
        sync_folder(Path(job.output).parent)


def _write_partial(job: Job, work: WorkFolder, last: Encoded, settings: RunSettings, report: Report) -> None:
    """The finished chunks and the begun one as a file of its own, sound and all cut where the picture ends."""
    chunks = [*work.finished(before=last.index), last]
    if not any(chunk.frames for chunk in chunks):
        return
    source = job.source
    rows = next(chunk for chunk in reversed(chunks) if chunk.frames).rows()
    end = max(row.pts + row.duration for row in rows) + round(source.origin / source.time_base)
    begin = source.start if source.trimmed else source.start - round(PRIMING / source.time_base)
    cut = replace(
        source, start=begin, end=end, last_end=end, trimmed=True, frames=sum(chunk.frames for chunk in chunks)
    )
    short = replace(job, source=cut, output=partial_name(job.output))
    signatures = Signatures()
    left_out = mux(short, signatures.seen(chunkfile.read(chunks, source.time_base)), work.part, report)
    publish(short, work.part, report, settings, left_out, signatures)


@contextmanager
def upscaling(
    job: Job, engine: EngineSettings, report: Report, depth: int = AHEAD, chunks: Sequence[Chunk] = ()
) -> Iterator[Iterator[Frame]]:
    """The upscaled frames of neighbouring chunks (default: all of the job's).

    Decoder and network run in threads of their own, ahead of the consumer. Depth 0 runs everything in the caller's
    thread: same pixels, and the tests' oracle.
    """
    with UpscaleStage(job.network.applied(engine)) as stage:
        stage.prepare(first_spec(job.source))
        with decoded(job, report, chunks) as frames:
            waiting = prefetch(frames, depth, Frame.release)
            with closing(prefetch(_labelled(stage, waiting, report), depth, Frame.release)) as results:
                yield results
            stage.close()  # gives back the frames it has, while their decoder is there


def first_spec(source: Source) -> FrameSpec:
    """What the engine is opened for, as the first frame tells."""
    location = source.facts.colour.chroma_location
    return FrameSpec(format=source.format, width=source.width, height=source.height, location=location)


def _labelled(stage: UpscaleStage, upstream: Generator[Frame], report: Report) -> Generator[Frame]:
    with closing(upstream), closing(stage.frames(upstream)) as results:
        while True:
            with report.stage("network"):
                frame = next(results, None)
            if frame is None:
                break
            report.engine = stage.label
            for line in stage.notes:
                report.note(line)
            yield frame


@contextmanager
def decoded(job: Job, report: Report, chunks: Sequence[Chunk] = ()) -> Iterator[Generator[Frame]]:
    """Decoded frames of neighbouring chunks (default: all of the job's).

    Packets before them are read and passed over, a little more is decoded than asked for (see `Chunk.packet`): seeking
    would save the reading, but containers' indexes lie.
    """
    source, chunks = job.source, chunks or job.chunks
    begin, end = chunks[0].start, chunks[-1].end
    if source.path == "-":
        reader = y4m.Reader(sys.stdin.buffer, _y4m_header(source), report)
        yield in_range(reader.frames(), begin, end, report)
        reader.close()
        return
    with open_input(source.path, source.limits) as container:
        stream = next(s for s in container.streams.video if s.index == source.stream)
        stream.thread_type = "AUTO"
        timeline = Timeline(source.time_base, source.rate if source.untimed else None, source.nominal)
        frames = FrameSource(timeline, source.facts, report, source.format, Changes(report, present_aspect(stream)))
        coded = islice(packets(container, [stream], report), chunks[0].packet, None)
        shown: Iterable[VideoFrame] = pictures(stream, coded, report, since=begin, alpha=source.format.alpha)
        if source.deinterlace:
            shown = deinterlaced(shown, source.fields)
        kept = in_range(frames.frames(shown), begin, end, report)
        yield lasting(kept, source.last_end if end == source.end else end)
        frames.close()


def _y4m_header(source: Source) -> y4m.Header:
    return y4m.Header(
        width=source.width, height=source.height, rate=source.rate, format=source.format, facts=source.facts
    )


def _watched(frames: Iterable[Frame], report: Report, progress: Progress, stop: Stop) -> Iterator[Frame]:
    for frame in frames:
        report.frames_upscaled += 1
        yield frame
        progress(report)
        if stop():
            return


def _check_count(job: Job, report: Report) -> None:
    planned = job.source.frames
    if planned is not None and planned > report.frames_upscaled:  # lost in damage nobody named, or never coded
        report.note(f"{counted(report.frames_upscaled, 'frame')} could be decoded of {counted(planned, 'packet')}")
    if not report.frames_upscaled:
        raise InputError(f"{report.input}: no frame in the part asked for")


def _to_the_end(job: Job, frames: Iterable[Frame], report: Report, stop: Stop) -> Iterator[Frame]:
    """The frames, if they are all: what goes into a sink can't be gone on with, and half of it isn't wanted."""
    yield from frames
    if stop():
        raise Interrupted("stopped; this kind of output can't be gone on with, start again", signum=stop())
    _check_count(job, report)


def _into_sink(job: Job, frames: Iterator[Frame], report: Report, settings: RunSettings) -> None:
    if job.sink == "null":
        sinks.null(frames, report)
    elif job.sink == "md5":
        sinks.md5(frames, report)
    elif job.output:
        exports.write(job, frames, report, overwrite=settings.overwrite)
    else:
        sinks.raw(job, frames, sys.stdout.buffer, report)
