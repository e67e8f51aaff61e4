"""The video that all upscale: reduced from larger frames, which are the truth, and coded by x264."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from benchmarks.peers.peer import Clip
from vsr.bench.clip import CODED, write
from vsr.errors import InputError
from vsr.reduced import ReducedClip, reduced

JUDGED = 5  # frames that PSNR and SSIM are of


def drawn(folder: Path, size: tuple[int, int], scale: int, frames: int) -> Clip:
    """`frames` frames of vsr-bench's scene, drawn `scale` times as large as `size` and reduced to it."""
    large = folder / "large.mp4"
    width, height = size
    write(large, (width * scale, height * scale), frames)
    return of_video(folder, str(large), scale, frames)


def of_video(folder: Path, source: str, scale: int, frames: int) -> Clip:
    """The first `frames` frames of a video, reduced by MATLAB's bicubic. Raises InputError for what can't be read."""
    small = reduced(source, scale, frames=frames)
    if len(small.low) < 2:
        raise InputError(f"{source}: one frame only; there is nothing to time")
    height, width = small.low[0].shape
    clip, truth = folder / f"{width}x{height}.mp4", folder / f"{width}x{height}.npy"
    np.save(truth, np.stack(small.high[:JUDGED]))
    _code(clip, small, width, height)
    return Clip(path=str(clip), truth=str(truth), width=width, height=height, scale=scale)


def _code(path: Path, small: ReducedClip, width: int, height: int) -> None:
    """Played to its end and back again, so that fast ones run for a while."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=small.rate, options=CODED)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for number, planes in enumerate([*small.frames, *small.frames[-2:0:-1]]):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, 1 / small.rate
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
