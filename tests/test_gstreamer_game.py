"""The GStreamer element on a real game, as it plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from game import game
from gstreamer import gstreamer, unpack
from strong import assert_close, spec
from vsr import Upscaler


@pytest.fixture(scope="module")
def gst() -> Any:
    return gstreamer()


@pytest.mark.slow
def test_a_real_game_as_it_plays(gst: Any, tmp_path: Path) -> None:
    with game(tmp_path) as (display, window):
        pipeline = gst.Gst.parse_launch(
            f"ximagesrc display-name={display} xid={window.id} use-damage=false num-buffers=40 "
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
