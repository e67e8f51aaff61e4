"""Pairs for video as it is streamed: what a decoder shows, reduced and coded, beside the clean frame it was made of.

Stills become short clips: a window wanders over the picture by whole pixels, often with a second one in front of it
that wanders by itself. Clips are reduced by one of four kernels and go through a real encoder; a few frames are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vsr.decode import pictures
from vsr.demux import open_input, packets, video_stream
from vsr.errors import InputError
from vsr.metrics import BICUBIC, Kernel, reduction, to_uint8
from vsr.report import Report
from vsr.training.coding import Coding, Decoded, Plane, luma_of, with_chroma
from vsr.training.data import Sample, sizes
from vsr.training.pictures import read_luma, with_holdout

FRAMES = 24  # of a clip as it is coded
KEPT = 3  # of them for training
SIDES = (96, 192)  # low-resolution pixels of a clip, both ways
STEP = 16
SMALLEST = 64  # below, encoders and patches don't fit
WINDOW = 200  # a picture of n times this side, by its area, gives n clips
SPEED = 6  # pixels a frame at most
TREMBLING = 0.5  # share of clips as from a hand
SECOND = 0.5  # share with a second window
UNCODED = 0.12  # share of clips that are only reduced, so that good streams aren't smoothed
EVERY = 96  # frames of a real clip from which one clip of FRAMES is taken
LONGEST = 960  # frames read of a real clip


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


KERNELS = {
    "bicubic": (BICUBIC, 0.4),
    "lanczos3": (Kernel(_lanczos, 3), 0.2),
    "area": (Kernel(lambda x: ((x >= -0.5) & (x < 0.5)).astype(np.float64), 0.5), 0.2),
    "bilinear": (Kernel(lambda x: np.maximum(0.0, 1 - np.abs(x)), 1), 0.2),
}
# Encoder, its share, lowest and highest quality value (about the same picture in all three), presets.
ENCODERS = (
    ("libx264", 0.65, (18, 35), ("veryfast", "fast", "medium")),
    ("libx265", 0.22, (21, 38), ("superfast", "veryfast")),
    ("libsvtav1", 0.13, (24, 52), ("9", "8")),
)


@dataclass(frozen=True)
class Streamed:
    """Where clips come from, and what is told at the end.

    Args:
        folder: of pictures.
        clips: of videos beside them, or None.
    """

    folder: Path
    clips: Path | None = None
    seed: int = 1
    log: Callable[[str], None] = print

    def samples(self, scale: int) -> Iterator[Sample]:
        """Pairs by seed, the pictures first; those held out are the same as in clean training."""
        seen: Counter[str] = Counter()
        for clip, held, rng in self._clips(scale):
            for kernel, coder, shown in degraded(clip, scale, rng):
                seen.update(filter(None, (kernel, coder, shown.type)))
                yield Sample(shown.luma, clip[shown.index], held)
        self.log(told(seen))

    def _clips(self, scale: int) -> Iterator[tuple[Plane, bool, np.random.Generator]]:
        for index, (path, held) in enumerate(with_holdout(self.folder)):
            rng = np.random.default_rng((self.seed, index))
            for plane in sizes(read_luma(path)):
                for _ in range(_windows(plane)):
                    if (clip := wandering(plane, scale, rng)) is not None:
                        yield clip, held, rng
        for index, path in enumerate(sorted(self.clips.iterdir()) if self.clips else ()):
            rng = np.random.default_rng((self.seed, index, 1))
            for shot in shots(path):
                for _ in range(_windows(shot[0])):
                    if (clip := standing(shot, scale, rng)) is not None:
                        yield clip, False, rng


def wandering(plane: Plane, scale: int, rng: np.random.Generator) -> Plane | None:
    """(FRAMES, height, width): a window's way over a picture. None where the picture is too small."""
    size = _window(plane, scale, rng)
    if size is None:
        return None
    clip = np.stack([_cut(plane, at, size) for at in _way(plane, size, rng)])
    if rng.random() < SECOND:
        height, width = (int(side * rng.uniform(0.2, 0.5)) for side in size)
        corner = [
            int(rng.integers(0, side - small + 1)) for side, small in zip(plane.shape, (height, width), strict=True)
        ]
        front = _cut(plane, corner, (height, width))
        for frame, (y, x) in zip(clip, _way(clip[0], (height, width), rng), strict=True):
            frame[y : y + height, x : x + width] = front
    return clip


def standing(shot: Plane, scale: int, rng: np.random.Generator) -> Plane | None:
    """(FRAMES, height, width): a part of a real clip."""
    size = _window(shot[0], scale, rng)
    if size is None:
        return None
    y, x = (int(rng.integers(0, side - small + 1)) for side, small in zip(shot.shape[1:], size, strict=True))
    return shot[:, y : y + size[0], x : x + size[1]]


def degraded(clip: Plane, scale: int, rng: np.random.Generator) -> Iterator[tuple[str, str, Decoded]]:
    """(kernel, encoder, frame) of KEPT frames of `clip`, reduced and mostly coded."""
    name = rng.choice(list(KERNELS), p=[share for _, share in KERNELS.values()])
    low = reduced(clip, scale, KERNELS[name][0])
    kept = set(rng.choice(len(clip), KEPT, replace=False).tolist())
    if rng.random() < UNCODED:
        yield from ((name, "uncoded", Decoded(index, "", low[index])) for index in sorted(kept))
        return
    coding = random_coding(rng)
    for frame in coding.decoded(coding.packets([with_chroma(luma) for luma in low])):
        if frame.index in kept:
            yield name, coding.encoder, frame


def reduced(clip: Plane, scale: int, kernel: Kernel = BICUBIC) -> Plane:
    """Frames `scale` times as small, by `metrics.imresize`."""
    down, across = (reduction(side, scale, kernel).astype(np.float32) for side in clip.shape[1:])
    return to_uint8(down @ clip.astype(np.float32) @ across.T)


def random_coding(rng: np.random.Generator) -> Coding:
    """An encoder with quality, preset and distance of key frames by chance."""
    encoder, _, (best, worst), presets = ENCODERS[rng.choice(len(ENCODERS), p=[share for _, share, *_ in ENCODERS])]
    crf, preset, gop = rng.uniform(best, worst), rng.choice(presets), rng.integers(12, 61)
    return Coding(encoder, {"crf": str(round(crf)), "preset": str(preset), "g": str(gop)})


def shots(path: Path) -> Iterator[Plane]:
    """(FRAMES, height, width): 8-bit luma of runs of frames, one in EVERY. Raises InputError for what isn't video."""
    with open_input(str(path)) as container:
        stream = video_stream(container, str(path))
        shown = islice(pictures(stream, packets(container, [stream], Report()), Report()), LONGEST)
        lumas = (luma_of(frame.reformat(stream.width, stream.height, "yuv420p")) for frame in shown)
        while len(run := list(islice(lumas, EVERY))) >= FRAMES:
            yield np.stack(run[:FRAMES])


def told(seen: Counter[str]) -> str:
    """One line: how many pairs, and their shares by encoder, type and kernel."""
    if not (total := sum(seen[name] for name in KERNELS)):
        raise InputError(f"no picture or clip has {SMALLEST} low-resolution pixels per side; give larger ones")
    groups = [("uncoded", *(name for name, *_ in ENCODERS)), ("I", "P", "B"), KERNELS]
    shares = [", ".join(f"{name} {100 * seen[name] / total:.0f}%" for name in group) for group in groups]
    return f"{total} pairs: {'; '.join(shares)}"


def _windows(plane: Plane) -> int:
    return max(1, round(sqrt(plane.size) / WINDOW))


def _window(plane: Plane, scale: int, rng: np.random.Generator) -> tuple[int, int] | None:
    """Height and width of a clip, some room around it left where there is any."""
    least, most = SIDES
    sides = []
    for side in plane.shape:
        fitting = max(0, side - STEP) // scale // 8 * 8
        sides.append(min(int(rng.integers(least // STEP, most // STEP + 1)) * STEP, fitting))
    return None if min(sides) < SMALLEST else (sides[0] * scale, sides[1] * scale)


def _way(plane: Plane, size: tuple[int, int], rng: np.random.Generator) -> list[list[int]]:
    """Corners of a window in FRAMES frames: steady, trembling or standing; at the edges it turns round."""
    room = np.subtract(plane.shape, size)
    most = rng.integers(0, SPEED + 1)
    steps = rng.integers(-most, most + 1, 2) + rng.integers(-1, 2, (FRAMES, 2)) * (rng.random() < TREMBLING)
    period = 2 * np.maximum(room, 1)
    at = (rng.integers(0, room + 1) + np.cumsum(steps, axis=0)) % period
    result: list[list[int]] = np.minimum(np.minimum(at, period - at), room).tolist()
    return result


def _cut(plane: Plane, corner: list[int], size: tuple[int, int]) -> Plane:
    (y, x), (height, width) = corner, size
    return plane[y : y + height, x : x + width].copy()
