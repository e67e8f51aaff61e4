"""Still pictures: read, upscaled, written by OpenCV; alpha goes through the network too."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av

from vsr import sidedata
from vsr.demux import READ_ERRORS
from vsr.errors import InputError, UsageError
from vsr.limits import bind, fitting, opening
from vsr.pictures import DEEP, NO_ALPHA, STILLS, store, upright
from vsr.report import Report
from vsr.sequences import pattern
from vsr.settings import Limits, RunSettings
from vsr.target import check_output

if TYPE_CHECKING:
    import numpy.typing as npt


# First bytes, and FFmpeg's reader of one such picture.
SIGNS = {
    b"\xff\xd8": "jpeg_pipe",
    b"\x89PNG": "png_pipe",
    b"RIFF": "webp_pipe",
    b"II*\0": "tiff_pipe",
    b"MM\0*": "tiff_pipe",
    b"BM": "bmp_pipe",
}
START_OF_SCAN = b"\xff\xda"  # JPEG marker
HEAD = 1 << 16  # bytes in which an animated PNG says so
WEBP_ANIMATION = 0x02  # flag of the chunk VP8X


def is_still(path: str) -> bool:
    """By its name; a pattern of numbered pictures is a video, and so is an animated PNG."""
    return Path(path).suffix.lower() in STILLS and pattern(path) is None and b"acTL" not in _chunks(path)


def _chunks(path: str) -> bytes:
    """Of a PNG what comes before its samples, of a WebP its kind and flags, of other files nothing."""
    if not Path(path).is_file():
        return b""
    with Path(path).open("rb") as file:
        head = file.read(HEAD)
    if head[8:16] == b"WEBPVP8X":
        return b"ANIM" if head[20] & WEBP_ANIMATION else b""
    return head.partition(b"IDAT")[0] if head.startswith(b"\x89PNG") else b""


def run(settings: RunSettings) -> Report:
    """Upscales one picture of 8 or 16 bits: grey, colour, with or without alpha.

    Raises:
        InputError: unreadable. UsageError: options that only videos have, or an output that is no picture.
        OutputError: can't be written, or read back differs in size.
    """
    from vsr.backends.opacity import hold
    from vsr.upscaler import Upscaler

    settings.validate()
    suffix = Path(settings.output).suffix.lower()
    if suffix not in STILLS:
        raise UsageError(f"{settings.output}: a picture goes to a picture ({', '.join(STILLS)})")
    if settings.size or settings.height or settings.start or settings.duration or settings.deinterlace:
        raise UsageError("--size, --height, --start, --duration, --deinterlace are for videos; pictures take --scale")
    check_output(settings.input, settings.output, overwrite=settings.overwrite)
    begin, report = time.perf_counter(), Report(input=settings.input, output=settings.output)
    look = _look(settings.input, settings.limits, settings.engine.scale)
    if look.profile:
        report.note("dropped: the ICC profile; the picture's colours will be taken for sRGB")
    if not look.complete:
        report.damaged("the JPEG ends early; its last lines are grey or missing")
    with Upscaler(**vars(settings.engine)) as upscaler:
        colour, alpha = _read(settings.input, look.matrix)
        result = upscaler(colour)
        if alpha is not None and suffix in NO_ALPHA:
            report.note(f"dropped: the alpha channel ({suffix} has none)")
        elif alpha is not None:
            opacity = upscaler(alpha)
            hold(alpha, opacity)
            result = _join(result, opacity)
        report.engine = upscaler.label
    if result.dtype.itemsize > 1 and suffix not in DEEP:
        report.note(f"stored in 8 bits ({suffix} has no more)")
        result = ((result.astype("uint32") + 128) // 257).astype("uint8")
    store(Path(settings.output), result)
    report.frames_written, report.seconds = 1, time.perf_counter() - begin
    report.verified.append(f"{result.shape[1]}x{result.shape[0]}")
    return report


@dataclass(frozen=True)
class Look:
    """What a picture file says besides samples.

    Args:
        matrix: how it is turned and mirrored to be seen, as a display matrix.
        profile: it has an ICC profile.
        complete: its end is there; only JPEG can be read without.
    """

    matrix: tuple[int, ...] | None
    profile: bool
    complete: bool


def _look(path: str, limits: Limits, scale: int) -> Look:
    """Opens a picture by FFmpeg, which checks its size before it decodes anything.

    Raises:
        InputError: no picture, or one that is larger than the limits allow.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path}: no such file")
    data = file.read_bytes()
    kind = next((name for sign, name in SIGNS.items() if data.startswith(sign)), None)
    if kind is None:
        raise InputError(f"{path}: can't be read as a picture (PNG, JPEG, WebP, TIFF and BMP can)")
    if b"ANIM" in _chunks(path):
        raise InputError(f"{path}: an animated WebP, which FFmpeg can't read here; make a GIF or PNG of it first")
    try:
        with av.open(f"file:{path}", "r", format=kind, options=opening(limits) | {"format_whitelist": kind}) as opened:
            stream = opened.streams.video[0]
            bind(stream.codec_context, limits)
            if not stream.width:
                raise InputError(
                    f"{path}: damaged, of samples that aren't 8 or 16 bits, or over the limit of "
                    f"{limits.max_pixels / 1e6:.3g} million pixels (--max-pixels raises it)"
                )
            fitting(path, stream.width, stream.height, scale, limits)
            said = sidedata.raw(next(opened.decode(stream)))
    except (*READ_ERRORS, StopIteration) as error:
        raise InputError(f"{path}: can't be read as a picture ({getattr(error, 'strerror', None) or error})") from error
    matrix = said.get("DISPLAYMATRIX")
    return Look(
        matrix=None if matrix is None else struct.unpack("=9i", matrix[:36]),
        profile=sidedata.PROFILE in said or sidedata.profiled(data),
        complete=kind != "jpeg_pipe" or _ends(data),
    )


def _ends(jpeg: bytes) -> bool:
    """Whether the end marker comes after the header of the samples (not that of a thumbnail in EXIF): T.81 B.1.1."""
    place = 2
    while jpeg[place : place + 1] == b"\xff" and jpeg[place : place + 2] != START_OF_SCAN:
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return jpeg.find(b"\xff\xd9", place) > 0


def _read(path: str, matrix: tuple[int, ...] | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """(grey or BGR, alpha or None), upright."""
    import cv2

    try:
        picture = cv2.imread(path, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise InputError(f"{path}: can't be read as a picture ({error.err})") from error
    if picture is None:
        raise InputError(f"{path}: can't be read as a picture")
    if picture.dtype.name not in ("uint8", "uint16"):
        raise InputError(f"{path}: samples are {picture.dtype}; 8 or 16 bits, whole numbers, are taken")
    picture = upright(picture, matrix)
    if picture.ndim == 3 and picture.shape[2] == 4:
        return picture[..., :3].copy(), picture[..., 3].copy()
    return picture, None


def _join(colour: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> npt.NDArray[Any]:
    import numpy as np

    return np.dstack([colour, alpha])
