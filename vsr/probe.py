"""probe(settings) -> Job: looks at the input once and decides everything."""

from __future__ import annotations

import os
import statistics
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from math import ceil, gcd, lcm
from pathlib import Path
from typing import TYPE_CHECKING

from av.video.format import VideoFormat

from vsr import __version__, exports, sidedata, tracks, y4m
from vsr.boxes import cut_short
from vsr.changes import present_aspect
from vsr.chunks import Chunk, Key, cut
from vsr.colour import read_facts
from vsr.convert import has_alpha, is_rgb, opacity, planar_format
from vsr.decode import keeps_alpha_apart, pictures
from vsr.deinterlace import fields
from vsr.demux import open_input, packets, video_stream
from vsr.encode import (
    encoder_threads,
    keeps_aspect,
    keeps_location,
    keeps_range,
    output_aspect,
    repeatable,
    stored_location,
)
from vsr.encoders import choose_encoder, even, facts_of, finer
from vsr.errors import InputError, OutputError, UsageError
from vsr.frame import PlanarFormat
from vsr.job import Encoder, Job, Network, Source, identity
from vsr.limits import check_size, fitting
from vsr.messages import in_packet, track_form
from vsr.models import resolve
from vsr.report import Report
from vsr.sei import family_of
from vsr.sequences import RATE, pattern
from vsr.settings import SCALES, EngineSettings, RunSettings
from vsr.tracks import CONTAINERS, Track, container_for

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FULL_RANGE = 2  # AVCOL_RANGE
OPAQUE = 255
FALLBACK_RATE = Fraction(25)
REORDERED = 16  # frames in the first chunk at least: more than any encoder reorders, so that its depth shows
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
    missing: str = ""  # what the file says it has and doesn't


def scan(container: InputContainer, stream: VideoStream) -> Scan:
    """Reads the whole track's packets; nothing is decoded."""
    shown: list[tuple[int, int]] = []
    keys, missing, form, said, number = [], 0, track_form(stream), set[str](), -1
    for number, packet in enumerate(packets(container, [stream], Report())):
        if packet.pts is None:
            missing += 1
        elif not packet.is_discard:
            shown.append((packet.pts, packet.duration or 0))
            if packet.is_keyframe:
                keys.append(Key(packet.pts, number))
        said |= in_packet(packet, *form).keys()
        if stream.codec_context.name == "png" and sidedata.profiled(bytes(packet)):
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
    return Scan(pts, tuple(keys), missing > len(shown) or reordered_avi, clean, end, frozenset(said), short)


def probe(settings: RunSettings) -> Job:
    """Decides a run: opens the input, scans its packets, decodes its first frame, writes nothing.

    Raises:
        UsageError, InputError, OutputError: one line each.
    """
    settings.validate()
    if settings.sink is None:
        check_output(settings.input, settings.output, overwrite=settings.overwrite)
        if settings.partial:
            check_output(settings.input, partial_name(settings.output), overwrite=settings.overwrite)
        if exports.sink_for(settings.output) == "pictures":
            exports.check_numbered(settings.input, settings.output, overwrite=settings.overwrite)
    if settings.input == "-":
        source = _piped(y4m.read_header(sys.stdin.buffer), settings)
        return _job(settings, source, (), (Chunk(index=0, start=source.start, end=source.end),), [])
    with open_input(settings.input, settings.limits) as container:
        scanned = scan(container, video_stream(container, settings.input, settings.limits, settings.stream))
    with open_input(settings.input, settings.limits) as container:
        stream = video_stream(container, settings.input, settings.limits, settings.stream)
        fate: tuple[Track, ...] = ()
        notes: list[str] = []
        if settings.sink is None and settings.output != "-":
            fate = _fate(settings, container, stream.index)
            if not exports.sink_for(settings.output):
                target = container_for(settings.output)
                notes = tracks.notes(container, stream, fate, target, later=settings.start > 0)
        source = _source(settings, container, stream, scanned, fate)
    return _job(settings, source, fate, _chunks(settings, source, scanned), notes)


def _chunks(settings: RunSettings, source: Source, scanned: Scan) -> tuple[Chunk, ...]:
    """One chunk where timestamps have to be mended: what they become depends on all the frames before."""
    settled = [pts for pts in scanned.pts if pts >= source.start][REORDERED:]
    if source.untimed or not scanned.clean or not settled:
        return (Chunk(index=0, start=source.start, end=source.end),)
    length = max(1, round(Fraction(settings.chunk) / source.time_base))
    return cut(scanned.keys, source.start, source.end, length, settled[0])


def partial_name(output: str) -> str:
    """Where the playable part of a stopped run goes: `film.partial.mp4` for `film.mp4`."""
    path = Path(output)
    return str(path.with_name(f"{path.stem}.partial{path.suffix}"))


def _fate(settings: RunSettings, container: InputContainer, index: int) -> tuple[Track, ...]:
    """What becomes of the tracks besides the upscaled one, number `index`."""
    if not exports.sink_for(settings.output):
        return tracks.plan(container, index, container_for(settings.output), settings.audio)
    return tracks.left(container, index, f"has no place in {Path(settings.output).suffix}")


def check_output(source: str, output: str, *, overwrite: bool) -> None:
    """Refuses what would lose a file or fail at the end: output equal to input, existing, or in no writable folder.

    Raises:
        OutputError: with what to do about it.
    """
    if output == "-":
        return
    path = Path(output)
    if path.exists() and source != "-" and Path(source).exists() and path.samefile(source):
        raise OutputError(f"{output}: is the input itself; choose another name")
    if path.is_dir():
        raise OutputError(f"{output}: is a folder; name a file, or give a folder as input too")
    if path.exists() and not overwrite:
        raise OutputError(f"{output}: exists already (--overwrite replaces it once the new file is verified)")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path.parent}: can't write there")


def _piped(header: y4m.Header, settings: RunSettings) -> Source:
    check_size("standard input", header.width, header.height, settings.limits)
    start = round(Fraction(settings.start) * header.rate)
    end = None if settings.duration is None else start + round(Fraction(settings.duration) * header.rate)
    return Source(
        path="-", bytes=0, modified_ns=0, stream=0, width=header.width, height=header.height, format=header.format,
        pix_fmt=header.format.pix_fmt, codec="y4m", facts=header.facts, time_base=1 / header.rate, rate=header.rate,
        untimed=True, nominal=1, frames=None, start=start, end=end, trimmed=start > 0 or end is not None,
        origin=start / header.rate, last_end=None,
    )  # fmt: skip


def _source(
    settings: RunSettings, container: InputContainer, stream: VideoStream, scanned: Scan, fate: tuple[Track, ...]
) -> Source:
    aspect = present_aspect(stream)
    shown = pictures(stream, packets(container, [stream], Report()), Report(), alpha=True)
    first = next(shown, None)
    if first is None:
        what = "can be decoded" if scanned.pts or scanned.untimed else "is in the file"
        raise InputError(f"{settings.input}: not one frame of track {stream.index} {what}")
    sidedata.refuse_unwatchable(first, settings.input)
    base, rate = _pace(settings, stream, scanned)
    begin = 0 if scanned.untimed else scanned.pts[0]
    start = begin + round(Fraction(settings.start) / base)
    end = None if settings.duration is None else start + round(Fraction(settings.duration) / base)
    chosen = [pts for pts in scanned.pts if pts >= start and (end is None or pts < end)]
    trimmed = bool(settings.start) or end is not None
    count = (None if trimmed else len(scanned.pts) or None) if scanned.untimed else len(chosen)
    if not scanned.untimed and not chosen:
        length = float((scanned.pts[-1] - begin) * base)
        raise UsageError(f"--start {settings.start:g} is past the end of {settings.input} ({length:.2f} s)")
    scanned_as = fields(
        chain([first], shown), stream.codec_context.name, container.format.name, rate, thorough=settings.deinterlace
    )
    bytes_, modified = identity(settings.input)
    alpha = _has_alpha(stream, first)
    return Source(
        path=settings.input,
        bytes=bytes_,
        modified_ns=modified,
        stream=stream.index,
        width=first.width,
        height=first.height,
        format=replace(planar_format(first.format), alpha=alpha),
        pix_fmt=first.format.name,
        codec=stream.codec_context.name,
        facts=replace(read_facts(stream, first), aspect=aspect()),
        time_base=base,
        rate=rate,
        untimed=scanned.untimed,
        nominal=_nominal(scanned, rate, base),
        frames=count,
        start=start,
        end=end,
        trimmed=trimmed,
        origin=_origin(container, 0 if scanned.untimed else chosen[0], base, fate, start if trimmed else None),
        last_end=_last_end(scanned, end),
        damage=_damage(settings.input, scanned) if end is None else "",
        side_data=tuple(sorted(sidedata.raw(first).keys() | scanned.side_data)),
        alpha=alpha,
        fields=scanned_as,
        first_number=None if (names := pattern(settings.input)) is None else names.numbers()[0],
        deinterlace=settings.deinterlace,
    )


def _has_alpha(stream: VideoStream, first: VideoFrame) -> bool:
    """Whether there is opacity to keep. GIF always has the channel; only its first picture tells whether it is used."""
    if not has_alpha(first.format.name):
        return keeps_alpha_apart(stream)
    return stream.codec_context.name not in ("gif", "apng") or bool((opacity(first, 8) < OPAQUE).any())


def _damage(path: str, scanned: Scan) -> str:
    return (cut_short(path) if Path(path).is_file() else "") or scanned.missing


def _last_end(scanned: Scan, end: int | None) -> int | None:
    """Where the job's last frame ends: at the end of the range, or of the file where that comes first."""
    if scanned.untimed:
        return None
    cut = end is not None and (scanned.pts[-1] >= end or scanned.end is not None and scanned.end > end)
    return end if cut else scanned.end


def _pace(settings: RunSettings, stream: VideoStream, scanned: Scan) -> tuple[Fraction, Fraction]:
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
        return claimed if claimed and near else counted.limit_denominator(1001) or counted
    claimed = stream.guessed_rate or stream.average_rate
    return claimed if claimed and RATES[0] <= claimed <= RATES[1] else FALLBACK_RATE


def _nominal(scanned: Scan, rate: Fraction, base: Fraction) -> int:
    """Ticks of a frame that says nothing: the commonest distance between frames."""
    if not scanned.untimed and len(scanned.pts) > 1:
        return int(statistics.median_low([b - a for a, b in zip(scanned.pts, scanned.pts[1:], strict=False)]))
    return max(1, round(1 / rate / base))


def _origin(
    container: InputContainer, first: int, base: Fraction, fate: tuple[Track, ...], cut: int | None
) -> Fraction:
    """Seconds to take off all tracks alike, so that the file starts at zero and no time gets rounded.

    The earliest start of all kept tracks (sound that starts below zero is encoder priming and stays there), or where
    the user cut them, rounded down to an instant that every track's time base can hold.
    """
    kept = [track for track in fate if track.action != "drop" and track.kind not in ("cover", "attachment")]
    streams = [container.streams[track.index] for track in kept]
    bases = [base, *(track.time_base for track in kept if track.action == "copy" and track.time_base)]
    starts = [first * base]
    timed = [s.start_time * s.time_base for s in streams if s.start_time is not None and s.time_base]
    if cut is None:
        starts += [max(Fraction(0), start) for start in timed]
    elif timed:
        starts.append(cut * base)
    grid = Fraction(lcm(*(b.numerator for b in bases)), gcd(*(b.denominator for b in bases)))
    return min(starts) // grid * grid


def _job(
    settings: RunSettings, source: Source, fate: tuple[Track, ...], chunks: tuple[Chunk, ...], notes: list[str]
) -> Job:
    scale = _scale(settings, source)
    source = replace(source, limits=fitting(source.path, source.width, source.height, scale, settings.limits))
    engine = EngineSettings(**{**vars(settings.engine), "scale": scale})
    choice = resolve(engine, source.format.depth)
    sink = settings.sink or exports.sink_for(settings.output)
    file = settings.sink is None and settings.output != "-"
    encoder = None if sink else _encoder(settings, source, scale, notes)
    fit = None
    if sink in ("y4m", "gif", "pictures"):
        fit = _fit(settings, source, sink)
        notes += exports.notes(settings, source, fate, fit, sink)
    if sink in ("", "y4m"):
        notes += sidedata.dropped(source.side_data, encoder.side_data if encoder else ())
    kept = has_alpha(encoder.pix_fmt) if encoder else sink in ("null", "md5") or exports.keeps_alpha(settings.output)
    source = replace(source, format=replace(source.format, alpha=source.alpha and kept))
    if source.untimed and source.path != "-":
        notes.append(f"no usable timestamps in the input: frames are set at {float(source.rate):g} a second")
    if source.fields or source.deinterlace:
        notes.append(_interlaced(source))
    if source.alpha and not kept:
        notes.append(f"dropped: the alpha channel ({_why_no_alpha(encoder, settings)})")
    if sink == "" and not container_for(settings.output).rotation and source.facts.display_matrix:
        notes.append(f"dropped: the rotation tag ({container_for(settings.output).muxer} has no place for it)")
    return Job(
        version=__version__,
        source=source,
        network=Network(
            name=choice.network,
            path=str(choice.path),
            scale=scale,
            precision=choice.precision,
            backend=settings.engine.backend,
            sha256=choice.sha256,
        ),
        output=settings.output if file else "",
        sink=sink,
        encoder=encoder,
        tracks=fate,
        chunks=chunks,
        notes=tuple(notes),
        fit=fit,
    )


def _fit(settings: RunSettings, source: Source, sink: str) -> tuple[int, int]:
    """Width and height as asked for; y4m states the shape of pixels, the others have only square ones."""
    width, height = wanted_size(settings, source.width, source.height)
    stated = sink == "y4m" or settings.size is not None
    return (width if stated else max(1, round(width * source.facts.aspect))), height


def _interlaced(source: Source) -> str:
    if source.deinterlace and not source.fields:
        return "the first frames are whole already: --deinterlace changes only those flagged as interlaced, if any"
    if source.deinterlace:
        return "interlaced input: made whole by bwdif, one frame for each"
    seen = "flagged so" if source.fields == "flagged" else "its frames are two moments woven"
    return f"interlaced input ({seen}): moving edges will show combs; --deinterlace makes the frames whole first"


def _why_no_alpha(encoder: Encoder | None, settings: RunSettings) -> str:
    if encoder is None:
        return f"{Path(settings.output).suffix if settings.output != '-' else 'y4m'} has none"
    container = container_for(settings.output)
    if not container.alpha:
        keeping = [suffix for suffix, other in CONTAINERS.items() if other.alpha]
        return f"{container.muxer} has none; {', '.join(keeping)} keep it"
    if settings.encode.pix_fmt:
        return f"{encoder.pix_fmt} has none"
    return f"{encoder.codec} in {container.muxer} has none; --codec {' or '.join(container.alpha)} keeps it"


def _cost(source: Source, pix_fmt: str, settings: RunSettings) -> str:
    """What storing samples as `pix_fmt` does to them, where it isn't what the user asked for."""
    stored = PlanarFormat.of(pix_fmt)
    less = stored is not None and (stored.depth < source.format.depth or not finer(stored, source.format))
    if less and not settings.encode.pix_fmt:
        return ": the nearest with alpha there, ffv1 in .mkv keeps every sample"
    return ": RGB becomes YUV by BT.709, limited range" if _is_rgb(source) else ""


def _is_rgb(source: Source) -> bool:
    return is_rgb(VideoFormat(source.pix_fmt, 16, 16))


def _scale(settings: RunSettings, source: Source) -> int:
    """The network's factor: as given, or the next whole one that reaches the size asked for."""
    width, height = wanted_size(settings, source.width, source.height)
    if settings.size is None and settings.height is None:
        return settings.engine.scale
    factor = max(Fraction(width, source.width), Fraction(height, source.height))
    if factor <= 1:
        raise UsageError(f"{width}x{height} is not larger than the input's {source.width}x{source.height}")
    if factor > max(SCALES):
        largest = f"{source.width * max(SCALES)}x{source.height * max(SCALES)}"
        raise UsageError(f"{width}x{height} is more than {max(SCALES)} times the input; {largest} at most")
    return max(min(SCALES), ceil(factor))


def wanted_size(settings: RunSettings, width: int, height: int) -> tuple[int, int]:
    """Width and height of the result for an input of this size; --height keeps the shape, width rounded to even."""
    if settings.size is not None:
        return settings.size
    if settings.height is not None:
        return round(Fraction(width * settings.height, height) / 2) * 2, settings.height
    return width * settings.engine.scale, height * settings.engine.scale


def _encoder(settings: RunSettings, source: Source, scale: int, notes: list[str]) -> Encoder:
    container = container_for(settings.output)
    container = replace(container, encoders=sidedata.keeping(source.side_data, container.encoders))
    codec, pix_fmt, options = choose_encoder(source.format, container, settings.encode, settings.output)
    if source.facts.colour.range == FULL_RANGE and not keeps_range(codec, container_for(settings.output).muxer):
        raise OutputError(f"{settings.output}: {codec} in .mov can't say that samples are of full range; .mkv can")
    wanted = wanted_size(settings, source.width, source.height)
    muxer, aspect = container_for(settings.output).muxer, source.facts.aspect
    square = not keeps_aspect(codec, muxer)
    if square and settings.size is None:
        wanted = (max(1, round(wanted[0] * aspect)), wanted[1])
    size = even(wanted, codec, pix_fmt)
    if min(size) < facts_of(codec).smallest:
        needs = f"{codec} needs at least {facts_of(codec).smallest} samples a side, not {size[0]}x{size[1]}"
        raise OutputError(f"{needs}; --codec ffv1 into .mkv takes any size and depth")
    if square and aspect != 1:
        notes.append(f"{codec} in {muxer} has only square pixels: {size[0]}x{size[1]} (input {aspect} wide)")
    elif size != wanted:
        notes.append(f"{codec} takes even sizes only: {size[0]}x{size[1]} with the edge repeated")
    upscaled = (source.width * scale, source.height * scale)
    aspect = Fraction(1) if square else output_aspect(aspect, upscaled, size if size == wanted else upscaled)
    location = stored_location(source, pix_fmt)
    if "420" in pix_fmt and not keeps_location(location, codec, muxer):
        notes.append(f"{codec} in {muxer} may lose where chroma samples sit ({location})")
    if pix_fmt not in (source.pix_fmt.replace("yuvj", "yuv"), source.format.opaque.pix_fmt) or _is_rgb(source):
        notes.append(f"stored as {pix_fmt} (input {source.pix_fmt}){_cost(source, pix_fmt, settings)}")
    return Encoder(
        codec=codec,
        pix_fmt=pix_fmt,
        width=size[0],
        height=size[1],
        aspect=aspect,
        options=repeatable(options, codec, size[0]),
        threads=encoder_threads(),
        side_data=sidedata.held(family_of(codec), settings.encode.options, source.facts),
    )
