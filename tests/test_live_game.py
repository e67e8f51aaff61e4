"""A real game, captured, upscaled and shown in a second window, and that grabbed back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from game import game
from vsr.frame import Frame, Planes
from vsr.live.capture import ScreenSource
from vsr.live.grab import Place, X11Grab
from vsr.live.protocol import Shown
from vsr.live.run import Ends, run
from vsr.live.window import Window
from vsr.live.x11 import Display
from vsr.metrics import psnr
from vsr.pictures import bgr
from vsr.settings import EngineSettings, LiveSettings
from vsr.upscaler import UpscaleStage

SECONDS, LOOKS = 12.0, 5


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A display on which Freedoom plays a demo."""
    for library in ("glfw", "moderngl"):
        pytest.importorskip(library)
    before = os.environ.get("DISPLAY")
    with game(tmp_path_factory.mktemp("home"), "1400x1050") as (name, _):
        os.environ["DISPLAY"] = name  # GLFW takes no other
        time.sleep(5)  # the title first
        yield name
    if before is None:
        del os.environ["DISPLAY"]
    else:
        os.environ["DISPLAY"] = before


def grabbed(screen: str, title: str) -> np.ndarray:
    """What a window shows, B, G, R."""
    display = Display(screen)
    w = display.find(title)
    display.close()
    grab = X11Grab(screen, Place(w.id, 0, 0, w.width, w.height, w.x, w.y, True), 60, cursor=False)
    picture = grab.grab()
    rows = np.frombuffer(picture.planes[0], np.uint8).reshape(picture.height, -1)
    pixels = rows[:, : 4 * picture.width].reshape(picture.height, picture.width, 4)[..., :3].copy()
    grab.close()
    return pixels


class Looked(Window):
    """A window that is grabbed back now and then."""

    def __init__(self, screen: str) -> None:
        super().__init__(vsync=False, figures=False)
        self._screen, self._end, self._next = screen, time.monotonic() + 60 + SECONDS, 0.0
        self.looks: list[tuple[Frame, Planes, np.ndarray]] = []  # source, result, grabbed back

    def show(self, shown: Shown) -> None:
        super().show(shown)
        now = time.monotonic()
        if not self._next:  # engines are open
            self._end, self._next = now + SECONDS, now + 1
        if now > self._next and not shown.repeated:
            source = replace(shown.source, planes=tuple(p.copy() for p in shown.source.planes), lease=None)
            result = tuple(plane.copy() for plane in shown.frame.planes)
            self.looks.append((source, result, grabbed(self._screen, "^vsr: window")))
            self._next = now + SECONDS / LOOKS / 2

    def wants(self) -> bool:
        return super().wants() and time.monotonic() < self._end


@pytest.mark.slow
def test_a_game_is_shown_upscaled(screen: str, capsys: pytest.CaptureFixture[str]) -> None:
    display, said = Display(screen), list[str]()
    source = ScreenSource(display, display.find("Doom").id, rate=60, say=said.append)
    window = Looked(screen)
    settings = LiveSettings(window="Doom", engine=EngineSettings(network="m4c16", streams=1), fixed=True)
    run(settings, Ends(source, window), say=said.append)
    with capsys.disabled():
        print("\n".join(["", *said]))
    assert source.leased == 0
    assert source.label == 'window "Freedoom: Phase 1 - Chocolate Doom 3.0.0" 640x480'
    assert len(window.looks) >= LOOKS
    stage = UpscaleStage(settings.engine)
    for frame, result, seen in window.looks:
        for offline in stage.frames([frame]):
            for got, wanted in zip(result, offline.planes, strict=True):
                assert np.array_equal(got, wanted)
            assert seen.shape == (960, 1280, 3)
            fidelity = psnr(*(picture.reshape(960, -1) for picture in (seen, bgr(offline).to_ndarray())))
            with capsys.disabled():
                print(f"shown against upscaled offline: {fidelity:.1f} dB")
            assert fidelity > 60
            offline.release()
    stage.close()
    levels = [float(frame.planes[0].mean()) for frame, _, _ in window.looks]
    assert len(set(levels)) > 1  # it moves
    display.close()
