"""Looking before running: one frame side by side, and what a run would take."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vsr.encode import encode_chunk
from vsr.errors import UsageError
from vsr.frame import Frame
from vsr.mux import global_header
from vsr.pictures import bgr, store, upright
from vsr.pipeline import decoded, upscaling
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings
from vsr.target import check_output
from vsr.upscaler import UpscaleStage

TIMED_FRAMES = 24


def write(settings: RunSettings, at: float) -> None:
    """Writes a PNG: left bicubic, right the network, of the frame shown at `at` seconds, upright.

    Raises:
        UsageError: the output isn't a .png. OutputError: it can't be written. And whatever `probe` raises.
    """
    if Path(settings.output).suffix.lower() != ".png":
        raise UsageError(f"{settings.output}: --preview writes a PNG; name one")
    check_output(settings.input, settings.output, overwrite=settings.overwrite)
    job = probe(replace(settings, sink="null", start=at, duration=None))
    report = Report()
    with UpscaleStage(job.network.applied(settings.engine)) as stage, decoded(job, report) as frames:
        frame = next(frames, None)
        if frame is None:
            raise UsageError(f"--preview {at:g} is past the end of {settings.input}")
        before = _shown(frame, job.upscaled)
        for result in stage.frames([frame]):
            after = _shown(result, job.upscaled)
            result.release()
        frames.close()
    store(Path(settings.output), np.hstack([before, after]))


def _shown(frame: Frame, size: tuple[int, int]) -> npt.NDArray[Any]:
    return upright(bgr(frame, size=size).to_ndarray(), frame.facts.display_matrix)


def estimate(settings: RunSettings) -> dict[str, Any]:
    """The job, and from a few frames really upscaled and encoded: seconds and bytes of the whole run.

    Returns:
        {"job": ..., "estimate": {"engine", "timed_frames", "fps", "seconds", "bytes", "disk"}}: bytes of the output,
        and on disk at most while it is made; None when the length of the input is unknown or nothing is written.
    """
    job, report, size = probe(settings), Report(), 0
    stamps: list[float] = []
    with upscaling(job, settings.engine, report) as frames:
        few = _stamped(islice(frames, TIMED_FRAMES), stamps)
        if job.encoder is None:
            for frame in few:
                frame.release()
        else:
            size = sum(packet.size for packet in encode_chunk(job, few, report, global_header=global_header(job)))
            stamps.append(time.perf_counter())
    fps = (len(stamps) - 1) / (stamps[-1] - stamps[0]) if len(stamps) > 1 else None
    count, timed = job.source.frames, len(stamps) - (job.encoder is not None)  # the last stamp is the encoder's end
    known = count is not None and fps is not None
    return {
        "job": json.loads(job.to_json()),
        "estimate": {
            "engine": report.engine,
            "timed_frames": timed,
            "fps": fps and round(fps, 2),
            "seconds": round(count / fps, 1) if known else None,  # type: ignore[operator]
            "bytes": round(size / timed * count) if known and size else None,  # type: ignore[operator]
            "disk": round(2 * size / timed * count) if known and size else None,  # type: ignore[operator]
        },
    }


def told(estimate: Mapping[str, Any]) -> str:
    """An estimate in a line for people."""
    parts = []
    if estimate["seconds"] is not None:
        parts.append(f"about {estimate['seconds']:.0f} s at {estimate['fps']:.1f} fps")
    if estimate["bytes"] is not None:
        parts.append(f"{estimate['bytes'] / 1e6:.1f} MB, {estimate['disk'] / 1e6:.1f} MB on disk while it is made")
    return ", ".join(parts) or "no estimate: the input does not tell its length"


def _stamped(frames: Any, stamps: list[float]) -> Any:
    for frame in frames:
        stamps.append(time.perf_counter())
        yield frame
