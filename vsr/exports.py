"""Files without tracks: animated GIF, y4m, numbered pictures. They get their names complete and read back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import av.error

from vsr import gif, pictures, sinks, y4m
from vsr.colour import UNSPECIFIED
from vsr.convert import MATRICES
from vsr.errors import InputError, OutputError, UsageError
from vsr.frame import Frame
from vsr.job import Job, Source, unchanged
from vsr.pictures import DEEP, NO_ALPHA, STILLS
from vsr.report import Report
from vsr.sequences import files, pattern
from vsr.settings import EncodeSettings, RunSettings
from vsr.tracks import Track


def sink_for(output: str) -> Literal["", "y4m", "gif", "pictures"]:
    """What writes a file of this name; "" for all that have tracks."""
    suffix = Path(output).suffix.lower()
    if output == "-" or suffix == ".y4m":
        return "y4m"
    if suffix in STILLS and pattern(output, literal=False) is not None:
        return "pictures"
    return "gif" if suffix == ".gif" else ""


def keeps_alpha(output: str) -> bool:
    """Whether a file of this name has a place for opacity."""
    return sink_for(output) != "y4m" and Path(output).suffix.lower() not in NO_ALPHA


def check_numbered(source: str, output: str, *, overwrite: bool) -> None:
    """Raises OutputError where numbered pictures are there already, or are the input itself, whole or in part."""
    made = pattern(output, literal=False)
    assert made is not None
    there = [made.path(number) for number in made.numbers()]
    if {file.resolve() for file in there} & {file.resolve() for file in files(source)}:
        raise OutputError(f"{output}: is the input itself; choose another name")
    if there and not overwrite:
        raise OutputError(f"{there[0]}: exists already (--overwrite replaces pictures of the same numbers)")


def notes(settings: RunSettings, source: Source, fate: Iterable[Track], size: tuple[int, int], sink: str) -> list[str]:
    """What such a file can't keep.

    Raises:
        UsageError: encoder options. OutputError: too large.
    """
    suffix = Path(settings.output).suffix.lower()
    if settings.encode != EncodeSettings():
        raise UsageError(
            "--codec, --crf, --preset, --pix-fmt and -x are for files with an encoder, not for y4m, GIF, PNG"
        )
    if sink == "gif" and max(size) > gif.LARGEST:
        raise OutputError(f"{settings.output}: {size[0]}x{size[1]} is too large for GIF ({gif.LARGEST} a side)")
    lines = [f"dropped: {track} {track.why}" for track in fate]
    if sink == "y4m":
        return [*lines, *(f"dropped: {what}" for what in _lost_in_y4m(source))]
    if source.facts.aspect != 1 and settings.size is None:
        lines.append(f"{suffix} has only square pixels: {size[0]}x{size[1]} (input {source.facts.aspect} wide)")
    if source.facts.colour.matrix not in (UNSPECIFIED, *MATRICES) and source.format.chroma != "grey":
        lines.append(f"colours will look wrong: RGB can't be made by the input's matrix ({source.facts.colour.matrix})")
    if source.facts.colour.hdr:
        lines.append(f"{suffix} isn't shown as HDR: its colours will look pale")
    if sink == "gif":
        lines.append("stored in 256 colours a frame (GIF has no more), times to 0.005 s")
        fast = source.rate > gif.FASTEST
        return lines + ([f"GIF shows {gif.FASTEST} frames a second at most: some are left out"] if fast else [])
    if source.format.depth > 8 and suffix not in DEEP:
        lines.append(f"stored in 8 bits ({suffix} has no more)")
    return [*lines, f"numbered pictures keep no times (--rate {source.rate} reads them back)"]


def _lost_in_y4m(source: Source) -> Iterator[str]:
    """Its header tells size, rate, aspect, range and, of 8 bits in 4:2:0, where chroma samples sit."""
    colour, format = source.facts.colour, source.format
    if source.facts.display_matrix:
        yield "the rotation tag (y4m has no place for it): pictures will be shown unturned"
    if {colour.primaries, colour.transfer, colour.matrix} != {UNSPECIFIED}:
        yield "primaries, transfer and matrix (y4m has no place for them)"
    told = y4m.SITES.values() if format.depth == 8 else ("left",)
    if format.chroma == "420" and colour.chroma_location not in ("unspecified", *told):
        yield f"where chroma samples sit: {colour.chroma_location} (y4m has no word for it)"


def write(job: Job, frames: Iterable[Frame], report: Report, *, overwrite: bool) -> None:
    """Writes the job's output.

    Raises:
        OutputError: it can't be written, or it is there now. VerificationError: it doesn't read back as written.
    """
    with _written(job) as part:
        if job.sink == "pictures":
            names = pattern(job.output, literal=False)
            assert names is not None
            pictures.numbered(job, frames, names, report)
            return
        if job.sink == "gif":
            times = gif.write(job, frames, part, report)
        else:
            with part.open("wb") as file:
                sinks.raw(job, frames, file, report)
        with report.stage("verify"):
            report.verified += (
                gif.check(job, part, times) if job.sink == "gif" else y4m.check(part, report.frames_written)
            )
        with part.open("rb") as file:
            os.fsync(file.fileno())
        if not unchanged(job.source):
            raise InputError(f"{job.source.path}: changed while it was read, nothing was written; start again")
        if Path(job.output).exists() and not overwrite:
            raise OutputError(f"{job.output}: appeared meanwhile (--overwrite replaces it)")
        part.replace(job.output)


@contextmanager
def _written(job: Job) -> Iterator[Path]:
    """The name a file has until it is complete; nothing is left under it."""
    path = Path(job.output)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{job.output}: can't be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)
