"""probe(settings) -> Job: looks at the input once and decides everything."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from math import gcd, lcm
from pathlib import Path
from typing import TYPE_CHECKING

from vsr import __version__, exports, resident, sidedata, tracks, y4m
from vsr.backends.choice import Engines
from vsr.boxes import cut_short
from vsr.changes import present_aspect
from vsr.chunks import Chunk, cut
from vsr.colour import read_facts
from vsr.convert import has_alpha, opacity, planar_format
from vsr.decode import pictures
from vsr.deinterlace import fields
from vsr.demux import open_input, packets, video_stream
from vsr.errors import InputError, UsageError
from vsr.hardware import accelerated
from vsr.job import Encoder, Job, Network, Source, identity
from vsr.lanes import unused
from vsr.limits import check_size, fitting
from vsr.report import Report
from vsr.scan import Scan, last_end, nominal, pace, scan
from vsr.sequences import pattern
from vsr.settings import RunSettings
from vsr.sound import is_pcm
from vsr.surface import THROUGH_MEMORY
from vsr.target import check_output, encoder_for, factor, partial_name, plain_size, why_no_alpha
from vsr.tracks import Track, container_for
from vsr.weights import suited

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

OPAQUE = 255
STAYS = "decoded pictures stay on the GPU, as they are those of software there; none is compared with the one before"
REORDERED = 16  # frames in the first chunk at least: more than any encoder reorders, so that its depth shows


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
        return _job(settings, source, None, (), (Chunk(index=0, start=source.start, end=source.end),), [])
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
    hwaccel, more = accelerated(source, settings.hwaccel, settings.engine.device)
    source, notes = replace(source, hwaccel=hwaccel), notes + more
    return _job(settings, source, scanned.bits, fate, _chunks(settings, source, scanned), notes)


def _chunks(settings: RunSettings, source: Source, scanned: Scan) -> tuple[Chunk, ...]:
    """One chunk where timestamps have to be mended: what they become depends on all the frames before."""
    settled = [pts for pts in scanned.pts if pts >= source.start][REORDERED:]
    if source.untimed or not scanned.clean or not settled:
        return (Chunk(index=0, start=source.start, end=source.end),)
    length = max(1, round(Fraction(settings.chunk) / source.time_base))
    return cut(scanned.keys, source.start, source.end, length, settled[0])


def _fate(settings: RunSettings, container: InputContainer, index: int) -> tuple[Track, ...]:
    """What becomes of the tracks besides the upscaled one, number `index`."""
    if not exports.sink_for(settings.output):
        return tracks.plan(container, index, container_for(settings.output), settings.audio)
    return tracks.left(container, index, f"has no place in {Path(settings.output).suffix}")


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
    base, rate = pace(settings, stream, scanned)
    start, end, chosen = _part(settings, scanned, base)
    trimmed = bool(settings.start) or end is not None
    count = (None if trimmed else len(scanned.pts) or None) if scanned.untimed else len(chosen)
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
        nominal=nominal(scanned, rate, base),
        frames=count,
        start=start,
        end=end,
        trimmed=trimmed,
        origin=_origin(container, 0 if scanned.untimed else chosen[0], base, fate, start if trimmed else None),
        last_end=last_end(scanned, end),
        damage=_damage(settings.input, scanned) if end is None else "",
        side_data=tuple(sorted(sidedata.raw(first).keys() | scanned.side_data)),
        alpha=alpha,
        fields=scanned_as,
        first_number=None if (names := pattern(settings.input)) is None else names.numbers()[0],
        deinterlace=settings.deinterlace,
    )


def _part(settings: RunSettings, scanned: Scan, base: Fraction) -> tuple[int, int | None, list[int]]:
    """(first tick, the one after the last, times of the frames between) of what was asked for.

    Raises:
        UsageError: it begins after the last frame.
    """
    begin = 0 if scanned.untimed else scanned.pts[0]
    start = begin + round(Fraction(settings.start) / base)
    end = None if settings.duration is None else start + round(Fraction(settings.duration) / base)
    chosen = [pts for pts in scanned.pts if pts >= start and (end is None or pts < end)]
    if not scanned.untimed and not chosen:
        length = float((scanned.pts[-1] - begin) * base)
        raise UsageError(f"{settings.start:g} s is past the end of {settings.input} ({length:.2f} s)")
    return start, end, chosen


def _has_alpha(stream: VideoStream, first: VideoFrame) -> bool:
    """Whether there is opacity to keep, as the first picture tells.

    GIF always has the channel, used or not; a WebM may announce alpha (AlphaMode) and hold none.
    """
    if not has_alpha(first.format.name):
        return False
    return stream.codec_context.name not in ("gif", "apng") or bool((opacity(first, 8) < OPAQUE).any())


def _damage(path: str, scanned: Scan) -> str:
    return (cut_short(path) if Path(path).is_file() else "") or scanned.missing


def _origin(
    container: InputContainer, first: int, base: Fraction, fate: tuple[Track, ...], cut: int | None
) -> Fraction:
    """Seconds to take off all tracks alike, so that the file starts at zero and no time gets rounded.

    The earliest start of all kept tracks (sound that starts below zero is encoder priming and stays there), or where
    the user cut them, rounded down to an instant that every track's time base can hold.
    """
    kept = [track for track in fate if track.action != "drop" and track.kind not in ("cover", "attachment")]
    streams = [container.streams[track.index] for track in kept]
    exact = [track for track in kept if track.action == "copy" or is_pcm(track.codec)]
    bases = [base, *(track.time_base for track in exact if track.time_base)]
    starts = [first * base]
    timed = [s.start_time * s.time_base for s in streams if s.start_time is not None and s.time_base]
    if cut is None:
        starts += [max(Fraction(0), start) for start in timed]
    elif timed:
        starts.append(cut * base)
    grid = Fraction(lcm(*(b.numerator for b in bases)), gcd(*(b.denominator for b in bases)))
    return min(starts) // grid * grid


def _job(
    settings: RunSettings,
    source: Source,
    bits: float | None,
    fate: tuple[Track, ...],
    chunks: tuple[Chunk, ...],
    notes: list[str],
) -> Job:
    """The rest of the decisions; `bits` is what the video spends on a frame."""
    scale = factor(settings, source)
    source = replace(source, limits=fitting(source.path, source.width, source.height, scale, settings.limits))
    each = None if bits is None else bits / (source.width * source.height)
    engine, reason = suited(replace(settings.engine, scale=scale), source.codec, each)
    engines = Engines(engine)
    choice = next(engines.choices(source.format.depth))
    if source.hwaccel == "cuda":
        why = resident.obstacle(source, engine, choice.runner)
        source = replace(source, resident=not why)
        notes.append(f"{THROUGH_MEMORY}: {why}" if why else STAYS)
    notes += [*engines.notes, *([reason] if reason else [])]
    sink = settings.sink or exports.sink_for(settings.output)
    file = settings.sink is None and settings.output != "-"
    encoder, fit = None, None
    if not sink:
        encoder, more = encoder_for(settings, source, scale)
        notes += more
    elif sink in ("y4m", "gif", "pictures"):
        fit = plain_size(settings, source, sink)
        notes += exports.notes(settings, source, fate, fit, sink)
    kept = has_alpha(encoder.pix_fmt) if encoder else sink in ("null", "md5") or exports.keeps_alpha(settings.output)
    source = replace(source, format=replace(source.format, alpha=source.alpha and kept))
    notes += unused(settings.engine, sink, len(chunks))
    notes += _losses(settings, source, sink, encoder)
    return Job(
        version=__version__,
        source=source,
        network=Network(
            name=choice.network,
            path=str(choice.path),
            scale=scale,
            weights=engine.weights,
            precision=choice.precision,
            backend=choice.runner.library,
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


def _losses(settings: RunSettings, source: Source, sink: str, encoder: Encoder | None) -> list[str]:
    """What isn't kept of the picture or is taken otherwise than it says."""
    notes = []
    if sink in ("", "y4m"):
        notes += sidedata.dropped(source.side_data, encoder.side_data if encoder else ())
    if source.untimed and source.path != "-":
        notes.append(f"no usable timestamps in the input: frames are set at {float(source.rate):g} a second")
    if source.fields or source.deinterlace:
        notes.append(_interlaced(source))
    if source.alpha and not source.format.alpha:
        notes.append(f"dropped: the alpha channel ({why_no_alpha(encoder, settings)})")
    matrix = source.facts.display_matrix
    if sink == "" and not container_for(settings.output).keeps_turn(matrix):
        muxer = container_for(settings.output).muxer
        notes.append(f"dropped: the rotation tag ({muxer} has no place for it): pictures will be shown unturned")
    return notes


def _interlaced(source: Source) -> str:
    if source.deinterlace and not source.fields:
        return "the first frames are whole already: --deinterlace changes only those flagged as interlaced, if any"
    if source.deinterlace:
        return "interlaced input: made whole by bwdif, one frame for each"
    seen = "flagged so" if source.fields == "flagged" else "its frames are two moments woven"
    return f"interlaced input ({seen}): moving edges will show combs; --deinterlace makes the frames whole first"
