"""Frames as pictures: BGR, upright, with square pixels; and a picture as a file, read back before it gets its name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from av.video.frame import VideoFrame

from vsr import fit
from vsr.colour import UPRIGHT, tag_frame, turn
from vsr.convert import MATRICES, copy_out, with_chroma
from vsr.errors import OutputError, VerificationError
from vsr.frame import LIMITED, Frame
from vsr.report import Report, counted
from vsr.sequences import Pattern

if TYPE_CHECKING:
    import numpy.typing as npt

    from vsr.job import Job

# Suffix to imwrite's options; OpenCV's names are resolved when used.
STILLS: dict[str, dict[str, int]] = {
    ".png": {},
    ".jpg": {"IMWRITE_JPEG_QUALITY": 95},
    ".jpeg": {"IMWRITE_JPEG_QUALITY": 95},
    ".webp": {"IMWRITE_WEBP_QUALITY": 101},  # above 100: lossless
    ".tif": {},
    ".tiff": {},
    ".bmp": {},
}
LOSSY = frozenset({".jpg", ".jpeg"})
NO_ALPHA = frozenset({".jpg", ".jpeg", ".bmp"})
DEEP = frozenset({".png", ".tif", ".tiff"})  # hold 16 bits; OpenCV would saturate such samples in the others
BT709, BT601 = 1, 5  # matrix coefficients, H.273 table 4
HD_LINES = 720  # untagged pictures of more lines than this, or as many, are BT.709


def bgr(frame: Frame, *, deep: bool = False, size: tuple[int | None, int | None] = (None, None)) -> VideoFrame:
    """The frame as B, G, R of full range, and alpha where it has some, in 8 or 16 bits; bicubic to `size`.

    Grey stays one plane.
    """
    format, planes = frame.format, frame.planes
    if format.chroma == "grey" and frame.facts.colour.range == LIMITED:
        format, planes = with_chroma(format, planes, "444")
    picture = VideoFrame(frame.width, frame.height, format.pix_fmt)
    copy_out(planes, picture)
    tag_frame(picture, frame.facts.colour)
    names = {(False, False): "bgr24", (False, True): "bgra", (True, False): "bgr48le", (True, True): "bgra64le"}
    name = names[deep, frame.format.alpha]
    if frame.format.chroma == "grey" and not frame.format.alpha:
        name = "gray16le" if deep else "gray"
    return picture.reformat(
        *size, name, src_colorspace=matrix(frame), dst_color_range="JPEG", interpolation="BICUBIC", threads=1
    )


def matrix(frame: Frame) -> int:
    """The matrix a frame is shown by: the tagged one, where swscale has it, else BT.601, from 720 lines on BT.709."""
    tagged = frame.facts.colour.matrix
    return tagged if tagged in MATRICES else BT709 if frame.height >= HD_LINES else BT601


def lies(display_matrix: tuple[int, ...] | None) -> bool:
    """Whether turning a picture upright makes its rows columns."""
    a, _, _, d = turn(display_matrix) or (1, 0, 0, 1)
    return a == d == 0


def upright(picture: npt.NDArray[Any], display_matrix: tuple[int, ...] | None) -> npt.NDArray[Any]:
    """The picture turned and mirrored as a display matrix says, ISO/IEC 14496-12 8.2.2; only by right angles."""
    a, b, c, d = turn(display_matrix) or (*UPRIGHT[0:2], *UPRIGHT[3:5])
    if lies(display_matrix):  # x becomes y
        picture, a, d = picture.swapaxes(0, 1), c, b
    elif b or c:
        return picture
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def numbered(job: Job, frames: Iterable[Frame], names: Pattern, report: Report) -> None:
    """A file for every frame: numbered as the pictures of the input are, else from 1 on.

    Raises:
        OutputError: one can't be written. VerificationError: one reads back as another picture.
    """
    suffix, first = Path(job.output).suffix.lower(), job.source.first_number
    deep = job.source.format.depth > 8 and suffix in DEEP
    for place, frame in enumerate(frames):
        with report.stage("write"):
            picture = bgr(fit.frame(frame, job), deep=deep).to_ndarray()
            picture = upright(picture, frame.facts.display_matrix)
            path = names.path(1 + place if first is None else first + frame.pts)
            frame.release()
            store(path, picture)
        report.frames_written += 1
        report.media_seconds += float(frame.duration * frame.time_base)
    report.verified.append(f"{counted(report.frames_written, 'picture')} read back")


def store(path: Path, picture: npt.NDArray[Any]) -> None:
    """Writes a picture under a temporary name and reads it back; only then it gets its own.

    Raises:
        OutputError: it can't be written. VerificationError: it reads back as another one.
    """
    import cv2

    suffix = path.suffix.lower()
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    options = [n for name, value in STILLS[suffix].items() for n in (getattr(cv2, name), value)]
    try:
        if not cv2.imwrite(str(part), picture, options):
            raise OutputError(f"{path}: can't be written")
        again = cv2.imread(str(part), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        if again is None or again.shape[:2] != picture.shape[:2]:  # grey WebP comes back in colour
            raise VerificationError(f"{path}: what was written can't be read back")
        kept = suffix == ".png" or picture.shape[2:] != (4,)  # colour of what is clear may go, see `stills`
        exact = kept and suffix not in LOSSY and again.shape == picture.shape
        if exact and not np.array_equal(again, picture):
            raise VerificationError(f"{path}: what was written reads back as another picture")
        part.replace(path)
    except cv2.error as error:
        raise OutputError(f"{path}: can't be written ({error.err})") from error
    finally:
        part.unlink(missing_ok=True)
