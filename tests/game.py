"""A real game that plays by itself: chocolate-doom with Freedoom's levels, for tests of `vsr.live`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from screens import until, xvfb
from vsr.live.x11 import Display, Window

LEVELS = Path("/usr/share/games/doom/freedoom1.wad")
PLAYING = ["-window", "-geometry", "640x480", "-nosound", "-nogui", "-playdemo", "demo1"]
BEGINS = 60.0  # seconds it may take to show its window


@contextmanager
def game(home: Path, size: str = "1280x1024") -> Iterator[tuple[str, Window]]:
    """The name of a display of that size and the game's window on it, 640x480; skips where the game isn't installed.

    Args:
        home: an empty folder, for the game's settings.
    """
    program = shutil.which("chocolate-doom", path=f"{os.environ['PATH']}:/usr/games")
    if program is None or not LEVELS.is_file():
        pytest.skip("chocolate-doom or freedoom isn't installed")
    with xvfb(size) as name:
        environment = os.environ | {"DISPLAY": name, "HOME": str(home), "SDL_AUDIODRIVER": "dummy"}
        command, silent = [program, "-iwad", str(LEVELS), *PLAYING], subprocess.DEVNULL
        playing = subprocess.Popen(command, env=environment, stdout=silent, stderr=silent)
        try:
            yield name, _window(name)
        finally:
            playing.terminate()
            playing.wait(30)


def _window(screen: str) -> Window:
    """The game's, once it is there in full size."""
    display = Display(screen)

    def found() -> list[Window]:
        return [w for w in display.windows() if "Doom" in w.title and (w.width, w.height) == (640, 480)]

    seen: list[Window] = []

    def stays() -> bool:
        """The game makes its window twice."""
        before, seen[:] = list(seen), found()
        return seen != [] and seen == before

    try:
        until(stays, BEGINS)
        return seen[0]
    finally:
        display.close()
