"""YUV4MPEG2, the pipe format of mjpegtools: a text header, then every frame's planes; constant rate, no sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from vsr.errors import InputError, OutputError, VerificationError
from vsr.frame import Chroma, ChromaLocation, Colour, Frame, FramePool, Memory, PlanarFormat, Plane, TrackFacts
from vsr.report import Report, counted

MAX_LINE = 1024
MARKER = b"FRAME\n"
_CHROMAS: dict[str, Chroma] = {"mono": "grey", "420": "420", "422": "422", "444": "444"}
SITES: dict[str, ChromaLocation] = {"mpeg2": "left", "jpeg": "center", "paldv": "topleft"}


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the first line of a stream says."""

    width: int
    height: int
    rate: Fraction
    format: PlanarFormat
    facts: TrackFacts


def read_header(stream: BinaryIO) -> Header:
    """Reads the first line. Raises InputError when it isn't y4m, or interlaced, or of an unknown layout."""
    line = stream.readline(MAX_LINE)
    words = line.decode("ascii", "replace").split()
    if not words or words[0] != "YUV4MPEG2":
        raise InputError("standard input is not y4m (try: ffmpeg -i FILE -f yuv4mpegpipe - | vsr-run - OUT)")
    tags = {word[0]: word[1:] for word in words[1:] if word[0] != "X"}
    extra = dict(word[1:].split("=", 1) for word in words[1:] if word[0] == "X" and "=" in word)
    try:
        size = int(tags["W"]), int(tags["H"])
        rate = Fraction(*map(int, tags.get("F", "25:1").split(":")))
        aspect = Fraction(*map(int, pair)) if all(map(int, pair := tags.get("A", "0:0").split(":"))) else Fraction(1)
        format, site = _layout(tags.get("C", "420jpeg"))
        if min(size) < 1 or rate <= 0 or aspect <= 0:
            raise ValueError("sizes, rate and aspect must be above 0")
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"y4m header can't be read: {' '.join(words)} ({error})") from error
    if tags.get("I", "p") not in ("p", "?"):
        raise InputError("y4m input is interlaced; deinterlace it first (ffmpeg -vf bwdif)")
    colour = Colour(range={"FULL": 2, "LIMITED": 1}.get(extra.get("COLORRANGE", ""), 0), chroma_location=site)
    facts = TrackFacts(colour=colour, aspect=aspect)
    return Header(width=size[0], height=size[1], rate=rate, format=format, facts=facts)


def _layout(name: str) -> tuple[PlanarFormat, ChromaLocation]:
    """Of the C tag: 420mpeg2, 422p10, mono12 and so on. Raises ValueError for unknown ones."""
    for prefix, chroma in _CHROMAS.items():
        if name.startswith(prefix):
            rest = name[len(prefix) :]
            depth = int(rest.lstrip("p") or 8) if rest.lstrip("p").isdigit() else 8
            if rest and depth == 8 and rest not in SITES:
                raise ValueError(f"unknown layout {name}")
            return PlanarFormat(chroma=chroma, depth=depth), SITES.get(rest, "unspecified")
    raise ValueError(f"unknown layout {name}")


class Reader:
    """Frames of a y4m stream whose header was read; buffers of its own, in memory of this kind."""

    def __init__(self, stream: BinaryIO, header: Header, report: Report, memory: Memory | None = None) -> None:
        self._stream, self._header, self._report = stream, header, report
        self._pool = FramePool(header.format, header.width, header.height, memory)

    def frames(self) -> Iterator[Frame]:
        """Frames numbered at the header's rate; a last frame cut short is dropped and counted as damage."""
        header, index = self._header, 0
        while marker := self._stream.readline(MAX_LINE):
            if not marker.startswith(b"FRAME"):
                raise InputError(f"y4m frame {index} doesn't start with FRAME")
            planes, lease = self._pool.take()
            if not all(_fill(self._stream, plane) for plane in planes):
                lease.release()
                self._report.damaged(f"y4m ends inside frame {index}")
                return
            self._report.frames_decoded += 1
            yield Frame(
                format=header.format,
                width=header.width,
                height=header.height,
                planes=planes,
                pts=index,
                duration=1,
                time_base=1 / header.rate,
                index=index,
                facts=header.facts,
                lease=lease,
            )
            index += 1

    def close(self) -> None:
        self._pool.close()


def _fill(stream: BinaryIO, plane: Plane) -> bool:
    """Fills a plane from the stream; False when it ends before."""
    view, got = plane.data.cast("B"), 0
    while got < len(view):
        count = stream.readinto(view[got:])  # type: ignore[attr-defined]
        if not count:
            return False
        got += count
    return True


def check(path: Path, count: int) -> list[str]:
    """Reads a file's layout. Raises VerificationError where it isn't a header and `count` whole frames."""
    with path.open("rb") as file:
        header = read_header(file)
        step = (
            len(MARKER)
            + sum(rows * columns for rows, columns in header.format.shapes(header.width, header.height))
            * header.format.dtype.itemsize
        )
        begin = file.tell()
        marks = []
        for number in range(count):
            file.seek(begin + number * step)
            marks.append(file.read(len(MARKER)))
        whole = file.seek(0, 2) == begin + count * step
    if not whole or any(mark != MARKER for mark in marks):
        raise VerificationError(f"{path}: the file doesn't hold {count} whole frames")
    return [counted(count, "frame"), f"{header.width}x{header.height}"]


class Writer:
    """Writes frames to a binary stream; the header comes from the first."""

    def __init__(self, stream: BinaryIO, rate: Fraction) -> None:
        self._stream, self._rate = stream, rate
        self._header = b""

    def write(self, frame: Frame) -> None:
        """Appends one frame. Raises OutputError when it differs in size or layout from the first."""
        header = self._header_of(frame)
        if not self._header:
            self._header = header
            self._stream.write(header)
        elif header != self._header:
            raise OutputError(f"y4m can't change to {frame.width}x{frame.height} {frame.format.pix_fmt} mid-stream")
        self._stream.write(MARKER)
        for plane in frame.planes:
            self._stream.write(plane.data)

    def _header_of(self, frame: Frame) -> bytes:
        format, facts = frame.format, frame.facts
        name = "mono" if format.chroma == "grey" else format.chroma
        site = {location: word for word, location in SITES.items()}.get(facts.colour.chroma_location, "mpeg2")
        suffix = f"{'' if format.chroma == 'grey' else 'p'}{format.depth}" if format.depth > 8 else ""
        suffix = suffix or (site if format.chroma == "420" else "")
        levels = {1: " XCOLORRANGE=LIMITED", 2: " XCOLORRANGE=FULL"}.get(facts.colour.range, "")
        rate, aspect = self._rate, facts.aspect
        return (
            f"YUV4MPEG2 W{frame.width} H{frame.height} F{rate.numerator}:{rate.denominator} Ip "
            f"A{aspect.numerator}:{aspect.denominator} C{name}{suffix}{levels}\n"
        ).encode()
