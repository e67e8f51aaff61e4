"""Frames as an animated GIF: a palette of its own for every frame, times in hundredths of a second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from vsr import fit
from vsr.demux import open_input
from vsr.errors import OutputError, VerificationError
from vsr.frame import Frame
from vsr.pictures import bgr, lies, upright
from vsr.report import Report, counted

if TYPE_CHECKING:
    from vsr.job import Job

TICK = Fraction(1, 100)  # seconds; GIF89a 23, "delay time"
SHORTEST = 2  # ticks; browsers and FFmpeg show frames of fewer for ten
FASTEST = 1 / (SHORTEST * TICK)  # frames a second
LONGEST = 65535  # ticks; the delay has 16 bits
MOST_REPEATS = 144  # of one frame, more than a day
LARGEST = 65535  # samples a side; GIF89a 18


def write(job: Job, frames: Iterable[Frame], part: Path, report: Report) -> list[int]:
    """Writes a GIF that repeats for ever.

    A frame begins at the hundredth nearest its time, so no error adds up; one that would come less than two hundredths
    after another is left out, and counted. Opacity is kept as clear or opaque, with half as the border.

    Returns:
        When each frame of the file begins, in ticks.
    """
    times: list[int] = []
    with av.open(f"file:{part}", "w", format="gif", container_options={"loop": "0"}) as target:
        stream: Any = target.add_stream("gif", rate=round(FASTEST))
        stream.codec_context.pix_fmt, stream.codec_context.time_base = "pal8", TICK
        for picture in _paletted(_bridged(_timed(job, frames, report), report), report):
            if not report.frames_written:
                stream.width, stream.height = picture.width, picture.height
            with report.stage("write"):
                for packet in stream.encode(picture):
                    packet.duration = min(picture.duration, LONGEST)  # how long the last one is shown
                    target.mux_one(packet)
            times.append(picture.pts or 0)
            report.frames_written += 1
        for packet in stream.encode(None):
            target.mux_one(packet)
    return times


def check(job: Job, part: Path, times: list[int]) -> list[str]:
    """Decodes the file. Raises VerificationError where frames, times or size aren't as written."""
    with open_input(str(part)) as written:
        stream = written.streams.video[0]
        found = [frame.pts for frame in written.decode(stream)]
        size = stream.width, stream.height
    shown = (job.size[1], job.size[0]) if lies(job.source.facts.display_matrix) else job.size
    if (found, size) != (times, shown):
        raise VerificationError(f"{job.output}: {len(found)} frames of {size[0]}x{size[1]}, or their times, are wrong")
    return [f"{counted(len(found), 'frame')}, times to {float(TICK / 2):g} s", f"{size[0]}x{size[1]}"]


def _timed(job: Job, frames: Iterable[Frame], report: Report) -> Iterator[VideoFrame]:
    """Frames far enough apart, as upright pictures with times in ticks."""
    last, left_out = -SHORTEST, 0
    for frame in frames:
        start = _ticks(frame.pts * frame.time_base - job.source.origin)
        end = _ticks((frame.pts + frame.duration) * frame.time_base - job.source.origin)
        report.media_seconds += float(frame.duration * frame.time_base)
        if start < last + SHORTEST:
            left_out += 1
            frame.release()
            continue
        samples = bgr(fit.frame(frame, job)).reformat(format="bgra", threads=1).to_ndarray()
        frame.release()
        picture = VideoFrame.from_ndarray(upright(samples, frame.facts.display_matrix), format="bgra")
        picture.pts, picture.time_base, picture.duration = start, TICK, max(SHORTEST, end - start)
        last = start
        yield picture
    if left_out:
        near = f"less than {float(SHORTEST * TICK):g} s after another"
        report.note(f"{counted(left_out, 'frame')} left out: {near}, too fast for GIF")


def _bridged(pictures: Iterable[VideoFrame], report: Report) -> Iterator[VideoFrame]:
    """The same pictures, each again and again where it is shown for longer than a delay can say.

    Raises:
        OutputError: a GIF would have to show one for days.
    """
    held: VideoFrame | None = None
    for picture in pictures:
        repeats = 0 if held is None else ((picture.pts or 0) - (held.pts or 0) - 1) // LONGEST
        if repeats > MOST_REPEATS:
            raise OutputError(
                f"{report.output}: a GIF can't wait days for a frame; --start and --duration leave it out"
            )
        for _ in range(repeats):
            assert held is not None
            held.pts = (held.pts or 0) + LONGEST
            yield held
            report.note(f"frames shown for more than {float(LONGEST * TICK):g} s are repeated: GIF can't say so long")
        yield picture
        held = picture


def _ticks(seconds: Fraction) -> int:
    return round(seconds / TICK)


def _paletted(pictures: Iterable[VideoFrame], report: Report) -> Iterator[VideoFrame]:
    """The same pictures in 256 colours each, chosen for each, errors spread to neighbouring samples."""
    graph: Graph | None = None
    for picture in pictures:
        with report.stage("palette"):
            graph = graph or _graph(picture)
            graph.vpush(picture)
            paletted = graph.vpull()
        yield paletted


def _graph(like: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=like.width, height=like.height, format=like.format, time_base=TICK)
    split, chosen = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    mapped = graph.add("paletteuse", "new=1:dither=sierra2_4a")
    source.link_to(split)
    split.link_to(mapped, 0, 0)
    split.link_to(chosen, 1, 0)
    chosen.link_to(mapped, 0, 1)
    mapped.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
