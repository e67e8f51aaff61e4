"""`vsr.live.FrameUpscaler`: the newest result, of the kind that was given, the same as `vsr.Upscaler` makes."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pytest

import vsr
from live_fakes import WAIT, FakeClock, Opening
from strong import assert_close, planes, spec
from vsr.errors import UsageError
from vsr.frame import PlanarFormat
from vsr.live import FrameUpscaler
from vsr.settings import EngineSettings

CUBIC = EngineSettings(network="cubic", precision="float32", threads=2)


def picture(seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)


def test_it_makes_what_the_upscaler_makes() -> None:
    with (
        vsr.Upscaler(network="cubic", precision="float32") as plain,
        FrameUpscaler((32, 24), engine=CUBIC, fixed=True) as live,
    ):
        assert live.submit(picture()) is None
        result = live.result(WAIT)
        assert result is not None
        assert np.array_equal(result, plain(picture()))
        given = planes(spec("420", 8, (32, 24)))
        live.submit(given)  # another layout: other engines
        found = live.result(WAIT)
        assert isinstance(found, tuple)
        assert_close(found, plain(given))
        live.submit(picture()[..., 0].copy())
        grey = live.result(WAIT)
        assert grey is not None
        assert np.array_equal(grey, plain(picture()[..., 0].copy()))


def test_the_newest_frame_overtakes_and_the_callers_memory_is_the_callers() -> None:
    opening = Opening(FakeClock())
    with FrameUpscaler((32, 24), opener=opening, clock=opening.clock) as live:
        gate = threading.Event()
        for engine in opening.engines:
            engine.gate = gate
        frame = np.zeros((24, 32), np.uint8)
        for level in range(1, 10):
            frame[...] = level
            live.submit((frame,))
        gate.set()
        results = []
        while not results or results[-1] != 9:
            found = live.result(WAIT)
            assert isinstance(found, tuple)
            results.append(int(found[0][0, 0]))
        assert len(results) <= 2
        assert live.snapshot().dropped + len(results) == 9


def test_errors_come_where_the_caller_is() -> None:
    with pytest.raises(UsageError, match="scale 5"):
        FrameUpscaler((32, 24), 5)
    opening = Opening(FakeClock())
    with FrameUpscaler((32, 24), format=PlanarFormat(chroma="grey"), opener=opening, clock=opening.clock) as live:
        with pytest.raises(ValueError, match="a picture is grey"):
            live.submit(np.zeros((24, 32, 4), np.uint8))
        opening.seconds.clear()
        live.submit(np.zeros((8, 8), np.uint8))  # its engines can't be opened
        with pytest.raises(KeyError):
            live.result(WAIT)
        with pytest.raises(KeyError):
            live.submit(np.zeros((8, 8), np.uint8))
