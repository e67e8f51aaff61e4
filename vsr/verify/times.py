"""The picture track's times: every frame there, at its time, and the last one as long as planned."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vsr.decode import Timeline, pictures
from vsr.demux import open_input, packets
from vsr.job import Job
from vsr.report import Report
from vsr.tracks import container_for
from vsr.verify.recording import Recording

if TYPE_CHECKING:
    from av.video.stream import VideoStream


def check_times(job: Job, source: str, found: Recording, upscaled: int, wrong: list[str]) -> Fraction:
    """Frame count and every pts; the common shift."""
    expected = numbered_times(job, upscaled) if source == "-" else expected_times(job, source, decode=False)
    problem, shift = _compare(expected, found.times, job.source.time_base, found.tick)
    if problem and source != "-":  # packets aren't frames where the source is damaged or hides some: ask the decoder
        expected = expected_times(job, source, decode=True)
        problem, shift = _compare(expected, found.times, job.source.time_base, found.tick)
    if problem:
        wrong.append(f"picture track: {problem}")
    if shift and container_for(job.output).exact:
        wrong.append(f"all tracks start {float(shift):+.6f} s off")
    return shift


def numbered_times(job: Job, count: int) -> list[Fraction]:
    """When `count` frames of a source without timestamps are to be shown, in seconds from the job's origin."""
    start = job.source.start
    return [tick * job.source.time_base - job.source.origin for tick in range(start, start + count)]


def expected_times(job: Job, source: str, *, decode: bool) -> list[Fraction]:
    """When each frame of the job is to be shown, in seconds from its origin: by its packets, or by decoding them."""
    base, begin, end = job.source.time_base, job.source.start, job.source.end
    with open_input(source, job.source.limits) as container:
        stream: Any = container.streams[job.source.stream]
        coded = packets(container, [stream], Report())
        ticks: list[int]
        if decode or job.source.untimed:
            stream.thread_type = "AUTO"  # as in the run: how many frames a damaged stream gives depends on it
            timeline = Timeline(base, job.source.rate if job.source.untimed else None, job.source.nominal)
            shown = pictures(stream, coded, Report())
            ticks = [timeline.stamp(picture.pts, picture.dts, picture.duration)[0] for picture in shown]
        else:
            ticks = sorted(packet.pts for packet in coded if packet.pts is not None and not packet.is_discard)
    return [tick * base - job.source.origin for tick in ticks if tick >= begin and (end is None or tick < end)]


def _compare(
    expected: Sequence[Fraction], found: Sequence[Fraction], base: Fraction, tick: Fraction
) -> tuple[str, Fraction]:
    """(what differs, or ""; shift): times equal after a shift of whole ticks, exactly where `tick` divides `base`."""
    if len(expected) != len(found):
        return f"{len(found)} instead of {len(expected)}", Fraction(0)
    if not expected:
        return "", Fraction(0)
    tolerance = Fraction(0) if (base / tick).denominator == 1 else tick / 2
    near = (found[0] - expected[0]) // tick * tick
    shifts = sorted((near, near + tick), key=lambda s: _worst(expected, found, s)[0])
    worst, index = _worst(expected, found, shifts[0])
    if worst <= tolerance:
        return "", shifts[0]
    return f"number {index} is {float(worst) * 1000:.3f} ms off", shifts[0]


def _worst(expected: Sequence[Fraction], found: Sequence[Fraction], shift: Fraction) -> tuple[Fraction, int]:
    return max((abs(b - a - shift), index) for index, (a, b) in enumerate(zip(expected, found, strict=True)))


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
