"""What frames carry besides samples: captions, HDR10+, active format, as in the source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vsr import sidedata
from vsr.decode import Timeline, pictures
from vsr.demux import open_input, packets
from vsr.job import Job
from vsr.messages import in_packet, track_form
from vsr.report import Report

if TYPE_CHECKING:
    from av.container import InputContainer

Said = tuple[Fraction, dict[str, bytes]]  # seconds, content by kind


def check_side_data(job: Job, output: str, shift: Fraction, wrong: list[str]) -> list[str]:
    """Every frame's: there, in order, in time and the same. By packets; where these differ, by decoding both files."""
    encoder, base = job.encoder, job.source.time_base
    assert encoder is not None
    checked = [sidedata.NAMES[kind] for kind in encoder.side_data if kind not in sidedata.CHANGING]  # by the picture
    kinds = [kind for kind in sidedata.CHANGING if kind in job.source.side_data and kind in encoder.side_data]
    if not kinds:
        return checked
    with open_input(job.source.path, job.source.limits) as original, open_input(output, job.output_limits) as written:
        tolerance = (written.streams[0].time_base or base) + base  # a repaired time slips by a tick
        expected = _in_range(job, _by_packets(original, job.source.stream))
        found = _shifted(_by_packets(written, 0), shift)
        problems = {kind: _compare(kind, expected, found, tolerance) for kind in kinds}
    if any(problems.values()):
        expected, found = _in_range(job, _by_source_frames(job)), _shifted(_by_frames(job, output), shift)
        problems = {kind: problem and _compare(kind, expected, found, tolerance) for kind, problem in problems.items()}
    wrong += [f"{sidedata.NAMES[kind]}: {problem}" for kind, problem in problems.items() if problem]
    return checked + [f"{sidedata.NAMES[kind]}, every frame's" for kind in kinds]


def _by_packets(container: InputContainer, index: int) -> Iterator[Said]:
    stream: Any = container.streams[index]
    form = track_form(stream)
    for packet in packets(container, [stream], Report()):
        said = {} if packet.pts is None or packet.is_discard else in_packet(packet, *form)
        if packet.pts is not None and said:
            yield packet.pts * packet.time_base, said


def _by_frames(job: Job, output: str) -> Iterator[Said]:
    with open_input(output, job.output_limits) as container:
        stream: Any = container.streams[0]
        for picture in pictures(stream, packets(container, [stream], Report()), Report()):
            yield (picture.pts or 0) * stream.time_base, sidedata.changing(picture)


def _by_source_frames(job: Job) -> Iterator[Said]:
    """As the run saw it: by the same decoder, in as many threads, with repaired times."""
    base, rate = job.source.time_base, job.source.rate if job.source.untimed else None
    timeline = Timeline(base, rate, job.source.nominal)
    with open_input(job.source.path, job.source.limits) as container:
        stream: Any = container.streams[job.source.stream]
        stream.thread_type = job.source.threading
        for picture in pictures(stream, packets(container, [stream], Report()), Report()):
            yield timeline.stamp(picture.pts, picture.dts, picture.duration)[0] * base, sidedata.changing(picture)


def _shifted(said: Iterable[Said], shift: Fraction) -> list[Said]:
    return [(time - shift, what) for time, what in said]


def _in_range(job: Job, said: Iterable[Said]) -> list[Said]:
    base, origin = job.source.time_base, job.source.origin
    begin, end = job.source.start * base, None if job.source.end is None else job.source.end * base
    return [(time - origin, what) for time, what in said if time >= begin and (end is None or time < end)]


def _compare(kind: str, expected: list[Said], found: list[Said], tolerance: Fraction) -> str:
    """What differs, or ""."""
    should, is_ = _of(kind, expected), _of(kind, found)
    if len(should) != len(is_):
        return f"{len(is_)} instead of {len(should)}"
    pairs = zip(should, is_, strict=True)
    differ = sum(a[1] != b[1] or abs(a[0] - b[0]) > tolerance for a, b in pairs)
    return f"{differ} of {len(should)} differ" if differ else ""


def _of(kind: str, said: list[Said]) -> list[tuple[Fraction, bytes]]:
    """One kind's in order of presentation. All but captions hold until the next one, so repeats count as one."""
    ordered = sorted(((time, what[kind]) for time, what in said if kind in what), key=lambda entry: entry[0])
    if kind == sidedata.CAPTIONS:
        return ordered
    return [entry for index, entry in enumerate(ordered) if not index or entry[1] != ordered[index - 1][1]]
