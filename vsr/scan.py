"""What reading a video track's packets tells of its times; nothing is decoded."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from vsr import sidedata
from vsr.chunks import Key
from vsr.decode import is_hidden
from vsr.demux import packets
from vsr.errors import UsageError
from vsr.messages import in_packet, track_form
from vsr.report import Report
from vsr.sequences import RATE, pattern

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

    from vsr.settings import RunSettings

FALLBACK_RATE = Fraction(25)
INT = 2**31 - 1  # what FFmpeg's fractions are made of
RATES = (Fraction(1, 10), Fraction(1000))  # what a header may claim and be believed


@dataclass(frozen=True)
class Scan:
    """What reading every packet of the video track found; times in ticks, rising."""

    pts: tuple[int, ...]  # of presented frames
    keys: tuple[Key, ...]
    untimed: bool  # most packets have no pts, or the container makes them up
    clean: bool  # every packet has a pts of its own
    end: int | None  # of the last frame, where the file says how long it lasts
    side_data: frozenset[str]  # kinds that frames carry
    bits: float  # of a frame, on average
    missing: str = ""  # what the file says it has and doesn't


def scan(container: InputContainer, stream: VideoStream) -> Scan:
    """Reads the whole track's packets; nothing is decoded."""
    shown: list[tuple[int, int]] = []
    keys, missing, form, said, number, size = [], 0, track_form(stream), set[str](), -1, 0
    codec = stream.codec_context.name
    for number, packet in enumerate(packets(container, [stream], Report())):
        size += packet.size
        if packet.pts is None:
            missing += 1
        elif not packet.is_discard and not is_hidden(codec, packet):
            shown.append((packet.pts, packet.duration or 0))
            if packet.is_keyframe:
                keys.append(Key(packet.pts, number))
        said |= in_packet(packet, *form).keys()
        if codec == "png" and sidedata.profiled(bytes(packet)):
            said.add(sidedata.PROFILE)
    shown.sort()
    pts = tuple(sorted({time for time, _ in shown}))  # packets that share one make one frame
    end = sum(shown[-1]) if shown and shown[-1][1] else None
    if shown and stream.duration and "mp4" in container.format.name:  # its packets last until the next one decoded
        whole = (stream.start_time or 0) + stream.duration
        end = whole if whole > shown[-1][0] else end
    reordered_avi = container.format.name == "avi" and bool(stream.codec_context.has_b_frames)
    keys.sort(key=lambda key: key.pts)
    clean = not missing and len(pts) == len(shown)
    listed = stream.frames if "mp4" in container.format.name else 0  # elsewhere a guess of whoever wrote the header
    short = f"{listed} pictures are listed, {number + 1} can be read" if number + 1 < listed else ""
    bits = 8 * size / max(1, len(pts) or number + 1)
    return Scan(pts, tuple(keys), missing > len(shown) or reordered_avi, clean, end, frozenset(said), bits, short)


def pace(settings: RunSettings, stream: VideoStream, scanned: Scan) -> tuple[Fraction, Fraction]:
    """(seconds per tick, frames per second); numbered pictures and streams without times go as fast as the user says.

    Raises:
        UsageError: the input has times of its own.
    """
    base = stream.time_base or Fraction(1, 1000)
    if pattern(settings.input) is not None:  # the demuxer's ticks are places in the row
        rate = settings.rate or RATE
        return 1 / rate, rate
    if settings.rate is not None and not scanned.untimed:
        raise UsageError("--rate is for numbered pictures and streams without times; this input has its own")
    return base, settings.rate or _rate(stream, scanned, base)


def _rate(stream: VideoStream, scanned: Scan, base: Fraction) -> Fraction:
    """Average frames per second: counted where there are timestamps, else what the header claims."""
    if not scanned.untimed and len(scanned.pts) > 1:
        span = (scanned.pts[-1] - scanned.pts[0]) * base
        counted = (len(scanned.pts) - 1) / span
        claimed = stream.average_rate or stream.guessed_rate
        near = claimed and abs(claimed / counted - 1) < Fraction(1, 200)
        if claimed and near:
            return claimed
        return counted.limit_denominator(1001) or max(counted.limit_denominator(INT), Fraction(1, INT))
    claimed = stream.guessed_rate or stream.average_rate
    return claimed if claimed and RATES[0] <= claimed <= RATES[1] else FALLBACK_RATE


def nominal(scanned: Scan, rate: Fraction, base: Fraction) -> int:
    """Ticks of a frame that says nothing: the commonest distance between frames."""
    if not scanned.untimed and len(scanned.pts) > 1:
        return int(statistics.median_low([b - a for a, b in zip(scanned.pts, scanned.pts[1:], strict=False)]))
    return max(1, round(1 / rate / base))


def last_end(scanned: Scan, end: int | None) -> int | None:
    """Where the job's last frame ends: at the end of the range, or of the file where that comes first."""
    if scanned.untimed:
        return None
    cut = end is not None and (scanned.pts[-1] >= end or scanned.end is not None and scanned.end > end)
    return end if cut else scanned.end
