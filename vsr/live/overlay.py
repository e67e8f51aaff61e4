"""What the window says over the picture: figures of the last second, and the keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vsr.live.protocol import Snapshot

LINE, MARGIN, SIZE = 18, 8, 0.45  # pixels; OpenCV's factor of its font
GROUND = 200  # opacity of the black behind the text, of 255


def lines(snapshot: Snapshot, sizes: str, *, enlarged: bool, keys: str) -> list[str]:
    """The overlay's text.

    Args:
        sizes: of source and result.
        enlarged: the source is shown, plainly enlarged, instead of the result.
        keys: what they do; may be empty.
    """
    s = snapshot
    rung = s.rung if s.every == 1 else f"{s.rung}, every second frame"
    stages = "  ".join(f"{name} {spread.p50:.1f}" for name, spread in s.stages.items())
    text = [
        f"{'OFF (plainly enlarged)' if enlarged else rung}  {sizes}",
        f"fps: captured {s.captured:.1f}  new {s.new:.1f}  shown {s.shown:.1f}   dropped {s.dropped}",
        f"added latency ms: p50 {s.latency.p50:.1f}  p95 {s.latency.p95:.1f}  p99 {s.latency.p99:.1f}",
    ]
    return text + [line for line in (stages and f"p50 ms: {stages}", s.decision, keys) if line]


def panel(text: Sequence[str], factor: float = 1.0) -> npt.NDArray[np.uint8]:
    """The lines as a picture (rows, columns, RGBA), `factor` times as large as on a screen of ordinary density."""
    import cv2

    font, size = cv2.FONT_HERSHEY_SIMPLEX, SIZE * factor
    line, margin = round(LINE * factor), round(MARGIN * factor)
    width = max(cv2.getTextSize(row, font, size, 1)[0][0] for row in text) + 2 * margin
    ink = np.zeros((line * len(text) + 2 * margin, width), np.uint8)
    for index, row in enumerate(text):
        place = (margin, margin + line * index + round(0.75 * line))
        cv2.putText(ink, row, place, font, size, 255, 1, cv2.LINE_AA)
    return np.dstack([ink, ink, ink, np.maximum(ink, GROUND)])
