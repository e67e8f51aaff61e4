"""The GStreamer element on a real game, as it plays."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gstreamer import gstreamer, unpack
from screens import until, xvfb
from strong import assert_close, spec
from vsr import Upscaler
from vsr.live.x11 import Display


@pytest.fixture(scope="module")
def gst() -> Any:
    return gstreamer()


@contextmanager
def game(display: str, folder: Path) -> Iterator[int]:
    """chocolate-doom playing its first demonstration with freedoom's data; the window's number."""
    program = shutil.which("chocolate-doom", path=f"{os.environ['PATH']}:/usr/games")
    data = Path("/usr/share/games/doom/freedoom1.wad")
    if program is None or not data.exists():
        pytest.skip("chocolate-doom or freedoom isn't installed")
    environment = os.environ | {"DISPLAY": display, "HOME": str(folder), "SDL_AUDIODRIVER": "dummy"}
    command = [program, "-iwad", str(data), "-window", "-geometry", "640x480", "-nosound", "-playdemo", "demo1"]
    playing = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    windows = Display(display)

    def found() -> list[int]:
        return [window.id for window in windows.windows() if (window.width, window.height) == (640, 480)]

    try:
        until(lambda: bool(found()))
        yield found()[0]
    finally:
        windows.close()
        playing.terminate()
        playing.wait(30)


@pytest.mark.slow
def test_a_real_game_as_it_plays(gst: Any, tmp_path: Path) -> None:
    with xvfb() as display, game(display, tmp_path) as window:
        pipeline = gst.Gst.parse_launch(
            f"ximagesrc display-name={display} xid={window} use-damage=false num-buffers=40 "
            "! video/x-raw,framerate=10/1 ! videoconvert ! video/x-raw,format=I420 ! tee name=both "
            "both. ! queue ! appsink name=given sync=false "
            "both. ! queue ! vsrupscale name=up network=m4c8 ! appsink name=got sync=false"
        )
        try:
            pipeline.set_state(gst.Gst.State.PLAYING)
            given, got = ({}, {})
            for name, samples in (("given", given), ("got", got)):
                sink = pipeline.get_by_name(name)
                while (sample := sink.emit("try-pull-sample", 60 * gst.Gst.SECOND)) is not None:
                    samples[sample.get_buffer().pts] = unpack(gst, sample, spec())[0].copy()
        finally:
            pipeline.set_state(gst.Gst.State.NULL)
    assert len(given) == 40
    assert set(got) <= set(given)
    assert len(got) > 20, "a machine this busy shows nothing"
    assert len({plane.tobytes() for plane in given.values()}) > 5, "the game stands still"
    with Upscaler(network="m4c8") as upscaler:
        for pts, plane in got.items():
            assert_close((plane,), (upscaler(given[pts]),))
