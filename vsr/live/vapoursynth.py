"""A VapourSynth function: `vsr.live.vapoursynth.upscale(clip)`; VapourSynth's wheel asks for Python 3.12 or later."""

from __future__ import annotations

from fractions import Fraction
from threading import Lock
from typing import Any, cast

import numpy as np

from vsr.errors import UsageError
from vsr.frame import Chroma, ChromaLocation, Colour, Frame, PlanarFormat, Planes, TrackFacts
from vsr.graph import FrameSpec
from vsr.settings import Backend, EngineSettings
from vsr.upscaler import UpscaleStage

SITES: tuple[ChromaLocation, ...] = ("left", "center", "topleft", "top", "bottomleft", "bottom")  # _ChromaLocation's
CHROMA: dict[tuple[int, int], Chroma] = {(0, 0): "444", (1, 0): "422", (1, 1): "420"}  # logarithms of the subsampling


def upscale(clip: Any, scale: int = 2, *, network: str = "auto", backend: Backend = "auto", threads: int = 0) -> Any:
    """`clip`, `scale` times as large each way; frame properties are kept.

    Frames go through one at a time, all threads on each: VapourSynth asks from many threads, the engine has one.

    Args:
        clip: YUV 4:2:0, 4:2:2, 4:4:4 or grey of 8 to 16 bits, of one format and size.
        scale: 2, 3 or 4.
        network, backend, threads: as `vsr.Upscaler`.

    Raises:
        UsageError: (also ValueError) a clip or arguments that can't be meant, VapourSynth not installed.
    """
    try:
        import vapoursynth
    except ImportError as error:
        raise UsageError("no vapoursynth here: pip install vapoursynth, with Python 3.12 or later") from error
    one = _Upscale(clip, EngineSettings(scale=scale, network=network, backend=backend, threads=threads, streams=1))
    blank = clip.std.BlankClip(width=clip.width * scale, height=clip.height * scale, keep=True)
    return vapoursynth.core.std.ModifyFrame(clip=blank, clips=[blank, clip], selector=one)


class _Upscale:
    """ModifyFrame's selector."""

    def __init__(self, clip: Any, settings: EngineSettings) -> None:
        self._format = _format(clip)
        self._stage, self._lock = UpscaleStage(settings), Lock()
        self._stage.prepare(FrameSpec(format=self._format, width=clip.width, height=clip.height, location="left"))

    def __call__(self, n: int, f: list[Any]) -> Any:
        blank, given = f
        made = blank.copy()
        made.props.update(given.props)
        with self._lock:
            (result,) = self._stage.frames([self._frame(n, given)])
            for number, plane in enumerate(result.planes):
                np.copyto(np.asarray(made[number]), plane)
            result.release()
        return made

    def _frame(self, number: int, given: Any) -> Frame:
        planes = tuple(
            np.array(given[plane], order="C") for plane in range(given.format.num_planes)
        )  # theirs are read-only
        location = SITES[given.props.get("_ChromaLocation", 0)]
        return Frame(
            format=self._format,
            width=given.width,
            height=given.height,
            planes=cast(Planes, planes),
            pts=number,
            time_base=Fraction(1),
            index=number,
            facts=TrackFacts(colour=Colour(chroma_location=location)),
        )


def _format(clip: Any) -> PlanarFormat:
    """Raises UsageError for what no engine takes."""
    import vapoursynth

    told = clip.format
    if told is None or not clip.width or told.sample_type != vapoursynth.INTEGER or told.bits_per_sample > 16:
        raise UsageError(
            "the clip must have one size and one format of 8 to 16 bits; resize.Bicubic(format=vs.YUV420P8), say"
        )
    if told.color_family == vapoursynth.GRAY:
        return PlanarFormat(chroma="grey", depth=told.bits_per_sample)
    chroma = CHROMA.get((told.subsampling_w, told.subsampling_h))
    if told.color_family != vapoursynth.YUV or chroma is None:
        raise UsageError(f"{told.name} is no YUV 4:2:0, 4:2:2, 4:4:4 or grey; resize.Bicubic(format=vs.YUV420P8), say")
    return PlanarFormat(chroma=chroma, depth=told.bits_per_sample)
