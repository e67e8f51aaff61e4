"""A clip with claps: white pictures and a tone that begin together, to see whether sound stays in step."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE, SAMPLES = 30, 48000
BLOCK = 1024  # samples


def clapper(
    target: Path | str,
    seconds: float,
    *,
    size: tuple[int, int] = (64, 48),
    due: Callable[[float], None] = lambda time: None,
) -> None:
    """Goes white and loud for 0.2 s at every whole second but the first; noise under the pictures, so none repeat.

    Args:
        target: a file, or an address that takes a transport stream.
        due: called with the time of every picture before it is written.
    """
    width, height = size
    noise = np.random.default_rng(0).integers(0, 12, (height * 3 // 2, width + RATE), np.uint8)
    with av.open(str(target), "w", format="mpegts" if "://" in str(target) else None) as written:
        video = written.add_stream(
            "libx264", rate=RATE, options={"preset": "ultrafast", "tune": "zerolatency", "g": "15"}
        )
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = written.add_stream("aac", rate=SAMPLES, layout="mono")
        heard = 0
        for number in range(round(RATE * seconds)):
            due(number / RATE)
            level = 220 if number >= RATE and number % RATE < 6 else 16
            samples = level + noise[:, number % RATE :][:, :width]
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(samples), "yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            written.mux(video.encode(picture))
            while heard + BLOCK <= (number + 1) * SAMPLES // RATE:
                written.mux(sound.encode(_block(heard)))
                heard += BLOCK
        written.mux(video.encode(None))
        written.mux(sound.encode(None))


def _block(begin: int) -> av.AudioFrame:
    moments = np.arange(begin, begin + BLOCK) / SAMPLES
    wave = np.where((moments >= 1) & (moments % 1 < 0.2), np.sin(2 * np.pi * 1000 * moments), 0)
    block = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), "fltp", "mono")
    block.sample_rate, block.pts, block.time_base = SAMPLES, begin, Fraction(1, SAMPLES)
    return block


def claps(path: Path) -> tuple[list[float], list[float]]:
    """Seconds at which the picture turns white, and at which the tone begins."""
    flashes, bangs, white, loud = list[float](), list[float](), False, False
    with av.open(str(path)) as source:
        for frame in source.decode():
            if isinstance(frame, av.VideoFrame):
                now = int(np.frombuffer(frame.planes[0], np.uint8)[0]) > 128
                flashes += [frame.time] if now and not white else []
                white = now
            else:
                for place, sample in enumerate(np.abs(frame.to_ndarray()[0]).reshape(-1, 64).max(1)):
                    now = bool(sample > 0.2)
                    bangs += [frame.time + place * 64 / frame.sample_rate] if now and not loud else []
                    loud = now
    return flashes, bangs
