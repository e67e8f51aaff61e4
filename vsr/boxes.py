"""What the outermost structure of a file says that PyAV (18.1) doesn't: MP4 (ISO/IEC 14496-12 4.2), Matroska."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FIRST = (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"sidx", b"emsg", b"pnot", b"uuid")
MOST = 64 << 20  # bytes of a movie box that are looked at
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
PROTECTED = (b"encv", b"sinf", b"schm")  # sample entry, its scheme information and scheme type: ISO/IEC 14496-12 8.12


def is_encrypted(path: str) -> bool:
    """Whether the movie box describes protected video, as ISO/IEC 23001-7 encrypts it."""
    with Path(path).open("rb") as file:
        for kind, length in _boxes(file):
            if kind == b"moov":
                movie = file.read(min(length, MOST))
                return all(name in movie for name in PROTECTED)
    return False


def lacks_index(path: str) -> bool:
    """Whether the file has media data but no movie box: a recording that was never finished, or was cut."""
    with Path(path).open("rb") as file:
        kinds = [kind for kind, _ in _boxes(file)]
    return b"mdat" in kinds and b"moov" not in kinds


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(type, bytes of content) of each box at the top, the file standing at its content; none for other files."""
    start, whole = 0, file.seek(0, 2)
    while start + 8 <= whole:
        file.seek(start)
        size, kind = int.from_bytes(file.read(4)), file.read(4)
        if start == 0 and kind not in FIRST:
            return
        header = 8
        if size == 1:
            size, header = int.from_bytes(file.read(8)), 16
        size = size or whole - start
        if size < header:
            return
        yield kind, size - header
        start += size


def cut_short(path: str) -> str:
    """How far the outermost structure of MP4 or Matroska reaches beyond the end of the file; "" where it doesn't."""
    whole = Path(path).stat().st_size
    with Path(path).open("rb") as file:
        ends = [_matroska_end(file)]
        ends += [file.tell() + length for _, length in _boxes(file)]
    return f"the file is cut short: {whole} of {max(ends)} bytes" if max(ends) > whole else ""


def _matroska_end(file: BinaryIO) -> int:
    """Where the segment ends, RFC 9559 4.5; 0 for other files and where it isn't said, as in a live recording."""
    end = 0
    for identity in (EBML, SEGMENT):
        file.seek(end)
        head = file.read(5)
        if len(head) < 5 or head[:4] != identity or not head[4]:
            return 0
        width = 9 - head[4].bit_length()  # RFC 8794 4: as many zeros as bytes follow
        size = int.from_bytes(bytes([head[4] & 0xFF >> width]) + file.read(width - 1))
        if size == (1 << 7 * width) - 1:
            return 0
        end += 4 + width + size
    return end
