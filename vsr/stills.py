"""Still pictures: read, upscaled, stored; alpha goes through the network too."""

from __future__ import annotations

import struct
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import av

from vsr import sidedata
from vsr.convert import has_alpha, planar_format
from vsr.demux import READ_ERRORS
from vsr.errors import InputError, UsageError
from vsr.limits import bind, fitting, opening
from vsr.pictures import DEEP, NO_ALPHA, STILLS, store, upright
from vsr.report import Report
from vsr.sequences import pattern
from vsr.settings import EncodeSettings, Limits, RunSettings
from vsr.target import check_output

if TYPE_CHECKING:
    import numpy.typing as npt
    from av.video.frame import VideoFrame

    Picture = npt.NDArray[Any]

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
        OutputError: can't be written. VerificationError: reads back as another picture.
    """
    import numpy as np

    from vsr.backends.opacity import hold
    from vsr.upscaler import Upscaler

    _check(settings)
    suffix = Path(settings.output).suffix.lower()
    begin, report = time.perf_counter(), Report(input=settings.input, output=settings.output)
    colour, alpha = _read(settings, report)
    with Upscaler.of(settings.engine) as upscaler:
        result = upscaler(colour)
        if alpha is not None and suffix in NO_ALPHA:
            report.note(f"dropped: the alpha channel ({suffix} has none)")
        elif alpha is not None:
            opacity = upscaler(alpha)
            hold(alpha, opacity)
            result = np.dstack([result, opacity])
        report.engine = upscaler.label
        report.notes += upscaler.notes
    if result.dtype.itemsize > 1 and suffix not in DEEP:
        report.note(f"stored in 8 bits ({suffix} has no more)")
        result = ((result.astype("uint32") + 128) // 257).astype("uint8")
    store(Path(settings.output), result)
    report.frames_written, report.seconds = 1, time.perf_counter() - begin
    report.verified.append(f"{result.shape[1]}x{result.shape[0]}")
    return report


def without_video(settings: RunSettings) -> RunSettings:
    """The settings without what only videos have."""
    return replace(
        settings, size=None, height=None, stream=None, start=0.0, duration=None, rate=None, deinterlace=False,
        hwaccel="none", encode=EncodeSettings(),
    )  # fmt: skip


def _check(settings: RunSettings) -> None:
    """Raises as `run` does, of what can be told without reading the input."""
    settings.validate()
    if Path(settings.output).suffix.lower() not in STILLS:
        raise UsageError(f"{settings.output}: a picture goes to a picture ({', '.join(STILLS)})")
    if settings != without_video(settings):
        raise UsageError(
            "--size, --height, --stream, --start, --duration, --rate, --deinterlace, --hwaccel and what is for "
            "encoders are for videos; pictures take --scale"
        )
    check_output(settings.input, settings.output, overwrite=settings.overwrite)


def _read(settings: RunSettings, report: Report) -> tuple[Picture, Picture | None]:
    """(grey or BGR, alpha or None) of 8 or 16 bits, upright; what is lost is noted.

    FFmpeg opens the file, which checks its size before it decodes anything, and OpenCV gives the samples; but not those
    of a TIFF, where it heeds the orientation whatever it is told, or fails over it, and multiplies colour by alpha.
    """
    path = settings.input
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    data = Path(path).read_bytes()
    kind = next((name for sign, name in SIGNS.items() if data.startswith(sign)), None)
    if kind is None:
        raise InputError(f"{path}: can't be read as a picture (PNG, JPEG, WebP, TIFF and BMP can)")
    if b"ANIM" in _chunks(path):
        raise InputError(f"{path}: an animated WebP, which FFmpeg can't read here; make a GIF or PNG of it first")
    frame = _decoded(path, kind, settings.limits, settings.engine.scale)
    said = sidedata.raw(frame)
    if sidedata.PROFILE in said or sidedata.profiled(data):
        report.note("dropped: the ICC profile; the picture's colours will be taken for sRGB")
    if kind == "tiff_pipe" and _goes_on(data):
        report.note("dropped: all but the first picture of the TIFF")
    if kind == "jpeg_pipe" and not _ends(data):
        report.damaged("the JPEG ends early; its last lines are grey or missing")
    matrix = said.get("DISPLAYMATRIX")
    samples = _unpacked(frame) if kind == "tiff_pipe" else _imread(path)
    picture = upright(samples, None if matrix is None else struct.unpack("=9i", matrix[:36]))
    if picture.ndim == 3 and picture.shape[2] == 4:
        return picture[..., :3].copy(), picture[..., 3].copy()
    return picture, None


def _decoded(path: str, kind: str, limits: Limits, scale: int) -> VideoFrame:
    """The picture by FFmpeg's reader `kind`. Raises InputError for none, or one beyond the limits."""
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
            return next(opened.decode(stream))
    except (*READ_ERRORS, StopIteration) as error:
        raise InputError(f"{path}: can't be read as a picture ({getattr(error, 'strerror', None) or error})") from error


def _unpacked(frame: VideoFrame) -> Picture:
    """The samples as OpenCV has them: grey, BGR or BGRA."""
    deep = max(component.bits for component in frame.format.components) > 8
    alpha = has_alpha(frame.format.name)
    name = ("rgba64le" if deep else "rgba") if alpha else ("rgb48le" if deep else "rgb24")
    if not alpha and planar_format(frame.format).chroma == "grey":
        name = "gray16le" if deep else "gray"
    samples = frame.reformat(format=name, threads=1).to_ndarray()
    return samples if samples.ndim == 2 else samples[..., [2, 1, 0, 3][: samples.shape[2]]]


def _imread(path: str) -> Picture:
    import cv2

    talking = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # to standard error; the level before
    try:
        picture = cv2.imread(path, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise InputError(f"{path}: can't be read as a picture ({error.err})") from error
    finally:
        cv2.utils.logging.setLogLevel(talking)
    if picture is None:
        raise InputError(f"{path}: can't be read as a picture")
    if picture.dtype.name not in ("uint8", "uint16"):
        raise InputError(f"{path}: samples are {picture.dtype}; 8 or 16 bits, whole numbers, are taken")
    return picture


def _goes_on(tiff: bytes) -> bool:
    """Whether another picture follows the first, TIFF 6.0 section 2."""
    order: Literal["little", "big"] = "little" if tiff.startswith(b"II") else "big"
    first = int.from_bytes(tiff[4:8], order)
    end = first + 2 + 12 * int.from_bytes(tiff[first : first + 2], order)
    return any(tiff[end : end + 4])


def _ends(jpeg: bytes) -> bool:
    """Whether the end marker comes after the header of the samples (not that of a thumbnail in EXIF): T.81 B.1.1."""
    place = 2
    while jpeg[place : place + 1] == b"\xff" and jpeg[place : place + 2] != START_OF_SCAN:
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    return jpeg.find(b"\xff\xd9", place) > 0
