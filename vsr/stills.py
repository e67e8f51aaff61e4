"""Still pictures: read, upscaled, written by OpenCV; alpha goes through the network too."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsr.errors import InputError, UsageError
from vsr.pictures import DEEP, NO_ALPHA, STILLS, store
from vsr.probe import check_output
from vsr.report import Report
from vsr.sequences import pattern
from vsr.settings import RunSettings

if TYPE_CHECKING:
    import numpy.typing as npt


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
    with Upscaler(**vars(settings.engine)) as upscaler:
        colour, alpha = _read(settings.input)
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


def _read(path: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """(grey or BGR, alpha or None), turned upright where the file says how."""
    import cv2

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    if b"ANIM" in _chunks(path):
        raise InputError(f"{path}: an animated WebP, which FFmpeg can't read here; make a GIF or PNG of it first")
    picture = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise InputError(f"{path}: can't be read as a picture")
    if picture.dtype.name not in ("uint8", "uint16"):
        raise InputError(f"{path}: samples are {picture.dtype}; 8 or 16 bits, whole numbers, are taken")
    if picture.ndim == 3 and picture.shape[2] == 4:
        return picture[..., :3].copy(), picture[..., 3].copy()
    upright = cv2.imread(path, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    return (picture if upright is None else upright), None


def _join(colour: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> npt.NDArray[Any]:
    import numpy as np

    return np.dstack([colour, alpha])
