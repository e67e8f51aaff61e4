"""An X server without a screen, and windows on it that the tests paint."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks import screen

COLOURS = {"red": 0xFF0000, "green": 0x00FF00, "blue": 0x0000FF, "white": 0xFFFFFF}


@contextmanager
def xvfb(size: str = "1280x1024", *options: str) -> Iterator[str]:
    """The name of a display of its own; skips where there is no Xvfb or no xcffib."""
    pytest.importorskip("xcffib")
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb isn't installed")
    with screen.xvfb(size, *options) as name:
        yield name


class Painted:
    """A window of one colour."""

    def __init__(self, display: str, title: str, colour: str, place: tuple[int, int, int, int]) -> None:
        import xcffib
        import xcffib.xproto as x

        self._connection: Any = xcffib.connect(display=display)
        self._core, self._x = self._connection.core, x
        self._screen: Any = self._connection.get_setup().roots[0]
        self.id: int = self._connection.generate_id()
        self._create(colour, place)
        name = title.encode()
        self._core.ChangeProperty(x.PropMode.Replace, self.id, x.Atom.WM_NAME, x.Atom.STRING, 8, len(name), name)
        self.show()

    def _create(self, colour: str, place: tuple[int, int, int, int]) -> None:
        screen, back = self._screen, self._x.CW.BackPixel
        self._core.CreateWindow(
            screen.root_depth, self.id, screen.root, *place, 0, 1, screen.root_visual, back, [COLOURS[colour]]
        )

    def replace(self, colour: str, place: tuple[int, int, int, int]) -> None:
        """Another window of the same number, as programs make that change how they draw."""
        self._core.DestroyWindow(self.id)
        self._create(colour, place)
        self.show()

    def show(self) -> None:
        self._core.MapWindow(self.id)
        self._sync()

    def hide(self) -> None:
        self._core.UnmapWindow(self.id)
        self._sync()

    def move(self, x: int, y: int) -> None:
        self._core.ConfigureWindow(self.id, self._x.ConfigWindow.X | self._x.ConfigWindow.Y, [x, y])
        self._sync()

    def resize(self, width: int, height: int) -> None:
        self._core.ConfigureWindow(self.id, self._x.ConfigWindow.Width | self._x.ConfigWindow.Height, [width, height])
        self._sync()

    def fill(self, colour: int, x: int, y: int, width: int, height: int) -> None:
        """A rectangle of a colour 0xRRGGBB."""
        context = self._connection.generate_id()
        self._core.CreateGC(context, self.id, self._x.GC.Foreground, [colour])
        rectangle = self._x.RECTANGLE.synthetic(x, y, width, height)
        self._core.PolyFillRectangle(self.id, context, 1, [rectangle])
        self._core.FreeGC(context)
        self._sync()

    def focus(self) -> None:
        """Gives it the keyboard."""
        x = self._x
        self._core.SetInputFocus(x.InputFocus.PointerRoot, self.id, x.Time.CurrentTime)
        self._sync()

    @property
    def focused(self) -> bool:
        return bool(self._core.GetInputFocus().reply().focus == self.id)

    def close(self) -> None:
        self._core.DestroyWindow(self.id)
        self._sync()
        self._connection.disconnect()

    def _sync(self) -> None:
        self._core.GetInputFocus().reply()


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits; fails when it doesn't come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
