"""Between FFmpeg's frames and planar buffers; swscale brings what isn't planar YUV or grey to it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import av.error
import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from vsr.errors import InputError
from vsr.frame import FULL, Chroma, Colour, PlanarFormat, Plane, Planes

if TYPE_CHECKING:
    from av.video.plane import VideoPlane

RGB, BT709, UNSPECIFIED = 0, 1, 2  # matrix coefficients, H.273 table 4
RANGES = ("MPEG", "JPEG")
MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020"}  # H.273's to swscale's
FLOAT = re.compile(r"f(16|32)(le|be)?$")
DEPTHS = (8, 9, 10, 12, 14, 16)  # of FFmpeg's planar formats; it has none of some depths with alpha


def planar_format(format: VideoFormat, *, alpha: bool = False) -> PlanarFormat:
    """The planar format that holds every sample of `format`; the same one when it is planar YUV or grey already.

    RGB and palette become 4:4:4 of the same depth, finer or odder chroma layouts the next finer of 4:2:0, 4:2:2, 4:4:4.

    Args:
        alpha: with the plane of opacity, where `format` has one.

    Raises:
        InputError: float or Bayer samples, or those of hardware.
    """
    exact = PlanarFormat.of(format.name)
    if exact is not None:
        return exact if alpha else exact.opaque
    bits = max((component.bits for component in format.components), default=0)
    if not 0 < bits <= 16 or "bayer" in format.name or FLOAT.search(format.name):
        raise InputError(f"pixel format {format.name} is not supported: integer YUV, RGB or grey is")
    made = (PlanarFormat(chroma=_chroma(format), depth=d, alpha=alpha and has_alpha(format.name)) for d in DEPTHS)
    return next(f for f in made if f.depth >= bits and (not f.alpha or _exists(f.pix_fmt)))


def _chroma(format: VideoFormat) -> Chroma:
    if is_rgb(format):
        return "444"
    if all(component.is_luma or component.is_alpha for component in format.components):
        return "grey"
    across, down = format.chroma_width(1024) < 1024, format.chroma_height(1024) < 1024
    return ("420" if down else "422") if across else "444"


def _exists(pix_fmt: str) -> bool:
    try:
        VideoFormat(pix_fmt, 16, 16)
    except ValueError:
        return False
    return True


def is_rgb(format: VideoFormat) -> bool:
    """Whether samples are R, G, B, directly or through a palette; such frames become BT.709 of limited range."""
    return format.is_rgb or format.has_palette


def has_alpha(pix_fmt: str) -> bool:
    """Whether the format FFmpeg calls `pix_fmt` has a plane or channel of opacity."""
    return any(component.is_alpha for component in VideoFormat(pix_fmt, 16, 16).components)


def copy_in(frame: VideoFrame, format: PlanarFormat, planes: Planes, colour: Colour | None = None) -> None:
    """Copies the frame's samples into `planes`, through swscale when its layout differs from `format`.

    Where `colour` is given and the frame says that its range or matrix is another, they are converted too.

    swscale runs in one thread: several take longer to start than to convert, and get some samples of small P010 wrong.
    Opacity goes past it, as it would be dithered, and is full where the frame has none.
    """
    if format.alpha:
        np.copyto(planes[-1], opacity(frame, format.depth))
    wanted, own = format.opaque, PlanarFormat.of(frame.format.name)
    told = recoding(frame, wanted, colour)
    if own is None or own.opaque != wanted or told:
        given = _renamed(frame, own) if own and told else frame
        frame, own = _reformatted(given, wanted, told), wanted
    for source, target in zip(samples(frame, own), planes[: 1 if wanted.chroma == "grey" else 3], strict=False):
        np.copyto(target, source[: target.shape[0], : target.shape[1]])


def _reformatted(frame: VideoFrame, format: PlanarFormat, told: dict[str, Any]) -> VideoFrame:
    try:
        return relaid(frame, format=format.pix_fmt, **told)
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"pixel format {frame.format.name} can't be converted here ({error.strerror})") from error


def relaid(frame: VideoFrame, **asked: Any) -> VideoFrame:
    """The frame reformatted as `asked`; of any matrix, where swscale would refuse those it can't convert by.

    Threads: one is quicker than several.
    """
    matrix = int(frame.colorspace)
    if matrix not in (RGB, *MATRICES):
        frame.colorspace = UNSPECIFIED
    try:
        return frame.reformat(threads=1, **asked)
    finally:
        frame.colorspace = matrix


def recoding(frame: VideoFrame, format: PlanarFormat, colour: Colour | None) -> dict[str, Any]:
    """What to tell swscale of range and matrix; nothing where they stay."""
    if is_rgb(frame.format):
        matrix = colour.matrix if colour else BT709
        full = colour is not None and colour.range == FULL
        return {"dst_colorspace": MATRICES.get(matrix, "ITU709"), "dst_color_range": "JPEG" if full else "MPEG"}
    if colour is None:
        return {}
    told: dict[str, Any] = {}
    given, wanted = full_range(frame), colour.range == FULL
    if given != wanted and int(frame.color_range):
        told = {"src_color_range": RANGES[given], "dst_color_range": RANGES[wanted]}
    matrix = int(frame.colorspace)
    if matrix != colour.matrix and matrix in MATRICES and colour.matrix in MATRICES and format.chroma != "grey":
        told |= {"src_colorspace": MATRICES[matrix], "dst_colorspace": MATRICES[colour.matrix]}
    return told


def _renamed(frame: VideoFrame, format: PlanarFormat) -> VideoFrame:
    """A frame of a `yuvj` format as what it is; swscale goes by the name, whatever it is told of the range."""
    if not frame.format.name.startswith("yuvj"):
        return frame
    plain = VideoFrame(frame.width, frame.height, format.pix_fmt)
    copy_out(samples(frame, format), plain)
    plain.colorspace = frame.colorspace
    return plain


def full_range(frame: VideoFrame) -> bool:
    """Whether samples are of full range: as the frame says, else by its format, which FFmpeg calls `yuvj` then.

    When a stream changes from full to limited range, its frames say so while the format keeps the name.
    """
    return int(frame.color_range) == FULL if int(frame.color_range) else frame.format.name.startswith("yuvj")


def opacity(frame: VideoFrame, depth: int) -> Plane:
    """The frame's plane of opacity in `depth` bits: its own samples, all full where it has none."""
    if not has_alpha(frame.format.name):
        format = PlanarFormat(chroma="grey", depth=depth)
        return np.full((frame.height, frame.width), format.white, format.dtype)
    own = PlanarFormat.of(frame.format.name)
    if own is not None:
        return rescaled(samples(frame, own)[-1], own.depth, depth)
    if frame.format.is_rgb:  # between layouts of RGB swscale only moves samples
        bits = frame.format.components[-1].bits
        planar = f"gbrap{bits}le" if bits > 8 else "gbrap"
        own = PlanarFormat(chroma="444", depth=bits, alpha=True)
        return rescaled(samples(frame.reformat(format=planar, threads=1), own)[-1], bits, depth)
    own = planar_format(frame.format, alpha=True)
    return rescaled(samples(relaid(frame, format=own.pix_fmt), own)[-1], own.depth, depth)


def rescaled(plane: Plane, bits: int, depth: int) -> Plane:
    """Samples of full range in another depth, rounded: 0 and the maximum stay what they are."""
    if bits == depth:
        return plane
    kind = PlanarFormat(depth=depth).dtype
    given, wanted = (1 << bits) - 1, (1 << depth) - 1
    table = ((np.arange(given + 1, dtype=np.uint64) * wanted * 2 + given) // (2 * given)).astype(kind)
    found: Plane = table[plane]
    return found


def copy_out(planes: Planes, frame: VideoFrame) -> None:
    """Copies `planes` into the frame's; a frame one sample larger (even size for 4:2:0) gets the edge repeated."""
    format = PlanarFormat.of(frame.format.name)
    assert format is not None
    for source, target in zip(planes, samples(frame, format), strict=True):
        height, width = source.shape
        target[:height, :width] = source
        target[:height, width:] = source[:, -1:]
        target[height:] = target[height - 1 : height]


def samples(frame: VideoFrame, format: PlanarFormat) -> Planes:
    """The frame's samples by plane, without the padding at the end of lines; views, valid as long as the frame.

    FFmpeg keeps grey and its opacity side by side in one plane.
    """
    if format.chroma == "grey" and format.alpha:
        both = _rows(frame.planes[0], format, frame.height, 2 * frame.width)
        return both[:, 0::2], both[:, 1::2]
    return tuple(_rows(plane, format, plane.height, plane.width) for plane in frame.planes)


def with_chroma(format: PlanarFormat, planes: Planes, chroma: Chroma) -> tuple[PlanarFormat, Planes]:
    """Grey as YUV without colour; swscale takes all grey for full range, whatever its tag."""
    made = replace(format, chroma=chroma)
    small = made.shapes(planes[0].shape[1], planes[0].shape[0])[1]
    neutral = np.full(small, 1 << (format.depth - 1), format.dtype)
    return made, (planes[0], neutral, neutral, *planes[1:])


def _rows(plane: VideoPlane, format: PlanarFormat, height: int, width: int) -> Plane:
    if plane.line_size < 0:  # PyAV's buffer begins at the first line and runs away from the others
        raise InputError("pictures with their rows stored from the bottom up are supported in RGB only")
    kind = format.dtype
    lines: Any = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // kind.itemsize)
    inside: Plane = lines[:height, :width]
    return inside
