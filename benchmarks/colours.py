"""What capturing a screen as 4:4:4 or 4:2:0 costs and keeps: python -m benchmarks.colours [--out FILE]

B, G, R pictures become Y, U, V as vsr-live makes them, by swscale, and by OpenCV's own 4:2:0; then R, G, B again in
floating point, chroma enlarged bicubically. PSNR is over B, G and R. Times are the shortest of many, of one thread;
those of the network are of all cores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from vsr.bench.machine import machine
from vsr.frame import Chroma, Frame, PlanarFormat
from vsr.live.intake import Intake, screen_facts
from vsr.live.painter import conversion
from vsr.metrics import psnr
from vsr.settings import EngineSettings
from vsr.upscaler import UpscaleStage

sys.path.append(str(Path(__file__).resolve().parent.parent / "demo"))
WIDTH, HEIGHT, ROUNDS = 640, 360, 150
Picture = npt.NDArray[np.uint8]


def text() -> Picture:
    """A page as programs show it: small coloured letters on white."""
    rng, page = np.random.default_rng(0), np.full((HEIGHT, WIDTH, 3), 240, np.uint8)
    for row in range(HEIGHT // 19):
        colour = tuple(int(level) for level in rng.choice([0, 40, 200, 255], 3))
        words = f"def frames(self): return 0x{7919 * row:x}  # coloured text"
        cv2.putText(page, words, (10, 15 + 19 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
    return page


def scene() -> Picture:
    import render

    return cv2.resize(render.picture(20)[..., ::-1], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.uint8)


def grabbed(picture: Picture) -> VideoFrame:
    """As x11grab gives it."""
    frame = VideoFrame(WIDTH, HEIGHT, "bgr0")
    rows = np.frombuffer(frame.planes[0], np.uint8).reshape(HEIGHT, -1)
    rows[:, : 4 * WIDTH] = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA).reshape(HEIGHT, -1)
    return frame


def by_swscale(chroma: Chroma) -> Callable[[VideoFrame], Frame]:
    intake, facts = Intake(chroma), screen_facts(chroma)
    return lambda picture: intake.frame(picture, facts, 0, facts.aspect)


def by_opencv(picture: VideoFrame) -> Frame:
    """BT.601 of limited range, the only one it has."""
    pixels = np.frombuffer(picture.planes[0], np.uint8).reshape(HEIGHT, -1, 4)
    stacked = cv2.cvtColor(pixels[:, :WIDTH], cv2.COLOR_BGRA2YUV_I420).reshape(-1)
    parts = np.split(stacked, [WIDTH * HEIGHT, WIDTH * HEIGHT * 5 // 4])
    half = (HEIGHT // 2, WIDTH // 2)
    facts = screen_facts("420")
    return Frame(
        format=PlanarFormat(),
        width=WIDTH,
        height=HEIGHT,
        planes=(parts[0].reshape(HEIGHT, WIDTH), parts[1].reshape(half), parts[2].reshape(half)),
        facts=replace(facts, colour=replace(facts.colour, matrix=6)),
    )


def back(frame: Frame) -> Picture:
    """B, G, R; chroma of 4:2:0 lies in the middle of its four samples, as OpenCV's enlarging has it."""
    whole = [cv2.resize(p.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for p in frame.planes]
    rows, zero = conversion(frame)
    shown = (np.dstack(whole) / 255 - zero) @ rows.T
    return np.clip(np.round(255 * shown[..., ::-1]), 0, 255).astype(np.uint8)


def shortest(work: Callable[[], object]) -> float:
    """Milliseconds."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return round(1000 * min(times), 3)


def converted(make: Callable[[VideoFrame], Frame]) -> dict[str, float]:
    """PSNR of each picture there and back, and the time of one way."""
    result = {}
    for name, picture in (("text", text()), ("scene", scene())):
        frame = make(grabbed(picture))
        result[f"psnr_{name}"] = round(psnr(back(frame).reshape(HEIGHT, -1), picture.reshape(HEIGHT, -1)), 2)
        frame.release()
    source = grabbed(scene())
    return result | {"ms": shortest(lambda: make(source).release())}


def network(chroma: Chroma) -> float:
    """Milliseconds of m4c16, twice the size."""
    stage, make = UpscaleStage(EngineSettings(network="m4c16", streams=1, reuse="off")), by_swscale(chroma)
    source = grabbed(scene())

    def once() -> None:
        for result in stage.frames([make(source)]):
            result.release()

    once()
    found = shortest(once)
    stage.close()
    return found


def main() -> None:
    p = argparse.ArgumentParser(description="4:4:4 and 4:2:0 of a screen, by cost and by PSNR.")
    p.add_argument("--out", type=Path, help="JSON")
    options = p.parse_args()
    cv2.setNumThreads(1)
    rows: dict[str, dict[str, Any]] = {
        "swscale 4:4:4": converted(by_swscale("444")) | {"network_ms": network("444")},
        "swscale 4:2:0": converted(by_swscale("420")) | {"network_ms": network("420")},
        "OpenCV 4:2:0": converted(by_opencv),
    }
    for name, row in rows.items():
        print(f"{name:15}", "  ".join(f"{key} {value}" for key, value in row.items()))
    if options.out:
        options.out.write_text(
            json.dumps({"machine": machine(), "size": [WIDTH, HEIGHT], "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
