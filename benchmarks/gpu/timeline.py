"""Draws what a device did when: python -m benchmarks.gpu.timeline RESULT.json OUT.svg

One row a slot, a bar for every step, from the event times that `benchmarks.gpu` kept. A bar begins when its step could
begin; it is pale for as long as the frame before was in the same step, and so had what it takes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

STEPS = {"upload": "#4c78a8", "compute": "#f58518", "download": "#54a24b"}
WIDTH, LEFT, TOP, ROW, BAR, BOTTOM = 960, 70, 64, 44, 30, 40  # pixels
FONT = 'font-family="sans-serif" font-size="13"'
DIVISIONS = 8  # of the time axis, about


@dataclass(frozen=True)
class Bar:
    """One step of one frame, milliseconds: it could begin at `start`, and had its turn from `turn` on."""

    row: int
    frame: int
    step: str
    start: float
    turn: float
    end: float


def bars(frames: Sequence[Sequence[float]]) -> list[Bar]:
    """Bars of frames in the order they were submitted, each (begin, uploaded, computed, downloaded) in milliseconds.

    A frame is drawn in the first row whose frame before is done: with n slots there are n rows.
    """
    found, free, zero = list[Bar](), list[float](), min(times[0] for times in frames)
    before: Sequence[float] = [zero] * 4
    for number, times in enumerate(frames):
        row = next((index for index, end in enumerate(free) if end <= times[0]), len(free))
        free[row : row + 1] = [times[-1]]
        for step, start, end, ended in zip(STEPS, times, times[1:], before[1:], strict=False):
            found.append(Bar(row, number, step, start - zero, min(max(start, ended), end) - zero, end - zero))
        before = times
    return found


def svg(found: Sequence[Bar], title: str) -> str:
    """The drawing."""
    span, rows = max(bar.end for bar in found), 1 + max(bar.row for bar in found)
    height = TOP + rows * ROW + BOTTOM
    per = (WIDTH - LEFT - 20) / span
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        *_legend(),
        *_axis(span, per, TOP + rows * ROW),
        *(f'<text x="10" y="{TOP + row * ROW + 20}">slot {row + 1}</text>' for row in range(rows)),
        *(_drawn(bar, per) for bar in found),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _legend() -> Iterator[str]:
    for index, (step, colour) in enumerate(STEPS.items()):
        x = LEFT + 110 * index
        yield f'<rect x="{x}" y="34" width="14" height="14" fill="{colour}"/><text x="{x + 20}" y="46">{step}</text>'
    yield f'<text x="{LEFT + 110 * len(STEPS)}" y="46">pale: waiting for the frame before</text>'


def _axis(span: float, per: float, bottom: int) -> Iterator[str]:
    step = _round(span / DIVISIONS)
    for index in range(int(span / step) + 1):
        x = LEFT + index * step * per
        yield f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{index * step:g}</text>'
    yield f'<text x="{WIDTH - 20}" y="{bottom + 34}" text-anchor="end">milliseconds</text>'


def _round(value: float) -> float:
    """1, 2 or 5 times a power of ten, not below `value`."""
    power = 10.0 ** (len(f"{value:.0f}") - 1 if value >= 1 else -8)
    while not any(value <= (best := factor * power) for factor in (1, 2, 5)):
        power *= 10
    return best


def _drawn(bar: Bar, per: float) -> str:
    y, colour, turn = TOP + bar.row * ROW, STEPS[bar.step], LEFT + bar.turn * per
    waiting, width = (bar.turn - bar.start) * per, (bar.end - bar.turn) * per
    box = f'y="{y}" height="{BAR}" fill="{colour}"'
    pale = f'<rect x="{LEFT + bar.start * per:.2f}" width="{waiting:.2f}" {box} fill-opacity="0.25"/>'
    solid = f'<rect x="{turn:.2f}" width="{width:.2f}" {box} stroke="white"/>'
    number = f'<text x="{turn + width / 2:.2f}" y="{y + 20}" text-anchor="middle" fill="white">{bar.frame}</text>'
    return (pale if waiting > 0 else "") + solid + (number if width > 18 else "")


def drawing(result: dict[str, Any]) -> str:
    """The drawing of a result's timeline. Raises KeyError where it has none."""
    kept = result["parts"]["timeline"]
    title = f"{kept['label']}, {kept['size']}: overlap {100 * kept['overlap']:.0f}%"
    return svg(bars(kept["frames_ms"][: kept["drawn"]]), title)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("result", type=Path)
    p.add_argument("out", type=Path)
    options = p.parse_args()
    options.out.write_text(drawing(json.loads(options.result.read_text())))


if __name__ == "__main__":
    main()
