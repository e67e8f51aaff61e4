"""Chroma location of a track: read from its headers, else measured on a decoded frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av.error
import numpy as np

from vsr.convert import copy_out, relaid, samples
from vsr.extradata import chroma_location
from vsr.frame import CHROMA_SITES, ChromaLocation, PlanarFormat

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

SIDES = (32, 48)  # of the measured picture; the second where the frame has the first
STEP = 4  # code values a luma sample: each half sample of location moves the ramp by two
_BY_SITE: dict[tuple[int, int], ChromaLocation] = {
    site: name for name, site in CHROMA_SITES.items() if name not in ("unspecified", "center")
}


def read_location(stream: VideoStream, frame: VideoFrame) -> ChromaLocation:
    """Where the chroma samples of a 4:2:0 track sit; "unspecified" for other formats, and where nobody says.

    Args:
        frame: one that the stream's decoder gave.
    """
    pix_fmt = frame.format.name
    if "420" not in pix_fmt:
        return "unspecified"
    stated = chroma_location(stream.codec_context.name, stream.codec_context.extradata, pix_fmt)
    location = stated if stated != "unspecified" else measured(frame)
    if location == "unspecified" and stream.container.format.name == "yuv4mpegpipe" and pix_fmt == "yuv420p":
        return "center"  # C420jpeg, which is also what no C tag means
    return location


def measured(frame: VideoFrame) -> ChromaLocation:
    """The location that FFmpeg's decoder or demuxer put on a 4:2:0 frame, found by letting swscale use it.

    Chroma ramps along x and y take the samples' place in a small copy of the frame; enlarged to 4:4:4 they are shifted
    by the location. swscale centres what is unspecified, so the centre tells nothing.
    """
    side = SIDES[frame.width == SIDES[0]]  # of another size than the frame, or the copy would be the frame itself
    try:
        copy = relaid(frame, width=side, height=side, format="yuv420p")
        luma, ramp = np.full((side, side), 128, np.uint8), np.arange(side // 2, dtype=np.uint8) * (2 * STEP)
        right, below = np.tile(ramp, (side // 2, 1)), np.tile(ramp[:, None], (1, side // 2))
        copy_out((luma, right, below), copy)
        enlarged = copy.reformat(format="yuv444p", interpolation="BILINEAR")
    except (av.error.FFmpegError, ValueError):  # colour tags that swscale refuses
        return "unspecified"
    inner, (_, u, v) = slice(side // 4, -side // 4), samples(enlarged, PlanarFormat(chroma="444"))
    across = STEP * np.arange(side)[None, inner] - u[inner, inner]
    down = STEP * np.arange(side)[inner, None] - v[inner, inner]
    return _BY_SITE.get((round(across.mean() * 2 / STEP), round(down.mean() * 2 / STEP)), "unspecified")
