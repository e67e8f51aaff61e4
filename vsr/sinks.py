"""Where frames go instead of a file: nowhere (null), into a checksum (md5), or raw into a pipe (y4m)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import BinaryIO

from vsr import fit, y4m
from vsr.errors import OutputError
from vsr.frame import Frame
from vsr.job import Job
from vsr.report import Report


def null(frames: Iterable[Frame], report: Report) -> None:
    """Counts frames and drops them: decode and network by themselves."""
    for frame in frames:
        _count(frame, report)
        frame.release()


def md5(frames: Iterable[Frame], report: Report) -> None:
    """Digest over every frame's pts and samples into `report.digest`; equal digests mean equal pictures in time."""
    digest = hashlib.md5(usedforsecurity=False)
    for frame in frames:
        _count(frame, report)
        digest.update(f"{frame.pts} {frame.width}x{frame.height} {frame.format.pix_fmt}\n".encode())
        for plane in frame.planes:
            digest.update(plane.data)
        frame.release()
    report.digest = digest.hexdigest()


def raw(job: Job, frames: Iterable[Frame], stream: BinaryIO, report: Report) -> None:
    """y4m to a binary stream. y4m has one rate: frames of uneven length are said, not stretched.

    Raises:
        OutputError: the reader of the pipe went away.
    """
    writer = y4m.Writer(stream, job.source.rate)
    nominal, last = job.source.nominal, None
    try:
        for frame in frames:
            _count(frame, report)
            if last is not None and abs(frame.pts - last - nominal) > 1:
                report.note("y4m has one frame rate; this video's varies, so its timing is lost")
            last = frame.pts
            writer.write(fit.frame(frame, job))
            frame.release()
        stream.flush()
    except BrokenPipeError as error:
        raise OutputError("the program reading the pipe has ended") from error


def _count(frame: Frame, report: Report) -> None:
    report.frames_written += 1
    report.media_seconds += float(frame.duration * frame.time_base)
