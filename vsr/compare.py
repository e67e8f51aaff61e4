"""Videos of the same pictures: frames paired by presentation time; luma PSNR, SSIM and flicker of every pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import numpy as np

from vsr.demux import open_input, packets, video_stream
from vsr.errors import InputError
from vsr.frame import FULL, Frame, Plane
from vsr.job import Job
from vsr.meter import Meter, Scores
from vsr.pipeline import decoded
from vsr.probe import probe
from vsr.report import Report
from vsr.scan import pace, scan
from vsr.settings import RunSettings


class Scorer(Protocol):
    """Further scores of pairs of frames, as VMAF's."""

    def add(self, reference: Plane, result: Plane, depth: int) -> None:
        """One pair of luma planes."""

    def scores(self) -> dict[str, list[float]]:
        """By name, a value for every pair; nothing can be added after."""


@dataclass(frozen=True)
class Comparison:
    """A result against its reference.

    Args:
        offset: seconds by which the result's times are later; they were taken off.
        reference_alone, result_alone: seconds, each video's own, of frames that had no partner.
        notes: what else should be known of the numbers.
        damaged: places in which the two files are damaged.
    """

    scores: Scores
    offset: float
    reference_alone: list[float]
    result_alone: list[float]
    notes: list[str]
    damaged: int


def compare(
    reference: str,
    result: str,
    *,
    frames: int | None = None,
    scorer: Scorer | None = None,
    step: Callable[[], None] = lambda: None,
) -> Comparison:
    """Every pair of frames that are shown at the same time, to a quarter of the reference's frame distance.

    Times are as the files say, or counted from each one's first frame where only then no frame of the shorter one is
    left over: containers differ in where they begin. Depths may differ: the lower one's samples are multiplied. PSNR
    and SSIM take the whole frame, with the deeper one's maximum as peak.

    Args:
        frames: of the reference, from its first; None: all.
        step: called after each pair.

    Raises:
        InputError: a file can't be read, sizes differ, or no frame has a partner.
    """
    wanted, given = times(reference), times(result)
    if not wanted or not given:
        raise InputError(f"{result if wanted else reference}: not one frame is in the file")
    end = None
    if frames is not None:
        end = None if frames >= len(wanted) else (wanted[frames - 1] + wanted[frames]) / 2
        wanted = wanted[:frames]
    one = _job(reference, wanted[0], end)
    tolerance = one.source.nominal * one.source.time_base / 4
    offset = best_offset(wanted, given, tolerance)
    if not _partners(wanted, given, offset, tolerance):
        raise InputError(f"{result}: no frame is shown when one of {reference} is; are these the same video?")
    other = _job(result, given[0], None if end is None else end + offset)
    reports, apart = (Report(), Report()), Alone()
    depth = max(job.source.format.depth for job in (one, other))
    meter = Meter(depth=depth)
    with decoded(one, reports[0]) as these, decoded(other, reports[1]) as those, closing(these), closing(those):
        for a, b in paired(these, those, offset=offset, tolerance=tolerance, alone=apart):
            _check_sizes(reference, a, result, b)
            planes = _deep(a, depth), _deep(b, depth)
            meter.add(float(_time(a)), *planes)
            if scorer is not None:
                scorer.add(*planes, depth)
            step()
    meter.scores.vmaf.update(scorer.scores() if scorer is not None else {})
    damaged = sum(report.damaged_packets for report in reports) + sum(bool(job.source.damage) for job in (one, other))
    return Comparison(meter.scores, float(offset), apart.reference, apart.result, _notes(one, other), damaged)


def times(path: str) -> list[Fraction]:
    """Seconds at which frames are shown, as their packets say; of streams without times, as their number says."""
    with open_input(path) as container:
        stream = video_stream(container, path)
        scanned, base = scan(container, stream), stream.time_base or Fraction(1, 1000)
    if not scanned.untimed and scanned.pts:
        return [pts * base for pts in scanned.pts]
    with open_input(path) as container:
        stream = video_stream(container, path)
        _, rate = pace(RunSettings(input=path, output=""), stream, scanned)
        return [n / rate for n, _ in enumerate(packets(container, [stream], Report()))]


def best_offset(wanted: Sequence[Fraction], given: Sequence[Fraction], tolerance: Fraction) -> Fraction:
    """What to take off the times `given`: nothing, unless all frames of one side pair only when both begin together."""
    moved = given[0] - wanted[0]
    as_they_are, together = (_partners(wanted, given, offset, tolerance) for offset in (Fraction(0), moved))
    return moved if as_they_are < together == min(len(wanted), len(given)) else Fraction(0)


def _partners(wanted: Sequence[Fraction], given: Sequence[Fraction], offset: Fraction, tolerance: Fraction) -> int:
    found = place = 0
    for time in wanted:
        while place < len(given) and given[place] - offset < time - tolerance:
            place += 1
        if place < len(given) and given[place] - offset <= time + tolerance:
            found, place = found + 1, place + 1
    return found


@dataclass(frozen=True)
class Alone:
    """Seconds, by each video's own clock, of frames without a partner."""

    reference: list[float] = field(default_factory=list)
    result: list[float] = field(default_factory=list)


def paired(
    reference: Iterator[Frame], result: Iterator[Frame], *, offset: Fraction, tolerance: Fraction, alone: Alone
) -> Iterator[tuple[Frame, Frame]]:
    """Frames shown together, the result's times `offset` later; each pair is released when the next is asked for."""
    a, b = next(reference, None), next(result, None)
    while a is not None or b is not None:
        late = None if a is None or b is None else _time(b) - offset - _time(a)
        if a is not None and b is not None and late is not None and abs(late) <= tolerance:
            yield a, b
            a.release()
            b.release()
            a, b = next(reference, None), next(result, None)
        elif a is not None and (late is None or late > 0):
            alone.reference.append(float(_time(a)))
            a.release()
            a = next(reference, None)
        elif b is not None:
            alone.result.append(float(_time(b)))
            b.release()
            b = next(result, None)


def _time(frame: Frame) -> Fraction:
    return frame.pts * frame.time_base


def _deep(frame: Frame, depth: int) -> Plane:
    """Its luma in `depth` bits, in memory of its own."""
    kind = np.uint8 if depth == 8 else np.uint16
    return np.left_shift(frame.planes[0], depth - frame.format.depth, dtype=kind)


def _job(path: str, first: Fraction, end: Fraction | None) -> Job:
    """Reading a file to `end` on its own clock; the network named in it never runs."""
    duration = None if end is None else float(end - first)
    return probe(RunSettings(input=path, output="", sink="null", duration=duration))


def _check_sizes(reference: str, a: Frame, result: str, b: Frame) -> None:
    if (a.width, a.height) != (b.width, b.height):
        raise InputError(
            f"{result} is {b.width}x{b.height} and {reference} {a.width}x{a.height}; "
            "only videos of one size can be compared"
        )


def _notes(one: Job, other: Job) -> list[str]:
    """What of the two files makes the numbers mean something else."""
    notes = []
    full = [job.source.facts.colour.range == FULL for job in (one, other)]
    if full[0] != full[1]:
        said = ["full range" if each else "limited range" for each in full]
        notes.append(f"the reference is of {said[0]}, the result of {said[1]}: luma is compared as it is stored")
    if one.source.facts.display_matrix != other.source.facts.display_matrix:
        notes.append("one of the two is to be shown turned: pictures are compared as they are stored")
    return notes
