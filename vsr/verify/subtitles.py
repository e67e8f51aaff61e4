"""Text subtitles in another form: the same words at the same times, styles aside."""

from __future__ import annotations

from fractions import Fraction

from vsr.demux import open_input, packets
from vsr.job import Source
from vsr.report import Report
from vsr.settings import Limits
from vsr.subtitles import Cue, cut, decode, in_sequence


def planned_cues(index: int, source: Source) -> list[Cue]:
    """What a track of the source shows within the job's range, one after the other, from the job's origin."""
    origin = source.origin
    chosen = [cut(cue, source) for cue in _cues(source.path, index, source.limits)]
    return in_sequence(Cue(cue.start - origin, cue.end - origin, cue.text) for cue in chosen if cue)


def written_cues(path: str, index: int, limits: Limits) -> list[Cue]:
    """What a track of the output shows, one after the other."""
    return in_sequence(_cues(path, index, limits))


def _cues(path: str, index: int, limits: Limits) -> list[Cue]:
    with open_input(path, limits) as container:
        stream = container.streams[index]
        found = (decode(stream, packet, Report()) for packet in packets(container, [stream], Report()))
        return [cue for cue in found if cue is not None]


def check_subtitles(planned: list[Cue], written: list[Cue], tick: Fraction, shift: Fraction) -> str:
    """What is wrong, or "". Start and end are rounded each by itself, so two ticks may vanish."""
    planned = [cue for cue in planned if cue.end - cue.start > 2 * tick]
    written = [cue for cue in written if cue.end - cue.start > 2 * tick]
    if len(planned) != len(written):
        return f"{len(written)} cues instead of {len(planned)}"
    for should, is_ in zip(planned, written, strict=True):
        if should.plain != is_.plain:
            return f"{is_.plain!r} instead of {should.plain!r}"
        if max(abs(is_.start - should.start - shift), abs(is_.end - should.end - shift)) > 2 * tick:
            return f"{is_.plain!r} is shown from {float(is_.start):.3f} to {float(is_.end):.3f} s"
    return ""
