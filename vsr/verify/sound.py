"""Sound that was encoded anew: heard from and to the same instants, one frame at most off, without holes."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain

from vsr.demux import open_input, packets
from vsr.job import Source
from vsr.report import Report
from vsr.settings import Limits
from vsr.sound import SLACK, SoundCodec, Span, decode, is_pcm, spans


def planned_sound(index: int, source: Source, pause: Fraction) -> list[Span]:
    """When a track of the source is heard in the job's range, in seconds from its origin; a `pause` is no gap yet."""
    (begin, end), heard = source.range, _decoded(source.path, index, source.limits)
    if begin is not None:
        heard = ((max(first, begin), last) for first, last in heard)
    if end is not None:
        heard = ((first, min(last, end)) for first, last in heard)
    return spans(((first - source.origin, last - source.origin) for first, last in heard if first < last), pause)


def written_sound(path: str, index: int, limits: Limits, codec: SoundCodec) -> list[Span]:
    """When a track of the output is heard: one packet less is a hole."""
    return spans(_decoded(path, index, limits), codec.frame / 2)


def _decoded(path: str, index: int, limits: Limits) -> Iterator[Span]:
    """(start, end) of every frame, in the order decoded."""
    end = Fraction(0)
    with open_input(path, limits) as container:
        stream = container.streams[index]
        for packet in chain(packets(container, [stream], Report()), [None]):
            for frame in decode(stream, packet, Report()):
                start = end if frame.pts is None else frame.pts * (frame.time_base or Fraction(1))
                end = start + Fraction(frame.samples, frame.sample_rate)
                yield start, end


def check_sound(codec: SoundCodec, planned: list[Span], written: list[Span], tick: Fraction, shift: Fraction) -> str:
    """What is wrong, or "". Encoders pad their last frame and, where the container can't tell, show their first."""
    if len(planned) != len(written):
        return f"heard in {len(written)} parts instead of {len(planned)}"
    starts = max((abs(b[0] - a[0] - shift) for a, b in zip(planned, written, strict=True)), default=Fraction(0))
    ends = max((abs(b[1] - a[1] - shift) for a, b in zip(planned, written, strict=True)), default=Fraction(0))
    if starts > tick + (0 if is_pcm(codec.encoder) else codec.frame):
        return f"starts {float(starts) * 1000:.1f} ms off"
    if ends > codec.frame + tick + SLACK:
        return f"ends {float(ends) * 1000:.1f} ms off"
    return ""
