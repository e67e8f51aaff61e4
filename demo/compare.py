"""Puts bicubic and vsr side by side: python demo/compare.py UPSCALED PICTURE

UPSCALED is what vsr-run made of demo/demo.mp4 at scale 2. Prints the luma PSNR of both against the clip as drawn at
full size (see render.py), the mean over every 24th frame, and writes a PNG of two enlarged details of one frame.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import render
from vsr.metrics import psnr

CLIP = Path(__file__).with_name("demo.mp4")
EVERY, SHOWN = 24, 72  # frames
DETAILS = ((570, 330), (78, 190))  # left, top in the upscaled picture
SIZE, ENLARGED, GAP = (300, 150), 2, 6  # width, height of a detail; factor; pixels between the two
Picture = NDArray[np.uint8]


def frames(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as source:
        for n, frame in enumerate(source.decode(video=0)):
            if n % EVERY == 0:
                yield frame


def luma(frame: av.VideoFrame) -> Picture:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]


def truth(n: int) -> Picture:
    drawn = av.VideoFrame.from_ndarray(render.picture(n), format="rgb24")
    return luma(drawn.reformat(format="yuv420p"))


def panel(frame: av.VideoFrame, label: str) -> Picture:
    picture, (width, height) = frame.to_ndarray(format="bgr24"), SIZE
    details = np.vstack([picture[top : top + height, left : left + width] for left, top in DETAILS])
    large = cv2.resize(details, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_NEAREST)
    heading = np.full((40, large.shape[1], 3), 24, np.uint8)
    cv2.putText(heading, label, (12, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.75, (240, 240, 240), 1, cv2.LINE_AA)
    return np.vstack([heading, large])


def main(upscaled: Path, picture: Path) -> None:
    scores, shown = [], {}
    for small, large in zip(frames(CLIP), frames(upscaled), strict=True):
        n = len(scores) * EVERY
        bicubic = small.reformat(large.width, large.height, "yuv420p", interpolation="BICUBIC")
        scores.append([psnr(luma(candidate), truth(n)) for candidate in (bicubic, large)])
        if n == SHOWN:
            shown = {"bicubic": bicubic, "vsr": large}
    means = dict(zip(("bicubic", "vsr"), np.mean(scores, axis=0), strict=True))
    for name, score in means.items():
        print(f"{name:8} {score:.2f} dB luma PSNR against the clip drawn at full size")
    left, right = (panel(frame, f"{name}  {means[name]:.2f} dB") for name, frame in shown.items())
    picture.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(picture), np.hstack([left, np.full((left.shape[0], GAP, 3), 24, np.uint8), right]))
    print(picture.resolve())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
