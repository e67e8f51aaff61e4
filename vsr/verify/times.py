"""The picture track's times: every frame there, at its time, and the last one as long as planned."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vsr.decode import Timeline, is_hidden, pictures
from vsr.demux import open_input, packets
from vsr.job import Job
from vsr.report import Report
from vsr.tracks import container_for
from vsr.verify.recording import Recording

if TYPE_CHECKING:
    from av.video.stream import VideoStream


def check_times(job: Job, found: Recording, upscaled: int, wrong: list[str]) -> Fraction:
    """Frame count and every pts; the common shift in seconds."""
    piped = job.source.path == "-"
    expected = numbered_times(job, upscaled) if piped else expected_times(job, decode=False)
    problem, shift = _compare(expected, found)
    if problem and not piped:  # packets aren't frames where the source is damaged or hides some: ask the decoder
        problem, shift = _compare(expected_times(job, decode=True), found)
    if problem:
        wrong.append(f"picture track: {problem}")
    if shift and container_for(job.output).exact:
        wrong.append(f"all tracks start {float(shift):+.6f} s off")
    return shift


def numbered_times(job: Job, count: int) -> Recording:
    """When `count` frames of a source without timestamps are to be shown, from the job's origin."""
    first = job.source.start - _origin(job)
    return Recording(job.source.time_base, array("q", range(first, first + count)))


def expected_times(job: Job, *, decode: bool) -> Recording:
    """When each frame of the job is to be shown, from its origin: by its packets, or by decoding them."""
    base, begin, end = job.source.time_base, job.source.start, job.source.end
    ticks: Iterable[int]
    with open_input(job.source.path, job.source.limits) as container:
        stream: Any = container.streams[job.source.stream]
        coded = packets(container, [stream], Report())
        if decode or job.source.untimed:
            stream.thread_type = job.source.threading  # how many frames a damaged stream gives depends on it
            timeline = Timeline(base, job.source.rate if job.source.untimed else None, job.source.nominal)
            shown = pictures(stream, coded, Report())
            ticks = (timeline.stamp(picture.pts, picture.dts, picture.duration)[0] for picture in shown)
        else:
            codec = stream.codec_context.name
            kept = (packet for packet in coded if not packet.is_discard and not is_hidden(codec, packet))
            ticks = (packet.pts for packet in kept if packet.pts is not None)
        chosen = sorted(tick - _origin(job) for tick in ticks if tick >= begin and (end is None or tick < end))
    return Recording(base, array("q", chosen))


def _origin(job: Job) -> int:
    """Ticks of the picture track that are taken off all times: an origin lies on a tick of every track."""
    return round(job.source.origin / job.source.time_base)


def _compare(expected: Recording, found: Recording) -> tuple[str, Fraction]:
    """(what differs, or ""; shift): times equal but for rounding, after a shift of whole ticks."""
    if len(expected) != len(found):
        return f"{len(found)} instead of {len(expected)}", Fraction(0)
    if not expected:
        return "", Fraction(0)
    near = (found.ticks[0] * found.tick - expected.ticks[0] * expected.tick) // found.tick * found.tick
    (worst, number), shift = min((found.off(expected, shift), shift) for shift in (near, near + found.tick))
    if worst <= found.rounding(expected):
        return "", shift
    return f"number {number} is {float(worst) * 1000:.3f} ms off", shift


def check_end(job: Job, track: VideoStream, last: Fraction | None, wrong: list[str]) -> None:
    """The track lasts as long as planned, to one tick, where the container says how long.

    Damage may have moved the `last` frame behind the planned end; then nobody knows better.
    """
    if job.source.last_end is None or track.duration is None or not container_for(job.output).exact:
        return
    base = track.time_base or Fraction(1)
    ends = (track.start_time or 0) * base + track.duration * base
    planned = job.source.last_end * job.source.time_base - job.source.origin
    if (last is None or last < planned) and abs(ends - planned) > max(base, job.source.time_base):
        wrong.append(f"the picture ends at {float(ends):.6f} s instead of {float(planned):.6f} s")
