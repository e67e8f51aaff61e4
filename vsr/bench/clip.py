"""What is upscaled: a scene drawn at the size wanted, or the user's clip brought to it; coded by x264."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vsr.errors import InputError
from vsr.pictures import bgr
from vsr.pipeline import decoded
from vsr.probe import probe
from vsr.report import Report
from vsr.settings import RunSettings

RATE = 24
CODED = {"crf": "20", "preset": "medium"}
DETAIL = 200  # lines and discs in the scene
Picture = NDArray[np.uint8]


def write(path: Path, size: tuple[int, int], frames: int, source: str | None = None) -> int:
    """An MP4 of at most `frames` frames at `size`, of the drawn scene or of `source`; how many it has.

    Raises InputError for a source that can't be read or has no frame.
    """
    pictures = scene(size) if source is None else _clip(source, size)
    count = 0
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options=CODED)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        for count, picture in enumerate(islice(pictures, frames), 1):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = count - 1, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    if not count:
        raise InputError(f"{source}: no frame")
    return count


def scene(size: tuple[int, int]) -> Iterator[Picture]:
    """Without end, the same every time: a camera moves over smooth ground with lines, discs and words; BGR."""
    width, height = size
    ground = _ground(width * 5 // 4 + 2, height * 5 // 4 + 2)
    number = 0
    while True:
        x, y = ((1 - np.cos(number / pace)) / 2 * room for pace, room in ((17, width / 4), (23, height / 4)))
        move = np.array([[1, 0, -x], [0, 1, -y]])
        yield np.asarray(cv2.warpAffine(ground, move, size, flags=cv2.INTER_LINEAR), np.uint8)
        number += 1


def _ground(width: int, height: int) -> Picture:
    draw = np.random.default_rng(1)
    picture = np.zeros((height, width, 3), np.float32)
    for octave in range(1, 7):
        grid = draw.random((2**octave + 1, 2**octave + 1, 3), np.float32)
        picture += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * (120 / octave)
    ground = np.clip(picture - picture.mean() + 120, 0, 255).astype(np.uint8)
    for n in range(DETAIL):
        (x, a), (y, b) = (draw.integers(0, side, 2).tolist() for side in (width, height))
        colour = draw.integers(0, 255, 3).tolist()
        if n % 3 == 0:
            cv2.line(ground, (x, y), (a, b), colour, 1 + n % 2, cv2.LINE_AA)
        elif n % 3 == 1:
            cv2.circle(ground, (x, y), max(2, height // (10 + n % 40)), colour, -1, cv2.LINE_AA)
        else:
            cv2.putText(ground, f"frame {n}", (x, y), cv2.FONT_HERSHEY_SIMPLEX, height / 800, colour, 1, cv2.LINE_AA)
    return np.asarray(ground, np.uint8)


def _clip(source: str, size: tuple[int, int]) -> Iterator[Picture]:
    with decoded(probe(RunSettings(input=source, output="", sink="null")), Report()) as frames:
        for frame in frames:
            yield np.asarray(bgr(frame, size=size).reformat(format="bgr24").to_ndarray(), np.uint8)
            frame.release()
