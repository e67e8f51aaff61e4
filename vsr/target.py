"""What a result will be: where it goes, how large it is, what stores it, and what that costs."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path

from av.video.format import VideoFormat

from vsr import sidedata
from vsr.convert import is_rgb
from vsr.encode import (
    encoder_threads,
    keeps_aspect,
    keeps_location,
    keeps_matrix,
    keeps_primaries,
    keeps_range,
    output_aspect,
    repeatable,
    stored_location,
)
from vsr.encoders import HEVC, choose_encoder, even, facts_of, finer, hevc_first
from vsr.errors import OutputError, UsageError
from vsr.frame import FULL, PlanarFormat
from vsr.job import Encoder, Source
from vsr.sei import family_of
from vsr.settings import SCALES, RunSettings
from vsr.tracks import CONTAINERS, container_for


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


def partial_name(output: str) -> str:
    """Where the playable part of a stopped run goes: `film.partial.mp4` for `film.mp4`."""
    path = Path(output)
    return str(path.with_name(f"{path.stem}.partial{path.suffix}"))


def why_no_alpha(encoder: Encoder | None, settings: RunSettings) -> str:
    if encoder is None:
        return f"{Path(settings.output).suffix if settings.output != '-' else 'y4m'} has none"
    container = container_for(settings.output)
    if not container.alpha:
        keeping = [suffix for suffix, other in CONTAINERS.items() if other.alpha]
        return f"{container.muxer} has none; {', '.join(keeping)} keep it"
    if settings.encode.pix_fmt:
        return f"{encoder.pix_fmt} has none"
    return f"{encoder.codec} in {container.muxer} has none; --codec {' or '.join(container.alpha)} keeps it"


def factor(settings: RunSettings, source: Source) -> int:
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


def plain_size(settings: RunSettings, source: Source, sink: str) -> tuple[int, int]:
    """Width and height as asked for; y4m states the shape of pixels, the others have only square ones."""
    width, height = wanted_size(settings, source.width, source.height)
    stated = sink == "y4m" or settings.size is not None
    return (width if stated else max(1, round(width * source.facts.aspect))), height


def encoder_for(settings: RunSettings, source: Source, scale: int) -> tuple[Encoder, list[str]]:
    """The encoder for an output with tracks, and notes on what it can't keep.

    Raises:
        UsageError, OutputError: there is none that stores what was asked for.
    """
    container, notes = container_for(settings.output), list[str]()
    encoders = _large_enough(settings, source)
    if source.facts.colour.hdr and HEVC in encoders:
        encoders = hevc_first(encoders)
    candidates = replace(container, encoders=sidedata.keeping(source.side_data, encoders))
    codec, pix_fmt, options = choose_encoder(source.format, candidates, settings.encode, settings.output)
    if source.facts.colour.range == FULL and not keeps_range(codec, container.muxer):
        raise OutputError(f"{settings.output}: {codec} in .mov can't say that samples are of full range; .mkv can")
    size, aspect = _shape(settings, source, scale, (codec, pix_fmt), notes)
    location = stored_location(source, pix_fmt)
    if "420" in pix_fmt and not keeps_location(location, codec, container.muxer):
        where = f"{codec} in {container.muxer} may lose where chroma samples sit ({location})"
        notes.append(f"{where}: colour may lie a fraction of a pixel aside")
    if not keeps_matrix(source.facts.colour.matrix, codec):
        told = f"{codec} can't tell it: colours may look wrong"
        notes.append(f"dropped: the matrix ({source.facts.colour.matrix}), {told}")
    if not keeps_primaries(source.facts.colour.primaries, codec):
        told = f"{codec} can't tell them: colours may look slightly different"
        notes.append(f"dropped: the primaries ({source.facts.colour.primaries}), {told}")
    if pix_fmt not in (source.pix_fmt.replace("yuvj", "yuv"), source.format.opaque.pix_fmt) or _is_rgb(source):
        notes.append(f"stored as {pix_fmt} (input {source.pix_fmt}){_cost(source, pix_fmt, settings)}")
    encoder = Encoder(
        codec=codec,
        pix_fmt=pix_fmt,
        width=size[0],
        height=size[1],
        aspect=aspect,
        options=repeatable(options, codec, size[0]),
        threads=encoder_threads(),
        side_data=sidedata.held(family_of(codec), settings.encode.options, source.facts),
    )
    return encoder, notes


def _large_enough(settings: RunSettings, source: Source) -> tuple[str, ...]:
    """The container's encoders that take so small a picture; all of them where none does, or the user names one."""
    codecs, side = container_for(settings.output).encoders, min(wanted_size(settings, source.width, source.height))
    small = tuple(codec for codec in codecs if facts_of(codec).smallest <= side)
    return codecs if settings.encode.codec else small or codecs


def _shape(
    settings: RunSettings, source: Source, scale: int, stored: tuple[str, str], notes: list[str]
) -> tuple[tuple[int, int], Fraction]:
    """(width and height, shape of a pixel) of what is stored: where these can't be as wanted, a note says so."""
    (codec, pix_fmt), muxer, aspect = stored, container_for(settings.output).muxer, source.facts.aspect
    square = not keeps_aspect(codec, muxer)
    wanted = wanted_size(settings, source.width, source.height)
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
    return size, Fraction(1) if square else output_aspect(aspect, upscaled, size if size == wanted else upscaled)


def _cost(source: Source, pix_fmt: str, settings: RunSettings) -> str:
    """What storing samples as `pix_fmt` does to them, where it isn't what the user asked for."""
    stored = PlanarFormat.of(pix_fmt)
    less = stored is not None and (stored.depth < source.format.depth or not finer(stored, source.format))
    if less and not settings.encode.pix_fmt:
        return ": the nearest with alpha there, ffv1 in .mkv keeps every sample"
    return ": RGB becomes YUV by BT.709, limited range" if _is_rgb(source) else ""


def _is_rgb(source: Source) -> bool:
    return is_rgb(VideoFormat(source.pix_fmt, 16, 16))
