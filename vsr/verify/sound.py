"""Sound that was encoded anew: heard from and to the same instants, one frame at most off, without holes."""

from __future__ import annotations

from fractions import Fraction

from vsr.demux import open_input, packets
from vsr.job import Source
from vsr.report import Report
from vsr.settings import Limits
from vsr.sound import PAUSE, SLACK, SoundCodec, Span, decode, spans


def planned_sound(index: int, source: Source) -> list[Span]:
    """When a track of the source is heard within the job's range, in seconds from its origin."""
    begin, end = source.range
    cut = []
    for first, last in _decoded(source.path, index, source.limits):
        first, last = max(first, begin or first), min(last, end or last)
        if first < last:
            cut.append((first - source.origin, last - source.origin))
    return spans(cut, PAUSE)


def written_sound(path: str, index: int, limits: Limits, codec: SoundCodec) -> list[Span]:
    """When a track of the output is heard: one packet less is a hole."""
    return spans(_decoded(path, index, limits), codec.frame / 2)


def _decoded(path: str, index: int, limits: Limits) -> list[Span]:
    """(start, end) of every frame, in the order decoded."""
    found: list[Span] = []
    with open_input(path, limits) as container:
        stream = container.streams[index]
        for packet in [*packets(container, [stream], Report()), None]:
            for frame in decode(stream, packet, Report()):
                before = found[-1][1] if found else Fraction(0)
                start = before if frame.pts is None else frame.pts * (frame.time_base or Fraction(1))
                found.append((start, start + Fraction(frame.samples, frame.sample_rate)))
    return found


def check_sound(codec: SoundCodec, planned: list[Span], written: list[Span], tick: Fraction, shift: Fraction) -> str:
    """What is wrong, or "". Encoders pad their last frame and, where the container can't tell, show their first."""
    if len(planned) != len(written):
        return f"heard in {len(written)} parts instead of {len(planned)}"
    starts = max((abs(b[0] - a[0] - shift) for a, b in zip(planned, written, strict=True)), default=Fraction(0))
    ends = max((abs(b[1] - a[1] - shift) for a, b in zip(planned, written, strict=True)), default=Fraction(0))
    if starts > codec.frame + tick:
        return f"starts {float(starts) * 1000:.1f} ms off"
    if ends > codec.frame + tick + SLACK:
        return f"ends {float(ends) * 1000:.1f} ms off"
    return ""
