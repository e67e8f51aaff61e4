"""Between FFmpeg's frames and planar buffers; swscale brings what isn't planar YUV or grey to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from av.video.format import VideoFormat

from vsr.errors import InputError
from vsr.frame import PlanarFormat, Plane, Planes

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.plane import VideoPlane

DEPTHS = (8, 9, 10, 12, 14, 16)  # of FFmpeg's planar formats


def planar_format(format: VideoFormat) -> PlanarFormat:
    """The planar format that holds every sample of `format`; the same one when it is planar YUV or grey already.

    RGB and palette become 4:4:4 of the same depth, finer or odder chroma layouts the next finer of 4:2:0, 4:2:2, 4:4:4.

    Raises:
        InputError: float or Bayer samples.
    """
    exact = PlanarFormat.of(format.name)
    if exact is not None:
        return exact
    if "bayer" in format.name or any(component.bits > 16 for component in format.components):
        raise InputError(f"pixel format {format.name} is not supported: integer YUV, RGB or grey is")
    bits = max(8, *(component.bits for component in format.components))
    depth = next(d for d in DEPTHS if d >= bits)
    if is_rgb(format):
        return PlanarFormat(chroma="444", depth=depth)
    if len(format.components) < 3:
        return PlanarFormat(chroma="grey", depth=depth)
    across, down = format.chroma_width(1024) < 1024, format.chroma_height(1024) < 1024
    return PlanarFormat(chroma=("420" if down else "422") if across else "444", depth=depth)


def is_rgb(format: VideoFormat) -> bool:
    """Whether samples are R, G, B, directly or through a palette; such frames become BT.709 of limited range."""
    return format.is_rgb or format.has_palette


def has_alpha(pix_fmt: str) -> bool:
    """Whether the format FFmpeg calls `pix_fmt` has a plane or channel of opacity."""
    return any(component.is_alpha for component in VideoFormat(pix_fmt, 16, 16).components)


def copy_in(frame: VideoFrame, format: PlanarFormat, planes: Planes) -> None:
    """Copies the frame's samples into `planes`, through swscale when its layout differs from `format`.

    swscale runs in one thread: several take longer to start than to convert, and get some samples of small P010 wrong.
    """
    if is_rgb(frame.format):
        frame = frame.reformat(format=format.pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG", threads=1)
    elif PlanarFormat.of(frame.format.name) != format:
        frame = frame.reformat(format=format.pix_fmt, threads=1)
    for plane, target in zip(frame.planes, planes, strict=True):
        np.copyto(target, rows(plane, target))


def copy_out(planes: Planes, frame: VideoFrame) -> None:
    """Copies `planes` into the frame's; a frame one sample larger (even size for 4:2:0) gets the edge repeated."""
    for source, plane in zip(planes, frame.planes, strict=True):
        target = rows(plane, source, plane.height, plane.width)
        height, width = source.shape
        target[:height, :width] = source
        target[:height, width:] = source[:, -1:]
        target[height:] = target[height - 1 : height]


def rows(plane: VideoPlane, like: Plane, height: int = 0, width: int = 0) -> Plane:
    """The plane's samples without the padding at the end of its lines; a view, valid as long as the frame."""
    samples: Any = np.frombuffer(memoryview(plane), like.dtype).reshape(-1, plane.line_size // like.itemsize)
    lines: Plane = samples[: height or like.shape[0], : width or like.shape[1]]
    return lines
