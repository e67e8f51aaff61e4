"""The stages put together: decode -> upscale -> encode -> mux, verified, then renamed."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from vsr import chunkfile, exports, sinks, y4m
from vsr.changes import Changes, present_aspect
from vsr.chunkfile import Encoded
from vsr.chunks import Chunk, split
from vsr.decode import FrameSource, Timeline, in_memory, in_range, lasting, pictures
from vsr.deinterlace import deinterlaced
from vsr.demux import open_input, packets
from vsr.encode import encode_chunk
from vsr.errors import InputError, Interrupted
from vsr.frame import Frame, Memory
from vsr.graph import FrameSpec
from vsr.hardware import nvdec
from vsr.job import Job, Source
from vsr.lanes import Progress, Share, Stop, each_gpu, shares, together
from vsr.mux import global_header, mux, rehearse, writing
from vsr.prefetch import prefetch
from vsr.probe import probe
from vsr.publish import publish, publish_partial
from vsr.report import Clock, Recorder, Report, counted
from vsr.resident import surfaces_of
from vsr.resume import WorkFolder, work_folder
from vsr.settings import EngineSettings, RunSettings
from vsr.signature import Signatures
from vsr.target import partial_name
from vsr.upscaler import UpscaleStage

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame

AHEAD = 4  # frames waiting between two stages: enough that none starves, little memory


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

    A frame's planes are valid until the next one is asked for, and may be the next one's too: copy what you keep or
    write to. `options` as for `upscale`.
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
    engines: Sequence[EngineSettings] = (),
    recorder: Recorder | None = None,
) -> Report:
    """Does a job. The output appears under its name only complete and verified.

    Args:
        progress: called after every frame.
        clock: what times in the report are read from.
        stop: asked after every frame; the number of the signal that asks for an end, or 0. What is done until then is
            written beside the output. (An exception ends the run too, without that.)
        engines: each for a share of a file's chunks, side by side; none: one for each GPU of the settings.
        recorder: see `vsr.report`.

    Raises:
        VsrError: nothing was left under the output's name. Finished chunks are kept where the run can be gone on with.
    """
    report = Report(job.source.path, job.output or job.sink, notes=list(job.notes), clock=clock, recorder=recorder)
    begin = clock()
    if job.source.damage:
        report.damaged(job.source.damage)
    if job.sink:
        with upscaling(job, settings.engine, report, progress=progress) as frames:
            whole = _to_the_end(job, _watched(frames, report, progress, stop), report, stop)
            _into_sink(job, whole, report, settings)
    else:
        with work_folder(job, settings.resume, report) as work:
            _into_file(job, work, settings, engines or each_gpu(settings.engine), report, progress, stop)
    report.seconds = clock() - begin
    return report


def _into_file(
    job: Job,
    work: WorkFolder,
    settings: RunSettings,
    engines: Sequence[EngineSettings],
    report: Report,
    progress: Progress,
    stop: Stop,
) -> None:
    rehearse(job)
    lane = partial(_lane, job, work, global_header(job), threading.Lock())
    parts = shares(work.missing(), len(engines))
    lanes = [partial(lane, engine, part) for engine, part in zip(engines, parts, strict=False)]
    cut = [encoded for encoded in together(lanes, report, progress, stop) if encoded]
    if cut:
        publish_partial(job, work, min(cut, key=attrgetter("index")), settings, report)
        raise Interrupted(f"stopped; {partial_name(job.output)} has what was done", signum=stop())
    _check_count(job, report)
    signatures = Signatures()
    left_out = mux(job, signatures.seen(chunkfile.read(work.finished(), job.source.time_base)), work.part, report)
    publish(job, work.part, report, settings, left_out, signatures, report.frames_upscaled)


def _lane(
    job: Job,
    work: WorkFolder,
    header: bool,
    finishing: threading.Lock,
    engine: EngineSettings,
    runs: Share,
    report: Report,
    progress: Progress,
    stop: Stop,
) -> Encoded | None:
    """Stores a share of the chunks. When asked to stop: the one that was begun, cut short."""
    for chunks in runs:
        with upscaling(job, engine, report, chunks=chunks, progress=progress) as frames:
            groups = split(_watched(frames, report, progress, stop), chunks)
            for chunk, group in groups:
                with writing(job.output):
                    encoded = work.store(chunk, encode_chunk(job, group, report, global_header=header), report)
                if stop():
                    for _, begun in groups:  # a frame at most
                        for frame in begun:
                            frame.release()
                    return encoded
                with finishing, writing(job.output):
                    work.finish(encoded)
                    needed, free = work.room()
                if needed > free:
                    report.note(f"the disk may run full: about {needed / 1e6:.0f} MB are needed")
    return None


@contextmanager
def upscaling(
    job: Job,
    engine: EngineSettings,
    report: Report,
    depth: int = AHEAD,
    chunks: Sequence[Chunk] = (),
    progress: Progress = lambda report: None,
) -> Iterator[Iterator[Frame]]:
    """The upscaled frames of neighbouring chunks (default: all of the job's).

    Decoder and network run in threads of their own, ahead of the consumer. Depth 0 runs everything in the caller's
    thread: same pixels, and the tests' oracle. What an engine says while it opens is passed on at once by `progress`.
    """

    def say(line: str) -> None:
        report.note(line)
        progress(report)

    settings = job.network.applied(engine)
    if job.source.resident:  # frames are compared in memory only
        settings = replace(settings, reuse="off")
    with UpscaleStage(settings, say=say) as stage:
        memory = stage.prepare(first_spec(job.source))
        with decoded(job, report, chunks, memory, engine.device, stay=stage.takes_surfaces) as frames:
            waiting = prefetch(frames, depth, Frame.release)
            with closing(prefetch(_labelled(stage, waiting, report), depth, Frame.release)) as results:
                yield results
            stage.close()  # gives back the frames it has, while their decoder is there


def first_spec(source: Source) -> FrameSpec:
    """What the engine is opened for, as the first frame tells."""
    location = source.facts.colour.chroma_location
    size = {"width": source.width, "height": source.height}
    return FrameSpec(format=source.format, **size, location=location, surfaces=source.resident)


def _labelled(stage: UpscaleStage, upstream: Generator[Frame], report: Report) -> Generator[Frame]:
    before = report.frames_spared
    with closing(upstream), closing(stage.frames(upstream)) as results:
        while True:
            with report.stage("network"):
                frame = next(results, None)
            if frame is None:
                break
            report.engine, report.frames_spared = stage.label, before + stage.spared
            for line in stage.notes:
                report.note(line)
            yield frame


@contextmanager
def decoded(
    job: Job,
    report: Report,
    chunks: Sequence[Chunk] = (),
    memory: Memory | None = None,
    device: int = 0,
    *,
    stay: bool = False,
) -> Iterator[Generator[Frame]]:
    """Decoded frames of neighbouring chunks (default: all of the job's), in memory of this kind, by this GPU if any.

    With `stay` they may be left on the GPU, see `Frame.surface`.

    Packets before them are read and passed over, a little more is decoded than asked for (see `Chunk.packet`): seeking
    would save the reading, but containers' indexes lie.
    """
    source, chunks = job.source, chunks or job.chunks
    begin, end = chunks[0].start, chunks[-1].end
    if source.path == "-":
        reader = y4m.Reader(sys.stdin.buffer, _y4m_header(source), report, memory)
        yield in_range(reader.frames(), begin, end, report)
        reader.close()
        return
    with ExitStack() as opened:
        surfaces = opened.enter_context(surfaces_of(source, device, report)) if stay else None
        accelerator = nvdec(device, stays=surfaces is not None) if source.hwaccel == "cuda" else None
        container = opened.enter_context(open_input(source.path, source.limits, accelerator))
        stream: Any = container.streams[source.stream]
        stream.thread_type = source.threading
        timeline = Timeline(source.time_base, source.rate if source.untimed else None, source.nominal)
        changes, place = Changes(report, present_aspect(stream)), surfaces.of if surfaces else in_memory
        frames = FrameSource(timeline, source.facts, report, source.format, changes, memory, place)
        coded = islice(_read(packets(container, [stream], report), report), chunks[0].packet, None)
        shown: Iterable[VideoFrame] = pictures(stream, coded, report, since=begin, alpha=source.format.alpha)
        if source.deinterlace:
            shown = deinterlaced(shown, source.fields)
        if surfaces is not None:
            shown = surfaces.to_the_end(shown)
        kept = in_range(frames.frames(shown), begin, end, report)
        yield lasting(kept, source.last_end if end == source.end else end)
        frames.close()


def _read(coded: Iterator[Packet[Any]], report: Report) -> Iterator[Packet[Any]]:
    while True:
        with report.stage("demux"):
            packet = next(coded, None)
        if packet is None:
            return
        yield packet


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
