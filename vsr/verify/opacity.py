"""Alpha in the finished file: there, and the source's but for its size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vsr.convert import copy_in, has_alpha, planar_format
from vsr.decode import pictures
from vsr.demux import open_input, packets
from vsr.frame import FramePool
from vsr.job import Job
from vsr.report import Report
from vsr.settings import Limits

CELLS = 8  # a side; their means are compared
TOLERANCE = 0.04  # of full opacity: what coding with loss and a network do to the mean of a cell


def check_opacity(job: Job, output: str, wrong: list[str]) -> None:
    """The job's first frame is as opaque as its source's, place by place."""
    if not job.source.format.alpha:
        return
    source, start = job.source, None if job.source.untimed else job.source.start
    before = _opacity(source.path, source.stream, start, source.limits)
    after = _opacity(output, 0, None, job.output_limits)
    if before is None or after is None:
        wrong.append("alpha is missing")
        return
    side = min(CELLS, *before.shape)
    off = float(np.abs(_cells(before, side) - _cells(after, side)).max())
    if off > TOLERANCE:
        wrong.append(f"alpha is {off:.0%} of full opacity off")


def _opacity(path: str, index: int, start: int | None, limits: Limits) -> npt.NDArray[np.float64] | None:
    """Opacity, 0 to 1, of the first frame from `start` on; None where it has none."""
    with open_input(path, limits) as container:
        track: Any = container.streams[index]
        shown = pictures(track, packets(container, [track], Report()), Report(), alpha=True)
        picture = next((p for p in shown if start is None or p.pts is None or p.pts >= start), None)
    if picture is None or not has_alpha(picture.format.name):
        return None
    format = planar_format(picture.format, alpha=True)
    planes, _ = FramePool(format, picture.width, picture.height).take()
    copy_in(picture, format, planes)
    return np.asarray(planes[-1] / format.white, np.float64)


def _cells(opacity: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    """Means of a grid of `side` by `side`."""
    bands = [band.mean(0) for band in np.array_split(opacity, side)]
    return np.array([[cell.mean() for cell in np.array_split(band, side)] for band in bands])
