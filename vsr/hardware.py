"""NVDEC, NVIDIA's decoder: used where it gives the frames that software gives, bit for bit.

FFmpeg brings its pictures back to ordinary memory as NV12, P010 or P016, and they are put into planes as all others
are, which changes no sample. Where they can stay on the GPU is `vsr.resident`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
from av.codec.hwaccel import HWAccel
from av.video.frame import VideoFrame

from vsr.backends.machine import has_driver
from vsr.convert import copy_in
from vsr.decode import pictures
from vsr.demux import open_input, packets
from vsr.errors import InputError, UsageError
from vsr.frame import Colour, PlanarFormat, Planes
from vsr.job import Source
from vsr.report import Report
from vsr.settings import Hwaccel
from vsr.shared import same

COMPARED = 8  # frames at the beginning: among them some that were predicted from both sides
LAYOUTS = ("nv12", "p010le", "p016le")  # of what comes from the GPU
Shown = list[tuple[str, Planes]]  # name of the layout, and the samples in planes
First = Callable[[Source, HWAccel | None], Shown]
Bring = Callable[[VideoFrame, PlanarFormat, Planes, Colour | None], None] | None  # None: `copy_in`


def nvdec(device: int, *, stays: bool = False) -> HWAccel:
    """The decoder of the GPU of this number; what it can't decode, FFmpeg's own decoder does.

    Args:
        stays: pictures aren't brought to memory.
    """
    return HWAccel("cuda", device=device, allow_software_fallback=True, is_hw_owned=stays)


def accelerated(source: Source, wanted: Hwaccel, device: int) -> tuple[Hwaccel, list[str]]:
    """What decodes: "cuda" or "none"; and what the user should hear of that.

    Raises:
        UsageError: "cuda" was asked for and isn't to be had.
    """
    if wanted == "none" or wanted == "auto" and not has_driver():
        return "none", []
    why = obstacle(source, device)
    if not why:
        return "cuda", [f"decoded by NVDEC of GPU {device}, as its first frames are those of software"]
    if wanted == "cuda":
        raise UsageError(f"--hwaccel cuda: {why}")
    return "none", [f"not decoded by NVDEC: {why}"]


def first_frames(source: Source, accelerator: HWAccel | None, bring: Bring = None) -> Shown:
    """The first frames of a track as its decoder gives them, and in planes. Raises InputError, or as `bring`."""
    found: Shown = []
    with open_input(source.path, source.limits, accelerator) as container:
        stream: Any = container.streams[source.stream]
        shown = pictures(stream, packets(container, [stream], Report()), Report())
        for picture in islice(shown, COMPARED):
            buffer = np.empty(source.format.nbytes(picture.width, picture.height), np.uint8)
            planes = source.format.views(buffer, picture.width, picture.height)
            (bring or copy_in)(picture, source.format, planes, source.facts.colour)
            found.append((picture.format.name, planes))
    return found


def obstacle(
    source: Source, device: int, *, driver: Callable[[], bool] = has_driver, first: First = first_frames
) -> str:
    """Why NVDEC isn't for this input, in a few words; "" where it is, its first frames compared with software's."""
    if not driver():
        return "no NVIDIA GPU and no driver of one is here"
    if source.path == "-" or source.first_number is not None or source.alpha or source.deinterlace:
        return "it isn't for pipes, numbered pictures, alpha and deinterlacing"
    try:
        found = first(source, nvdec(device))
    except InputError as error:
        return f"it doesn't open here ({getattr(error.__cause__, 'strerror', None) or error})"
    if not found or any(name not in LAYOUTS for name, _ in found):
        return f"it has no decoder for {source.codec} in {source.pix_fmt}"
    return "" if alike(found, first(source, None)) else "its first frames aren't those of the software decoder"


def alike(found: Shown, expected: Shown) -> bool:
    """Whether they are as many, with the same samples."""
    pairs = zip(found, expected, strict=False)
    return len(found) == len(expected) and all(same(given, planes) for (_, given), (_, planes) in pairs)
