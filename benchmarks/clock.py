"""A window that shows the time so that a program can read it: python -m benchmarks.clock --display :0

Microseconds of `time.monotonic()`, which on Linux all processes share, as 48 bits and a checksum of 16: black and white
squares in the upper left corner, beside colours that move. Each picture is painted aside and put into the window by one
request, so that none is seen half finished.
"""

from __future__ import annotations

import argparse
import time
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

SIDE, ROW = 24, 8  # pixels of a square, squares in a row and rows
BITS, CHECK = 48, 16
TITLE = "vsr clock"
COLOURS = (0x405060, 0xC04030, 0x30A050, 0x4060D0, 0xE0D040)


def checksum(stamp: int) -> int:
    return zlib.crc32(stamp.to_bytes(BITS // 8, "big")) & (1 << CHECK) - 1


def squares(stamp: int) -> npt.NDArray[np.bool_]:
    """(rows, columns), white where True."""
    code = stamp << CHECK | checksum(stamp)
    return np.array([code >> place & 1 for place in range(BITS + CHECK - 1, -1, -1)], bool).reshape(ROW, ROW)


def read(plane: npt.NDArray[Any], scale: int = 1) -> int | None:
    """The stamp in a plane of luma (or of any colour), or None where none can be read whole."""
    side = SIDE * scale
    if min(plane.shape[:2]) < ROW * side:
        return None
    corner = plane[: ROW * side, : ROW * side].reshape(ROW, side, ROW, side)
    inner = slice(side // 4, side - side // 4)
    levels = corner[:, inner, :, inner].mean(axis=(1, 3))
    code = 0
    for white in (levels > 128).ravel():
        code = code << 1 | int(white)
    stamp, check = code >> CHECK, code & (1 << CHECK) - 1
    return stamp if check == checksum(stamp) else None


class Clock:
    """Paints on one window."""

    def __init__(self, display: str, width: int, height: int) -> None:
        import xcffib
        import xcffib.xproto as x

        self._connection: Any = xcffib.connect(display=display)
        self._core, self._x, self._size = self._connection.core, x, (width, height)
        screen = self._connection.get_setup().roots[0]
        self._window, self._picture = self._connection.generate_id(), self._connection.generate_id()
        place = (0, 0, width, height)
        self._core.CreateWindow(
            screen.root_depth, self._window, screen.root, *place, 0, 1, screen.root_visual, x.CW.BackPixel, [0]
        )
        named = (self._window, x.Atom.WM_NAME, x.Atom.STRING)
        self._core.ChangeProperty(x.PropMode.Replace, *named, 8, len(TITLE), TITLE)
        self._core.CreatePixmap(screen.root_depth, self._picture, self._window, width, height)
        self._pens = {colour: self._pen(colour) for colour in (0, 0xFFFFFF, *COLOURS)}
        self._core.MapWindow(self._window)
        self._core.GetInputFocus().reply()

    def _pen(self, colour: int) -> int:
        pen: int = self._connection.generate_id()
        self._core.CreateGC(pen, self._picture, self._x.GC.Foreground, [colour])
        return pen

    def _fill(self, colour: int, places: list[tuple[int, int, int, int]]) -> None:
        rectangles = [self._x.RECTANGLE.synthetic(*place) for place in places]
        self._core.PolyFillRectangle(self._picture, self._pens[colour], len(rectangles), rectangles)

    def paint(self, number: int) -> None:
        """One picture; the stamp is the time before it is begun."""
        stamp = round(time.monotonic() * 1e6)
        width, height = self._size
        self._fill(COLOURS[0], [(0, 0, width, height)])
        for index, colour in enumerate(COLOURS[1:]):
            left = (number * (3 + 2 * index) + 150 * index) % (width + 80) - 80
            self._fill(colour, [(left, height // 5 * (index + 1), 80, 40)])
        self._fill(0, [(0, 0, ROW * SIDE, ROW * SIDE)])
        rows, columns = np.nonzero(squares(stamp))
        self._fill(0xFFFFFF, [(int(c) * SIDE, int(r) * SIDE, SIDE, SIDE) for r, c in zip(rows, columns, strict=True)])
        self._core.CopyArea(self._picture, self._window, self._pens[0], 0, 0, 0, 0, width, height)
        self._core.GetInputFocus().reply()


def main() -> None:
    p = argparse.ArgumentParser(description="A window that shows the time for programs.")
    p.add_argument("--display", required=True)
    p.add_argument("--size", default="640x360")
    p.add_argument("--rate", type=float, default=30.0)
    options = p.parse_args()
    width, height = map(int, options.size.split("x"))
    clock, number, begin = Clock(options.display, width, height), 0, time.monotonic()
    while True:
        clock.paint(number)
        number = max(number + 1, int((time.monotonic() - begin) * options.rate))
        time.sleep(max(0.0, begin + number / options.rate - time.monotonic()))


if __name__ == "__main__":
    main()
